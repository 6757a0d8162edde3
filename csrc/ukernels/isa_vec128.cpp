// vec128: its verbs, every leaf on them, its tables (plain and counting). One external symbol: the getter.
#include "kernel_table.h"

#include "simd/vec128.h"

namespace cnnkern {
namespace vec128 {

enum { isa_vec128, isa_avx2, isa_avx512 };
static constexpr int isa_id = isa_vec128;

#include "leaves.inl"

// Built at the first call, not at load time: the code that builds them already uses this instruction set.
__attribute__((visibility("hidden"))) const KernelTable* table(bool counted) {
  static const KernelTable plain_table = make_table<Verbs>("vec128");
  static const KernelTable counting_table = make_table<counting<Verbs>>("vec128");
  return counted ? &counting_table : &plain_table;
}

}  // namespace vec128
}  // namespace cnnkern
