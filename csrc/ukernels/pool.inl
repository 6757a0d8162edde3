// pool_tile: windows over contiguous channels. A window's row is combined first, then the rows, always in that order.
//
// A call costs, with T = nrows * taps and each of px * ceil(c / width) vectors, a lane: T - 1 max (pool_max) or T - 1 add
// (the others), and 1 mul in pool_avg. It reads 4 c px T bytes and writes 4 c px.

template <class V, int KIND>
static inline typename V::vec pool_join(typename V::vec a, typename V::vec b) {
  if constexpr (KIND == pool_max)
    return V::max_nan(a, b);
  else
    return V::add(a, b);
}

template <class V, int KIND, int NV, bool WHOLE>
static inline void pool_taps(const PoolTile* t, const float* x, int64_t left, typename V::vec (&acc)[NV]) {
#pragma GCC unroll 8
  for (int i = 0; i < NV; ++i) acc[i] = get<V, WHOLE>(x + i * V::width, left);
  for (int64_t s = 1; s < t->taps; ++s) {
    x += t->x_tap;
#pragma GCC unroll 8
    for (int i = 0; i < NV; ++i) acc[i] = pool_join<V, KIND>(acc[i], get<V, WHOLE>(x + i * V::width, left));
  }
}

template <class V, int KIND, int NV, bool WHOLE>
static inline void pool_window(const PoolTile* t, const float* x, float* y, int64_t left) {
  typename V::vec acc[NV], row[NV];
  pool_taps<V, KIND, NV, WHOLE>(t, x, left, acc);
  for (int64_t r = 1; r < t->nrows; ++r) {
    pool_taps<V, KIND, NV, WHOLE>(t, x + r * t->x_row, left, row);
#pragma GCC unroll 8
    for (int i = 0; i < NV; ++i) acc[i] = pool_join<V, KIND>(acc[i], row[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < NV; ++i) {
    if constexpr (KIND == pool_avg) acc[i] = V::mul(acc[i], V::set1(t->scale));
    put<V, WHOLE>(y + i * V::width, acc[i], left);
  }
}

template <class V, int KIND>
static void pool_tile(const PoolTile* t) {
  for (int64_t i = 0; i < t->px; ++i) {
    const float* x = t->x + i * t->x_px;
    float* y = t->y + i * t->y_px;
    int64_t j = 0;
    for (; j + 4 * V::width <= t->c; j += 4 * V::width) pool_window<V, KIND, 4, true>(t, x + j, y + j, 0);
    for (; j + V::width <= t->c; j += V::width) pool_window<V, KIND, 1, true>(t, x + j, y + j, 0);
    if (j < t->c) pool_window<V, KIND, 1, false>(t, x + j, y + j, t->c - j);
  }
}

template <class V>
static inline void fill_pool(KernelTable* t) {
  t->pool[pool_max] = pool_tile<V, pool_max>;
  t->pool[pool_avg] = pool_tile<V, pool_avg>;
  t->pool[pool_sum] = pool_tile<V, pool_sum>;
}
