// Convolutions whose outputs see one input channel, or a narrow group of them: bound by memory, not by arithmetic.
#include "epilogue.cuh"

struct DepthwiseArgs {
  const void* x;      // NHWC
  const float* w;     // a row of `w_stride` channels per tap
  const float* bias;  // or null
  const void* residual;
  void* y;  // flat
  int n, h, width, c, p, q, r, s;  // c: vectors of output channels
  int stride[2], pad[2], dilation[2];
  int multiplier;  // outputs of an input channel
  int x_strides[3], y_stride, residual_stride, w_stride;
  int act;
  float param;
};

// A thread makes P x Q outputs of V channels: it holds their K x K taps, and walks down the input rows once, each row's
// window in registers. Neighbours in a warp take neighbouring channels, then neighbouring columns. 128 a block.
// Taps outside the image are zeros that are multiplied; outputs outside it are left out at the end.
template <class T, int V, int K, int STRIDE, int P, int Q>
__global__ void __launch_bounds__(128) conv_depthwise(const DepthwiseArgs a) {
  constexpr int ROWS = (P - 1) * STRIDE + K, COLUMNS = (Q - 1) * STRIDE + K;
  u32 i = blockIdx.x * 128u + threadIdx.x;
  int c = i % a.c * V;
  i /= a.c;
  u32 across = (a.q + Q - 1) / Q, down = (a.p + P - 1) / P;
  int q = i % across * Q;
  i /= across;
  int p = i % down * P, n = i / down;
  if (n >= a.n) return;

  float w[K * K][V];
#pragma unroll
  for (int tap = 0; tap < K * K; ++tap) load_floats<V>(w[tap], a.w + i64(tap) * a.w_stride + c);
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + c;
  float sum[P][Q][V] = {};
  int top = p * STRIDE - a.pad[0], left = q * STRIDE - a.pad[1];
#pragma unroll
  for (int row = 0; row < ROWS; ++row) {
    float window[COLUMNS][V] = {};
    bool exists = u32(top + row) < u32(a.h);
#pragma unroll
    for (int column = 0; column < COLUMNS; ++column) {
      if (exists && u32(left + column) < u32(a.width))
        load_floats<V>(window[column], x + (top + row) * a.x_strides[1] + (left + column) * a.x_strides[2]);
    }
#pragma unroll
    for (int out = 0; out < P; ++out) {
      int r = row - out * STRIDE;
      if (r < 0 || r >= K) continue;
#pragma unroll
      for (int s = 0; s < K; ++s) {
#pragma unroll
        for (int j = 0; j < Q; ++j) {
#pragma unroll
          for (int v = 0; v < V; ++v)
            sum[out][j][v] = op::fma(window[j * STRIDE + s][v], w[r * K + s][v], sum[out][j][v]);
        }
      }
    }
  }
  const float* bias = a.bias ? a.bias + c : a.bias;
  const T* residual = static_cast<const T*>(a.residual);
#pragma unroll
  for (int out = 0; out < P; ++out) {
#pragma unroll
    for (int j = 0; j < Q; ++j) {
      if (p + out >= a.p || q + j >= a.q) continue;
      i64 pixel = (i64(n) * a.p + p + out) * a.q + q + j;
      finish<V>(sum[out][j], bias, residual ? residual + pixel * a.residual_stride + c : residual, a.act, a.param);
      store_floats<V>(static_cast<T*>(a.y) + pixel * a.y_stride + c, sum[out][j]);
    }
  }
}

// Any kernel, stride and dilation, and several outputs of a channel (then V = 1): an output vector a thread. 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256) conv_depthwise_any(const DepthwiseArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int k = i % a.c * V, c = k / a.multiplier;
  u32 pixel = i / a.c;
  int q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
  if (n >= a.n) return;
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + c;
  float sum[V] = {};
  for (int r = 0; r < a.r; ++r) {
    int h = p * a.stride[0] - a.pad[0] + r * a.dilation[0];
    if (u32(h) >= u32(a.h)) continue;
    for (int s = 0; s < a.s; ++s) {
      int column = q * a.stride[1] - a.pad[1] + s * a.dilation[1];
      if (u32(column) >= u32(a.width)) continue;
      float seen[V], w[V];
      load_floats<V>(seen, x + h * a.x_strides[1] + column * a.x_strides[2]);
      load_floats<V>(w, a.w + i64(r * a.s + s) * a.w_stride + k);
#pragma unroll
      for (int v = 0; v < V; ++v) sum[v] = op::fma(seen[v], w[v], sum[v]);
    }
  }
  const T* residual = static_cast<const T*>(a.residual);
  finish<V>(sum, a.bias ? a.bias + k : a.bias, residual ? residual + i64(pixel) * a.residual_stride + k : residual,
            a.act, a.param);
  store_floats<V>(static_cast<T*>(a.y) + i64(pixel) * a.y_stride + k, sum);
}

struct GroupedArgs {
  const void* x;      // NHWC
  const float* w;     // per group: R S C rows of K outputs
  const float* bias;  // or null
  const void* residual;
  void* y;  // flat
  int n, h, width, groups, p, q, r, s;
  int stride[2], pad[2], dilation[2];
  int x_strides[3], y_stride, residual_stride;
  int act;
  float param;
};

// Groups of G channels and G outputs: a thread makes a whole group's outputs of Q neighbouring pixels, so that a tap's
// weights, G x G of them, are loaded once for all. 128 a block.
template <class T, int G, int Q>
__global__ void __launch_bounds__(128) conv_grouped(const GroupedArgs a) {
  constexpr int V = G < 4 ? G : 4;  // floats of a load of weights
  u32 i = blockIdx.x * 128u + threadIdx.x;
  int group = i % a.groups;
  i /= a.groups;
  u32 across = (a.q + Q - 1) / Q;
  int q = i % across * Q;
  i /= across;
  int p = i % a.p, n = i / a.p;
  if (n >= a.n) return;
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + group * G;
  const float* w = a.w + i64(group) * a.r * a.s * G * G;
  float sum[Q][G] = {};
  for (int r = 0; r < a.r; ++r) {
    int h = p * a.stride[0] - a.pad[0] + r * a.dilation[0];
    if (u32(h) >= u32(a.h)) continue;
    for (int s = 0; s < a.s; ++s) {
      int left = q * a.stride[1] - a.pad[1] + s * a.dilation[1];
      float seen[Q][G] = {};
#pragma unroll
      for (int j = 0; j < Q; ++j) {
        int column = left + j * a.stride[1];
        if (u32(column) < u32(a.width)) load_floats<G>(seen[j], x + h * a.x_strides[1] + column * a.x_strides[2]);
      }
      const float* tap = w + (r * a.s + s) * G * G;
#pragma unroll
      for (int c = 0; c < G; ++c) {
#pragma unroll
        for (int k = 0; k < G; k += V) {
          float weight[V];
          load_floats<V>(weight, tap + c * G + k);
#pragma unroll
          for (int j = 0; j < Q; ++j) {
#pragma unroll
            for (int v = 0; v < V; ++v) sum[j][k + v] = op::fma(seen[j][c], weight[v], sum[j][k + v]);
          }
        }
      }
    }
  }
  const T* residual = static_cast<const T*>(a.residual);
#pragma unroll
  for (int j = 0; j < Q; ++j) {
    if (q + j >= a.q) continue;
    i64 pixel = (i64(n) * a.p + p) * a.q + q + j;
    const T* beside = residual ? residual + pixel * a.residual_stride + group * G : residual;
    T* y = static_cast<T*>(a.y) + pixel * a.y_stride + group * G;
#pragma unroll
    for (int k = 0; k < G; k += V) {
      float out[V];
#pragma unroll
      for (int v = 0; v < V; ++v) out[v] = sum[j][k + v];
      finish<V>(out, a.bias ? a.bias + group * G + k : a.bias, beside ? beside + k : beside, a.act, a.param);
      store_floats<V>(y + k, out);
    }
  }
}
