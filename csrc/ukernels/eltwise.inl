// Two operands, or one and a pair of vectors, element by element.
//
// A call works on rows * ceil(n / width) vectors. Each lane costs: binary_rows 1 add or 1 mul, affine_rows 1 fma, and
// either 2 max where it clamps. Bytes: 4 n rows written; read 8 n rows by binary_rows, 4 (n + 1) rows in its broadcast
// form (b once a row), 12 n rows by affine_rows.

template <class V, int KIND>
static inline typename V::vec binary_apply(const BinaryRows* t, typename V::vec a, typename V::vec b) {
  typename V::vec v = KIND == binary_add ? V::add(a, b) : V::mul(a, b);
  if (t->clamp) v = V::min(V::set1(t->hi), V::max(V::set1(t->lo), v));
  return v;
}

template <class V, int KIND, bool BCAST>
static void binary_rows(const BinaryRows* t) {
  for (int64_t r = 0; r < t->rows; ++r) {
    const float *a = t->a + r * t->a_row, *b = t->b + r * t->b_row;
    float* y = t->y + r * t->y_row;
    const typename V::vec b0 = BCAST ? V::bcast(b) : V::zero();
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + V::width <= t->n; i += V::width)
      V::store(y + i, binary_apply<V, KIND>(t, V::load(a + i), BCAST ? b0 : V::load(b + i)));
    const int64_t left = t->n - i;
    if (left > 0)
      V::store_n(y + i, binary_apply<V, KIND>(t, V::load_n(a + i, left), BCAST ? b0 : V::load_n(b + i, left)), left);
  }
}

template <class V, bool WHOLE>
static inline void affine_vector(const AffineRows* t, const float* x, float* y, int64_t i) {
  const int64_t left = t->n - i;
  const typename V::vec scale = get<V, WHOLE>(t->scale + i, left), shift = get<V, WHOLE>(t->shift + i, left);
  typename V::vec v = V::fma(get<V, WHOLE>(x + i, left), scale, shift);
  if (t->clamp) v = V::min(V::set1(t->hi), V::max(V::set1(t->lo), v));
  put<V, WHOLE>(y + i, v, left);
}

template <class V>
static void affine_rows(const AffineRows* t) {
  for (int64_t r = 0; r < t->rows; ++r) {
    const float* x = t->x + r * t->x_row;
    float* y = t->y + r * t->y_row;
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + V::width <= t->n; i += V::width) affine_vector<V, true>(t, x, y, i);
    if (i < t->n) affine_vector<V, false>(t, x, y, i);
  }
}

template <class V>
static inline void fill_eltwise(KernelTable* t) {
  t->binary[binary_add][false] = binary_rows<V, binary_add, false>;
  t->binary[binary_add][true] = binary_rows<V, binary_add, true>;
  t->binary[binary_mul][false] = binary_rows<V, binary_mul, false>;
  t->binary[binary_mul][true] = binary_rows<V, binary_mul, true>;
  t->affine = affine_rows<V>;
}
