// The door from the drivers to the leaves.
#pragma once

#include "../core/isa.h"
#include "kernel_table.h"

namespace cnnkern {

// The leaves of an instruction set, plain or counting. Only for one that this CPU has (arch.h says which).
const KernelTable* table_for(Isa isa, bool counting);

}  // namespace cnnkern
