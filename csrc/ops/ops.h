// The drivers of everything that is no convolution. Tensors are channels-last (sc == 1) except where said; sizes have
// been checked by the caller (bindings/bind_ops.cpp).
//
// What is computed does not depend on the team: work is split along images, rows, pixels and blocks of channels only.
// Activation, binary, affine, lrn and softmax may write over x; the others may not.
#pragma once

#include "op.h"

namespace cnnkern {

// Windows over a padded image. The output's size says how many; a window is clipped at the border of the input.
struct Window {
  int64_t r, s, stride_h, stride_w, pad_t, pad_b, pad_l, pad_r, dil_h, dil_w;
};

// avg divides by the taps inside the padded input, or inside the input. A window without input gives 0 (max: -inf).
std::unique_ptr<Op> make_pool(PoolKind kind, const TensorRef& x, const TensorRef& y, const Window& window,
                              bool count_include_pad);
std::unique_ptr<Op> make_global_pool(PoolKind kind, const TensorRef& x, const TensorRef& y);
// Row p averages input rows floor(p H / P) ... ceil((p + 1) H / P) - 1; columns likewise.
std::unique_ptr<Op> make_adaptive_avg_pool(const TensorRef& x, const TensorRef& y);
// cnnkern.ops.pool.RoiMaxPoolSpec's formula; rois has a row of five floats per image of y. Whatever they are, nothing
// outside x is read.
std::unique_ptr<Op> make_roi_max_pool(const TensorRef& x, const TensorRef& rois, const TensorRef& y, float scale);

std::unique_ptr<Op> make_activation(const TensorRef& x, const TensorRef& y, Act act, float param, float param2);
// y = act(a + b) or act(a * b); a and b have y's sizes or 1, and sc == 1 or c == 1.
std::unique_ptr<Op> make_binary(BinaryKind kind, const TensorRef& a, const TensorRef& b, const TensorRef& y,
                                const Epilogue& epilogue);
// y = act(x * scale[c] + shift[c]); scale and shift, of y.c floats, are copied.
std::unique_ptr<Op> make_affine(const TensorRef& x, const TensorRef& y, const float* scale, const float* shift,
                                const Epilogue& epilogue);

// y = x / (k + factor * sum of x^2 over channels c - size/2 ... c + (size-1)/2)^beta
std::unique_ptr<Op> make_lrn(const TensorRef& x, const TensorRef& y, int64_t size, float factor, float beta, float k);
// cnnkern.ops.norm.LocalContrastNormSpec's formula; window: odd number of weights along one axis.
std::unique_ptr<Op> make_lcn(const TensorRef& x, const TensorRef& y, const std::vector<float>& window, float eps);
// Over c, of every pixel.
std::unique_ptr<Op> make_softmax(const TensorRef& x, const TensorRef& y, bool log);

// Moves. Both tensors may have any strides.
std::unique_ptr<Op> make_copy(const TensorRef& x, const TensorRef& y);
// Any number of copies and fills of tensors of any rank, no two of which write the same place. A copy's x in slot -1
// lies in `values`, which are copied.
struct MoveCopy {
  NdRef x, y;  // of the same sizes
};
struct MoveFill {
  NdRef y;
  float value;
};
std::unique_ptr<Op> make_moves(const std::vector<MoveCopy>& copies, const std::vector<MoveFill>& fills,
                               const float* values, int64_t floats);
// y[.., j groups + i] = x[.., i c/groups + j]
std::unique_ptr<Op> make_channel_shuffle(const TensorRef& x, const TensorRef& y, int64_t groups);
std::unique_ptr<Op> make_pad(const TensorRef& x, const TensorRef& y, int64_t top, int64_t left, float value);
// y's pixel (p, q) holds its window, channel (c R + r) S + s; zero outside the image.
std::unique_ptr<Op> make_im2col(const TensorRef& x, const TensorRef& y, const Window& window);

// y[.., i, ..] = sum over t < taps of weight[i][t] x[.., index[i][t], ..] along `axis` of tensors of any rank, or without
// weights x[.., index[i][0], ..]. Indices lie in x; they and the weights are copied.
struct ResampleArgs {
  NdRef x, y;  // of the same sizes but for the axis
  int axis;
  int64_t taps;
  const int64_t* index;  // [y's size of the axis][taps]
  const float* weight;  // likewise, or null
};
std::unique_ptr<Op> make_resample(const ResampleArgs&);

// Convolution with its own weights at every output position: weight (P, Q, K, C, R, S); bias (K, P, Q), (K,) or null.
// No dilation; at most kMaxTaps taps.
struct LocalArgs {
  TensorRef x, y;
  Window window;
  const float* weight;
  const float* bias;
  bool bias_per_position;
  Epilogue epilogue;
  const KernelTable* kernels;
  int threads;  // that pack the weights
};
std::unique_ptr<Op> make_locally_connected(const LocalArgs&);

}  // namespace cnnkern
