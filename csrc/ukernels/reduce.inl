// Sums, products and extremes: reduce_along folds vectors that lie along what is reduced, reduce_across keeps one lane
// for each output.
//
// A step is what joins one vector: sum and sum_abs 1 add, sum_square 1 fma, sum_exp 8 fma, 2 mul, 3 add, 2 max (the
// exponential, the difference, the sum), max and min 1 max, prod 1 mul; a join is the same without f. A call takes
//   along   for each of n: rows * ceil(cols / width) steps, three joins of vectors where cols >= 4 width, and width - 1
//           joins of single lanes; it reads 4 rows cols bytes, 4 more for a shift, and writes 4
//   across  ceil(n / width) rows cols steps; it reads 4 n rows cols bytes, 4 n more for shifts, and writes 4 n
// The order of a sum follows from rows and cols alone.

template <int KIND>
static constexpr float reduce_neutral() {
  return KIND == reduce_max    ? -__builtin_inff()
         : KIND == reduce_min  ? __builtin_inff()
         : KIND == reduce_prod ? 1.0f
                               : 0.0f;
}

template <class V, int KIND>
static inline typename V::vec reduce_join(typename V::vec a, typename V::vec b) {
  if constexpr (KIND == reduce_max)
    return V::max_nan(a, b);
  else if constexpr (KIND == reduce_min)
    return V::min_nan(a, b);
  else if constexpr (KIND == reduce_prod)
    return V::mul(a, b);
  else
    return V::add(a, b);
}

template <class V, int KIND>
static inline typename V::vec reduce_step(typename V::vec sum, typename V::vec x, typename V::vec shift) {
  if constexpr (KIND == reduce_sum_abs)
    return V::add(sum, V::abs(x));
  else if constexpr (KIND == reduce_sum_square)
    return V::fma(x, x, sum);
  else if constexpr (KIND == reduce_sum_exp)
    return V::add(sum, vexp<V>(V::sub(x, shift)));
  else
    return reduce_join<V, KIND>(sum, x);
}

// The lanes of a vector, halves upon halves.
template <class V, int KIND>
static inline float reduce_fold(typename V::vec v) {
  if constexpr (KIND == reduce_max || KIND == reduce_min || KIND == reduce_prod) {
    if constexpr (V::counted) (KIND == reduce_prod ? counters->mul : counters->max) += V::width - 1;
    float t[V::width];
    for (int i = 0; i < V::width; ++i) t[i] = v[i];
    for (int step = V::width / 2; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) {
        const float a = t[i], b = t[i + step];
        if constexpr (KIND == reduce_prod)
          t[i] = a * b;
        else
          t[i] = a != a || (KIND == reduce_max ? a > b : a < b) ? a : b;
      }
    return t[0];
  } else {
    return V::reduce_add(v);
  }
}

template <class V, int KIND>
static void reduce_along_cols(const Reduce* t) {
  using vec = typename V::vec;
  constexpr int W = V::width;
  constexpr float none = KIND == reduce_sum_exp ? -__builtin_inff() : reduce_neutral<KIND>();
  const int64_t rows = t->rows, cols = t->cols;
  for (int64_t i = 0; i < t->n; ++i) {
    const vec shift = KIND == reduce_sum_exp ? V::bcast(t->shift + i) : V::zero();
    const vec start = V::set1(reduce_neutral<KIND>());
    vec s0 = start, s1 = start, s2 = start, s3 = start;
    for (int64_t r = 0; r < rows; ++r) {
      const float* x = t->x + i * t->x_n + r * t->x_row;
      int64_t c = 0;
      for (; c + 4 * W <= cols; c += 4 * W) {
        s0 = reduce_step<V, KIND>(s0, V::load(x + c), shift);
        s1 = reduce_step<V, KIND>(s1, V::load(x + c + W), shift);
        s2 = reduce_step<V, KIND>(s2, V::load(x + c + 2 * W), shift);
        s3 = reduce_step<V, KIND>(s3, V::load(x + c + 3 * W), shift);
      }
      for (; c + W <= cols; c += W) s0 = reduce_step<V, KIND>(s0, V::load(x + c), shift);
      if (c < cols) s0 = reduce_step<V, KIND>(s0, V::load_or(x + c, cols - c, none), shift);
    }
    if (cols >= 4 * W) s0 = reduce_join<V, KIND>(reduce_join<V, KIND>(s0, s1), reduce_join<V, KIND>(s2, s3));
    store_scalar<V>(t->out + i, reduce_fold<V, KIND>(s0));
  }
}

// M vectors of outputs, or what is left of one.
template <class V, int KIND, int M, bool WHOLE>
static inline void reduce_block(const Reduce* t, int64_t i, int64_t left) {
  typename V::vec sum[M], shift[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    sum[m] = V::set1(reduce_neutral<KIND>());
    shift[m] = KIND == reduce_sum_exp ? get<V, WHOLE>(t->shift + i + m * V::width, left) : V::zero();
  }
  for (int64_t r = 0; r < t->rows; ++r) {
    const float* x = t->x + i + r * t->x_row;
    for (int64_t c = 0; c < t->cols; ++c, x += t->x_col) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
        sum[m] = reduce_step<V, KIND>(sum[m], get<V, WHOLE>(x + m * V::width, left), shift[m]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) put<V, WHOLE>(t->out + i + m * V::width, sum[m], left);
}

template <class V, int KIND>
static void reduce_across_cols(const Reduce* t) {
  constexpr int W = V::width, M = KIND == reduce_sum_exp ? 2 : 8;
  int64_t i = 0;
  for (; i + M * W <= t->n; i += M * W) reduce_block<V, KIND, M, true>(t, i, 0);
  for (; i + W <= t->n; i += W) reduce_block<V, KIND, 1, true>(t, i, 0);
  if (i < t->n) reduce_block<V, KIND, 1, false>(t, i, t->n - i);
}

template <class V, int KIND>
static inline void fill_reduce_kind(KernelTable* t) {
  t->reduce[KIND][reduce_along] = reduce_along_cols<V, KIND>;
  t->reduce[KIND][reduce_across] = reduce_across_cols<V, KIND>;
}

template <class V>
static inline void fill_reduce(KernelTable* t) {
  fill_reduce_kind<V, reduce_sum>(t);
  fill_reduce_kind<V, reduce_sum_abs>(t);
  fill_reduce_kind<V, reduce_sum_square>(t);
  fill_reduce_kind<V, reduce_sum_exp>(t);
  fill_reduce_kind<V, reduce_max>(t);
  fill_reduce_kind<V, reduce_min>(t);
  fill_reduce_kind<V, reduce_prod>(t);
}
