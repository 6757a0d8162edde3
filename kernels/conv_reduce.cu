// What follows a product whose sum was made in parts.
#include "epilogue.cuh"

struct ReduceArgs {
  const float* parts;     // per part: rows of `k` sums
  const float* bias;      // or null
  const void* residual;   // or null
  void* y;
  int m, k, splits, part;  // part: elements from one to the next
  int y_stride, residual_stride;
  int act;
  float param;
};

// The parts of a sum, added in their order, and finished. One thread per output; 256 a block.
template <class T>
__global__ void __launch_bounds__(256) conv_reduce(const ReduceArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 pixel = i / a.k, k = i % a.k;
  if (pixel >= u32(a.m)) return;
  float sum[1] = {load(a.parts + i)};
  for (int part = 1; part < a.splits; ++part) sum[0] = op::add(sum[0], load(a.parts + i64(part) * a.part + i));
  const T* residual = static_cast<const T*>(a.residual);
  finish<1>(sum, a.bias ? a.bias + k : a.bias, residual ? residual + i64(pixel) * a.residual_stride + k : residual,
            a.act, a.param);
  store(static_cast<T*>(a.y) + i64(pixel) * a.y_stride + k, sum[0]);
}
