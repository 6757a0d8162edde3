// Softmax and its logarithm, along any axis.
#include "epilogue.cuh"

DEVICE float minus_infinity() { return to_float(bf16{0xff80}); }

struct SoftmaxArgs {
  const void* x;
  void* y;
  int rows, length;                             // length: of a row, in vectors where a thread loads along it
  int sizes[3];                                 // rows are counted along these axes; the last in vectors where a
  int x_strides[3], y_strides[3];               // thread loads along it
  int x_step, y_step;                           // from element to element of a row, where that is not 1
  int threads;                                  // that share a row: a power of two
  int log;                                      // 1: the logarithm of the result
};

struct RowPlace {
  i64 x, y;
};

DEVICE RowPlace place(const SoftmaxArgs& a, u32 row) {
  RowPlace at = {0, 0};
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    u32 size = a.sizes[axis];
    i64 i = axis ? row % size : row;
    row /= size;
    at.x += i * a.x_strides[axis];
    at.y += i * a.y_strides[axis];
  }
  return at;
}

template <bool MAX>
DEVICE float join(float a, float b) {
  return MAX ? op::max(a, b) : op::add(a, b);
}

// The values of `threads` neighbours joined, for each of them: within warps, then over those that share a row, whose
// values pass through `between` (a float per warp of the block).
template <bool MAX>
DEVICE float join_neighbours(float value, int threads, float* between) {
  for (int distance = (threads < 32 ? threads : 32) / 2; distance > 0; distance /= 2)
    value = join<MAX>(value, shuffle_xor(value, distance));
  if (threads <= 32) return value;
  if (threadIdx.x % 32 == 0) between[threadIdx.x / 32] = value;
  __syncthreads();
  const float* mine = between + threadIdx.x / threads * (threads / 32);
  value = mine[0];
  for (int i = 1; i < threads / 32; ++i) value = join<MAX>(value, mine[i]);
  return value;
}

// Rows of neighbours, of at most 4 vectors a thread: read once, kept in registers. 256 threads a block, a power of two of
// them a row.
template <class T, int V>
__global__ void __launch_bounds__(256) softmax_short(const SoftmaxArgs a) {
  constexpr int LOADS = 4;
  SHARED_MEMORY(bytes);
  float* between = reinterpret_cast<float*>(bytes);
  i64 row = i64(blockIdx.x) * (256 / a.threads) + threadIdx.x / a.threads;
  int lane = threadIdx.x % a.threads, length = row < a.rows ? a.length : 0;
  RowPlace at = place(a, row < a.rows ? row : 0);
  const T* x = static_cast<const T*>(a.x) + at.x;
  T* y = static_cast<T*>(a.y) + at.y;
  float values[LOADS][V];
#pragma unroll
  for (int k = 0; k < LOADS; ++k) {
    int i = lane + k * a.threads;
    if (i < length) load_floats<V>(values[k], x + i * V);
  }
  float most = minus_infinity(), sum = 0.f;
#pragma unroll
  for (int k = 0; k < LOADS; ++k) {
    if (lane + k * a.threads >= length) continue;
#pragma unroll
    for (int j = 0; j < V; ++j) most = op::max(most, values[k][j]);
  }
  most = join_neighbours<true>(most, a.threads, between);
#pragma unroll
  for (int k = 0; k < LOADS; ++k) {
    if (lane + k * a.threads >= length) continue;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      float below = op::sub(values[k][j], most), power = op::exp(below);
      sum = op::add(sum, power);
      values[k][j] = a.log ? below : power;
    }
  }
  sum = join_neighbours<false>(sum, a.threads, between + 8);
  float by = a.log ? op::log(sum) : op::div(1.f, sum);
#pragma unroll
  for (int k = 0; k < LOADS; ++k) {
    int i = lane + k * a.threads;
    if (i >= length) continue;
#pragma unroll
    for (int j = 0; j < V; ++j) values[k][j] = a.log ? op::sub(values[k][j], by) : op::mul(values[k][j], by);
    store_floats<V>(y + i * V, values[k]);
  }
}

// Rows of neighbours of any length: read three times, the second and third time from a cache. 1024 threads a row.
template <class T, int V>
__global__ void __launch_bounds__(1024) softmax_long(const SoftmaxArgs a) {
  SHARED_MEMORY(bytes);
  float* between = reinterpret_cast<float*>(bytes);
  RowPlace at = place(a, blockIdx.x);
  const T* x = static_cast<const T*>(a.x) + at.x;
  T* y = static_cast<T*>(a.y) + at.y;
  float most = minus_infinity(), sum = 0.f;
#pragma unroll 4
  for (int i = threadIdx.x; i < a.length; i += 1024) {
    float seen[V];
    load_floats<V>(seen, x + i * V);
#pragma unroll
    for (int j = 0; j < V; ++j) most = op::max(most, seen[j]);
  }
  most = join_neighbours<true>(most, 1024, between);
#pragma unroll 2
  for (int i = threadIdx.x; i < a.length; i += 1024) {
    float seen[V];
    load_floats<V>(seen, x + i * V);
#pragma unroll
    for (int j = 0; j < V; ++j) sum = op::add(sum, op::exp(op::sub(seen[j], most)));
  }
  sum = join_neighbours<false>(sum, 1024, between + 32);
  float by = a.log ? op::log(sum) : op::div(1.f, sum);
#pragma unroll 2
  for (int i = threadIdx.x; i < a.length; i += 1024) {
    float seen[V];
    load_floats<V>(seen, x + i * V);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      float below = op::sub(seen[j], most);
      seen[j] = a.log ? op::sub(below, by) : op::mul(op::exp(below), by);
    }
    store_floats<V>(y + i * V, seen);
  }
}

// V values of the threads that share a column joined in the order of their elements, for each of them.
template <bool MAX, int V>
DEVICE void join_column(float (&values)[V], int threads, float (*between)[256]) {
  if (threads == 1) return;
  int lanes = 256 / threads, lane = threadIdx.x % lanes;
#pragma unroll
  for (int j = 0; j < V; ++j) between[j][threadIdx.x] = values[j];
  __syncthreads();
#pragma unroll
  for (int j = 0; j < V; ++j) values[j] = between[j][lane];
  for (int i = 1; i < threads; ++i) {
#pragma unroll
    for (int j = 0; j < V; ++j) values[j] = join<MAX>(values[j], between[j][i * lanes + lane]);
  }
  __syncthreads();
}

// Rows whose elements lie apart, V such rows side by side. 256 threads a block, as (threads of a row, rows).
template <class T, int V>
__global__ void __launch_bounds__(256) softmax_columns(const SoftmaxArgs a) {
  SHARED_MEMORY(bytes);
  float (*between)[256] = reinterpret_cast<float (*)[256]>(bytes);
  int lanes = 256 / a.threads, first = threadIdx.x / lanes;
  i64 row = i64(blockIdx.x) * lanes + threadIdx.x % lanes;
  int length = row < a.rows ? a.length : 0;
  RowPlace at = place(a, row < a.rows ? row : 0);
  const T* x = static_cast<const T*>(a.x) + at.x;
  T* y = static_cast<T*>(a.y) + at.y;
  float most[V], sum[V];
#pragma unroll
  for (int j = 0; j < V; ++j) most[j] = minus_infinity(), sum[j] = 0.f;
#pragma unroll 4
  for (int i = first; i < length; i += a.threads) {
    float seen[V];
    load_floats<V>(seen, x + i64(i) * a.x_step);
#pragma unroll
    for (int j = 0; j < V; ++j) most[j] = op::max(most[j], seen[j]);
  }
  join_column<true, V>(most, a.threads, between);
#pragma unroll 2
  for (int i = first; i < length; i += a.threads) {
    float seen[V];
    load_floats<V>(seen, x + i64(i) * a.x_step);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] = op::add(sum[j], op::exp(op::sub(seen[j], most[j])));
  }
  join_column<false, V>(sum, a.threads, between);
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] = a.log ? op::log(sum[j]) : op::div(1.f, sum[j]);
#pragma unroll 2
  for (int i = first; i < length; i += a.threads) {
    float seen[V];
    load_floats<V>(seen, x + i64(i) * a.x_step);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      float below = op::sub(seen[j], most[j]);
      seen[j] = a.log ? op::sub(below, sum[j]) : op::mul(op::exp(below), sum[j]);
    }
    store_floats<V>(y + i64(i) * a.y_step, seen);
  }
}
