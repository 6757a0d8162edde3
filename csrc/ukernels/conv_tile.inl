// conv_tile: the one leaf behind direct, pointwise, im2col and Winograd convolution and every GEMM (kernel_table.h has
// the contract). PX x OB*16 sums stay in registers over the whole reduction; a step of it loads one weight vector per
// block and broadcasts one input per pixel.

// Pixel PX's address, as a base plus a scaled index register: 14 pixels need 2 bases and 3 indices instead of 14
// pointers, which would spill. The offsets of pixels 0..6 are 0, 1, 2, 3, 4, 5 and 6 strides.
template <int PX>
static inline const float* pixel_at(const char* base, int64_t i1, int64_t i3, int64_t i5) {
  constexpr int i = PX % 7;
  const int64_t off = i == 0 ? 0 : i == 1 ? i1 : i == 2 ? i1 * 2 : i == 3 ? i3 : i == 4 ? i1 * 4 : i == 5 ? i5 : i3 * 2;
  return (const float*)(base + off);
}

template <class V, int PX, int OB, int I = 0>
static inline void conv_step(typename V::vec (&acc)[PX][OB * (kBlock / V::width)],
                             const typename V::vec (&w)[OB * (kBlock / V::width)], const float* wp, const char* b0,
                             const char* b7, int64_t i1, int64_t i3, int64_t i5) {
  constexpr int NW = OB * (kBlock / V::width);
  // One weight vector too many for the registers: the last one is read by each of its multiply-adds.
  constexpr bool spill = PX * NW + NW + 1 > V::registers && NW > 1 && V::registers == 32;
  if constexpr (I < PX) {
    const typename V::vec x = V::bcast(pixel_at<I>(I < 7 ? b0 : b7, i1, i3, i5));
#pragma GCC unroll 16
    for (int j = 0; j < NW - (spill ? 1 : 0); ++j) acc[I][j] = V::fma(x, w[j], acc[I][j]);
    if constexpr (spill) acc[I][NW - 1] = V::fma_mem(x, wp + (NW - 1) * V::width, acc[I][NW - 1]);
    conv_step<V, PX, OB, I + 1>(acc, w, wp, b0, b7, i1, i3, i5);
  }
}

template <class V, int PX, int OB>
static inline void conv_store(const ConvTile* t, typename V::vec (&acc)[PX][OB * (kBlock / V::width)]) {
  constexpr int NW = OB * (kBlock / V::width);
  const bool whole = t->valid == OB * kBlock;
#pragma GCC unroll 16
  for (int i = 0; i < PX; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < NW; ++j) {
      const int64_t left = t->valid - j * V::width;
      typename V::vec v = acc[i][j];
      if (t->res) {
        const float* r = t->res + i * t->res_px + j * V::width;
        v = V::add(v, whole ? V::load(r) : V::load_n(r, left));
      }
      if (t->clamp) v = V::min(V::set1(t->hi), V::max(V::set1(t->lo), v));
      float* y = t->y + i * t->y_px + j * V::width;
      if (whole)
        V::store(y, v);
      else
        V::store_n(y, v, left);
    }
  }
}

// Floats that a tile of one pixel, which reads every weight once, fetches ahead in its own stream: 2 to 7 % of a linear
// layer whose weights lie in memory (AMD EPYC, Zen 5, 2 cores, 2026-11-21, 4096 x 4096 and 9216 x 4096).
constexpr int64_t kAhead = 4096;

template <class V, int PX, int OB>
static void conv_tile(const ConvTile* t) {
  constexpr int NW = OB * (kBlock / V::width);
  typename V::vec acc[PX][NW];
#pragma GCC unroll 16
  for (int j = 0; j < NW; ++j) {
    const typename V::vec b = t->bias ? V::load(t->bias + j * V::width) : V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < PX; ++i) acc[i][j] = b;
  }
  const int64_t i1 = V::opaque(t->x_px * 4), i3 = V::opaque(t->x_px * 12), i5 = V::opaque(t->x_px * 20);
  const float* w = t->w;
  const float* next = t->prefetch;
  const int64_t next_step = t->prefetch_step;
  for (int64_t r = 0; r < t->nrows; ++r) {
    const char* b0 = (const char*)t->rows[r];
    if (!b0) {
      w += t->klen * OB * kBlock;
      continue;
    }
    const char* b7 = V::opaque(b0 + t->x_px * 28);
#pragma GCC unroll 2
    for (int64_t k = t->klen; k > 0; --k) {
      typename V::vec wv[NW];
#pragma GCC unroll 16
      for (int j = 0; j < NW; ++j) {
        constexpr bool spill = PX * NW + NW + 1 > V::registers && NW > 1 && V::registers == 32;
        if (!(spill && j == NW - 1)) wv[j] = V::load(w + j * V::width);
      }
      conv_step<V, PX, OB>(acc, wv, w, b0, b7, i1, i3, i5);
      if constexpr (PX == 1) {
#pragma GCC unroll 16
        for (int j = 0; j < OB; ++j) V::prefetch(w + kAhead + j * kBlock);
      } else {
        V::prefetch(next);
        next += next_step;
      }
      w += OB * kBlock;
      b0 += 4;
      b7 += 4;
    }
  }
  conv_store<V, PX, OB>(t, acc);
}

template <class V, int OB, int PX>
static inline void fill_conv(KernelTable* table) {
  if constexpr (PX > 0) {
    table->conv[OB][PX] = conv_tile<V, PX, OB>;
    fill_conv<V, OB, PX - 1>(table);
  }
}
