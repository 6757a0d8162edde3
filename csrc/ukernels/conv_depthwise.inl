// dw_band: rows of pixels x one block of a depthwise convolution (kernel_table.h has the contract).

// A tile of PX pixels: what it reads, at its first pixel, and where it writes. Columns are counted from that pixel's
// window; EDGE tiles look whether each is there.
struct DwTile {
  const DwBand* band;
  const float* const* rows;
  int64_t offset;                // floats from a row's pointer to the window
  int64_t first, last;           // the columns that exist
  float* y;
  const float* res;
};

// Vector j of PX pixels. What the band says is read before the first store, which the compiler must take for one into it.
template <class V, int PX, bool WHOLE>
static inline void dw_store(const DwTile& t, typename V::vec (&acc)[PX], int j) {
  const DwBand* b = t.band;
  const int64_t left = b->valid - j * V::width, y_px = b->y_px;
  if (t.res) {
    const float* r = t.res + j * V::width;
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i] = V::add(acc[i], get<V, WHOLE>(r + i * b->res_px, left));
  }
  if (b->clamp) {
    const typename V::vec lo = V::set1(b->lo), hi = V::set1(b->hi);
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i] = V::min(hi, V::max(lo, acc[i]));
  }
  float* y = t.y + j * V::width;
#pragma GCC unroll 16
  for (int i = 0; i < PX; ++i) put<V, WHOLE>(y + i * y_px, acc[i], left);
}

// Any filter, stride and dilation.
struct dw_general {
  static inline int64_t reach(const DwBand* b) { return (b->taps - 1) * b->dil; }
  static inline int64_t stride(const DwBand* b) { return b->stride; }

  template <class V, int PX, bool WHOLE, bool EDGE>
  static inline void tile(const DwTile& t) {
    constexpr int NV = kBlock / V::width;
    const DwBand* b = t.band;
    const int64_t x_px = b->stride * b->x_col, x_tap = b->dil * b->x_col;
    typename V::vec acc[NV][PX];
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) {
      const typename V::vec bias = b->bias ? V::load(b->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i) acc[j][i] = bias;
    }
    for (int64_t r = 0; r < b->nrows; ++r) {
      if (!t.rows[r]) continue;
      for (int64_t s = 0; s < b->taps; ++s) {
        const float* w = b->w + (r * b->taps + s) * kBlock;
        const float* x = t.rows[r] + t.offset + s * x_tap;
#pragma GCC unroll 16
        for (int j = 0; j < NV; ++j) {
          const typename V::vec wv = V::load(w + j * V::width);
#pragma GCC unroll 16
          for (int i = 0; i < PX; ++i) {
            const int64_t column = i * b->stride + s * b->dil;
            if (EDGE && (column < t.first || column >= t.last)) continue;
            const float* p = x + i * x_px + j * V::width;
            acc[j][i] = V::fma(get<V, WHOLE>(p, b->valid - j * V::width), wv, acc[j][i]);
          }
        }
      }
    }
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) dw_store<V, PX, WHOLE>(t, acc[j], j);
  }
};

// S x S taps at stride ST: the weights of a row sit in registers and every input is loaded once, for all the outputs it
// feeds.
template <int S, int ST>
struct dw_fixed {
  static inline int64_t reach(const DwBand*) { return S - 1; }
  static inline int64_t stride(const DwBand*) { return ST; }

  template <class V, int PX, bool WHOLE, bool EDGE>
  static inline void tile(const DwTile& t) {
    constexpr int NV = kBlock / V::width, NX = (PX - 1) * ST + S;
    const DwBand* b = t.band;
    const int64_t x_col = b->x_col;
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) {
      const int64_t left = b->valid - j * V::width;
      typename V::vec acc[PX];
      const typename V::vec bias = b->bias ? V::load(b->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i) acc[i] = bias;
#pragma GCC unroll 1
      for (int r = 0; r < S; ++r) {
        if (!t.rows[r]) continue;
        const float* x = t.rows[r] + t.offset + j * V::width;
        typename V::vec w[S];
#pragma GCC unroll 16
        for (int s = 0; s < S; ++s) w[s] = V::load(b->w + (r * S + s) * kBlock + j * V::width);
#pragma GCC unroll 32
        for (int e = 0; e < NX; ++e) {
          const float* p = x;
          x += x_col;
          if (EDGE && (e < t.first || e >= t.last)) continue;
          const typename V::vec v = get<V, WHOLE>(p, left);
#pragma GCC unroll 16
          for (int s = 0; s < S; ++s)
            if ((e - s) % ST == 0 && e >= s && (e - s) / ST < PX)
              acc[(e - s) / ST] = V::fma(v, w[s], acc[(e - s) / ST]);
        }
      }
      dw_store<V, PX, WHOLE>(t, acc, j);
    }
  }
};

// A tile of `px` pixels, px <= PX.
template <class V, class F, int PX, bool WHOLE, bool EDGE>
static inline void dw_tile(const DwTile& t, int64_t px) {
  if constexpr (PX > 1) {
    if (px < PX) return dw_tile<V, F, PX - 1, WHOLE, EDGE>(t, px);
  }
  F::template tile<V, PX, WHOLE, EDGE>(t);
}

template <class V, class F, int PX>
static void dw_band(const DwBand* b) {
  const int64_t tiles = (b->px + PX - 1) / PX, stride = F::stride(b), reach = F::reach(b);
  const bool whole = b->valid == kBlock;
  for (int64_t p = 0; p < b->height; ++p) {
    for (int64_t i = 0, at = 0; i < tiles; ++i) {
      const int64_t end = b->px * (i + 1) / tiles, px = end - at;
      DwTile t;
      t.band = b;
      t.rows = b->rows + p * b->nrows;
      t.offset = at * stride * b->x_col + b->channel;
      t.first = b->col0 - at * stride;
      t.last = b->col1 - at * stride;
      t.y = b->y + p * b->y_row + at * b->y_px;
      t.res = b->res ? b->res + p * b->res_row + at * b->res_px : nullptr;
      const bool edge = t.first > 0 || t.last <= (px - 1) * stride + reach;
      if (whole && !edge)
        dw_tile<V, F, PX, true, false>(t, px);
      else if (whole)
        dw_tile<V, F, PX, true, true>(t, px);
      else if (!edge)
        dw_tile<V, F, PX, false, false>(t, px);
      else
        dw_tile<V, F, PX, false, true>(t, px);
      at = end;
    }
  }
}

template <class V, int PX>
static inline void fill_dw(KernelTable* table) {
  table->dw[dw_any] = dw_band<V, dw_general, PX>;
  table->dw[dw_3s1] = dw_band<V, dw_fixed<3, 1>, PX>;
  table->dw[dw_3s2] = dw_band<V, dw_fixed<3, 2>, PX>;
  table->dw[dw_5s1] = dw_band<V, dw_fixed<5, 1>, PX>;
  table->dw[dw_5s2] = dw_band<V, dw_fixed<5, 2>, PX>;
  table->dw_px = PX;
}
