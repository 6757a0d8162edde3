// The machine's FMA peak, through the same verbs as every leaf: independent chains, nothing from memory.

template <class V>
static double peak_fma(int64_t iterations) {
  constexpr int chains = V::registers == 32 ? 24 : 12;
  typename V::vec acc[chains];
#pragma GCC unroll 32
  for (int i = 0; i < chains; ++i) acc[i] = V::set1((float)i);
  const typename V::vec a = V::set1(0.999999f), b = V::set1(1e-7f);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 32
    for (int i = 0; i < chains; ++i) acc[i] = V::fma(acc[i], a, b);
  }
  typename V::vec sum = V::zero();
#pragma GCC unroll 32
  for (int i = 0; i < chains; ++i) sum = V::add(sum, acc[i]);
  float sink[V::width];
  V::store(sink, sum);
  // The sum decides a term that is never taken, so that the chains cannot be removed.
  return 2.0 * V::width * chains * (double)iterations + (sink[0] == -1.0f ? 1.0 : 0.0);
}
