// Moves: contiguous runs by vectors, strided ones float by float.

template <class V>
static void copy_row(const CopyRow* t) {
  if (t->x_step == 1 && t->y_step == 1) {
    int64_t i = 0;
    for (; i + V::width <= t->n; i += V::width) V::store(t->y + i, V::load(t->x + i));
    if (i < t->n) V::store_n(t->y + i, V::load_n(t->x + i, t->n - i), t->n - i);
    return;
  }
  const float* x = t->x;
  float* y = t->y;
  for (int64_t i = 0; i < t->n; ++i, x += t->x_step, y += t->y_step) move_scalar<V>(y, x);
}

template <class V>
static void fill_row(float* y, int64_t n, float value) {
  int64_t i = 0;
  for (; i + V::width <= n; i += V::width) V::store(y + i, V::set1(value));
  if (i < n) V::store_n(y + i, V::set1(value), n - i);
}
