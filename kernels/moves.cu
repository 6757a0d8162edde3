// Copies: between layouts, strides and precisions; transposes; frames of padding.
#include "epilogue.cuh"

struct CopyArgs {
  const void* x;
  void* y;
  int sizes[5];     // of y; the last in vectors
  int x_strides[5]; // in elements; of one vector along the last axis
  int y_strides[5];
  int valid;        // along the last axis x has so many vectors; y has zeros behind them
};

// y[i0, ..., i4] = x[i0, ..., i4] at any strides, V elements side by side along the last axis.
// One thread per vector of y; 256 a block.
template <class TI, class TO, int V>
__global__ void __launch_bounds__(256) copy(const CopyArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int at[5];
#pragma unroll
  for (int axis = 4; axis > 0; --axis) {
    u32 size = a.sizes[axis];
    at[axis] = i % size;
    i /= size;
  }
  at[0] = i;
  if (at[0] >= a.sizes[0]) return;
  int from = 0, to = 0;
#pragma unroll
  for (int axis = 0; axis < 5; ++axis) {
    from += at[axis] * a.x_strides[axis];
    to += at[axis] * a.y_strides[axis];
  }
  float x[V] = {};
  if (at[4] < a.valid) load_floats<V>(x, static_cast<const TI*>(a.x) + from);
  store_floats<V>(static_cast<TO*>(a.y) + to, x);
}

struct TransposeArgs {
  const void* x;
  void* y;
  int rows, columns;       // of x
  int x_stride, y_stride;  // from row to row
  int x_batch, y_batch;    // from matrix to matrix
  int width;               // of y's rows: zeros behind the `rows` values
};

// y[b, j, i] = x[b, i, j]: NCHW to NHWC and back. A block turns a tile of 32 x 32 in shared memory, so that both sides
// move whole lines; blockIdx = (tile of columns, tile of rows, matrix); 32 x 8 threads.
template <class TI, class TO>
__global__ void __launch_bounds__(256) transpose(const TransposeArgs a) {
  SHARED_MEMORY(bytes);
  float (*tile)[33] = reinterpret_cast<float (*)[33]>(bytes);  // 33: a column lies in 32 different banks
  const TI* x = static_cast<const TI*>(a.x) + i64(blockIdx.z) * a.x_batch;
  TO* y = static_cast<TO*>(a.y) + i64(blockIdx.z) * a.y_batch;
  int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
#pragma unroll
  for (int j = 0; j < 32; j += 8) {
    bool inside = row + j < a.rows && column < a.columns;
    tile[threadIdx.y + j][threadIdx.x] = inside ? load(x + i64(row + j) * a.x_stride + column) : 0.f;
  }
  __syncthreads();
  int out_row = blockIdx.x * 32 + threadIdx.y, out_column = blockIdx.y * 32 + threadIdx.x;
#pragma unroll
  for (int j = 0; j < 32; j += 8) {
    if (out_row + j < a.columns && out_column < a.width)
      store(y + i64(out_row + j) * a.y_stride + out_column, tile[threadIdx.x][threadIdx.y + j]);
  }
}

struct PadArgs {
  const void* x;
  void* y;
  int n, h, w, c;  // of y; c in vectors
  int top, left, x_h, x_w;
  int x_strides[3], y_strides[3];  // image, row, pixel
  float value;
};

// NHWC images framed by `value`. One thread per vector of channels of y; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256) pad(const PadArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  int w = i % a.w;
  i /= a.w;
  int h = i % a.h, n = i / a.h;
  if (n >= a.n) return;
  int from_h = h - a.top, from_w = w - a.left;
  float x[V];
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = a.value;
  if (u32(from_h) < u32(a.x_h) && u32(from_w) < u32(a.x_w)) {
    i64 from = i64(n) * a.x_strides[0] + from_h * a.x_strides[1] + from_w * a.x_strides[2] + c;
    load_floats<V>(x, static_cast<const T*>(a.x) + from);
  }
  i64 to = i64(n) * a.y_strides[0] + h * a.y_strides[1] + w * a.y_strides[2] + c;
  store_floats<V>(static_cast<T*>(a.y) + to, x);
}
