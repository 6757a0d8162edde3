// The verbs on AVX2 + FMA: 8 floats a vector, 16 registers.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace cnnkern {
namespace avx2 {
namespace {  // internal linkage, and so for every leaf on these verbs, inlined or not

static const int32_t kMaskWindow[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

struct Verbs {
  using vec = __m256;
  static constexpr int width = 8;
  static constexpr int registers = 16;
  static constexpr bool counted = false;

  static inline __m256i mask(int64_t n) {
    n = n < 0 ? 0 : n > 8 ? 8 : n;
    return _mm256_loadu_si256((const __m256i*)(kMaskWindow + 8 - n));
  }

  static inline vec zero() { return _mm256_setzero_ps(); }
  static inline vec set1(float x) { return _mm256_set1_ps(x); }
  static inline vec load(const float* p) { return _mm256_loadu_ps(p); }
  static inline vec load_n(const float* p, int64_t n) { return _mm256_maskload_ps(p, mask(n)); }
  static inline void store(float* p, vec v) { _mm256_storeu_ps(p, v); }
  static inline void store_n(float* p, vec v, int64_t n) { _mm256_maskstore_ps(p, mask(n), v); }
  static inline vec bcast(const float* p) { return _mm256_broadcast_ss(p); }
  static inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
  static inline vec fma_mem(vec a, const float* p, vec c) {
    asm volatile("" : "+r"(p));
    return _mm256_fmadd_ps(a, _mm256_loadu_ps(p), c);
  }
  static inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
  static inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
  static inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
  static inline vec div(vec a, vec b) { return _mm256_div_ps(a, b); }
  static inline vec sqrt(vec a) { return _mm256_sqrt_ps(a); }
  static inline vec max(vec a, vec b) { return _mm256_max_ps(a, b); }
  static inline vec min(vec a, vec b) { return _mm256_min_ps(a, b); }
  static inline vec max_nan(vec a, vec b) {
    return _mm256_blendv_ps(_mm256_max_ps(b, a), b, _mm256_cmp_ps(b, b, _CMP_UNORD_Q));
  }
  static inline vec min_nan(vec a, vec b) {
    return _mm256_blendv_ps(_mm256_min_ps(b, a), b, _mm256_cmp_ps(b, b, _CMP_UNORD_Q));
  }
  static inline vec round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static inline vec pow2(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }
  // In two steps, so that each power is a normal number.
  static inline vec scale2(vec a, vec n) {
    const __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    return _mm256_mul_ps(_mm256_mul_ps(a, pow2(half)), pow2(_mm256_sub_epi32(i, half)));
  }
  static inline vec exponent(vec a) {
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(a), 23), _mm256_set1_epi32(127)));
  }
  static inline vec mantissa(vec a) {
    const vec bits = _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffff)));
    return _mm256_or_ps(bits, _mm256_set1_ps(1));
  }
  static inline vec abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static inline vec with_sign(vec a, vec b) { return _mm256_or_ps(abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), b)); }
  static inline vec head(vec a) { return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(~0xfff))); }
  static inline vec keep_n(vec a, int64_t n) { return _mm256_and_ps(a, _mm256_castsi256_ps(mask(n))); }
  static inline vec load_or(const float* p, int64_t n, float other) {
    return _mm256_blendv_ps(_mm256_set1_ps(other), load_n(p, n), _mm256_castsi256_ps(mask(n)));
  }
  static inline void zip(vec a, vec b, vec* lo, vec* hi) {
    const vec l = _mm256_unpacklo_ps(a, b), h = _mm256_unpackhi_ps(a, b);
    *lo = _mm256_permute2f128_ps(l, h, 0x20);
    *hi = _mm256_permute2f128_ps(l, h, 0x31);
  }
  // f(turn), turn(a) being a with lane j ^ d in lane j; 0 <= d < 8.
  template <class F>
  static inline void with_turn(int64_t d, F f) {
    const __m256i from = _mm256_xor_si256(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32((int)d));
    f([from](vec a) { return _mm256_permutevar8x32_ps(a, from); });
  }
  static inline vec select_lt(vec a, vec b, vec x, vec y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
  }
  static inline float reduce_add(vec a) {
    float t[8];
    _mm256_storeu_ps(t, a);
    for (int step = 4; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) t[i] += t[i + step];
    return t[0];
  }
  static inline float reduce_max(vec a) {
    float t[8];
    _mm256_storeu_ps(t, a);
    for (int i = 1; i < 8; ++i) t[0] = t[i] > t[0] || t[i] != t[i] ? t[i] : t[0];
    return t[0];
  }
  static inline void prefetch(const float* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }
  template <class T>
  static inline T opaque(T x) {
    asm("" : "+r"(x));
    return x;
  }
};

}  // namespace
}  // namespace avx2
}  // namespace cnnkern
