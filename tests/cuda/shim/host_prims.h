// prims.cuh on a CPU: every name of its device branch, with the same results, counted and checked.
#pragma once

#include <math.h>
#include <string.h>

#include "memory.h"

#define DEVICE inline
#define DEVICE_ONCE static inline
#define SHARED_MEMORY(name) u8* name = shim::shared
#define __global__
#define __launch_bounds__(...)

inline void __syncthreads(shim::Place at = shim::here()) { shim::wait_for_block(at); }
inline void __syncwarp(shim::Place at = shim::here()) {
  shim::collective("__syncwarp", at, at, [](auto) {});
}

namespace shim {

inline u32 bits_of(float x) {
  u32 bits;
  memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of(u32 bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
inline float nan() { return float_of(0x7fffffff); }  // the one that a GPU's instructions make

}  // namespace shim

namespace op {

DEVICE float fma(float a, float b, float c) { return ++shim::counts.fma, __builtin_fmaf(a, b, c); }
DEVICE float add(float a, float b) { return ++shim::counts.add, a + b; }
DEVICE float sub(float a, float b) { return ++shim::counts.add, a - b; }
DEVICE float mul(float a, float b) { return ++shim::counts.mul, a * b; }
// Of two zeros, max takes the positive and min the negative.
DEVICE float max(float a, float b) {
  ++shim::counts.max;
  if (a != a || b != b) return shim::nan();
  return a > b || (a == b && !signbit(a)) ? a : b;
}
DEVICE float min(float a, float b) {
  ++shim::counts.max;
  if (a != a || b != b) return shim::nan();
  return a < b || (a == b && signbit(a)) ? a : b;
}
DEVICE bool above(float a, float b) { return ++shim::counts.max, a > b; }
DEVICE float div(float a, float b) { return ++shim::counts.special, a / b; }
DEVICE float sqrt(float a) { return ++shim::counts.special, ::sqrtf(a); }
DEVICE float exp(float a) { return ++shim::counts.special, ::expf(a); }
DEVICE float log(float a) { return ++shim::counts.special, ::logf(a); }
DEVICE float tanh(float a) { return ++shim::counts.special, ::tanhf(a); }
DEVICE float erf(float a) { return ++shim::counts.special, ::erff(a); }
DEVICE float pow(float a, float b) { return ++shim::counts.special, ::powf(a, b); }

}  // namespace op

// --- values

template <class T>
DEVICE float to_float(T x);
template <>
DEVICE float to_float<float>(float x) {
  return x;
}
template <>
DEVICE float to_float<f16>(f16 x) {
  u32 sign = u32(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff;
  if (rest > 0x7c00) return shim::nan();
  if (rest == 0x7c00) return shim::float_of(sign | 0x7f800000);
  // Read as a float, the exponent is 112 too small; the product is exact, and makes normal numbers of denormal ones.
  return shim::float_of(sign | shim::bits_of(shim::float_of(rest << 13) * 0x1p112f));
}
template <>
DEVICE float to_float<bf16>(bf16 x) {
  return shim::float_of(u32(x.bits) << 16);
}

template <class T>
DEVICE T from_float(float x);
template <>
DEVICE float from_float<float>(float x) {
  return x;
}
template <>
DEVICE f16 from_float<f16>(float x) {
  if (x != x) return {0x7fff};
  u32 bits = shim::bits_of(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (rest >= 0x477ff000) return {u16(sign | 0x7c00)};  // 65520: half way to what would follow the largest
  if (rest < 0x38800000) {  // 2^-14. One unit of 0.5f is one of a denormal f16: the addition rounds
    return {u16(sign | (shim::bits_of(shim::float_of(rest) + 0.5f) - 0x3f000000))};
  }
  return {u16(sign | (rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13)};
}
template <>
DEVICE bf16 from_float<bf16>(float x) {
  u32 bits = shim::bits_of(x);
  return {u16(x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

DEVICE u32 to_tf32(float x) { return x != x ? 0x7fffffff : (shim::bits_of(x) + 0x1000) & 0xffffe000; }

template <>
DEVICE float to_float<tf32>(tf32 x) {
  return shim::float_of(x.bits);
}
template <>
DEVICE tf32 from_float<tf32>(float x) {
  return tf32{to_tf32(x)};
}
DEVICE float as_float(u32 bits) { return shim::float_of(bits); }

// --- global memory

template <int N, class T>
DEVICE Pack<T, N> load(const T* p) {
  Pack<T, N> out;
  static_assert(sizeof(out) == 2 || sizeof(out) == 4 || sizeof(out) == 8 || sizeof(out) == 16);
  shim::touch<sizeof(out)>("load", p, shim::LOADED);
  shim::counts.bytes_read += sizeof(out);
  memcpy(&out, p, sizeof(out));
  return out;
}
template <class T>
DEVICE float load(const T* p) {
  return to_float(load<1>(p).v[0]);
}
template <int N, class T>
DEVICE void store(T* p, const Pack<T, N>& x) {
  static_assert(sizeof(x) == 2 || sizeof(x) == 4 || sizeof(x) == 8 || sizeof(x) == 16);
  shim::touch<sizeof(x)>("store", p, shim::STORED);
  shim::counts.bytes_written += sizeof(x);
  memcpy(p, &x, sizeof(x));
}
template <class T>
DEVICE void store(T* p, float x) {
  store<1>(p, Pack<T, 1>{{from_float<T>(x)}});
}
DEVICE void store_index(i64* p, i64 x) { store<1>(p, Pack<i64, 1>{{x}}); }

// --- within a warp

DEVICE float shuffle_xor(float x, int lanes, shim::Place at = shim::here()) {
  struct Part {
    float x;
    int lanes;
    float result;
  } mine = {x, lanes, 0};
  shim::collective("shuffle_xor", at, mine, [](auto lane) {
    for (int i = 0; i < 32; ++i) lane(i).result = lane((i ^ lane(i).lanes) & 31).x;
  });
  return mine.result;
}

// --- copies that go on while the thread does

DEVICE void copy_async16(void* shared, const void* global, bool inside) {
  shim::copy_async<16>(shared, global, inside);
}
DEVICE void copy_async4(void* shared, const void* global, bool inside) { shim::copy_async<4>(shared, global, inside); }
DEVICE void copy_async_commit() { ++shim::running->groups; }
template <int N>
DEVICE void copy_async_wait() {
  shim::land_copies(N);
}

#include "tensor_cores.h"
#include "hopper.h"
