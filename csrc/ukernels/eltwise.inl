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

// Stores may alias what a pointer leads to, so limits and pointers are read into registers before the loops.
template <class V, bool CLAMP>
static void affine_clamped(const AffineRows* t) {
  const typename V::vec lo = V::set1(t->lo), hi = V::set1(t->hi);
  const float *scale = t->scale, *shift = t->shift;
  const int64_t n = t->n, rows = t->rows, x_row = t->x_row, y_row = t->y_row;
  const float* x = t->x;
  float* y = t->y;
  const auto apply = [&](typename V::vec v, typename V::vec a, typename V::vec b) {
    const typename V::vec r = V::fma(v, a, b);
    return CLAMP ? V::min(hi, V::max(lo, r)) : r;
  };
  for (int64_t r = 0; r < rows; ++r, x += x_row, y += y_row) {
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + V::width <= n; i += V::width)
      V::store(y + i, apply(V::load(x + i), V::load(scale + i), V::load(shift + i)));
    const int64_t left = n - i;
    if (left > 0)
      V::store_n(y + i, apply(V::load_n(x + i, left), V::load_n(scale + i, left), V::load_n(shift + i, left)), left);
  }
}

template <class V>
static void affine_rows(const AffineRows* t) {
  if (t->clamp)
    affine_clamped<V, true>(t);
  else
    affine_clamped<V, false>(t);
}

template <class V>
static inline void fill_eltwise(KernelTable* t) {
  t->binary[binary_add][false] = binary_rows<V, binary_add, false>;
  t->binary[binary_add][true] = binary_rows<V, binary_add, true>;
  t->binary[binary_mul][false] = binary_rows<V, binary_mul, false>;
  t->binary[binary_mul][true] = binary_rows<V, binary_mul, true>;
  t->affine = affine_rows<V>;
}
