// softmax over rows: the maximum, then the exponentials and their sum (one vector of sums, folded at the end), then the
// quotient.
//
// A row costs, with m = ceil(n / width) vectors, in lanes of which each vector has `width`:
//   softmax  8 m fma, 3 m mul, 3 m add, 3 m max, 1 special, and width - 1 max and width - 1 add to fold
//            reads 12 n bytes, writes 8 n
//   log      8 m + 5 fma, 2 m + 3 mul, 5 m + 3 add, 3 m + 3 max, 1 special, and the same to fold
//            reads 12 n bytes, writes 4 n

template <class V>
static inline float row_max(const float* x, int64_t n) {
  constexpr float least = -__builtin_inff();
  typename V::vec top = V::set1(least);
  int64_t i = 0;
  for (; i + V::width <= n; i += V::width) top = V::max_nan(top, V::load(x + i));
  if (i < n) top = V::max_nan(top, V::load_or(x + i, n - i, least));
  return V::reduce_max(top);
}

// Lanes beyond the row hold -inf, whose exponential adds nothing.
template <class V, bool LOG, bool WHOLE>
static inline typename V::vec softmax_exp(const float* x, float* y, int64_t left, typename V::vec top) {
  const typename V::vec v = WHOLE ? V::load(x) : V::load_or(x, left, -__builtin_inff());
  const typename V::vec e = vexp<V>(V::sub(v, top));
  if constexpr (!LOG) put<V, WHOLE>(y, e, left);
  return e;
}

template <class V, bool LOG, bool WHOLE>
static inline void softmax_last(const float* x, float* y, int64_t left, typename V::vec top, typename V::vec total) {
  if constexpr (LOG)
    put<V, WHOLE>(y, V::sub(V::sub(get<V, WHOLE>(x, left), top), total), left);
  else
    put<V, WHOLE>(y, V::mul(get<V, WHOLE>(y, left), total), left);
}

template <class V, bool LOG>
static void softmax_rows(const SoftmaxRows* t) {
  using vec = typename V::vec;
  const int64_t n = t->n, whole = n - n % V::width;
  for (int64_t r = 0; r < t->rows; ++r) {
    const float* x = t->x + r * t->x_row;
    float* y = t->y + r * t->y_row;
    const vec top = V::set1(row_max<V>(x, n));
    vec sum = V::zero();
    for (int64_t i = 0; i < whole; i += V::width) sum = V::add(sum, softmax_exp<V, LOG, true>(x + i, y + i, 0, top));
    if (whole < n) sum = V::add(sum, softmax_exp<V, LOG, false>(x + whole, y + whole, n - whole, top));
    const vec total = V::set1(V::reduce_add(sum));
    const vec last = LOG ? vlog<V>(total) : V::div(V::set1(1), total);
    for (int64_t i = 0; i < whole; i += V::width) softmax_last<V, LOG, true>(x + i, y + i, 0, top, last);
    if (whole < n) softmax_last<V, LOG, false>(x + whole, y + whole, n - whole, top, last);
  }
}

template <class V>
static inline void fill_softmax(KernelTable* t) {
  t->softmax[false] = softmax_rows<V, false>;
  t->softmax[true] = softmax_rows<V, true>;
}
