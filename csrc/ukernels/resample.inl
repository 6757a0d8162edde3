// Weighted sums of slices, and slices gathered by a table.
//
// Bytes: 4 written an output. Without weights 4 read. With them, resample_rows reads 4 taps an output, and for each tap
// its weight once for every four whole vectors of a row, every whole one beyond those, and the tail;
// resample_cols reads 8 taps an output. An output takes taps fma in each lane of its vectors: ceil(n / width) a row, or
// ceil(outputs / width).

template <class V, int VECS, bool WHOLE>
static inline void resample_vectors(const Resample* t, const int64_t* index, const float* w, const float* x, float* y,
                                    int64_t left) {
  typename V::vec acc[VECS];
#pragma GCC unroll 4
  for (int v = 0; v < VECS; ++v) acc[v] = V::zero();
  for (int64_t k = 0; k < t->taps; ++k) {
    const typename V::vec weight = V::bcast(w + k);
    const float* at = x + index[k] * t->x_axis;
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) acc[v] = V::fma(get<V, WHOLE>(at + v * V::width, left), weight, acc[v]);
  }
#pragma GCC unroll 4
  for (int v = 0; v < VECS; ++v) put<V, WHOLE>(y + v * V::width, acc[v], left);
}

template <class V>
static inline void resample_run(const float* x, float* y, int64_t n) {
  int64_t j = 0;
  for (; j + V::width <= n; j += V::width) V::store(y + j, V::load(x + j));
  if (j < n) V::store_n(y + j, V::load_n(x + j, n - j), n - j);
}

template <class V>
static void resample_rows(const Resample* t) {
  for (int64_t i = 0; i < t->outputs; ++i) {
    const int64_t* index = t->index + i * t->taps;
    const float* w = t->w ? t->w + i * t->taps : nullptr;
    for (int64_t r = 0; r < t->rows; ++r) {
      const float* x = t->x + r * t->x_row;
      float* y = t->y + i * t->y_axis + r * t->y_row;
      if (!w) {
        resample_run<V>(x + index[0] * t->x_axis, y, t->n);
        continue;
      }
      int64_t j = 0;
      for (; j + 4 * V::width <= t->n; j += 4 * V::width) resample_vectors<V, 4, true>(t, index, w, x + j, y + j, 0);
      for (; j + V::width <= t->n; j += V::width) resample_vectors<V, 1, true>(t, index, w, x + j, y + j, 0);
      if (j < t->n) resample_vectors<V, 1, false>(t, index, w, x + j, y + j, t->n - j);
    }
  }
}

// Elements that do not lie side by side are picked one by one; products and sums take vectors all the same.
template <class V, bool WHOLE>
static inline void resample_picked(const Resample* t, const float* x, float* y, int64_t i, int64_t left) {
  float picked[V::width] = {};
  const int64_t lanes = WHOLE ? V::width : left;
  typename V::vec acc = V::zero();
  for (int64_t k = 0; k < t->taps; ++k) {
    const int64_t* index = t->index + k * t->step + i;
    for (int64_t l = 0; l < lanes; ++l) picked[l] = x[index[l] * t->x_axis];
    acc = V::fma(get<V, WHOLE>(picked, lanes), get<V, WHOLE>(t->w + k * t->step + i, lanes), acc);
  }
  if (t->y_axis == 1) return put<V, WHOLE>(y + i, acc, lanes);
  put<V, WHOLE>(picked, acc, lanes);
  for (int64_t l = 0; l < lanes; ++l) y[(i + l) * t->y_axis] = picked[l];
}

template <class V>
static void resample_cols(const Resample* t) {
  for (int64_t r = 0; r < t->rows; ++r) {
    const float* x = t->x + r * t->x_row;
    float* y = t->y + r * t->y_row;
    int64_t i = 0;
    if (!t->w) {
      for (; i < t->outputs; ++i) move_scalar<V>(y + i * t->y_axis, x + t->index[i] * t->x_axis);
      continue;
    }
    for (; i + V::width <= t->outputs; i += V::width) resample_picked<V, true>(t, x, y, i, 0);
    if (i < t->outputs) resample_picked<V, false>(t, x, y, i, t->outputs - i);
  }
}

template <class V>
static inline void fill_resample(KernelTable* t) {
  t->resample_rows = resample_rows<V>;
  t->resample_cols = resample_cols<V>;
}
