// Blocks moved, transposed, filled. Reads and writes 4 bytes an element each, whatever the form; fills only write.

template <class V>
static void copy_block(const CopyBlock* t) {
  for (int64_t r = 0; r < t->rows; ++r) {
    const float* x = t->x + r * t->x_row;
    float* y = t->y + r * t->y_row;
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + V::width <= t->n; i += V::width) V::store(y + i, V::load(x + i));
    if (i < t->n) V::store_n(y + i, V::load_n(x + i, t->n - i), t->n - i);
  }
}

// A square of width x width floats in registers: every riffle of the upper with the lower half of the rows moves one
// bit of the row number into the column number, so log2(width) of them exchange the two.
template <class V>
static inline void transpose_square(const float* x, int64_t x_row, float* y, int64_t y_row) {
  constexpr int W = V::width, H = W / 2;
  typename V::vec a[W], b[W];
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) a[i] = V::load(x + i * x_row);
#pragma GCC unroll 4
  for (int step = 1; step < W; step *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < H; ++i) V::zip(a[i], a[i + H], &b[2 * i], &b[2 * i + 1]);
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) a[i] = b[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) V::store(y + i * y_row, a[i]);
}

template <class V>
static inline void transpose_part(const CopyBlock* t, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  for (int64_t i = i0; i < i1; ++i)
    for (int64_t j = j0; j < j1; ++j) move_scalar<V>(t->y + i * t->y_row + j, t->x + j * t->x_row + i);
}

// N rows become one, their elements taking turns: log2(N) riffles.
template <class V, int N>
static inline void interleave(const CopyBlock* t) {
  int64_t i = 0;
  for (; i + V::width <= t->rows; i += V::width) {
    typename V::vec a[N], b[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) a[j] = V::load(t->x + j * t->x_row + i);
#pragma GCC unroll 3
    for (int step = 1; step < N; step *= 2) {
#pragma GCC unroll 4
      for (int j = 0; j < N / 2; ++j) V::zip(a[j], a[j + N / 2], &b[2 * j], &b[2 * j + 1]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) a[j] = b[j];
    }
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) V::store(t->y + N * i + j * V::width, a[j]);
  }
  transpose_part<V>(t, i, t->rows, 0, N);
}

template <class V>
static void transpose_block(const CopyBlock* t) {
  if (t->n == t->y_row) {
    if (t->n == 2) return interleave<V, 2>(t);
    if (t->n == 4) return interleave<V, 4>(t);
    if (t->n == 8 && V::width > 8) return interleave<V, 8>(t);
  }
  const int64_t rows = t->rows - t->rows % V::width, cols = t->n - t->n % V::width;
  for (int64_t j = 0; j < cols; j += V::width)
    for (int64_t i = 0; i < rows; i += V::width)
      transpose_square<V>(t->x + j * t->x_row + i, t->x_row, t->y + i * t->y_row + j, t->y_row);
  transpose_part<V>(t, 0, rows, cols, t->n);
  transpose_part<V>(t, rows, t->rows, 0, t->n);
}

template <class V>
static void fill_strided(float* y, int64_t step, int64_t n, float value) {
  for (int64_t i = 0; i < n; ++i) store_scalar<V>(y + i * step, value);
}

template <class V>
static inline void fill_reorder(KernelTable* t) {
  t->copy_block = copy_block<V>;
  t->transpose = transpose_block<V>;
  t->fill_strided = fill_strided<V>;
}
