// Activations, and sums and products of two tensors.
#include "epilogue.cuh"

struct ActivationArgs {
  const void* x;
  void* y;
  int rows, c;  // c in vectors
  int x_stride, y_stride;  // from row to row, in elements
  int act;
  float param;
};

// y = act(x) on rows of channels. One thread per vector; 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256) activation(const ActivationArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 row = i / a.c, c = i % a.c * V;
  if (row >= u32(a.rows)) return;
  float x[V];
  load_floats<V>(x, static_cast<const T*>(a.x) + i64(row) * a.x_stride + c);
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = activate(x[j], a.act, a.param);
  store_floats<V>(static_cast<T*>(a.y) + i64(row) * a.y_stride + c, x);
}

struct BinaryArgs {
  const void* a;
  const void* b;
  void* y;
  int sizes[5];  // the last in vectors
  int a_strides[5], b_strides[5], y_strides[5];  // in elements; 0 where an operand repeats; of one vector at the end
  int multiply;  // 1: a * b, 0: a + b
  int act;
  float param;
};

// y = act(a + b) or act(a * b), each at its own strides. A and B say how many elements of each operand stand behind a
// vector of V: V, or 1 that repeats along the last axis. One thread per vector; 256 a block.
template <class T, int V, int A, int B>
__global__ void __launch_bounds__(256) binary(const BinaryArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int at[5];
#pragma unroll
  for (int axis = 4; axis > 0; --axis) {
    u32 size = a.sizes[axis];
    at[axis] = i % size;
    i /= size;
  }
  at[0] = i;
  if (at[0] >= a.sizes[0]) return;
  int from_a = 0, from_b = 0, to = 0;
#pragma unroll
  for (int axis = 0; axis < 5; ++axis) {
    from_a += at[axis] * a.a_strides[axis];
    from_b += at[axis] * a.b_strides[axis];
    to += at[axis] * a.y_strides[axis];
  }
  float left[A], right[B], y[V];
  load_floats<A>(left, static_cast<const T*>(a.a) + from_a);
  load_floats<B>(right, static_cast<const T*>(a.b) + from_b);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    float l = left[A == V ? j : 0], r = right[B == V ? j : 0];
    y[j] = activate(a.multiply ? op::mul(l, r) : op::add(l, r), a.act, a.param);
  }
  store_floats<V>(static_cast<T*>(a.y) + to, y);
}

struct AffineArgs {
  const void* x;
  const float* scale;
  const float* shift;
  void* y;
  int rows, c;  // c in vectors
  int x_stride, y_stride;
  int act;
  float param;
};

// y = act(x scale + shift), scale and shift by channel: a batch norm whose statistics are known. One thread per vector;
// 256 a block.
template <class T, int V>
__global__ void __launch_bounds__(256) affine(const AffineArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  u32 row = i / a.c, c = i % a.c * V;
  if (row >= u32(a.rows)) return;
  float x[V], scale[V], shift[V];
  load_floats<V>(x, static_cast<const T*>(a.x) + i64(row) * a.x_stride + c);
  load_floats<V>(scale, a.scale + c);
  load_floats<V>(shift, a.shift + c);
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = activate(op::fma(x[j], scale[j], shift[j]), a.act, a.param);
  store_floats<V>(static_cast<T*>(a.y) + i64(row) * a.y_stride + c, x);
}
