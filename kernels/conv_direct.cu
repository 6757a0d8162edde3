// Convolution by its formula: one thread per output. Any shape; the oracle on the device, and what serves where nothing
// faster does.
#include "epilogue.cuh"

struct DirectArgs {
  const void* x;  // NHWC
  const float* w;  // K C/groups R S, as users give it
  const float* bias;  // or null
  const void* residual;
  void* y;  // NHWC
  int n, h, width, c_group, k, k_group, p, q, r, s;
  int stride[2], pad[2], dilation[2];
  int x_strides[3], y_stride, residual_stride;  // image, row, pixel; y and residual lie flat: pixel alone
  int act;
  float param;
};

// y[n,p,q,k] = act(bias[k] + residual + sum over c, r, s of w[k,c,r,s] x[n, p sh - top + r dh, q sw - left + s dw, c]).
// Taps outside the image are left out. 256 threads a block.
template <class T>
__global__ void __launch_bounds__(256) conv_direct(const DirectArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int k = i % a.k;
  u32 pixel = i / a.k;
  int q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
  if (n >= a.n) return;
  const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0] + k / a.k_group * a.c_group;
  const float* w = a.w + i64(k) * a.c_group * a.r * a.s;
  float sum[1] = {};
  for (int r = 0; r < a.r; ++r) {
    int h = p * a.stride[0] - a.pad[0] + r * a.dilation[0];
    if (u32(h) >= u32(a.h)) continue;
    for (int s = 0; s < a.s; ++s) {
      int column = q * a.stride[1] - a.pad[1] + s * a.dilation[1];
      if (u32(column) >= u32(a.width)) continue;
      const T* seen = x + h * a.x_strides[1] + column * a.x_strides[2];
      for (int c = 0; c < a.c_group; ++c) sum[0] = op::fma(load(seen + c), load(w + (c * a.r + r) * a.s + s), sum[0]);
    }
  }
  const T* residual = static_cast<const T*>(a.residual);
  finish<1>(sum, a.bias ? a.bias + k : a.bias, residual ? residual + i64(pixel) * a.residual_stride + k : residual,
            a.act, a.param);
  store_floats<1>(static_cast<T*>(a.y) + i64(pixel) * a.y_stride + k, sum);
}

struct LocalArgs {
  const void* x;  // NHWC
  const float* w;  // P Q K C R S
  const float* bias;  // by position and output, or null
  void* y;  // NHWC, flat
  int n, h, width, c, k, p, q, r, s;
  int stride[2], pad[2];
  int x_strides[3], y_stride;
  int bias_k, bias_position;  // strides of the bias
};

// Convolution with a filter bank of its own at every position. A warp per (position, output): lanes share the filter's
// taps, and the images of the batch share the filter. 256 threads a block.
template <class T>
__global__ void __launch_bounds__(256) locally_connected(const LocalArgs a) {
  u32 i = blockIdx.x * 8u + threadIdx.x / 32;
  int lane = threadIdx.x % 32;
  if (i >= u32(a.p) * a.q * a.k) return;
  int k = i % a.k, position = i / a.k;
  int q = position % a.q, p = position / a.q;
  int taps = a.c * a.r * a.s;
  const float* w = a.w + i64(i) * taps;
  for (int n = 0; n < a.n; ++n) {
    const T* x = static_cast<const T*>(a.x) + i64(n) * a.x_strides[0];
    float sum = 0.f;
    for (int tap = lane; tap < taps; tap += 32) {
      int s = tap % a.s, r = tap / a.s % a.r, c = tap / a.s / a.r;
      int h = p * a.stride[0] - a.pad[0] + r, column = q * a.stride[1] - a.pad[1] + s;
      if (u32(h) < u32(a.h) && u32(column) < u32(a.width))
        sum = op::fma(load(x + h * a.x_strides[1] + column * a.x_strides[2] + c), load(w + tap), sum);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum = op::add(sum, shuffle_xor(sum, distance));
    if (lane) continue;
    if (a.bias) sum = op::add(sum, load(a.bias + k * a.bias_k + position * a.bias_position));
    store(static_cast<T*>(a.y) + (i64(n) * a.p * a.q + position) * a.y_stride + k, sum);
  }
}
