// The convolution drivers. Each takes a shape and a plan it can serve; conv_select.cpp alone decides which.
#pragma once

#include "op.h"

namespace cnnkern {

struct ConvArgs {
  ConvShape shape;
  ConvPlan plan;
  TensorRef x, y;
  Epilogue epilogue;
  const float* scale;  // C floats, or null: x stands for x * scale + shift, clamped as `prologue` says; padding is zero
  const float* shift;
  Epilogue prologue;  // its clamp alone
  const float* weight;  // (K, C/groups, R, S); only read while the op is made
  const float* bias;  // K floats or null
  const KernelTable* kernels;
  int threads;  // that pack the weights
};

std::unique_ptr<Op> make_conv_direct(const ConvArgs&);
std::unique_ptr<Op> make_conv_im2col(const ConvArgs&);
std::unique_ptr<Op> make_conv_pointwise(const ConvArgs&);
std::unique_ptr<Op> make_conv_depthwise(const ConvArgs&);  // grouped, too
std::unique_ptr<Op> make_conv_winograd(const ConvArgs&);
std::unique_ptr<Op> make_conv(const ConvArgs&);  // the one args.plan.algo names

// One convolution of a fused block.
struct FusedStage {
  bool present = true;
  ConvShape shape;
  ConvPlan plan;
  Epilogue epilogue;  // without its residual
  const float* weight;
  const float* bias;
  const KernelTable* kernels;
  int threads;
};

// fused_block.cpp: 1x1 `expand`, depthwise (undilated, no multiplier, a filter at least as high as its stride, padded by
// less than its size) and, where present, 1x1 `project`; the residual joins the last.
struct FusedArgs {
  FusedStage expand, depthwise, project;
  TensorRef x, y, residual;
};
std::unique_ptr<Op> make_fused_block(const FusedArgs&);

// conv_select.cpp: the only place that chooses. `wanted` is "auto" or an algorithm's name; one that cannot serve the
// shape raises std::invalid_argument with the list of those that can. `x_px` is the input's pixel stride in floats;
// `flat` says that all pixels of the batch lie at that stride, `scaled` that there is a scale and shift. Never looks at
// the number of threads.
ConvPlan conv_select(const ConvShape& shape, const KernelTable* kernels, const std::string& wanted, bool strict,
                     bool x_channels_last, int64_t x_px, bool flat, bool scaled);
// The plans worth measuring for it, conv_select's own first, each once: every algorithm that can serve (or the one
// wanted), every tile family, Winograd with several blocks.
std::vector<ConvPlan> conv_candidates(const ConvShape& shape, const KernelTable* kernels, const std::string& wanted,
                                      bool strict, bool x_channels_last, int64_t x_px, bool flat, bool scaled);
const char* algo_name(ConvAlgo algo);

}  // namespace cnnkern
