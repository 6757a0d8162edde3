// What a convolution costs: plans for one algorithm each, with an estimate from the shape, the instruction set and a few
// machine constants; never from the number of threads, so that a plan's bits and counts are the same for every team.
#pragma once

#include <vector>

#include "conv.h"

namespace cnnkern {

// Its names, for whoever reads or changes them by name.
struct NamedCost {
  const char* name;
  double MachineCosts::* value;
};
const std::vector<NamedCost>& named_costs();

// Blocks of a Winograd plan.
struct WinogradBlocks {
  bool shared;  // by the whole team; else each member has blocks of its own
  int64_t tiles;  // at most, of a block
};

class CostModel {
 public:
  explicit CostModel(const ConvQuery& query) : q_(query), s_(query.shape), kernels_(query.kernels), m_(query.costs) {}

  // With tiles of `ob` blocks, which must exist.
  ConvPlan direct(bool shared, int64_t ob) const;
  ConvPlan pointwise(int64_t ob) const;
  ConvPlan im2col(int64_t ob) const;
  ConvPlan winograd(int64_t m, WinogradBlocks blocks, int64_t ob) const;  // output tiles of side m
  ConvPlan depthwise() const;
  ConvPlan grouped() const;
  WinogradBlocks shared_blocks() const { return {true, kSharedTiles}; }
  WinogradBlocks own_blocks(int64_t m) const;  // that fit beside the weights in L2

  // Cycles, with the weights streamed from memory and the team's meetings.
  double total(const ConvPlan& plan) const;

 private:
  static constexpr int64_t kSharedTiles = 56;  // half a 1 MiB L2 for each of two members, at 128 channels

  ConvPlan begun(ConvAlgo algo, int64_t merge = 1) const;
  ConvPlan by_rows(ConvAlgo algo, int64_t px) const;
  int64_t longest(int64_t ob, bool aliased) const;
  double step_cycles(int64_t length, int64_t channels, int64_t ob, int64_t px, double steps, bool fresh) const;
  int64_t panels(const ConvPlan& plan) const;
  double passes(double compute, int64_t times, const ConvPlan& plan) const;

  const ConvQuery& q_;
  const ConvShape& s_;
  const KernelTable* kernels_;
  const MachineCosts& m_;
};

}  // namespace cnnkern
