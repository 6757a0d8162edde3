// What this machine is: instruction sets, caches, a name. Read from CPUID and the kernel, never measured.
#pragma once

#include <string>
#include <vector>

#include "isa.h"

namespace cnnkern {

// "vec128", "avx2" or "avx512".
const char* isa_name(Isa isa);

// The sets that are compiled in and that this CPU and its operating system run, weakest first; vec128 is always there.
std::vector<Isa> available_isas();

// The set to use: the one named, or the best for "". Throws std::invalid_argument, listing the available ones, for a
// name that is unknown or that this CPU lacks.
Isa resolve_isa(const std::string& name);

// Bytes of the first core's data caches (l3: the whole slice that core sees); 0 where the system does not say.
struct CacheSizes {
  long l1d = 0;
  long l2 = 0;
  long l3 = 0;
};
CacheSizes cache_sizes();

// The processor's marketing name, or "unknown CPU".
std::string cpu_name();

}  // namespace cnnkern
