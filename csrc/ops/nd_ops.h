// The drivers of operations on arrays of any rank and layout; sizes have been checked by the caller
// (bindings/bind_math.cpp): operands of y have its sizes, with stride 0 where they repeat themselves.
//
// What is computed does not depend on the team. Where leaves cannot read or write a tensor as it lies, blocks of it go
// through the members' scratch.
#pragma once

#include "op.h"

namespace cnnkern {

// y = f(x)
std::unique_ptr<Op> make_unary(const NdRef& x, const NdRef& y, Unary kind, float alpha, float beta);
// y = act(a + b), act(a * b), or f(a, b): `kind` is a BinaryKind, or binary_kinds plus a PairKind, which no activation
// follows.
std::unique_ptr<Op> make_binary_nd(const NdRef& a, const NdRef& b, const NdRef& y, int kind, const Epilogue& epilogue);
// y = act(x * scale[c] + shift[c]), c the index along `axis`; the vectors, of that axis' size, are copied.
std::unique_ptr<Op> make_affine_nd(const NdRef& x, const NdRef& y, int axis, const float* scale, const float* shift,
                                   const Epilogue& epilogue);

// cnnkern.ops.reduce.ReduceSpec: y has x's rank, and size 1 where `reduced` says so.
enum class Reduction : int { sum = 0, mean, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp, count };
std::unique_ptr<Op> make_reduce(const NdRef& x, const NdRef& y, const bool (&reduced)[kMaxRank], Reduction kind);

// softmax or its logarithm along one axis.
std::unique_ptr<Op> make_softmax_nd(const NdRef& x, const NdRef& y, int axis, bool log);

// y (.., m, n) = a (.., m, k) b (.., k, n), of one rank of at least 2; the leading sizes are y's. b is a tensor, packed
// in every run, or where `weight` is given that array, C-contiguous with the sizes of b.view where its strides are not 0.
struct MatMulArgs {
  NdRef a, b, y;
  const float* weight;
  int64_t ob, px;  // the widest tile in blocks, the longest in pixels
  const KernelTable* kernels;
  int threads;
};
std::unique_ptr<Op> make_matmul(const MatMulArgs&);

}  // namespace cnnkern
