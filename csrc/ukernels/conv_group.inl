// dw_band for narrow groups: rows of pixels x one block of a convolution whose groups of 2, 4 or 8 channels lie side by
// side in the block (kernel_table.h has the contract). A step of the reduction turns the lanes of every group by the
// same d, so that one multiply-add serves all groups of a vector and none of its products is wasted.

// Any run of taps. An input is turned anew for every tap.
struct group_any : dw_general {
  template <class V, int PX, bool WHOLE, bool EDGE, class TURN>
  static inline __attribute__((always_inline)) void taps(const DwTile& t, const float* x, int64_t left, const float* w,
                                                         TURN turn, typename V::vec (&acc)[PX]) {
    const DwBand* b = t.band;
    for (int64_t s = 0; s < b->taps; ++s) {
      const typename V::vec wv = V::load(w + s * kBlock);
      const float* p = x + s * b->dil * b->x_col;
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i, p += b->stride * b->x_col) {
        const int64_t column = i * b->stride + s * b->dil;
        if (EDGE && (column < t.first || column >= t.last)) continue;
        acc[i] = V::fma(turn(get<V, WHOLE>(p, left)), wv, acc[i]);
      }
    }
  }
};

// S taps at stride ST: every input is turned once, for all the outputs it feeds.
template <int S, int ST>
struct group_fixed : dw_fixed<S, ST> {
  template <class V, int PX, bool WHOLE, bool EDGE, class TURN>
  static inline __attribute__((always_inline)) void taps(const DwTile& t, const float* x, int64_t left, const float* w,
                                                         TURN turn, typename V::vec (&acc)[PX]) {
    constexpr int NX = (PX - 1) * ST + S;
    const int64_t x_col = t.band->x_col;
    typename V::vec wv[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) wv[s] = V::load(w + s * kBlock);
#pragma GCC unroll 32
    for (int e = 0; e < NX; ++e) {
      const float* p = x;
      x += x_col;
      if (EDGE && (e < t.first || e >= t.last)) continue;
      const typename V::vec v = turn(get<V, WHOLE>(p, left));
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s)
        if ((e - s) % ST == 0 && e >= s && (e - s) / ST < PX) acc[(e - s) / ST] = V::fma(v, wv[s], acc[(e - s) / ST]);
    }
  }
};

template <class F>
struct group_tile : F {
  template <class V, int PX, bool WHOLE, bool EDGE>
  static inline void tile(const DwTile& t) {
    const DwBand* b = t.band;
    for (int j = 0; j < kBlock / V::width; ++j) {
      typename V::vec acc[PX];
      const typename V::vec bias = b->bias ? V::load(b->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i) acc[i] = bias;
      for (int64_t r = 0; r < b->nrows; ++r) {
        if (!t.rows[r]) continue;
        const float* w = b->w + r * b->group * b->taps * kBlock + j * V::width;
        for (int64_t d = 0; d < b->group; ++d, w += b->taps * kBlock) {
          // A group wider than a vector: its far half lies in the neighbouring one.
          const int64_t from = (j ^ (d / V::width)) * V::width;
          const float* x = t.rows[r] + t.offset + from;
          const int64_t left = b->valid - from;
          V::with_turn(d % V::width, [&](auto turn) __attribute__((always_inline)) {
            F::template taps<V, PX, WHOLE, EDGE>(t, x, left, w, turn, acc);
          });
        }
      }
      dw_store<V, PX, WHOLE>(t, acc, j);
    }
  }
};

template <class V, int PX>
static inline void fill_group(KernelTable* table) {
  table->dw[group_of_any] = dw_band<V, group_tile<group_any>, PX>;
  table->dw[group_3s1] = dw_band<V, group_tile<group_fixed<3, 1>>, PX>;
  table->dw[group_3s2] = dw_band<V, group_tile<group_fixed<3, 2>>, PX>;
  table->group_px = PX;
}
