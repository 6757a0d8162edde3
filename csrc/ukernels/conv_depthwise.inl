// dw_tile: PX pixels x one block of a depthwise convolution (kernel_table.h has the contract).

template <class V>
static inline void dw_store(const DwTile* t, typename V::vec v, int i, int j) {
  const int64_t left = t->valid - j * V::width;
  if (t->res) v = V::add(v, V::load_n(t->res + i * t->res_px + j * V::width, left));
  if (t->clamp) v = V::min(V::set1(t->hi), V::max(V::set1(t->lo), v));
  V::store_n(t->y + i * t->y_px + j * V::width, v, left);
}

// Any filter, any stride, any dilation, a clipped run of taps: the edges of the image and unusual shapes.
template <class V, int PX, bool WHOLE>
static inline void dw_any_body(const DwTile* t) {
  constexpr int NV = kBlock / V::width;
  typename V::vec acc[PX][NV];
#pragma GCC unroll 16
  for (int j = 0; j < NV; ++j) {
    const typename V::vec b = t->bias ? V::load(t->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i][j] = b;
  }
  for (int64_t r = 0; r < t->nrows; ++r) {
    if (!t->rows[r]) continue;
    for (int64_t s = t->s0; s < t->s1; ++s) {
      const float* w = t->w + (r * t->taps + s) * kBlock;
      const float* x = t->rows[r] + s * t->x_tap;
#pragma GCC unroll 16
      for (int j = 0; j < NV; ++j) {
        const typename V::vec wv = V::load(w + j * V::width);
#pragma GCC unroll 16
        for (int i = 0; i < PX; ++i) {
          const float* p = x + i * t->x_px + j * V::width;
          acc[i][j] = V::fma(WHOLE ? V::load(p) : V::load_n(p, t->valid - j * V::width), wv, acc[i][j]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < PX; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) dw_store<V>(t, acc[i][j], i, j);
}

template <class V, int PX>
static void dw_any_tile(const DwTile* t) {
  if (t->valid == kBlock)
    dw_any_body<V, PX, true>(t);
  else
    dw_any_body<V, PX, false>(t);
}

// S x S taps at stride ST, all of them inside the image: the weights of a row sit in registers and every input is
// loaded once, for all the outputs it feeds.
template <class V, int PX, int S, int ST, bool WHOLE>
static inline void dw_fixed_body(const DwTile* t) {
  constexpr int NV = kBlock / V::width, NX = (PX - 1) * ST + S;
#pragma GCC unroll 16
  for (int j = 0; j < NV; ++j) {
    const int64_t left = t->valid - j * V::width;
    typename V::vec acc[PX];
    const typename V::vec b = t->bias ? V::load(t->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i] = b;
    for (int64_t r = 0; r < t->nrows; ++r) {
      if (!t->rows[r]) continue;
      const float* x = t->rows[r] + j * V::width;
      typename V::vec w[S];
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s) w[s] = V::load(t->w + (r * S + s) * kBlock + j * V::width);
#pragma GCC unroll 32
      for (int e = 0; e < NX; ++e) {
        const typename V::vec v = WHOLE ? V::load(x) : V::load_n(x, left);
        x += t->x_tap;
#pragma GCC unroll 16
        for (int s = 0; s < S; ++s)
          if ((e - s) % ST == 0 && e >= s && (e - s) / ST < PX) acc[(e - s) / ST] = V::fma(v, w[s], acc[(e - s) / ST]);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) dw_store<V>(t, acc[i], i, j);
  }
}

template <class V, int PX, int S, int ST>
static void dw_fixed_tile(const DwTile* t) {
  if (t->valid == kBlock)
    dw_fixed_body<V, PX, S, ST, true>(t);
  else
    dw_fixed_body<V, PX, S, ST, false>(t);
}

template <class V, int PX>
static inline void fill_dw(KernelTable* table) {
  if constexpr (PX > 0) {
    table->dw[dw_any][PX] = dw_any_tile<V, PX>;
    table->dw[dw_3s1][PX] = dw_fixed_tile<V, PX, 3, 1>;
    table->dw[dw_3s2][PX] = dw_fixed_tile<V, PX, 3, 2>;
    table->dw[dw_5s1][PX] = dw_fixed_tile<V, PX, 5, 1>;
    table->dw[dw_5s2][PX] = dw_fixed_tile<V, PX, 5, 2>;
    fill_dw<V, PX - 1>(table);
  }
}
