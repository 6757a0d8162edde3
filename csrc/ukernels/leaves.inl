// Every leaf of an ISA and its two tables. Included once by isa_<isa>.cpp, inside cnnkern::<isa>, after its Verbs.

#include "simd/counting.h"

#include "conv_tile.inl"
#include "tail.inl"
#include "conv_depthwise.inl"
#include "conv_group.inl"
#include "copy.inl"
#include "vmath.inl"
#include "act.inl"
#include "eltwise.inl"
#include "unary.inl"
#include "pair.inl"
#include "reduce.inl"
#include "norm.inl"
#include "peak.inl"
#include "pool.inl"
#include "reorder.inl"
#include "resample.inl"
#include "softmax.inl"
#include "winograd.inl"

static void set_counters(Counters* c) { counters = c; }

template <class V>
static inline KernelTable make_table(const char* isa) {
  KernelTable t = {};
  t.isa = isa;
  t.counting = V::counted;
  t.width = V::width;
  t.set_counters = set_counters;
#define CNNKERN_CONV(ob, px, tag) \
  if constexpr (isa_##tag == isa_id) fill_conv<V, ob, px>(&t);
#define CNNKERN_DW(px, tag) \
  if constexpr (isa_##tag == isa_id) fill_dw<V, px>(&t);
#define CNNKERN_GROUP(px, tag) \
  if constexpr (isa_##tag == isa_id) fill_group<V, px>(&t);
#include "kernels.def"
#undef CNNKERN_CONV
#undef CNNKERN_DW
#undef CNNKERN_GROUP
  t.wino_in[4] = wino_in<V, 4>;
  t.wino_in[6] = wino_in<V, 6>;
  t.wino_out[4][2] = wino_out<V, 4, 2>;
  t.wino_out[6][2] = wino_out<V, 6, 2>;
  t.wino_out[6][4] = wino_out<V, 6, 4>;
  fill_act<V>(&t);
  fill_eltwise<V>(&t);
  fill_unary<V>(&t);
  fill_pairs<V>(&t);
  fill_reduce<V>(&t);
  fill_norm<V>(&t);
  fill_pool<V>(&t);
  fill_reorder<V>(&t);
  fill_resample<V>(&t);
  fill_softmax<V>(&t);
  t.copy = copy_row<V>;
  t.fill = fill_row<V>;
  t.peak_fma = peak_fma<V>;
  t.read_sum = read_sum<V>;
  return t;
}
