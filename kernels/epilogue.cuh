// What a kernel does to a sum before it is stored: bias, residual, activation.
#pragma once
#include "prims.cuh"

// Activations, in the order of ACTIVATIONS in cnnkern/backends/cuda/activations.py.
enum Act : int { ACT_NONE, RELU, RELU6, LEAKY_RELU, SIGMOID, TANH, SILU, HARDSWISH, HARDSIGMOID, GELU };

DEVICE_ONCE float activate_smooth(float x, int act) {
  switch (act) {
    case SIGMOID:
      return op::div(1.f, op::add(1.f, op::exp(-x)));
    case TANH:
      return op::tanh(x);
    case SILU:
      return op::div(x, op::add(1.f, op::exp(-x)));
    case HARDSWISH:
      return op::mul(x, op::min(op::max(op::fma(x, 1.f / 6.f, 0.5f), 0.f), 1.f));
    case HARDSIGMOID:
      return op::min(op::max(op::fma(x, 1.f / 6.f, 0.5f), 0.f), 1.f);
    default:
      return op::mul(op::mul(x, 0.5f), op::add(1.f, op::erf(op::mul(x, 0.70710678118654752f))));
  }
}

// `param` is leaky_relu's slope. The kind is the same for the whole launch, so that the choice costs a jump, not a
// divergence; what is more than a clamp stands once in a kernel, not behind each of its outputs.
DEVICE float activate(float x, int act, float param) {
  if (act == ACT_NONE) return x;
  if (act == RELU) return op::max(x, 0.f);
  if (act == RELU6) return op::min(op::max(x, 0.f), 6.f);
  if (act == LEAKY_RELU) {
    float low = op::mul(x, param);
    return op::above(x, 0.f) ? x : low;
  }
  return activate_smooth(x, act);
}

// N values from p to floats and back, in words of at most 16 bytes; p is aligned to a word.
template <int N, class T>
DEVICE void load_floats(float (&x)[N], const T* p) {
  constexpr int WORD = N * sizeof(T) < 16 ? N : 16 / sizeof(T);
#pragma unroll
  for (int i = 0; i < N; i += WORD) {
    Pack<T, WORD> in = load<WORD>(p + i);
#pragma unroll
    for (int j = 0; j < WORD; ++j) x[i + j] = to_float(in.v[j]);
  }
}

template <int N, class T>
DEVICE void store_floats(T* p, const float (&y)[N]) {
  constexpr int WORD = N * sizeof(T) < 16 ? N : 16 / sizeof(T);
#pragma unroll
  for (int i = 0; i < N; i += WORD) {
    Pack<T, WORD> out;
#pragma unroll
    for (int j = 0; j < WORD; ++j) out.v[j] = from_float<T>(y[i + j]);
    store<WORD>(p + i, out);
  }
}

// N sums of one pixel: + bias + residual, activated. `bias` is float in every precision; either pointer may be null.
template <int N, class T>
DEVICE void finish(float (&y)[N], const float* bias, const T* residual, int act, float param) {
  if (bias) {
    float b[N];
    load_floats(b, bias);
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = op::add(y[i], b[i]);
  }
  if (residual) {
    float r[N];
    load_floats(r, residual);
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = op::add(y[i], r[i]);
  }
  if (act != ACT_NONE) {
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = activate(y[i], act, param);
  }
}

// Whether an address is a multiple of BYTES.
template <int BYTES>
DEVICE bool is_aligned(const void* p) {
  return (reinterpret_cast<u64>(p) & (BYTES - 1)) == 0;
}

// Sums of a tile from shared memory to their pixels, finished: `rows` lines of COLUMNS sums, LINE floats apart. The
// line's outputs are channels [column, column + COLUMNS) of pixel `first` + its number; pixels from `pixels` on and
// channels from `channels` on are left out. All THREADS of the block take part; one loop, so that the code of the
// activations stands here once and not behind every register.
template <int THREADS, int COLUMNS, int LINE, class T>
DEVICE void store_tile(const float* tile, int rows, int first, int pixels, int column, int channels, T* y, int y_stride,
                       const float* bias, const T* residual, int residual_stride, int act, float param) {
  constexpr int QUADS = COLUMNS / 4;
  bool aligned = y_stride % 4 == 0 && is_aligned<4 * sizeof(T)>(y) && (!bias || is_aligned<16>(bias)) &&
                 (!residual || (residual_stride % 4 == 0 && is_aligned<4 * sizeof(T)>(residual)));
#pragma unroll 1
  for (int i = threadIdx.x; i < rows * QUADS; i += THREADS) {
    int row = i / QUADS, quad = i % QUADS * 4, pixel = first + row, k = column + quad;
    if (pixel >= pixels || k >= channels) continue;
    const float* sums = tile + row * LINE + quad;
    T* to = y + i64(pixel) * y_stride + k;
    const T* beside = residual ? residual + i64(pixel) * residual_stride + k : residual;
    if (aligned && k + 4 <= channels) {
      float four[4] = {sums[0], sums[1], sums[2], sums[3]};
      finish<4>(four, bias ? bias + k : bias, beside, act, param);
      store_floats<4>(to, four);
      continue;
    }
#pragma unroll 1
    for (int j = 0; j < 4 && k + j < channels; ++j) {
      float one[1] = {sums[j]};
      finish<1>(one, bias ? bias + k + j : bias, beside ? beside + j : beside, act, param);
      store_floats<1>(to + j, one);
    }
  }
}
