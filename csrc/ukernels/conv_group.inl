// dw_run for narrow groups: a run of pixels x one block of a convolution whose groups of 2, 4 or 8 channels lie side by
// side in the block (kernel_table.h has the contract). A step of the reduction turns the lanes of every group by the
// same d, so that one multiply-add serves all groups of a vector and none of its products is wasted.

// Any run of taps. An input is turned anew for every tap.
struct group_any {
  template <class V, int PX, bool WHOLE, class TURN>
  static inline __attribute__((always_inline)) void taps(const DwRun* t, const float* x, int64_t left, const float* w,
                                                         TURN turn, typename V::vec (&acc)[PX]) {
    for (int64_t s = t->s0; s < t->s1; ++s) {
      const typename V::vec wv = V::load(w + s * kBlock);
      const float* p = x + s * t->x_tap;
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i) {
        acc[i] = V::fma(turn(get<V, WHOLE>(p, left)), wv, acc[i]);
        p += t->x_px;
      }
    }
  }
};

// S taps at stride ST, all of them inside the image: every input is turned once, for all the outputs it feeds.
template <int S, int ST>
struct group_fixed {
  template <class V, int PX, bool WHOLE, class TURN>
  static inline __attribute__((always_inline)) void taps(const DwRun* t, const float* x, int64_t left, const float* w,
                                                         TURN turn, typename V::vec (&acc)[PX]) {
    constexpr int NX = (PX - 1) * ST + S;
    typename V::vec wv[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) wv[s] = V::load(w + s * kBlock);
#pragma GCC unroll 32
    for (int e = 0; e < NX; ++e) {
      const typename V::vec v = turn(get<V, WHOLE>(x, left));
      x += t->x_tap;
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s)
        if ((e - s) % ST == 0 && e >= s && (e - s) / ST < PX) acc[(e - s) / ST] = V::fma(v, wv[s], acc[(e - s) / ST]);
    }
  }
};

template <class F>
struct group_tile {
  template <class V, int PX, bool WHOLE>
  static inline void tile(const DwRun* t, int64_t at) {
    for (int j = 0; j < kBlock / V::width; ++j) {
      typename V::vec acc[PX];
      const typename V::vec b = t->bias ? V::load(t->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
      for (int i = 0; i < PX; ++i) acc[i] = b;
      for (int64_t r = 0; r < t->nrows; ++r) {
        if (!t->rows[r]) continue;
        const float* w = t->w + r * t->group * t->taps * kBlock + j * V::width;
        for (int64_t d = 0; d < t->group; ++d, w += t->taps * kBlock) {
          // A group wider than a vector: its far half lies in the neighbouring one.
          const int64_t from = (j ^ (d / V::width)) * V::width;
          const float* x = t->rows[r] + at * t->x_px + from;
          const int64_t left = t->valid - from;
          V::with_turn(d % V::width, [&](auto turn) __attribute__((always_inline)) {
            F::template taps<V, PX, WHOLE>(t, x, left, w, turn, acc);
          });
        }
      }
      dw_store<V, PX, WHOLE>(t, acc, at, j);
    }
  }
};

template <class V, int PX>
static inline void fill_group(KernelTable* table) {
  table->dw[group_of_any] = dw_run<V, group_tile<group_any>, PX>;
  table->dw[group_3s1] = dw_run<V, group_tile<group_fixed<3, 1>>, PX>;
  table->dw[group_3s2] = dw_run<V, group_tile<group_fixed<3, 2>>, PX>;
  table->group_px = PX;
}
