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

// --- Hopper (sm_90a): barriers in shared memory, copies by the engine beside the multiprocessor, tensor cores by the
// warpgroup. Names in quotes are sections of the PTX ISA, version 9.

// What instructions call an address in shared memory.
DEVICE u32 shared_address(const void* p) { return u32(__cvta_generic_to_shared(p)); }

// A barrier that goes through phases ("mbarrier": "Phase of the mbarrier object"): a phase ends when as many arrivals as
// `arrivals` said and all bytes that were announced have come. One thread begins it, and others may use it after
// fence_async by that thread and __syncthreads.
DEVICE void mbarrier_init(u64* barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
DEVICE void mbarrier_arrive(u64* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and announces so many bytes of this phase's copies ("mbarrier.expect_tx").
DEVICE void mbarrier_arrive_expect(u64* barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
// Waits until the phase of that parity has ended ("mbarrier.test_wait, mbarrier.try_wait": .phaseParity): the first phase
// has parity 0, and of a barrier that is new the phase before, of parity 1, counts as ended.
DEVICE void mbarrier_wait(u64* barrier, u32 parity) {
  u32 done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  } while (!done);
}
// So many bytes from global to shared memory ("cp.async.bulk"): both sides and the number are multiples of 16. They are
// there when the barrier's phase, which counts them, has ended.
DEVICE void copy_bulk(void* shared, const void* global, u32 bytes, u64* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(global), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}
// What this thread has done to shared memory, copies that it has waited for included, is seen by what goes another way
// to it: copy_bulk and wgmma ("membar/fence": "fence.proxy.async").
DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// THREADS threads, whole warps, wait for each other at barrier ID; 0 is __syncthreads's.
template <int ID, int THREADS>
DEVICE void sync_some() {
  asm volatile("bar.sync %0, %1;" ::"n"(ID), "n"(THREADS) : "memory");
}
// A warpgroup's threads give registers back, or take more, so that each has N: 24 to 256, a multiple of 8 ("setmaxnreg").
template <int N>
DEVICE void registers_give() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
DEVICE void registers_take() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// Before the first wgmma on accumulators that the threads have touched ("wgmma.fence").
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Closes a group of them; groups end in the order they were closed.
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N of the warpgroup's groups are under way ("wgmma.wait_group"). Only then may the operands'
// memory be written, and with N = 0 the accumulators be read.
template <int N>
DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// Accumulators after the last wait: the compiler takes none of their uses before it.
template <int N>
DEVICE void wgmma_ended(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// wgmma: d (64 x N float, N/2 of them a thread) = a (64 rows) times b (N rows), added to what d was if `add`, along 32
// bytes of each row: 16 f16 or bf16, 8 tf32 (of a float the lower 13 bits are left out). a and b are matrix descriptors
// of K-major operands ("Matrix Descriptor Format"; "Strides"): the two 1s negate neither, the two 0s transpose neither
// ("wgmma.mma_async": imm-scale-a, imm-scale-b, imm-trans-a, imm-trans-b; tf32 has no trans). Thread t's d[i] lies at row
// 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (t % 4) + i % 2 ("Register Fragments and Shared Memory
// Matrix Layouts": accumulator D of .m64nNk16 and .m64nNk8). It goes on while the threads do.

// clang-format off: lists of operands
#define SUMS_32 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
  "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define SUMS_64 SUMS_32, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), \
  "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), \
  "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), \
  "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
  "+f"(d[63])
#define SUMS_128 SUMS_64, "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), \
  "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), \
  "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), \
  "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), \
  "+f"(d[94]), "+f"(d[95]), "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), \
  "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), \
  "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), \
  "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), \
  "+f"(d[126]), "+f"(d[127])
#define NAMES_32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
  "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_64 NAMES_32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
  "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_128 NAMES_64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, " \
  "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, " \
  "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, " \
  "%119, %120, %121, %122, %123, %124, %125, %126, %127"
// clang-format on

DEVICE void wgmma(float (&d)[32], u64 a, u64 b, bool add, f16) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" NAMES_32
               "}, %32, %33, p, 1, 1, 0, 0;\n}"
               : SUMS_32
               : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[32], u64 a, u64 b, bool add, bf16) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" NAMES_32
      "}, %32, %33, p, 1, 1, 0, 0;\n}"
      : SUMS_32
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[32], u64 a, u64 b, bool add, tf32) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 {" NAMES_32
      "}, %32, %33, p, 1, 1;\n}"
      : SUMS_32
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[64], u64 a, u64 b, bool add, f16) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" NAMES_64
      "}, %64, %65, p, 1, 1, 0, 0;\n}"
      : SUMS_64
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[64], u64 a, u64 b, bool add, bf16) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES_64
      "}, %64, %65, p, 1, 1, 0, 0;\n}"
      : SUMS_64
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[64], u64 a, u64 b, bool add, tf32) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {" NAMES_64
      "}, %64, %65, p, 1, 1;\n}"
      : SUMS_64
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[128], u64 a, u64 b, bool add, f16) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {" NAMES_128
      "}, %128, %129, p, 1, 1, 0, 0;\n}"
      : SUMS_128
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[128], u64 a, u64 b, bool add, bf16) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" NAMES_128
      "}, %128, %129, p, 1, 1, 0, 0;\n}"
      : SUMS_128
      : "l"(a), "l"(b), "r"(u32(add)));
}
DEVICE void wgmma(float (&d)[128], u64 a, u64 b, bool add, tf32) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32 {" NAMES_128
      "}, %128, %129, p, 1, 1;\n}"
      : SUMS_128
      : "l"(a), "l"(b), "r"(u32(add)));
}

#undef SUMS_32
#undef SUMS_64
#undef SUMS_128
#undef NAMES_32
#undef NAMES_64
#undef NAMES_128

#endif
