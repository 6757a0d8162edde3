// The convolution drivers. Each takes a shape and a plan it can serve; conv_select.cpp alone decides which.
#pragma once

#include <string>
#include <vector>

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

// Fitted on AMD EPYC (Zen 5, 2 cores, AVX-512) on 2026-11-21 by `python benchmarks/fit_selector.py`, on files of two
// hours with sharing between the cores cheap and dear; benchmarks/README.md has what is left of regret. Only ratios matter.
// A cycle is the time of one multiply-add of full width, where all units are busy.
struct MachineCosts {
  double load_cycles = 0.28;  // a vector load or broadcast, against one cycle a multiply-add of full width
  double load_share = 0.3;  // of the loads' time that multiply-adds do not hide
  double latency_cycles = 8;  // from one multiply-add into the next of the same sum
  double turn_cycles = 0.33;  // a vector's lanes exchanged: three ports serve it and the multiply-adds together
  double tile_cycles = 40;  // entering, leaving and storing a tile
  double copy_cycles = 10;  // a copy of a few floats
  double far_bytes_cycle = 4.5;  // weights streamed from memory
  double l3_bytes_cycle = 10.4;  // the same weights again
  double large_bytes_cycle = 18;  // a panel that the last tile has read, and that does not fit L2
  double l2_bytes_cycle = 25;  // one that does
  double scratch_bytes_cycle = 9.6;  // what is packed or transformed, in L2
  double other_bytes_cycle = 3;  // what another member has just written
  double barrier_cycles = 8000;  // a team's meeting, over all of a team of two
  double depthwise_share = 0.4;  // of the multiply-add rate that a depthwise filter reaches
};

// A convolution to choose for. `wanted` is "auto" or an algorithm's name; `strict` excludes Winograd; `x_px` is the
// input's pixel stride in floats; `flat` says that all pixels of the batch lie at that stride, `scaled` that there is a
// scale and shift.
struct ConvQuery {
  ConvShape shape;
  const KernelTable* kernels;
  std::string wanted = "auto";
  bool strict = false, x_channels_last = true;
  int64_t x_px = 0;
  bool flat = false, scaled = false;
  MachineCosts costs{};
};

// conv_select.cpp: the only place that chooses, and never by the number of threads. The algorithms to compare: one
// wanted that cannot serve the shape raises std::invalid_argument with the list of those that can.
std::vector<ConvAlgo> conv_algos(const ConvQuery& query);
ConvPlan conv_select(const ConvQuery& query);
// The plans worth measuring for it, conv_select's own first, each once: every algorithm that can serve (or the one
// wanted), every tile family, bands and blocks shared and of one's own.
std::vector<ConvPlan> conv_candidates(const ConvQuery& query);
const char* algo_name(ConvAlgo algo);

}  // namespace cnnkern
