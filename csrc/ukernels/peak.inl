// The machine's peaks, through the same verbs as every leaf.

// FMA: independent chains, nothing from memory.

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

// Bandwidth: n contiguous floats, each read once. Independent sums, so that loads and nothing else bind.
template <class V>
static float read_sum(const float* x, int64_t n) {
  constexpr int chains = 8;
  typename V::vec acc[chains];
#pragma GCC unroll 8
  for (int i = 0; i < chains; ++i) acc[i] = V::zero();
  int64_t at = 0;
  for (; at + chains * V::width <= n; at += chains * V::width) {
#pragma GCC unroll 8
    for (int i = 0; i < chains; ++i) acc[i] = V::add(acc[i], V::load(x + at + i * V::width));
  }
  for (; at < n; at += V::width) acc[0] = V::add(acc[0], V::load_n(x + at, n - at));
#pragma GCC unroll 8
  for (int i = 1; i < chains; ++i) acc[0] = V::add(acc[0], acc[i]);
  return V::reduce_add(acc[0]);
}
