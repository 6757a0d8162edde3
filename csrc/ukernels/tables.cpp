// Which table serves which instruction set. Compiled with baseline flags.
#include "tables.h"

namespace cnnkern {

namespace vec128 {
const KernelTable* table(bool counting);
}
#ifdef CNNKERN_HAS_AVX2
namespace avx2 {
const KernelTable* table(bool counting);
}
#endif
#ifdef CNNKERN_HAS_AVX512
namespace avx512 {
const KernelTable* table(bool counting);
}
#endif

const KernelTable* table_for(Isa isa, bool counting) {
#ifdef CNNKERN_HAS_AVX512
  if (isa == Isa::avx512) return avx512::table(counting);
#endif
#ifdef CNNKERN_HAS_AVX2
  if (isa == Isa::avx2) return avx2::table(counting);
#endif
  (void)isa;
  return vec128::table(counting);
}

}  // namespace cnnkern
