// The verbs on GCC/Clang vector extensions, 4 floats a vector: SSE2, NEON and any other CPU from one file.
// There is no fused multiply-add here: fma is a product, rounded, and a sum.
#pragma once

#include <stdint.h>

namespace cnnkern {
namespace vec128 {
namespace {  // internal linkage, and so for every leaf on these verbs, inlined or not

struct Verbs {
  typedef float vec __attribute__((vector_size(16)));
  typedef float loose __attribute__((vector_size(16), aligned(4), may_alias));
  typedef int32_t ivec __attribute__((vector_size(16)));
  typedef uint32_t uvec __attribute__((vector_size(16)));
  static constexpr int width = 4;
  static constexpr int registers = 16;
  static constexpr bool counted = false;

  static inline vec pick(ivec m, vec a, vec b) { return (vec)((m & (ivec)a) | (~m & (ivec)b)); }

  static inline vec zero() { return vec{0, 0, 0, 0}; }
  static inline vec set1(float x) { return vec{x, x, x, x}; }
  static inline vec load(const float* p) { return *(const loose*)p; }
  static inline vec load_n(const float* p, int64_t n) {
    if (n >= 4) return load(p);
    vec v = zero();
    for (int64_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
  }
  static inline void store(float* p, vec v) { *(loose*)p = v; }
  static inline void store_n(float* p, vec v, int64_t n) {
    if (n >= 4) return store(p, v);
    for (int64_t i = 0; i < n; ++i) p[i] = v[i];
  }
  static inline vec bcast(const float* p) { return set1(*p); }
  static inline vec fma(vec a, vec b, vec c) { return a * b + c; }
  static inline vec fma_mem(vec a, const float* p, vec c) { return a * load(p) + c; }
  static inline vec add(vec a, vec b) { return a + b; }
  static inline vec sub(vec a, vec b) { return a - b; }
  static inline vec mul(vec a, vec b) { return a * b; }
  static inline vec div(vec a, vec b) { return a / b; }
  static inline vec sqrt(vec a) {
    for (int i = 0; i < 4; ++i) a[i] = __builtin_sqrtf(a[i]);
    return a;
  }
  static inline vec max(vec a, vec b) { return pick(a > b, a, b); }
  static inline vec min(vec a, vec b) { return pick(a < b, a, b); }
  static inline vec max_nan(vec a, vec b) { return pick((a > b) | (a != a), a, b); }
  static inline vec min_nan(vec a, vec b) { return pick((a < b) | (a != a), a, b); }
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, for |a| < 2^22: all that callers need.
  static inline vec round(vec a) {
    vec magic = set1(12582912.0f);
    return (a + magic) - magic;
  }
  static inline ivec bits(int32_t x) { return ivec{x, x, x, x}; }
  static inline vec pow2(ivec n) { return (vec)((uvec)(n + 127) << 23); }
  // In two steps, so that each power is a normal number. The low bits of n + 1.5 * 2^23 are n as an integer.
  static inline vec scale2(vec a, vec n) {
    const vec magic = set1(12582912.0f);
    const ivec i = (ivec)((uvec)(n + magic) - (uvec)magic), half = i >> 1;
    return a * pow2(half) * pow2(i - half);
  }
  static inline vec exponent(vec a) {
    const ivec i = ((ivec)a >> 23) - 127;
    return vec{(float)i[0], (float)i[1], (float)i[2], (float)i[3]};
  }
  static inline vec mantissa(vec a) { return (vec)(((ivec)a & bits(0x7fffff)) | bits(0x3f800000)); }
  static inline vec abs(vec a) { return (vec)((ivec)a & bits(0x7fffffff)); }
  static inline vec with_sign(vec a, vec b) { return (vec)(((ivec)b & ~bits(0x7fffffff)) | (ivec)abs(a)); }
  static inline vec head(vec a) { return (vec)((ivec)a & bits(~0xfff)); }
  static inline vec keep_n(vec a, int64_t n) {
    for (int i = 0; i < 4; ++i) a[i] = i < n ? a[i] : 0;
    return a;
  }
  static inline vec load_or(const float* p, int64_t n, float other) {
    vec v = set1(other);
    for (int64_t i = 0; i < (n < 4 ? n : 4); ++i) v[i] = p[i];
    return v;
  }
  static inline void zip(vec a, vec b, vec* lo, vec* hi) {
    *lo = vec{a[0], b[0], a[1], b[1]};
    *hi = vec{a[2], b[2], a[3], b[3]};
  }
  template <int D>
  static inline vec turned(vec a) {
    return vec{a[0 ^ D], a[1 ^ D], a[2 ^ D], a[3 ^ D]};
  }
  // f(turn), turn(a) being a with lane j ^ d in lane j; 0 <= d < 4. SSE2 shuffles know their lanes when compiled.
  template <class F>
  static inline void with_turn(int64_t d, F f) {
    if (d == 0) f([](vec a) { return a; });
    if (d == 1) f([](vec a) { return turned<1>(a); });
    if (d == 2) f([](vec a) { return turned<2>(a); });
    if (d == 3) f([](vec a) { return turned<3>(a); });
  }
  static inline vec select_lt(vec a, vec b, vec x, vec y) { return pick(a < b, x, y); }
  static inline float reduce_add(vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  static inline float reduce_max(vec a) {
    float t = a[0];
    for (int i = 1; i < 4; ++i) t = a[i] > t || a[i] != a[i] ? a[i] : t;
    return t;
  }
  static inline void prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }
  template <class T>
  static inline T opaque(T x) {
    asm("" : "+r"(x));
    return x;
  }
};

}  // namespace
}  // namespace vec128
}  // namespace cnnkern
