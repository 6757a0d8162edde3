// Local response and local contrast normalisation.

// lrn_pixels. A call costs, for each lane of px * ceil(c / width) vectors, with taps = before + 1 + after:
//   three_quarters: 1 fma, 2 mul, taps - 1 add, 3 special;  any: 14 fma, 8 mul, taps + 3 add, 5 max, 1 special
// It reads 4 c px (2 + taps) bytes and writes 8 c px + 4 (before + after).
template <class V, int KIND, bool WHOLE>
static inline void lrn_vector(const LrnPixels* t, const float* x, float* y, int64_t ch) {
  using vec = typename V::vec;
  const int64_t left = t->c - ch, taps = t->before + 1 + t->after;
  vec sum = get<V, WHOLE>(t->squares + ch, left);
  for (int64_t m = 1; m < taps; ++m) sum = V::add(sum, get<V, WHOLE>(t->squares + ch + m, left));
  const vec base = V::fma(sum, V::set1(t->factor), V::set1(t->k)), v = get<V, WHOLE>(x + ch, left);
  if constexpr (KIND == lrn_three_quarters) {
    const vec root = V::sqrt(base);
    put<V, WHOLE>(y + ch, V::div(v, V::mul(root, V::sqrt(root))), left);
  } else {
    put<V, WHOLE>(y + ch, V::mul(v, vexp<V>(V::mul(vlog<V>(base), V::set1(-t->beta)))), left);
  }
}

template <class V, bool WHOLE>
static inline void lrn_square(const LrnPixels* t, const float* x, int64_t ch) {
  const typename V::vec v = get<V, WHOLE>(x + ch, t->c - ch);
  put<V, WHOLE>(t->squares + t->before + ch, V::mul(v, v), t->c - ch);
}

template <class V, int KIND>
static void lrn_pixels(const LrnPixels* t) {
  const int64_t whole = t->c - t->c % V::width;
  fill_row<V>(t->squares, t->before, 0);
  fill_row<V>(t->squares + t->before + t->c, t->after, 0);
  for (int64_t i = 0; i < t->px; ++i) {
    const float* x = t->x + i * t->x_px;
    float* y = t->y + i * t->y_px;
    for (int64_t ch = 0; ch < whole; ch += V::width) lrn_square<V, true>(t, x, ch);
    if (whole < t->c) lrn_square<V, false>(t, x, whole);
    for (int64_t ch = 0; ch < whole; ch += V::width) lrn_vector<V, KIND, true>(t, x, y, ch);
    if (whole < t->c) lrn_vector<V, KIND, false>(t, x, y, whole);
  }
}

// lcn_pixels. A call costs, for each lane of px * ceil(c / width) vectors: sum 2 add (mean null) or 3; squares 1 fma,
// 2 add; divide 2 add, 1 special. And a pixel: sum and squares width - 1 add (folding), divide 2 max in each lane of one
// vector. It reads a pixel's 4 c bytes and 4 for each of pivot, mean and, to divide, sigma and floor; it writes 4 a
// pixel, or 4 c.
template <class V, bool WHOLE>
static inline typename V::vec lcn_centred(const LcnPixels* t, const float* x, int64_t left, typename V::vec pivot,
                                          typename V::vec mean) {
  const typename V::vec v = V::sub(get<V, WHOLE>(x, left), pivot);
  return t->mean ? V::sub(v, mean) : v;
}

template <class V, int KIND>
static inline typename V::vec lcn_join(typename V::vec sum, typename V::vec v) {
  if constexpr (KIND == lcn_sum)
    return V::add(sum, v);
  else
    return V::fma(v, v, sum);
}

template <class V, int KIND>
static void lcn_reduce(const LcnPixels* t) {
  using vec = typename V::vec;
  const int64_t whole = t->c - t->c % V::width, left = t->c - whole;
  for (int64_t i = 0; i < t->px; ++i) {
    const float* x = t->x + i * t->x_px;
    const vec pivot = V::bcast(t->pivot), mean = t->mean ? V::bcast(t->mean + i) : V::zero();
    vec sum = V::zero();
    for (int64_t ch = 0; ch < whole; ch += V::width)
      sum = lcn_join<V, KIND>(sum, lcn_centred<V, true>(t, x + ch, 0, pivot, mean));
    if (left) sum = lcn_join<V, KIND>(sum, V::keep_n(lcn_centred<V, false>(t, x + whole, left, pivot, mean), left));
    store_scalar<V>(t->out + i, V::reduce_add(sum));
  }
}

template <class V>
static void lcn_divide_pixels(const LcnPixels* t) {
  using vec = typename V::vec;
  const int64_t whole = t->c - t->c % V::width, left = t->c - whole;
  for (int64_t i = 0; i < t->px; ++i) {
    const float* x = t->x + i * t->x_px;
    float* y = t->y + i * t->y_px;
    const vec pivot = V::bcast(t->pivot), mean = V::bcast(t->mean + i);
    const vec scale = V::max_nan(V::set1(t->eps), V::max_nan(V::bcast(t->sigma + i), V::bcast(t->floor)));
    for (int64_t ch = 0; ch < whole; ch += V::width)
      V::store(y + ch, V::div(lcn_centred<V, true>(t, x + ch, 0, pivot, mean), scale));
    if (left) V::store_n(y + whole, V::div(lcn_centred<V, false>(t, x + whole, left, pivot, mean), scale), left);
  }
}

// correlate. Each lane of ceil(n / width) vectors costs taps fma, with a scale 2 mul, with the root 1 special. It reads
// 4 n taps bytes, 4 taps for every vector, 4 n for the scale, and writes 4 n.
template <class V, bool WHOLE>
static inline void correlate_vector(const Correlate* t, int64_t i) {
  using vec = typename V::vec;
  const int64_t left = t->n - i;
  vec sum = V::zero();
  for (int64_t m = 0; m < t->taps; ++m)
    sum = V::fma(get<V, WHOLE>(t->x + i + m * t->step, left), V::bcast(t->g + m), sum);
  if (t->scale) sum = V::mul(V::mul(sum, get<V, WHOLE>(t->scale + i, left)), V::set1(t->factor));
  put<V, WHOLE>(t->y + i, t->root ? V::sqrt(sum) : sum, left);
}

template <class V>
static void correlate_row(const Correlate* t) {
  int64_t i = 0;
  for (; i + V::width <= t->n; i += V::width) correlate_vector<V, true>(t, i);
  if (i < t->n) correlate_vector<V, false>(t, i);
}

template <class V>
static inline void fill_norm(KernelTable* t) {
  t->lrn[lrn_any] = lrn_pixels<V, lrn_any>;
  t->lrn[lrn_three_quarters] = lrn_pixels<V, lrn_three_quarters>;
  t->lcn[lcn_sum] = lcn_reduce<V, lcn_sum>;
  t->lcn[lcn_squares] = lcn_reduce<V, lcn_squares>;
  t->lcn[lcn_divide] = lcn_divide_pixels<V>;
  t->correlate = correlate_row<V>;
}
