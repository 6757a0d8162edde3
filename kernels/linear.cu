// Fully connected layers of small batches: each weight is read once, and that is what it takes.
#include "epilogue.cuh"

struct LinearArgs {
  const void* x;      // rows of F
  const float* w;     // O rows of F, as users give them
  const float* bias;  // or null
  void* y;
  int n, f, o;
  int x_stride, y_stride;
  int act;
  float param;
};

// A warp makes one output of N rows: its lanes walk the weights' row V floats at a time, and add up what they have.
// blockIdx.y = a group of N rows. 256 threads, 8 outputs a block.
template <class T, int N, int V>
__global__ void __launch_bounds__(256) linear(const LinearArgs a) {
  int lane = threadIdx.x % 32, o = blockIdx.x * 8 + threadIdx.x / 32, first = blockIdx.y * N;
  if (o >= a.o) return;
  const T* x = static_cast<const T*>(a.x) + i64(first) * a.x_stride;
  const float* w = a.w + i64(o) * a.f;
  float sum[N] = {};
#pragma unroll 4
  for (int f = lane * V; f < a.f; f += 32 * V) {
    float weight[V];
    load_floats<V>(weight, w + f);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      if (first + n >= a.n) continue;
      float seen[V];
      load_floats<V>(seen, x + i64(n) * a.x_stride + f);
#pragma unroll
      for (int v = 0; v < V; ++v) sum[n] = op::fma(seen[v], weight[v], sum[n]);
    }
  }
#pragma unroll
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum[n] = op::add(sum[n], shuffle_xor(sum[n], distance));
    if (lane || first + n >= a.n) continue;
    float one[1] = {sum[n]};
    finish<1, T>(one, a.bias ? a.bias + o : a.bias, nullptr, a.act, a.param);
    store_floats<1>(static_cast<T*>(a.y) + i64(first + n) * a.y_stride + o, one);
  }
}
