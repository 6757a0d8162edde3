// The patches of images: as rows of a matrix for a convolution, and as columns.
#include "epilogue.cuh"

struct PatchesArgs {
  const void* x;  // NHWC
  void* y;        // rows (n, p, q), columns (r, s, c)
  int rows, h, w, c;  // c: of a tap, in vectors
  int p, q, taps, s;  // s: taps along a row of the filter
  int columns;        // of y, in vectors; zeros behind the taps'
  int stride[2], pad[2], dilation[2];
  int x_strides[3], y_stride;  // image, row, pixel; from row to row
};

// y[(n, p, q), (r, s, c)] = x[n, p sh - top + r dh, q sw - left + s dw, c], 0 outside and behind the last tap. One thread
// per vector of four rows of y, one below the other; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256) patches(const PatchesArgs a) {
  constexpr int ROWS = 4;
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int column = i % a.columns, row = i / a.columns * ROWS;
  if (row >= a.rows) return;
  int tap = column / a.c, c = column % a.c * V;
  int down = tap / a.s * a.dilation[0] - a.pad[0], across = tap % a.s * a.dilation[1] - a.pad[1];
  int q = row % a.q, p = row / a.q % a.p, n = row / a.q / a.p;
  T* y = static_cast<T*>(a.y) + i64(row) * a.y_stride + i64(column) * V;
  Pack<T, V> seen[ROWS] = {};
#pragma unroll
  for (int k = 0; k < ROWS; ++k) {
    int h = p * a.stride[0] + down, w = q * a.stride[1] + across;
    if (row + k < a.rows && tap < a.taps && u32(h) < u32(a.h) && u32(w) < u32(a.w)) {
      const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0];
      seen[k] = load<V>(x + h * a.x_strides[1] + w * a.x_strides[2] + c);
    }
    if (++q == a.q) q = 0, ++p;
    if (p == a.p) p = 0, ++n;
  }
#pragma unroll
  for (int k = 0; k < ROWS; ++k) {
    if (row + k < a.rows) store<V>(y + i64(k) * a.y_stride, seen[k]);
  }
}

struct UnfoldArgs {
  const void* x;  // NHWC
  void* y;        // N, (c, r, s), (p, q), dense
  int n, h, w, c;
  int p, q, r, s;
  int stride[2], pad[2], dilation[2];
  int x_strides[3];  // image, row, pixel
  int deep;          // channels of a tile, at most 32
};

// y[n, (c R + r) S + s, p Q + q] = x[n, c, p sh - top + r dh, q sw - left + s dw], 0 outside. A block turns a tile of
// `deep` channels x 64 positions of one tap in shared memory, so that both sides move whole lines; blocks count tiles of
// positions, of channels, taps and images, in this order. 256 threads a block.
template <class T>
__global__ void __launch_bounds__(256) unfold(const UnfoldArgs a) {
  constexpr int WIDE = 64;
  SHARED_MEMORY(bytes);
  float (*tile)[WIDE + 1] = reinterpret_cast<float (*)[WIDE + 1]>(bytes);
  u32 i = blockIdx.x, positions = u32(a.p) * a.q;
  u32 across = (positions + WIDE - 1) / WIDE, down = (a.c + a.deep - 1) / a.deep;
  u32 first = i % across * WIDE;
  i /= across;
  int c = i % down * a.deep;
  i /= down;
  int s = i % a.s, r = i / a.s % a.r, n = i / a.s / a.r;
  int channels = a.c - c < a.deep ? a.c - c : a.deep, count = positions - first < WIDE ? positions - first : WIDE;
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + c;
  for (int k = threadIdx.x; k < channels * count; k += 256) {
    int channel = k % channels, position = k / channels;
    int h = (first + position) / a.q * a.stride[0] + r * a.dilation[0] - a.pad[0];
    int w = (first + position) % a.q * a.stride[1] + s * a.dilation[1] - a.pad[1];
    bool inside = u32(h) < u32(a.h) && u32(w) < u32(a.w);
    tile[channel][position] = inside ? load(x + h * a.x_strides[1] + w * a.x_strides[2] + channel) : 0.f;
  }
  __syncthreads();
  T* y = static_cast<T*>(a.y) + i64(first);
  for (int k = threadIdx.x; k < channels * WIDE; k += 256) {
    int channel = k / WIDE, position = k % WIDE;
    i64 line = ((i64(n) * a.c + c + channel) * a.r + r) * a.s + s;
    if (position < count) store(y + line * positions + position, tile[channel][position]);
  }
}
