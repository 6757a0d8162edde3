// Winograd transforms of one tile, a vector of channels at a time (Lavin & Gray, arXiv:1509.09308): A inputs a side make
// M x M outputs of a filter of A - M + 1 taps a side. A = 4: F(2, 3), at the points 0, 1, -1 and infinity. A = 6: F(4, 3)
// and F(2, 5), at 0, 3/4, -3/4, 3/2, -3/2 and infinity: against the usual 0, 1, -1, 2, -2 the errors are a third, the
// coefficients are still exact in float32, and the cost is the same. The products in between are ordinary conv_tile
// GEMMs.

template <class V, int A>
struct wino;

template <class V>
struct wino<V, 4> {
  using vec = typename V::vec;
  // B^T d: 4 inputs -> 4. 4 additions.
  static inline void in(const vec (&d)[4], vec (&t)[4]) {
    t[0] = V::sub(d[0], d[2]);
    t[1] = V::add(d[1], d[2]);
    t[2] = V::sub(d[2], d[1]);
    t[3] = V::sub(d[1], d[3]);
  }
  // A^T m: 4 products -> 2. 4 additions.
  static inline void out(const vec (&m)[4], vec (&y)[2]) {
    y[0] = V::add(V::add(m[0], m[1]), m[2]);
    y[1] = V::sub(V::sub(m[1], m[2]), m[3]);
  }
};

template <class V>
struct wino<V, 6> {
  using vec = typename V::vec;
  static constexpr float a = 0.75f, b = 1.5f, a2 = 0.5625f, b2 = 2.25f, a3 = 0.421875f, b3 = 3.375f;
  static constexpr float sum = a2 + b2, product = a2 * b2;  // x (x^2 - a^2) (x^2 - b^2) = x^5 - sum x^3 + product x

  // B^T d: 6 inputs -> 6. 12 multiply-adds.
  static inline void in(const vec (&d)[6], vec (&t)[6]) {
    const vec even_a = V::fma(V::set1(-b2), d[2], d[4]), odd_a = V::fma(V::set1(-b2), d[1], d[3]);
    const vec even_b = V::fma(V::set1(-a2), d[2], d[4]), odd_b = V::fma(V::set1(-a2), d[1], d[3]);
    t[0] = V::fma(V::set1(product), d[0], V::fma(V::set1(-sum), d[2], d[4]));
    t[1] = V::fma(V::set1(a), odd_a, even_a);
    t[2] = V::fma(V::set1(-a), odd_a, even_a);
    t[3] = V::fma(V::set1(b), odd_b, even_b);
    t[4] = V::fma(V::set1(-b), odd_b, even_b);
    t[5] = V::fma(V::set1(product), d[1], V::fma(V::set1(-sum), d[3], d[5]));
  }
  // A^T m: 6 products -> 4. 4 multiply-adds, 2 multiplications, 6 additions.
  static inline void out(const vec (&m)[6], vec (&y)[4]) {
    const vec s1 = V::add(m[1], m[2]), d1 = V::sub(m[1], m[2]), s2 = V::add(m[3], m[4]), d2 = V::sub(m[3], m[4]);
    y[0] = V::add(V::add(m[0], s1), s2);
    y[1] = V::fma(V::set1(a), d1, V::mul(V::set1(b), d2));
    y[2] = V::fma(V::set1(a2), s1, V::mul(V::set1(b2), s2));
    y[3] = V::fma(V::set1(a3), d1, V::fma(V::set1(b3), d2, m[5]));
  }
  // A^T m: 6 products -> 2. 2 multiply-adds, 6 additions.
  static inline void out(const vec (&m)[6], vec (&y)[2]) {
    const vec s1 = V::add(m[1], m[2]), d1 = V::sub(m[1], m[2]), s2 = V::add(m[3], m[4]), d2 = V::sub(m[3], m[4]);
    y[0] = V::add(V::add(m[0], s1), s2);
    y[1] = V::fma(V::set1(a), d1, V::fma(V::set1(b), d2, m[5]));
  }
};

// Channels [ch, ch + left) of a tile, at most a vector. `whole`: a full one; `inside`: no pixel is null.
template <class V, int A, bool whole, bool inside>
static inline void wino_in_step(const float* const* at, float* v, int64_t v_pos, int64_t ch, int64_t left) {
  using vec = typename V::vec;
  vec cols[A][A];  // [column][row], transformed along the rows of the image
#pragma GCC unroll 8
  for (int j = 0; j < A; ++j) {
    vec d[A];
#pragma GCC unroll 8
    for (int i = 0; i < A; ++i) {
      const float* from = at[i * A + j];
      const bool exists = inside || from;
      d[i] = !exists ? V::zero() : whole ? V::load(from + ch) : V::load_n(from + ch, left);
    }
    wino<V, A>::in(d, cols[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < A; ++i) {
    vec d[A], t[A];
#pragma GCC unroll 8
    for (int j = 0; j < A; ++j) d[j] = cols[j][i];
    wino<V, A>::in(d, t);
#pragma GCC unroll 8
    for (int j = 0; j < A; ++j) {
      float* to = v + (i * A + j) * v_pos + ch;
      whole ? V::store(to, t[j]) : V::store_n(to, t[j], left);
    }
  }
}

template <class V, int A>
static void wino_in(const WinoIn* t) {
  const float* at[A * A];  // copies, which no store can change
  bool inside = true;
  for (int i = 0; i < A * A; ++i) {
    at[i] = t->at[i];
    inside &= at[i] != nullptr;
  }
  float* v = t->v;
  const int64_t v_pos = t->v_pos, c = t->c;
  int64_t ch = 0;
  if (inside)
    for (; ch + V::width <= c; ch += V::width) wino_in_step<V, A, true, true>(at, v, v_pos, ch, V::width);
  for (; ch + V::width <= c; ch += V::width) wino_in_step<V, A, true, false>(at, v, v_pos, ch, V::width);
  if (ch < c) wino_in_step<V, A, false, false>(at, v, v_pos, ch, c - ch);
}

template <class V, int A, int M, bool whole>
static inline void wino_out_step(const WinoOut& t, int64_t ch, int64_t left) {
  using vec = typename V::vec;
  const vec bias = t.bias ? V::load(t.bias + ch) : V::zero();
  const vec lo = V::set1(t.lo), hi = V::set1(t.hi);
  vec cols[A][M];
#pragma GCC unroll 8
  for (int j = 0; j < A; ++j) {
    vec m[A];
#pragma GCC unroll 8
    for (int i = 0; i < A; ++i) {
      const float* from = t.m + (i * A + j) * t.m_pos + ch;
      m[i] = whole ? V::load(from) : V::load_n(from, left);
    }
    wino<V, A>::out(m, cols[j]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) {
    if (i >= t.nrows) break;
    vec m[A], y[M];
#pragma GCC unroll 8
    for (int j = 0; j < A; ++j) m[j] = cols[j][i];
    wino<V, A>::out(m, y);
#pragma GCC unroll 4
    for (int j = 0; j < M; ++j) {
      if (j >= t.ncols) break;
      vec v = y[j];
      if (t.bias) v = V::add(v, bias);
      if (t.res) {
        const float* r = t.res + i * t.res_row + j * t.res_px + ch;
        v = V::add(v, whole ? V::load(r) : V::load_n(r, left));
      }
      if (t.clamp) v = V::min(hi, V::max(lo, v));
      float* to = t.y + i * t.y_row + j * t.y_px + ch;
      whole ? V::store(to, v) : V::store_n(to, v, left);
    }
  }
}

template <class V, int A, int M>
static void wino_out(const WinoOut* given) {
  const WinoOut t = *given;  // a copy, which no store can change
  int64_t ch = 0;
  for (; ch + V::width <= t.c; ch += V::width) wino_out_step<V, A, M, true>(t, ch, V::width);
  if (ch < t.c) wino_out_step<V, A, M, false>(t, ch, t.c - ch);
}
