// The verbs on AVX-512 (F, BW, DQ, VL): 16 floats a vector, 32 registers.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace cnnkern {
namespace avx512 {
namespace {  // internal linkage, and so for every leaf on these verbs, inlined or not

struct Verbs {
  using vec = __m512;
  static constexpr int width = 16;
  static constexpr int registers = 32;
  static constexpr bool counted = false;

  static inline __mmask16 mask(int64_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1u); }

  static inline vec zero() { return _mm512_setzero_ps(); }
  static inline vec set1(float x) { return _mm512_set1_ps(x); }
  static inline vec load(const float* p) { return _mm512_loadu_ps(p); }
  static inline vec load_n(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static inline void store(float* p, vec v) { _mm512_storeu_ps(p, v); }
  static inline void store_n(float* p, vec v, int64_t n) { _mm512_mask_storeu_ps(p, mask(n), v); }
  static inline vec bcast(const float* p) { return _mm512_set1_ps(*p); }
  static inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
  // The second factor comes from memory and must stay there: it saves the register it would occupy.
  static inline vec fma_mem(vec a, const float* p, vec c) {
    asm volatile("" : "+r"(p));
    return _mm512_fmadd_ps(a, _mm512_loadu_ps(p), c);
  }
  static inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
  static inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
  static inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
  static inline vec div(vec a, vec b) { return _mm512_div_ps(a, b); }
  static inline vec sqrt(vec a) { return _mm512_sqrt_ps(a); }
  // a > b ? a : b, so a NaN in b comes through.
  static inline vec max(vec a, vec b) { return _mm512_max_ps(a, b); }
  static inline vec min(vec a, vec b) { return _mm512_min_ps(a, b); }
  // The larger one; NaN if either is NaN.
  static inline vec max_nan(vec a, vec b) { return _mm512_mask_max_ps(b, _mm512_cmp_ps_mask(b, b, _CMP_ORD_Q), b, a); }
  static inline vec min_nan(vec a, vec b) { return _mm512_mask_min_ps(b, _mm512_cmp_ps_mask(b, b, _CMP_ORD_Q), b, a); }
  static inline vec round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // a * 2^n for integral n in [-250, 250]; gradual underflow and overflow to infinity as IEEE says. n is not looked at
  // where a is NaN.
  static inline vec scale2(vec a, vec n) { return _mm512_scalef_ps(a, n); }
  // a = mantissa * 2^exponent with the mantissa in [1, 2), for normal positive a.
  static inline vec exponent(vec a) { return _mm512_getexp_ps(a); }
  static inline vec mantissa(vec a) { return _mm512_getmant_ps(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero); }
  static inline vec abs(vec a) { return _mm512_abs_ps(a); }
  // |a| with the sign of b.
  static inline vec with_sign(vec a, vec b) {
    const vec sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
  }
  // The upper 12 bits of the significand, the rest zero: its square is exact.
  static inline vec head(vec a) { return _mm512_and_ps(a, _mm512_castsi512_ps(_mm512_set1_epi32(~0xfff))); }
  // The first n >= 0 lanes, zero beyond them.
  static inline vec keep_n(vec a, int64_t n) { return _mm512_maskz_mov_ps(mask(n), a); }
  // load_n with `other` instead of zero in the lanes beyond n.
  static inline vec load_or(const float* p, int64_t n, float other) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(other), mask(n), p);
  }
  // (a0 b0 a1 b1 ...), its first half and its second.
  static inline void zip(vec a, vec b, vec* lo, vec* hi) {
    const __m512i l = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *lo = _mm512_permutex2var_ps(a, l, b);
    *hi = _mm512_permutex2var_ps(a, _mm512_add_epi32(l, _mm512_set1_epi32(8)), b);
  }
  // f(turn), turn(a) being a with lane j ^ d in lane j; 0 <= d < 16.
  template <class F>
  static inline void with_turn(int64_t d, F f) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i from = _mm512_xor_si512(lanes, _mm512_set1_epi32((int)d));
    f([from](vec a) { return _mm512_permutexvar_ps(from, a); });
  }
  // a < b ? x : y, lane by lane.
  static inline vec select_lt(vec a, vec b, vec x, vec y) {
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x);
  }
  static inline float reduce_add(vec a) {
    float t[16];
    _mm512_storeu_ps(t, a);
    for (int step = 8; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) t[i] += t[i + step];
    return t[0];
  }
  static inline float reduce_max(vec a) {
    float t[16];
    _mm512_storeu_ps(t, a);
    for (int i = 1; i < 16; ++i) t[0] = t[i] > t[0] || t[i] != t[i] ? t[i] : t[0];
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
}  // namespace avx512
}  // namespace cnnkern
