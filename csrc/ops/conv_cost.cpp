#include "conv_cost.h"

#include <algorithm>
#include <cmath>

namespace cnnkern {
namespace {

constexpr int64_t kBandFloats = 128 * 1024;     // packed input of a band: half a 1 MiB L2
constexpr int64_t kPlanes = 4;                  // channels of a picture
constexpr int64_t kTileBytes = 512 * 1024;      // transformed tiles of a Winograd block: the same
constexpr int64_t kWeightBytes = 512 * 1024;     // of weights that stay in L2
constexpr double kPanelBytes = 24 * 1024;        // of a panel that leaves half of an L1 to the input
constexpr double kLargePanelBytes = 256 * 1024;  // of one that leaves L2 no room for the next

// Groups of fewer than 16 output channels are computed together: their blocks would be mostly padding anyway.
int64_t merged_groups(const ConvShape& s) {
  int64_t merge = 1;
  while (merge < s.groups && (merge * s.kg() < kBlock || s.groups % merge)) ++merge;
  return merge;
}

// How much longer a team of two takes for `units` nearly equal shares of `rows` than for halves.
double uneven(int64_t units, int64_t rows) {
  if (units < 2 || rows < 2) return 2;
  const int64_t first = share(rows, units, units / 2).begin;
  return 2 * static_cast<double>(std::max(first, rows - first)) / static_cast<double>(rows);
}

}  // namespace

const std::vector<NamedCost>& named_costs() {
  static const std::vector<NamedCost> names = {
      {"load_cycles", &MachineCosts::load_cycles},
      {"load_share", &MachineCosts::load_share},
      {"latency_cycles", &MachineCosts::latency_cycles},
      {"turn_cycles", &MachineCosts::turn_cycles},
      {"tile_cycles", &MachineCosts::tile_cycles},
      {"copy_cycles", &MachineCosts::copy_cycles},
      {"far_bytes_cycle", &MachineCosts::far_bytes_cycle},
      {"l3_bytes_cycle", &MachineCosts::l3_bytes_cycle},
      {"large_bytes_cycle", &MachineCosts::large_bytes_cycle},
      {"l2_bytes_cycle", &MachineCosts::l2_bytes_cycle},
      {"scratch_bytes_cycle", &MachineCosts::scratch_bytes_cycle},
      {"other_bytes_cycle", &MachineCosts::other_bytes_cycle},
      {"barrier_cycles", &MachineCosts::barrier_cycles},
      {"depthwise_share", &MachineCosts::depthwise_share},
  };
  return names;
}

// What every plan has; `merge` groups are computed together.
ConvPlan CostModel::begun(ConvAlgo algo, int64_t merge) const {
  ConvPlan plan;
  plan.algo = algo;
  plan.merge = merge;
  plan.weight_bytes = 4 * s_.k * s_.r * s_.s * s_.cg() * merge;
  return plan;
}

// Without panels: bands of rows, a block of channels at a time.
ConvPlan CostModel::by_rows(ConvAlgo algo, int64_t px) const {
  ConvPlan plan = begun(algo);
  plan.px = px;
  plan.band_rows = std::min<int64_t>(8, s_.p);
  return plan;
}

// Pixels of the longest tile; `aliased` when they are a multiple of 4 KiB apart, where more than 7 of them would not fit
// the ways of one L1 set.
int64_t CostModel::longest(int64_t ob, bool aliased) const {
  int64_t px = 1;
  while (px < kMaxPx && kernels_->conv[ob][px + 1]) ++px;
  return aliased ? std::min<int64_t>(px, 7) : px;
}

// Cycles of one step of the reduction over `length` pixels, with tiles of up to px x ob. Each tile reads its panel of
// weights anew, from wherever it fits; `fresh`: the first finds it in L2 at best. Arithmetic hides that in part.
double CostModel::step_cycles(int64_t length, int64_t channels, int64_t ob, int64_t px, double steps,
                              bool fresh) const {
  const int64_t vectors = kBlock / kernels_->width;
  double total = 0;
  for (int64_t left = ceil_div(channels, kBlock); left > 0;) {
    int64_t width = std::min(ob, left);
    while (!kernels_->conv[width][1]) --width;
    int64_t longest = px;
    while (!kernels_->conv[width][longest]) --longest;
    const int64_t tiles = ceil_div(length, longest), shorter = length / tiles, longer = length % tiles;
    const double bytes = static_cast<double>(width * kBlock * 4), panel = steps * bytes;
    const double far = bytes / (panel <= kLargePanelBytes ? m_.l2_bytes_cycle : m_.large_bytes_cycle);
    const double near = panel <= kPanelBytes ? 0 : far;
    const auto tile = [&](int64_t pixels, double stream) {
      const double fma = static_cast<double>(pixels * width * vectors);
      const double load = static_cast<double>(pixels + width * vectors) * m_.load_cycles * 1.1;
      return std::hypot(std::max({fma, load, m_.latency_cycles}), stream) + m_.load_share * load +
             m_.tile_cycles / steps;
    };
    total += static_cast<double>(longer) * tile(shorter + 1, near) +
             static_cast<double>(tiles - longer) * tile(shorter, near);
    if (fresh) total += tile(shorter, far) - tile(shorter, near);
    left -= width;
  }
  return total;
}

int64_t CostModel::panels(const ConvPlan& plan) const {
  return ceil_div(s_.kg() * plan.merge, plan.ob * kBlock) * (s_.groups / plan.merge);
}

// `times` passes of all weights, each of which reads them from L3 where they do not fit L2; arithmetic hides that in part.
double CostModel::passes(double compute, int64_t times, const ConvPlan& plan) const {
  if (times < 2 || plan.weight_bytes <= kWeightBytes) return compute;
  return std::hypot(compute, static_cast<double>(times * plan.weight_bytes) / m_.l3_bytes_cycle);
}

double CostModel::total(const ConvPlan& plan) const {
  return std::hypot(plan.cycles, static_cast<double>(plan.weight_bytes) / m_.far_bytes_cycle) * plan.uneven +
         static_cast<double>(plan.barriers) * m_.barrier_cycles;
}

ConvPlan CostModel::direct(bool shared, int64_t ob) const {
  const ConvShape& s = s_;
  ConvPlan plan = begun(ConvAlgo::direct, merged_groups(s));
  plan.shared = shared;
  // Stems read planes as they come: interleaving them would move every float on its own. The input's layout must not
  // decide, for the order of the sums hangs on it.
  plan.planar = s.c <= kPlanes && !q_.scaled && s.dil_w == 1 && s.r * s.c <= kMaxTaps && plan.merge == s.groups;
  plan.scratch_px = plan.planar ? 1 : s.c;
  if (!plan.planar && s.stride_w * s.c * 4 % 4096 == 0) plan.scratch_px += kBlock;
  const double steps = static_cast<double>(s.r * s.s * s.cg() * plan.merge);
  plan.ob = ob;
  plan.px = longest(ob, false);

  const int64_t cols = (s.q - 1) * s.stride_w + (s.s - 1) * s.dil_w + 1;
  const int64_t line = std::max<int64_t>(1, cols * std::max(s.c, plan.scratch_px));
  const int64_t extra = (s.r - 1) * s.dil_h + 1 - s.stride_h;  // rows that a band reads beyond its own
  const int64_t fit = std::max<int64_t>(1, (kBandFloats / line - extra) / s.stride_h);
  // A member's own bands come in fours, so that small teams share them evenly.
  int64_t cuts = std::max<int64_t>(1, ceil_div(s.p, fit));
  if (!shared && s.n % 4) cuts = std::min(std::max<int64_t>(1, s.p), round_up(cuts, s.n % 2 ? 4 : 2));
  plan.band_rows = std::max<int64_t>(1, ceil_div(s.p, cuts));
  cuts = std::max<int64_t>(1, ceil_div(s.p, plan.band_rows));
  plan.band_images = 1;
  if (cuts == 1) {
    const int64_t image = line * (s.p * s.stride_h + extra), each = shared ? s.n : ceil_div(s.n, 4);
    plan.band_images = std::max<int64_t>(1, std::min(each, kBandFloats / std::max<int64_t>(1, image)));
  }
  const int64_t bands = ceil_div(s.n, plan.band_images) * cuts;
  const double compute = step_cycles(s.q, s.kg() * plan.merge, ob, plan.px, steps, false) * steps *
                         static_cast<double>(s.n * s.p * (s.groups / plan.merge));
  const double packed = 4.0 * static_cast<double>(line * s.n * (s.p * s.stride_h + cuts * extra));
  plan.cycles = passes(compute, bands, plan) + 2 * packed / m_.scratch_bytes_cycle;
  if (shared) {
    plan.barriers = 2 * bands - 1;
    const int64_t units = panels(plan) * plan.band_images * plan.band_rows;
    plan.uneven = uneven(units, units);
    plan.cycles += packed / 2 / m_.other_bytes_cycle;
  } else {
    plan.uneven = uneven(bands, s.n * s.p);
  }
  return plan;
}

ConvPlan CostModel::pointwise(int64_t ob) const {
  const ConvShape& s = s_;
  ConvPlan plan = begun(ConvAlgo::pointwise, merged_groups(s));
  const bool vectors = s.p == 1 && s.q == 1;
  const int64_t length = vectors ? s.n : q_.flat && s.stride_h == 1 && s.stride_w == 1 ? s.n * s.p * s.q : s.q;
  const double steps = static_cast<double>(s.cg() * plan.merge);
  // Scaled pixels are packed an odd number of cache lines apart: a tile's then spread over the sets of L1.
  plan.scratch_px = q_.scaled ? (ceil_div(s.c, kBlock) | 1) * kBlock : 0;
  const bool aliased = !q_.scaled && s.stride_w * q_.x_px * 4 % 4096 == 0;
  plan.ob = ob;
  plan.px = longest(ob, aliased);
  const double lines = static_cast<double>(s.n * s.p * s.q) / static_cast<double>(std::max<int64_t>(1, length));
  const int64_t units = panels(plan) * ceil_div(s.n * s.p * s.q, plan.px);
  plan.cycles = step_cycles(std::max<int64_t>(1, length), s.kg() * plan.merge, ob, plan.px, steps, false) * steps *
                lines * static_cast<double>(s.groups / plan.merge);
  plan.uneven = uneven(units, units);
  return plan;
}

ConvPlan CostModel::im2col(int64_t ob) const {
  const ConvShape& s = s_;
  ConvPlan plan = begun(ConvAlgo::im2col);
  const double steps = static_cast<double>(s.cg() * s.r * s.s);
  plan.ob = ob;
  plan.px = longest(ob, false);
  const double taps = static_cast<double>(s.n * s.p * s.q * s.r * s.s);
  const int64_t lines = s.n * s.p;
  const double compute =
      step_cycles(s.q, s.kg(), ob, plan.px, steps, false) * steps * static_cast<double>(lines * s.groups);
  plan.cycles = passes(compute, lines, plan) + taps * (static_cast<double>(s.groups) * m_.copy_cycles +
                                                       8.0 * static_cast<double>(s.c) / m_.scratch_bytes_cycle);
  plan.uneven = uneven(lines, lines);
  return plan;
}

ConvPlan CostModel::depthwise() const {
  const ConvShape& s = s_;
  ConvPlan plan = by_rows(ConvAlgo::depthwise, kernels_->dw_px);
  const int64_t vectors = s.n * s.p * s.q * s.r * s.s * round_up(s.k, kBlock) / kernels_->width;
  plan.cycles = static_cast<double>(vectors) / m_.depthwise_share;
  return plan;
}

// Narrow groups: a block at a time, each input turned once for every channel of a group and tap, or for all taps of a row.
ConvPlan CostModel::grouped() const {
  const ConvShape& s = s_;
  ConvPlan plan = by_rows(ConvAlgo::grouped, kernels_->group_px);
  const int64_t tiles = ceil_div(s.q, kernels_->group_px), vectors = kBlock / kernels_->width;
  const double pixels = static_cast<double>(ceil_div(s.q, std::max<int64_t>(1, tiles)));
  const double step = std::max(pixels * (1 + m_.turn_cycles), m_.latency_cycles);
  const double steps = static_cast<double>(s.r * s.s * s.cg() * vectors);
  plan.cycles = (step * steps + m_.tile_cycles) * static_cast<double>(s.n * s.p * tiles * ceil_div(s.k, kBlock));
  return plan;
}

WinogradBlocks CostModel::own_blocks(int64_t m) const {
  const int64_t a = m + s_.r - 1, per_tile = a * a * (s_.c + s_.k) * 4;
  return {false, std::min<int64_t>(kSharedTiles, std::max<int64_t>(14, kTileBytes / per_tile / 14 * 14))};
}

ConvPlan CostModel::winograd(int64_t m, WinogradBlocks in, int64_t ob) const {
  const ConvShape& s = s_;
  ConvPlan plan = begun(ConvAlgo::winograd);
  const int64_t a = m + s.r - 1, tiles = s.n * ceil_div(s.p, m) * ceil_div(s.q, m);
  plan.m = m;
  plan.scratch_px = s.c + (s.c * 4 % 4096 == 0 ? kBlock : 0);
  plan.shared = in.shared;
  plan.weight_bytes = 4 * a * a * s.c * s.k;
  const int64_t block = std::max<int64_t>(1, in.shared ? std::min(tiles, in.tiles) : in.tiles);
  // A member's own blocks come in fours, so that small teams share them evenly.
  const int64_t wanted = in.shared ? ceil_div(tiles, block) : round_up(ceil_div(tiles, block), 4);
  plan.tile_block = std::max<int64_t>(1, ceil_div(tiles, std::max<int64_t>(1, wanted)));
  const int64_t blocks = std::max<int64_t>(1, ceil_div(tiles, plan.tile_block));
  plan.ob = ob;
  plan.px = longest(ob, false);
  const double products = static_cast<double>(a * a * s.c * blocks) *
                          step_cycles(plan.tile_block, s.k, ob, plan.px, static_cast<double>(s.c), true);
  const double between = static_cast<double>(tiles * a * a * (s.c + s.k) * 4);  // V and M
  const double moved = 2 * between + static_cast<double>(tiles * (a * a * s.c + m * m * s.k) * 4);
  plan.cycles = passes(products, blocks, plan) + moved / m_.scratch_bytes_cycle;
  if (in.shared) {
    plan.barriers = 3 * blocks - 1;
    plan.cycles += between / 2 / m_.other_bytes_cycle;
  } else {
    plan.uneven = uneven(blocks, tiles);
  }
  return plan;
}

}  // namespace cnnkern
