// Normalisation: by given statistics per channel, across neighbouring channels, by local mean and deviation.
#include "epilogue.cuh"

struct BatchNormArgs {
  const void* x;
  void* y;
  const float* mean;
  const float* var;
  const float* weight;  // or null
  const float* bias;    // or null
  int rows, c;             // c: columns, in vectors
  int repeat;              // columns of one channel; 1 where V is not
  int walkers;             // threads that share a column's rows
  int x_stride, y_stride;  // from row to row
  float eps;
  int act;
  float param;
};

// y = act((x - mean) weight / sqrt(var + eps) + bias). A thread makes the factors of its V columns once and walks down
// the rows, `walkers` apart. 256 threads a block.
template <class T, int V>
__global__ void __launch_bounds__(256, 3) batch_norm(const BatchNormArgs a) {
  constexpr int LOADS = 4;  // under way at once
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 first = i / a.c;
  int c = i % a.c * V;
  if (first >= u32(a.walkers)) return;
  int channel = V == 1 ? c / a.repeat : c;
  float mean[V], factor[V], weight[V], bias[V] = {};
#pragma unroll
  for (int j = 0; j < V; ++j) weight[j] = 1.f;
  load_floats<V>(mean, a.mean + channel);
  load_floats<V>(factor, a.var + channel);
  if (a.weight) load_floats<V>(weight, a.weight + channel);
  if (a.bias) load_floats<V>(bias, a.bias + channel);
#pragma unroll
  for (int j = 0; j < V; ++j) factor[j] = op::div(weight[j], op::sqrt(op::add(factor[j], a.eps)));
  const T* x = static_cast<const T*>(a.x) + c;
  T* y = static_cast<T*>(a.y) + c;
  for (i64 row = first; row < a.rows;) {
    Pack<T, V> seen[LOADS] = {};
#pragma unroll
    for (int k = 0; k < LOADS; ++k) {
      i64 at = row + i64(k) * a.walkers;
      if (at < a.rows) seen[k] = load<V>(x + at * a.x_stride);
    }
#pragma unroll 1  // activations are long
    for (int k = 0; k < LOADS && row < a.rows; ++k, row += a.walkers) {
      float out[V];
#pragma unroll
      for (int j = 0; j < V; ++j) {
        float centred = op::sub(to_float(seen[0].v[j]), mean[j]);
        out[j] = a.bias ? op::fma(centred, factor[j], bias[j]) : op::mul(centred, factor[j]);
      }
      if (a.act != ACT_NONE) {
#pragma unroll
        for (int j = 0; j < V; ++j) out[j] = activate(out[j], a.act, a.param);
      }
      store_floats<V>(y + row * a.y_stride, out);
#pragma unroll
      for (int l = 1; l < LOADS; ++l) seen[l - 1] = seen[l];
    }
  }
}

struct LrnArgs {
  const void* x;
  void* y;
  int rows, c;             // c in vectors
  int x_stride, y_stride;  // from pixel to pixel
  int before, after;       // channels of the window beside its own
  float factor, beta, k;
};

DEVICE float respond(float x, float sum, const LrnArgs& a) {
  float base = op::fma(a.factor, sum, a.k);
  if (a.beta == 0.75f) {
    float root = op::sqrt(base);
    return op::div(x, op::mul(root, op::sqrt(root)));
  }
  return op::div(x, op::pow(base, a.beta));
}

// y[c] = x[c] / (k + factor sum of x^2 over the window of c)^beta, windows cut at the first and last channel. One thread
// per channel; 256 a block.
template <class T>
__global__ void __launch_bounds__(256) lrn(const LrnArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 row = i / a.c;
  int c = i % a.c;
  if (row >= u32(a.rows)) return;
  const T* x = static_cast<const T*>(a.x) + i64(row) * a.x_stride;
  int first = c < a.before ? 0 : c - a.before, last = a.c - 1 - c < a.after ? a.c - 1 : c + a.after;
  float sum = 0.f;
#pragma unroll 4
  for (int j = first; j <= last; ++j) {
    float seen = load(x + j);
    sum = op::fma(seen, seen, sum);
  }
  store(static_cast<T*>(a.y) + i64(row) * a.y_stride + c, respond(load(x + c), sum, a));
}

// The same for a window of BESIDE channels on both sides, V at least BESIDE: V channels a thread, which also loads the
// vectors before and behind its own.
template <class T, int V, int BESIDE>
__global__ void __launch_bounds__(256) lrn_vector(const LrnArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 row = i / a.c;
  int c = i % a.c;
  if (row >= u32(a.rows)) return;
  const T* x = static_cast<const T*>(a.x) + i64(row) * a.x_stride + c * V;
  Pack<T, V> own = load<V>(x), before = {}, behind = {};
  if (c > 0) before = load<V>(x - V);
  if (c < a.c - 1) behind = load<V>(x + V);
  float squares[V + 2 * BESIDE], y[V];
#pragma unroll
  for (int j = 0; j < V + 2 * BESIDE; ++j) {
    int at = j - BESIDE;
    float seen = to_float(at < 0 ? before.v[at + V] : at < V ? own.v[at] : behind.v[at - V]);
    squares[j] = op::mul(seen, seen);
  }
#pragma unroll
  for (int j = 0; j < V; ++j) {
    float sum = squares[j];
#pragma unroll
    for (int k = 1; k <= 2 * BESIDE; ++k) sum = op::add(sum, squares[j + k]);
    y[j] = respond(to_float(own.v[j]), sum, a);
  }
  store_floats<V>(static_cast<T*>(a.y) + i64(row) * a.y_stride + c * V, y);
}

// --- local contrast

struct RowMeanArgs {
  const void* x;
  const float* centre;  // of each row, or null
  float* y;
  int rows, c;   // c in vectors
  int x_stride;  // from row to row
  int lanes;     // threads that share a row: a power of two, at most 32
  float scale;   // 1 / the values of a row
};

// y[row] = the mean of x[row], or with a centre of (x[row] - centre[row])^2. 256 threads a block.
template <class T, int V>
__global__ void __launch_bounds__(256) row_mean(const RowMeanArgs a) {
  int lane = threadIdx.x % a.lanes;
  i64 row = i64(blockIdx.x) * (256 / a.lanes) + threadIdx.x / a.lanes;
  float sum = 0.f;
  if (row < a.rows) {
    const T* x = static_cast<const T*>(a.x) + row * a.x_stride;
    if (a.centre) {
      float centre = load(a.centre + row);
#pragma unroll 4
      for (int c = lane; c < a.c; c += a.lanes) {
        float seen[V];
        load_floats<V>(seen, x + c * V);
#pragma unroll
        for (int j = 0; j < V; ++j) {
          float away = op::sub(seen[j], centre);
          sum = op::fma(away, away, sum);
        }
      }
    } else {
#pragma unroll 4
      for (int c = lane; c < a.c; c += a.lanes) {
        float seen[V];
        load_floats<V>(seen, x + c * V);
#pragma unroll
        for (int j = 0; j < V; ++j) sum = op::add(sum, seen[j]);
      }
    }
  }
  for (int distance = a.lanes / 2; distance > 0; distance /= 2) sum = op::add(sum, shuffle_xor(sum, distance));
  if (lane == 0 && row < a.rows) store(a.y + row, op::mul(sum, a.scale));
}

struct BlurArgs {
  const float* x;
  float* y;
  int count;
  int length, step;  // of the axis; from element to element along it
  int half;          // the window reaches so far to both sides
  float steepness;   // weights are exp(-distance^2 steepness)
  int root;          // 1: the square root of the mean
};

// The weighted mean along one axis over the part of the window inside it. One thread per element; 256 a block.
__global__ void __launch_bounds__(256) blur(const BlurArgs a) {
  SHARED_MEMORY(bytes);
  float* weights = reinterpret_cast<float*>(bytes);
  for (int i = threadIdx.x; i <= a.half; i += 256) weights[i] = op::exp(op::mul(-float(i64(i) * i), a.steepness));
  __syncthreads();
  u32 i = blockIdx.x * 256u + threadIdx.x;
  if (i >= u32(a.count)) return;
  int at = i / a.step % a.length;
  int first = at < a.half ? -at : -a.half, last = a.length - 1 - at < a.half ? a.length - 1 - at : a.half;
  float sum = 0.f, total = 0.f;
#pragma unroll 4
  for (int k = first; k <= last; ++k) {
    float weight = weights[k < 0 ? -k : k];
    sum = op::fma(weight, load(a.x + i + i64(k) * a.step), sum);
    total = op::add(total, weight);
  }
  float mean = op::div(sum, total);
  store(a.y + i, a.root ? op::sqrt(mean) : mean);
}

struct ContrastArgs {
  const void* x;
  void* y;
  const float* mean;       // per row
  const float* deviation;  // per row
  const float* least;      // per image
  int rows, c;             // c in vectors
  int pixels;              // rows of an image
  int x_stride, y_stride;  // from row to row
  float eps;
};

// y = (x - mean) / max(deviation, least, eps). One thread per vector; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256) contrast(const ContrastArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 row = i / a.c;
  int c = i % a.c * V;
  if (row >= u32(a.rows)) return;
  float x[V], mean = load(a.mean + row);
  float by = op::max(op::max(load(a.deviation + row), load(a.least + row / a.pixels)), a.eps);
  load_floats<V>(x, static_cast<const T*>(a.x) + i64(row) * a.x_stride + c);
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = op::div(op::sub(x[j], mean), by);
  store_floats<V>(static_cast<T*>(a.y) + i64(row) * a.y_stride + c, x);
}
