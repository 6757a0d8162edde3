// Pooling: windows, windows that tile a map, regions' cells, whole maps. NHWC, V channels a thread.
#include "epilogue.cuh"

DEVICE float minus_infinity() { return to_float(bf16{0xff80}); }

struct PoolArgs {
  const void* x;
  void* y;
  int n, h, w, c;  // of x; c in vectors
  int p, q;
  int window[2], stride[2], dilation[2];
  int pad[4];  // top, left, bottom, right
  int x_strides[3], y_strides[3];  // image, row, pixel
  int maximum;  // 1: the largest, 0: the sum
  int divide;   // a sum: 0: by nothing, 1: by its taps inside the image, 2: by those inside the padded image
  int strip;    // rows of y that a thread computes; pool_strip alone
};

// Taps, from `first` on, that lie before `end`.
DEVICE int taps_before(int first, int window, int dilation, int end) {
  if (end <= first) return 0;
  int taps = (end - first - 1) / dilation + 1;
  return taps < window ? taps : window;
}

// What a sum over the windows that begin at row `top` and column `left` is multiplied by.
DEVICE float reciprocal(const PoolArgs& a, int top, int left, int rows, int columns, const int (&dilation)[2]) {
  bool padded = a.divide == 2;
  int down = taps_before(top, rows, dilation[0], a.h + (padded ? a.pad[2] : 0));
  int across = taps_before(left, columns, dilation[1], a.w + (padded ? a.pad[3] : 0));
  if (!padded) down -= taps_before(top, rows, dilation[0], 0), across -= taps_before(left, columns, dilation[1], 0);
  return op::div(1.f, float(i64(down) * across));
}

template <int V>
DEVICE void scale(float (&y)[V], float by) {
#pragma unroll
  for (int j = 0; j < V; ++j) y[j] = op::mul(y[j], by);
}

// y[n,p,q] over the taps of a window that lie inside the image. Any window. One thread per vector of y; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256, 4) pool(const PoolArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  int q = i % a.q;
  i /= a.q;
  int p = i % a.p, n = i / a.p;
  if (n >= a.n) return;
  int top = p * a.stride[0] - a.pad[0], left = q * a.stride[1] - a.pad[1];
  int r = taps_before(top, a.window[0], a.dilation[0], 0), rows = taps_before(top, a.window[0], a.dilation[0], a.h);
  int first = taps_before(left, a.window[1], a.dilation[1], 0);
  int columns = taps_before(left, a.window[1], a.dilation[1], a.w) - first;
  const T* x =
      static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + c + (left + first * a.dilation[1]) * a.x_strides[2];
  int step = a.dilation[1] * a.x_strides[2];
  float y[V];
#pragma unroll
  for (int j = 0; j < V; ++j) y[j] = a.maximum ? minus_infinity() : 0.f;
  for (; r < rows; ++r) {
    const T* seen = x + (top + r * a.dilation[0]) * a.x_strides[1];
#pragma unroll 4
    for (int s = 0; s < columns; ++s, seen += step) {
      float tap[V];
      load_floats<V>(tap, seen);
#pragma unroll
      for (int j = 0; j < V; ++j) y[j] = a.maximum ? op::max(y[j], tap[j]) : op::add(y[j], tap[j]);
    }
  }
  if (a.divide) scale<V>(y, reciprocal(a, top, left, a.window[0], a.window[1], a.dilation));
  i64 to = i64(n) * a.y_strides[0] + p * a.y_strides[1] + q * a.y_strides[2] + c;
  store_floats<V>(static_cast<T*>(a.y) + to, y);
}

template <bool MAX>
DEVICE float join(float a, float b) {
  return MAX ? op::max(a, b) : op::add(a, b);
}

// ROWS rows from row `top` on, each joined over WINDOW columns from `left` on. All loads come before the first use; what
// lies outside the image counts as the value that changes nothing.
template <class T, int V, bool MAX, int WINDOW, int ROWS>
DEVICE void join_columns(float (*rows)[V], const T* x, int top, int left, const PoolArgs& a) {
  Pack<T, V> seen[ROWS][WINDOW];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
#pragma unroll
    for (int s = 0; s < WINDOW; ++s) {
#pragma unroll
      for (int j = 0; j < V; ++j) seen[r][s].v[j] = from_float<T>(MAX ? minus_infinity() : 0.f);
      if (u32(top + r) < u32(a.h) && u32(left + s) < u32(a.w))
        seen[r][s] = load<V>(x + (top + r) * a.x_strides[1] + (left + s) * a.x_strides[2]);
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      rows[r][j] = to_float(seen[r][0].v[j]);
#pragma unroll
      for (int s = 1; s < WINDOW; ++s) rows[r][j] = join<MAX>(rows[r][j], to_float(seen[r][s].v[j]));
    }
  }
}

// The same for WINDOW x WINDOW taps side by side, STRIDE rows apart: a thread walks down `strip` rows of y, and joins
// along each row of x once. 256 threads a block.
template <class T, int V, bool MAX, int WINDOW, int STRIDE>
__global__ void __launch_bounds__(256, 3) pool_strip(const PoolArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  int q = i % a.q;
  i /= a.q;
  u32 strips = (a.p + a.strip - 1) / a.strip;
  int p = i % strips * a.strip, n = i / strips;
  if (n >= a.n) return;
  int end = p + a.strip < a.p ? p + a.strip : a.p;
  int top = p * STRIDE - a.pad[0], left = q * a.stride[1] - a.pad[1];
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + c;
  T* y = static_cast<T*>(a.y) + i64(n) * a.y_strides[0] + q * a.y_strides[2] + c;
  constexpr int KEPT = WINDOW - STRIDE;  // rows that the next window sees, too
  constexpr int DILATION[2] = {1, 1};
  float rows[WINDOW][V];
  if constexpr (KEPT > 0) join_columns<T, V, MAX, WINDOW, KEPT>(rows, x, top, left, a);
  for (; p < end; ++p, top += STRIDE) {
    join_columns<T, V, MAX, WINDOW, STRIDE>(rows + KEPT, x, top + KEPT, left, a);
    float sum[V];
#pragma unroll
    for (int j = 0; j < V; ++j) {
      sum[j] = rows[0][j];
#pragma unroll
      for (int r = 1; r < WINDOW; ++r) sum[j] = join<MAX>(sum[j], rows[r][j]);
#pragma unroll
      for (int r = 0; r < KEPT; ++r) rows[r][j] = rows[r + STRIDE][j];
    }
    if (!MAX && a.divide) scale<V>(sum, reciprocal(a, top, left, WINDOW, WINDOW, DILATION));
    store_floats<V>(y + p * a.y_strides[1], sum);
  }
}

struct IndexedPoolArgs {
  const void* x;  // NHWC
  void* y;
  void* indices;   // i64
  int n, h, w, c;  // of x; c in vectors
  int p, q;
  int window[2], stride[2], dilation[2], pad[2];
  int x_strides[3];                 // image, row, pixel
  int y_strides[4], i_strides[4];   // N C P Q
};

// The largest of each window and where it lies, h * W + w: the first of equals, row by row; a NaN is larger than
// anything. One thread per vector of channels; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256, 4) max_pool_indexed(const IndexedPoolArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  int q = i % a.q;
  i /= a.q;
  int p = i % a.p, n = i / a.p;
  if (n >= a.n) return;
  int top = p * a.stride[0] - a.pad[0], left = q * a.stride[1] - a.pad[1];
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + c;
  float best[V];
  int index[V];
#pragma unroll
  for (int j = 0; j < V; ++j) best[j] = minus_infinity(), index[j] = -1;
  for (int r = 0; r < a.window[0]; ++r) {
    int h = top + r * a.dilation[0];
    if (u32(h) >= u32(a.h)) continue;
#pragma unroll 4
    for (int s = 0; s < a.window[1]; ++s) {
      int w = left + s * a.dilation[1];
      if (u32(w) >= u32(a.w)) continue;
      float seen[V];
      load_floats<V>(seen, x + h * a.x_strides[1] + w * a.x_strides[2]);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        bool first_nan = seen[j] != seen[j] && best[j] == best[j];
        if (op::above(seen[j], best[j]) || first_nan || index[j] < 0) best[j] = seen[j], index[j] = h * a.w + w;
      }
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j) {
    auto at = [&](const int (&strides)[4]) {
      return i64(n) * strides[0] + i64(c + j) * strides[1] + i64(p) * strides[2] + i64(q) * strides[3];
    };
    store(static_cast<T*>(a.y) + at(a.y_strides), best[j]);
    store_index(static_cast<i64*>(a.indices) + at(a.i_strides), index[j]);
  }
}

struct AdaptivePoolArgs {
  const void* x;
  void* y;
  int n, h, w, c;  // of x; c in vectors
  int p, q;
  int x_strides[3], y_strides[3];  // image, row, pixel
};

// Averages over rows floor(p H / P) to ceil((p + 1) H / P) - 1, columns likewise. One thread per vector of y; 256 a
// block.
template <class T, int V>
__global__ void __launch_bounds__(256) adaptive_avg_pool(const AdaptivePoolArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  int q = i % a.q;
  i /= a.q;
  int p = i % a.p, n = i / a.p;
  if (n >= a.n) return;
  int top = i64(p) * a.h / a.p, bottom = (i64(p + 1) * a.h + a.p - 1) / a.p;
  int left = i64(q) * a.w / a.q, right = (i64(q + 1) * a.w + a.q - 1) / a.q;
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + left * a.x_strides[2] + c;
  float y[V] = {};
  for (int h = top; h < bottom; ++h) {
    const T* seen = x + h * a.x_strides[1];
#pragma unroll 4
    for (int w = left; w < right; ++w, seen += a.x_strides[2]) {
      float tap[V];
      load_floats<V>(tap, seen);
#pragma unroll
      for (int j = 0; j < V; ++j) y[j] = op::add(y[j], tap[j]);
    }
  }
  scale<V>(y, op::div(1.f, float(i64(bottom - top) * (right - left))));
  i64 to = i64(n) * a.y_strides[0] + p * a.y_strides[1] + q * a.y_strides[2] + c;
  store_floats<V>(static_cast<T*>(a.y) + to, y);
}

struct RoiPoolArgs {
  const void* x;
  const void* rois;  // float: image, x1, y1, x2, y2 each
  void* y;
  int n, h, w, c;  // of x; c in vectors
  int regions, p, q;
  int x_strides[3], y_strides[3];  // image, row, pixel
  float scale;
};

// The pixel that a corner is nearest to, half way away from zero. What lies beyond 2^40 pixels, or is no number, counts
// as those.
DEVICE i64 nearest_pixel(float corner, float scale) {
  constexpr float FAR = 1099511627776.f;
  float at = op::mul(corner, scale);
  at = at > -FAR ? at < FAR ? at : FAR : -FAR;
  i64 whole = i64(at);
  float rest = at - float(whole);
  return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

// Cell `i` of `cells` along an axis: from `first` to `end` - 1, which lie on a map of `size`.
DEVICE void cell(int& first, int& end, float from, float to, float scale, int i, int cells, int size) {
  i64 start = nearest_pixel(from, scale), length = nearest_pixel(to, scale) - start + 1;
  float each = op::div(float(length > 1 ? length : 1), float(cells));
  float down = op::mul(float(i), each), up = op::mul(float(i + 1), each);
  i64 begin = start + i64(down), behind = start + i64(up) + (up > float(i64(up)));
  first = int(begin < 0 ? 0 : begin < size ? begin : size);
  end = int(behind < 0 ? 0 : behind < size ? behind : size);
}

// The largest value in each cell of a grid over each region, 0 where a cell holds nothing of the map. An image that is
// not there, which callers have refused, holds nothing. One thread per vector of y; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256, 4) roi_max_pool(const RoiPoolArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  int q = i % a.q;
  i /= a.q;
  int p = i % a.p, region = i / a.p;
  if (region >= a.regions) return;
  const float* roi = static_cast<const float*>(a.rois) + i64(region) * 5;
  float image = load(roi);
  bool there = image >= 0.f && image < float(a.n);
  int top, bottom, left, right;
  cell(top, bottom, load(roi + 2), load(roi + 4), a.scale, p, a.p, there ? a.h : 0);
  cell(left, right, load(roi + 1), load(roi + 3), a.scale, q, a.q, a.w);
  const T* x = static_cast<const T*>(a.x) + (there ? i64(image) : 0) * a.x_strides[0] + c;
  bool empty = top >= bottom || left >= right;
  float y[V];
#pragma unroll
  for (int j = 0; j < V; ++j) y[j] = empty ? 0.f : minus_infinity();
  for (int h = top; h < bottom; ++h) {
    const T* seen = x + h * a.x_strides[1] + left * a.x_strides[2];
#pragma unroll 4
    for (int w = left; w < right; ++w, seen += a.x_strides[2]) {
      float tap[V];
      load_floats<V>(tap, seen);
#pragma unroll
      for (int j = 0; j < V; ++j) y[j] = op::max(y[j], tap[j]);
    }
  }
  i64 to = i64(region) * a.y_strides[0] + p * a.y_strides[1] + q * a.y_strides[2] + c;
  store_floats<V>(static_cast<T*>(a.y) + to, y);
}

struct GlobalPoolArgs {
  const void* x;
  void* y;
  int columns;  // vectors of channels, of all images
  int c;        // of one image
  int pixels;   // of an image
  int chunk;    // pixels that a block joins; blockIdx.y counts them
  int walkers;  // threads that share a column's pixels: a power of two, at most 32
  int x_image, x_pixel;  // strides
  int y_image, y_chunk;
  int maximum;  // 1: the largest, 0: the sum
  float scale;  // of the result, where `scaled`
  int scaled;
};

// One value per channel: the largest or the sum of its pixels, which lie x_pixel apart. 256 threads a block, as
// (walkers, columns); walkers join what they found in a tree, so that the order of a sum is a launch's own.
template <class TI, class TO, int V>
__global__ void __launch_bounds__(256, 4) global_pool(const GlobalPoolArgs a) {
  SHARED_MEMORY(bytes);
  float (*found)[256] = reinterpret_cast<float (*)[256]>(bytes);  // one value of each thread side by side
  int lanes = 256 / a.walkers, walker = threadIdx.x / lanes;
  int column = blockIdx.x * lanes + threadIdx.x % lanes;
  int n = column / a.c, c = column % a.c * V;
  float y[V];
#pragma unroll
  for (int j = 0; j < V; ++j) y[j] = a.maximum ? minus_infinity() : 0.f;
  if (column < a.columns) {
    int pixel = blockIdx.y * a.chunk + walker;
    int end = a.pixels - pixel + walker < a.chunk ? a.pixels : pixel - walker + a.chunk;
    int left = (end - pixel + a.walkers - 1) / a.walkers;
    const TI* x = static_cast<const TI*>(a.x) + i64(n) * a.x_image + i64(pixel) * a.x_pixel + c;
    i64 step = i64(a.walkers) * a.x_pixel;
#pragma unroll 8
    for (; left > 0; --left, x += step) {
      float seen[V];
      load_floats<V>(seen, x);
#pragma unroll
      for (int j = 0; j < V; ++j) y[j] = a.maximum ? op::max(y[j], seen[j]) : op::add(y[j], seen[j]);
    }
  }
  for (int half = a.walkers / 2; half > 0; half /= 2) {
    if (walker >= half && walker < 2 * half) {
#pragma unroll
      for (int j = 0; j < V; ++j) found[j][threadIdx.x] = y[j];
    }
    __syncthreads();
    if (walker < half) {
#pragma unroll
      for (int j = 0; j < V; ++j) {
        float other = found[j][threadIdx.x + half * lanes];
        y[j] = a.maximum ? op::max(y[j], other) : op::add(y[j], other);
      }
    }
  }
  if (walker || column >= a.columns) return;
  if (a.scaled) scale<V>(y, a.scale);
  store_floats<V>(static_cast<TO*>(a.y) + i64(n) * a.y_image + i64(blockIdx.y) * a.y_chunk + c, y);
}
