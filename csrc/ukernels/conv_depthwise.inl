// dw_run: a run of pixels x one block of a depthwise convolution (kernel_table.h has the contract). `at` is the first
// pixel of a tile within its run.

// Vector j of PX pixels. What `t` says is read before the first store, which the compiler must take for one into `t`.
template <class V, int PX, bool WHOLE>
static inline void dw_store(const DwRun* t, typename V::vec (&acc)[PX], int64_t at, int j) {
  const int64_t left = t->valid - j * V::width, y_px = t->y_px;
  if (t->res) {
    const float* r = t->res + at * t->res_px + j * V::width;
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i] = V::add(acc[i], get<V, WHOLE>(r + i * t->res_px, left));
  }
  if (t->clamp) {
    const typename V::vec lo = V::set1(t->lo), hi = V::set1(t->hi);
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i] = V::min(hi, V::max(lo, acc[i]));
  }
  float* y = t->y + at * y_px + j * V::width;
#pragma GCC unroll 16
  for (int i = 0; i < PX; ++i) put<V, WHOLE>(y + i * y_px, acc[i], left);
}

// Any filter, any stride, any dilation, a clipped run of taps: the edges of the image and unusual shapes.
struct dw_general {
  template <class V, int PX, bool WHOLE>
  static inline void tile(const DwRun* t, int64_t at) {
    constexpr int NV = kBlock / V::width;
    typename V::vec acc[NV][PX];
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) {
      const typename V::vec b = t->bias ? V::load(t->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i) acc[j][i] = b;
    }
    for (int64_t r = 0; r < t->nrows; ++r) {
      if (!t->rows[r]) continue;
      for (int64_t s = t->s0; s < t->s1; ++s) {
        const float* w = t->w + (r * t->taps + s) * kBlock;
        const float* x = t->rows[r] + at * t->x_px + s * t->x_tap;
#pragma GCC unroll 16
        for (int j = 0; j < NV; ++j) {
          const typename V::vec wv = V::load(w + j * V::width);
#pragma GCC unroll 16
          for (int i = 0; i < PX; ++i) {
            const float* p = x + i * t->x_px + j * V::width;
            acc[j][i] = V::fma(get<V, WHOLE>(p, t->valid - j * V::width), wv, acc[j][i]);
          }
        }
      }
    }
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) dw_store<V, PX, WHOLE>(t, acc[j], at, j);
  }
};

// S x S taps at stride ST, all of them inside the image: the weights of a row sit in registers and every input is
// loaded once, for all the outputs it feeds.
template <int S, int ST>
struct dw_fixed {
  template <class V, int PX, bool WHOLE>
  static inline void tile(const DwRun* t, int64_t at) {
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
        const float* x = t->rows[r] + at * t->x_px + j * V::width;
        typename V::vec w[S];
#pragma GCC unroll 16
        for (int s = 0; s < S; ++s) w[s] = V::load(t->w + (r * S + s) * kBlock + j * V::width);
#pragma GCC unroll 32
        for (int e = 0; e < NX; ++e) {
          const typename V::vec v = get<V, WHOLE>(x, left);
          x += t->x_tap;
#pragma GCC unroll 16
          for (int s = 0; s < S; ++s)
            if ((e - s) % ST == 0 && e >= s && (e - s) / ST < PX)
              acc[(e - s) / ST] = V::fma(v, w[s], acc[(e - s) / ST]);
        }
      }
      dw_store<V, PX, WHOLE>(t, acc, at, j);
    }
  }
};

// A tile of `px` pixels, px <= PX.
template <class V, class F, int PX, bool WHOLE>
static inline void dw_tile(const DwRun* t, int64_t at, int64_t px) {
  if constexpr (PX > 1) {
    if (px < PX) return dw_tile<V, F, PX - 1, WHOLE>(t, at, px);
  }
  F::template tile<V, PX, WHOLE>(t, at);
}

template <class V, class F, int PX>
static void dw_run(const DwRun* t) {
  const int64_t tiles = (t->px + PX - 1) / PX;
  for (int64_t i = 0, at = 0; i < tiles; ++i) {
    const int64_t end = t->px * (i + 1) / tiles;
    if (t->valid == kBlock)
      dw_tile<V, F, PX, true>(t, at, end - at);
    else
      dw_tile<V, F, PX, false>(t, at, end - at);
    at = end;
  }
}

template <class V, int PX>
static inline void fill_dw(KernelTable* table) {
  table->dw[dw_any] = dw_run<V, dw_general, PX>;
  table->dw[dw_3s1] = dw_run<V, dw_fixed<3, 1>, PX>;
  table->dw[dw_3s2] = dw_run<V, dw_fixed<3, 2>, PX>;
  table->dw[dw_5s1] = dw_run<V, dw_fixed<5, 1>, PX>;
  table->dw[dw_5s2] = dw_run<V, dw_fixed<5, 2>, PX>;
  table->dw_px = PX;
}
