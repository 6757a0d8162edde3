// The instruction sets a kernel table can be for: a bare enum, so that files compiled with ISA flags may include it.
#pragma once

namespace cnnkern {

enum class Isa : int { vec128 = 0, avx2 = 1, avx512 = 2 };

}  // namespace cnnkern
