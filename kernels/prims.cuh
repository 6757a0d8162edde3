// Everything a kernel says to the machine: arithmetic, memory, barriers, tensor cores. The only file with PTX, and the
// only one with two forms: with CNNKERN_HOST defined the same names come from the tests' host shim, which runs kernels
// on a CPU, counts what they do and catches what they forget (tests/cuda/shim).
//
// Kernels use the names below, CUDA's own threadIdx, blockIdx, blockDim, gridDim, __syncthreads and __syncwarp, and
// nothing else. No header of CUDA's is included: NVRTC alone compiles these files.
//
// A multiply-add is written, never guessed (-fmad=false); nothing flushes denormals (-ftz=false).
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

struct f16 {
  u16 bits;
};   // IEEE binary16
struct bf16 {
  u16 bits;
};  // the upper half of a float
struct tf32 {
  u32 bits;
};  // a float with 10 bits of mantissa

// N values side by side, loaded and stored at once: N * sizeof(T) is 2, 4, 8 or 16.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

#ifdef CNNKERN_HOST
#include "host_prims.h"
#else

#define DEVICE __device__ __forceinline__
// What a kernel may need but seldom does: one copy of its code, and a call.
#define DEVICE_ONCE __device__ __noinline__

// The block's dynamic shared memory, aligned to 1024 bytes: `SHARED_MEMORY(bytes)` declares `u8* bytes`.
#define SHARED_MEMORY(name) extern __shared__ __align__(1024) u8 name[]

namespace op {

DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float add(float a, float b) { return a + b; }
DEVICE float sub(float a, float b) { return a - b; }
DEVICE float mul(float a, float b) { return a * b; }
// Larger and smaller of two; a NaN among them is the result, as NumPy has it.
DEVICE float max(float a, float b) {
#if __CUDA_ARCH__ >= 800
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
#else
  return a > b || a != a ? a : b;
#endif
}
DEVICE float min(float a, float b) {
#if __CUDA_ARCH__ >= 800
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
#else
  return a < b || a != a ? a : b;
#endif
}
DEVICE bool above(float a, float b) { return a > b; }
DEVICE float div(float a, float b) { return __fdiv_rn(a, b); }
DEVICE float sqrt(float a) { return __fsqrt_rn(a); }
DEVICE float exp(float a) { return ::expf(a); }
DEVICE float log(float a) { return ::logf(a); }
DEVICE float tanh(float a) { return ::tanhf(a); }
DEVICE float erf(float a) { return ::erff(a); }
DEVICE float pow(float a, float b) { return ::powf(a, b); }

}  // namespace op

// --- values: kernels compute in float, whatever they load and store

template <class T>
DEVICE float to_float(T x);
template <>
DEVICE float to_float<float>(float x) {
  return x;
}
template <>
DEVICE float to_float<f16>(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
template <>
DEVICE float to_float<bf16>(bf16 x) {
  return __uint_as_float(u32(x.bits) << 16);
}

template <class T>
DEVICE T from_float(float x);  // rounds to nearest, ties to even; beyond the largest is infinity
template <>
DEVICE float from_float<float>(float x) {
  return x;
}
template <>
DEVICE f16 from_float<f16>(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
DEVICE bf16 from_float<bf16>(float x) {
  bf16 y;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
  u32 bits = __float_as_uint(x);
  u32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  y.bits = u16(x != x ? 0x7fffu : rounded);
#endif
  return y;
}

// float to the nearest tf32 (10 bits of mantissa), ties away from zero, as the bits of a float.
DEVICE u32 to_tf32(float x) {
  u32 y;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
#else
  y = (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
#endif
  return y;
}

template <>
DEVICE float to_float<tf32>(tf32 x) {
  return __uint_as_float(x.bits);
}
template <>
DEVICE tf32 from_float<tf32>(float x) {
  return tf32{to_tf32(x)};
}
// A float by its bits.
DEVICE float as_float(u32 bits) { return __uint_as_float(bits); }

// --- global memory. What a kernel reads, no thread of its launch writes: loads take the read-only path.

namespace detail {
template <int BYTES>
struct Word;
template <>
struct Word<2> {
  typedef u16 type;
};
template <>
struct Word<4> {
  typedef u32 type;
};
template <>
struct Word<8> {
  typedef uint2 type;
};
template <>
struct Word<16> {
  typedef uint4 type;
};
}  // namespace detail

// N values from p, which is aligned to all of them.
template <int N, class T>
DEVICE Pack<T, N> load(const T* p) {
  typedef typename detail::Word<sizeof(T) * N>::type Word;
  Word word = __ldg(reinterpret_cast<const Word*>(p));
  Pack<T, N> out;
  memcpy(&out, &word, sizeof(word));
  return out;
}
template <class T>
DEVICE float load(const T* p) {
  return to_float(load<1>(p).v[0]);
}
template <int N, class T>
DEVICE void store(T* p, const Pack<T, N>& x) {
  typedef typename detail::Word<sizeof(T) * N>::type Word;
  Word word;
  memcpy(&word, &x, sizeof(word));
  *reinterpret_cast<Word*>(p) = word;
}
template <class T>
DEVICE void store(T* p, float x) {
  *p = from_float<T>(x);
}
DEVICE void store_index(i64* p, i64 x) { *p = x; }

// --- within a warp of 32; every lane takes part

DEVICE float shuffle_xor(float x, int lanes) { return __shfl_xor_sync(0xffffffffu, x, lanes); }

// --- copies from global to shared memory that go on while the thread does (sm_80). What is copied may be read after
// copy_async_wait, by other threads after a barrier behind it.

// 16 bytes, both sides aligned to 16; zeros, and nothing read, where not `inside`.
DEVICE void copy_async16(void* shared, const void* global, bool inside) {
  u32 to = u32(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(inside ? 16 : 0) : "memory");
}
// 4 bytes, likewise.
DEVICE void copy_async4(void* shared, const void* global, bool inside) {
  u32 to = u32(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(inside ? 4 : 0) : "memory");
}
// Closes a group of copies; groups end in the order they were closed.
DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N of this thread's groups are under way.
template <int N>
DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// --- tensor cores, a warp at a time; fragments as the PTX ISA lays them out

// Four 8x8 matrices of 16-bit values from shared memory: lane l gives the address of row l % 8 of matrix l / 8, aligned
// to 16 bytes; r[i] is this lane's pair of matrix i (row lane / 4, columns 2 (lane % 4) and the next).
DEVICE void load_matrix_x4(u32 (&r)[4], const void* row) {
  u32 from = u32(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
// The same, each matrix transposed.
DEVICE void load_matrix_x4_trans(u32 (&r)[4], const void* row) {
  u32 from = u32(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
// d (16x8 float) += a (16x16, row by row) b (16x8, column by column).
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], f16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], bf16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// d (16x8 float) += a (16x8, row by row) b (8x8, column by column), both tf32.
DEVICE void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
