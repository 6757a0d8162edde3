// Which algorithm, which tile, which blocking: decided here, from the shape, the instruction set and a few machine
// constants; never from the number of threads, so that a plan's bits and counts are the same for every team.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "conv.h"

namespace cnnkern {
namespace {

// Fitted on AMD EPYC (Zen 4, 2 cores) on 2026-11-20 by `cnnkern bench resnet50 mobilenet_v2 vgg16` with each algorithm
// forced; load_share by `cnnkern regret --selector --threads 1`. Only ratios matter.
struct MachineProfile {
  double load_cycles = 0.5;        // a vector load or broadcast, against one cycle a multiply-add of full width
  double load_share = 0.15;        // of the loads' time that multiply-adds do not hide
  double latency_cycles = 4;       // from one multiply-add into the next of the same sum
  double turn_cycles = 0.33;       // a vector's lanes exchanged: three ports serve it and the multiply-adds together
  double tile_cycles = 40;         // entering, leaving and storing a tile
  double weight_bytes_cycle = 6;   // transformed weights streamed from memory
  double scratch_bytes_cycle = 16; // transform traffic in L2
  double depthwise_share = 0.4;    // of the multiply-add rate that a depthwise filter reaches
};
constexpr MachineProfile kProfile;

constexpr int64_t kScratchFloats = 128 * 1024;  // packed input of a band: half a 1 MiB L2
constexpr int64_t kPlanes = 4;                  // channels of a picture
constexpr int64_t kTileBytes = 512 * 1024;      // transformed tiles of a Winograd block: the same
constexpr int64_t kSharedTiles = 56;            // up to so many tiles the team shares one block
// Unless there are so many tiles and so few weights, in bytes, that reading these for each of four blocks costs less
// than a block too large for L2; likewise fitted by `cnnkern regret`.
constexpr int64_t kOwnTiles = 28, kOwnWeightBytes = 5 << 19;

// A wider and shorter tile reads the weights more often: where its panel exceeds so many bytes of L1, it has to be so
// much better. Zen 5, 2026-11-21, paired runs of
// resnet50 and mobilenet_v2: 11 and 6 % on AVX2 with tiles counted exactly, within 1 % on AVX-512.
constexpr double kWider = 0.98, kNearBytes = 24 * 1024;

const char* const kNames[] = {"direct", "im2col", "pointwise", "depthwise", "grouped", "winograd"};

// `scaled`: a pack applies scale and shift, channel after channel; what reads the input where it lies cannot.
bool can_serve(ConvAlgo algo, const ConvShape& s, bool x_channels_last, bool scaled) {
  switch (algo) {
    case ConvAlgo::direct:
      return s.r * s.s <= kMaxTaps && (x_channels_last || !scaled);
    case ConvAlgo::im2col:
      return x_channels_last || !scaled;
    case ConvAlgo::pointwise:
      return s.pointwise() && x_channels_last;
    case ConvAlgo::depthwise:
      return s.groups == s.c && s.k % s.c == 0 && s.r * s.s <= kMaxTaps && x_channels_last && !scaled;
    case ConvAlgo::grouped:
      return s.cg() == s.kg() && (s.cg() == 2 || s.cg() == 4 || s.cg() == 8) && s.r * s.s <= kMaxTaps &&
             x_channels_last && !scaled;
    case ConvAlgo::winograd:
      return s.r == s.s && (s.r == 3 || s.r == 5) && s.stride_h == 1 && s.stride_w == 1 && s.dil_h == 1 &&
             s.dil_w == 1 && s.groups == 1 && x_channels_last && !scaled;
  }
  return false;
}

// Cycles of one step of the reduction over `length` pixels and `blocks` channel blocks, with tiles of up to px x ob.
double step_cycles(const KernelTable* kernels, int64_t length, int64_t blocks, int64_t ob, int64_t px, double steps) {
  const int64_t vectors = kBlock / kernels->width;
  double total = 0;
  for (int64_t left = blocks; left > 0;) {
    int64_t width = std::min(ob, left);
    while (!kernels->conv[width][1]) --width;
    int64_t longest = px;
    while (!kernels->conv[width][longest]) --longest;
    const int64_t tiles = ceil_div(length, longest), shorter = length / tiles, longer = length % tiles;
    const auto tile = [&](int64_t pixels) {
      const double fma = static_cast<double>(pixels * width * vectors);
      const double load = static_cast<double>(pixels + width * vectors) * kProfile.load_cycles * 1.1;
      return std::max({fma, load, kProfile.latency_cycles}) + kProfile.load_share * load + kProfile.tile_cycles / steps;
    };
    total += static_cast<double>(longer) * tile(shorter + 1) + static_cast<double>(tiles - longer) * tile(shorter);
    left -= width;
  }
  return total;
}

struct Tile {
  int64_t ob, px;
  double cycles;
};

// The tile that takes the fewest cycles for lines of `length` pixels, among those `only` blocks wide (0: any width);
// `aliased` when tile pixels are a multiple of 4 KiB apart, where more than 7 of them would not fit the ways of one L1
// set.
Tile best_tile(const KernelTable* kernels, int64_t length, int64_t channels, double steps, bool aliased,
               int64_t only = 0) {
  Tile best{1, 1, -1};
  for (int64_t ob = 1; ob <= kMaxOb; ++ob) {
    if (!kernels->conv[ob][1] || (only && ob != only)) continue;
    int64_t px = 1;
    while (px < kMaxPx && kernels->conv[ob][px + 1]) ++px;
    if (aliased) px = std::min<int64_t>(px, 7);
    const double cycles = step_cycles(kernels, length, ceil_div(channels, kBlock), ob, px, steps);
    const double wanted = steps * static_cast<double>(ob * kBlock * 4) > kNearBytes ? kWider : 0.999;
    if (best.cycles < 0 || cycles < best.cycles * wanted) best = {ob, px, cycles};
  }
  return best;
}

// With the weights streamed from memory.
double cold_cycles(const ConvPlan& plan) {
  return plan.cycles + static_cast<double>(plan.weight_bytes) / kProfile.weight_bytes_cycle;
}

// Groups of fewer than 16 output channels are computed together: their blocks would be mostly padding anyway.
int64_t merged_groups(const ConvShape& s) {
  int64_t merge = 1;
  while (merge < s.groups && (merge * s.kg() < kBlock || s.groups % merge)) ++merge;
  return merge;
}

void plan_direct(const ConvShape& s, const KernelTable* kernels, bool scaled, ConvPlan* plan, int64_t only = 0) {
  plan->merge = merged_groups(s);
  // Stems read planes as they come: interleaving them would move every float on its own. The input's layout must not
  // decide, for the order of the sums hangs on it.
  plan->planar = s.c <= kPlanes && !scaled && s.dil_w == 1 && s.r * s.c <= kMaxTaps && plan->merge == s.groups;
  plan->scratch_px = plan->planar ? 1 : s.c;
  if (!plan->planar && s.stride_w * s.c * 4 % 4096 == 0) plan->scratch_px += kBlock;
  const double steps = static_cast<double>(s.r * s.s * s.cg() * plan->merge);
  const Tile tile = best_tile(kernels, s.q, s.kg() * plan->merge, steps, false, only);
  plan->ob = tile.ob;
  plan->px = tile.px;
  const int64_t groups = s.groups / plan->merge;
  plan->cycles = tile.cycles * steps * static_cast<double>(s.n * s.p * groups);
  plan->weight_bytes = 4 * s.k * s.r * s.s * s.cg() * plan->merge;
  const int64_t cols = (s.q - 1) * s.stride_w + (s.s - 1) * s.dil_w + 1;
  const int64_t line = std::max<int64_t>(1, cols * std::max(s.c, plan->scratch_px));
  const int64_t extra = (s.r - 1) * s.dil_h + 1 - s.stride_h;
  const int64_t fit = (kScratchFloats / line - extra) / s.stride_h;
  const int64_t rows = std::max<int64_t>(1, std::min(s.p, fit));
  plan->band_rows = std::max<int64_t>(1, ceil_div(s.p, ceil_div(s.p, rows)));
  plan->band_images = 1;
  if (plan->band_rows == s.p) {
    const int64_t image = line * ((s.p - 1) * s.stride_h + (s.r - 1) * s.dil_h + 1);
    plan->band_images = std::max<int64_t>(1, std::min(s.n, kScratchFloats / image));
  }
}

void plan_pointwise(const ConvShape& s, const KernelTable* kernels, int64_t x_px, bool flat, bool scaled,
                    ConvPlan* plan, int64_t only = 0) {
  plan->merge = merged_groups(s);
  const bool vectors = s.p == 1 && s.q == 1;
  const int64_t length = vectors ? s.n : flat && s.stride_h == 1 && s.stride_w == 1 ? s.n * s.p * s.q : s.q;
  const double steps = static_cast<double>(s.cg() * plan->merge);
  // Scaled pixels are packed an odd number of cache lines apart: a tile's then spread over the sets of L1.
  plan->scratch_px = scaled ? (ceil_div(s.c, kBlock) | 1) * kBlock : 0;
  const bool aliased = !scaled && s.stride_w * x_px * 4 % 4096 == 0;
  const Tile tile = best_tile(kernels, std::max<int64_t>(1, length), s.kg() * plan->merge, steps, aliased, only);
  plan->ob = tile.ob;
  plan->px = tile.px;
  const double lines = static_cast<double>(s.n * s.p * s.q) / static_cast<double>(std::max<int64_t>(1, length));
  plan->cycles = tile.cycles * steps * lines * static_cast<double>(s.groups / plan->merge);
  plan->weight_bytes = 4 * s.k * s.cg() * plan->merge;
}

void plan_im2col(const ConvShape& s, const KernelTable* kernels, ConvPlan* plan) {
  plan->merge = 1;
  const Tile tile = best_tile(kernels, s.q, s.kg(), static_cast<double>(s.cg() * s.r * s.s), false);
  plan->ob = tile.ob;
  plan->px = tile.px;
  plan->cycles = tile.cycles * static_cast<double>(s.cg() * s.r * s.s) * static_cast<double>(s.n * s.p * s.groups);
  plan->weight_bytes = 4 * s.k * s.r * s.s * s.cg();
}

void plan_depthwise(const ConvShape& s, const KernelTable* kernels, ConvPlan* plan) {
  plan->px = kernels->dw_px;
  plan->band_rows = std::min<int64_t>(8, s.p);
  const int64_t vectors = s.n * s.p * s.q * s.r * s.s * round_up(s.k, kBlock) / kernels->width;
  plan->cycles = static_cast<double>(vectors) / kProfile.depthwise_share;
  plan->weight_bytes = 4 * s.k * s.r * s.s;
}

// Narrow groups: a block at a time, each input turned once for every channel of a group and tap, or for all taps of a row.
void plan_grouped(const ConvShape& s, const KernelTable* kernels, ConvPlan* plan) {
  plan->px = kernels->group_px;
  plan->band_rows = std::min<int64_t>(8, s.p);
  const int64_t tiles = ceil_div(s.q, kernels->group_px), vectors = kBlock / kernels->width;
  const double pixels = static_cast<double>(ceil_div(s.q, std::max<int64_t>(1, tiles)));
  const double step = std::max(pixels * (1 + kProfile.turn_cycles), kProfile.latency_cycles);
  const double steps = static_cast<double>(s.r * s.s * s.cg() * vectors);
  plan->cycles = (step * steps + kProfile.tile_cycles) * static_cast<double>(s.n * s.p * tiles * ceil_div(s.k, kBlock));
  plan->weight_bytes = 4 * s.k * s.r * s.s * s.cg();
}

// Whether that beats computing groups together with zero weights between them.
bool prefer_grouped(const ConvShape& s, const KernelTable* kernels, bool pointwise, int64_t x_px, bool flat) {
  ConvPlan own, merged;
  plan_grouped(s, kernels, &own);
  if (pointwise)
    plan_pointwise(s, kernels, x_px, flat, false, &merged);
  else
    plan_direct(s, kernels, false, &merged);
  return cold_cycles(own) < cold_cycles(merged);
}

struct WinogradBlocks {
  bool shared;    // by the whole team; else each member has blocks of its own
  int64_t tiles;  // at most, of a block
};

int64_t winograd_tiles(const ConvShape& s, int64_t m) { return s.n * ceil_div(s.p, m) * ceil_div(s.q, m); }

// Blocks that fit beside the weights in L2, or one for the whole team where tiles are few or weights many.
WinogradBlocks winograd_blocks(const ConvShape& s, int64_t m) {
  const int64_t a = m + s.r - 1, per_tile = a * a * (s.c + s.k) * 4;
  const int64_t tiles = winograd_tiles(s, m), weight_bytes = a * a * s.c * s.k * 4;
  const bool few = tiles <= kSharedTiles && (tiles < kOwnTiles || weight_bytes > kOwnWeightBytes);
  if (few || weight_bytes > 16 * 1024 * 1024) return {true, kSharedTiles};
  return {false, std::min<int64_t>(kSharedTiles, std::max<int64_t>(14, kTileBytes / per_tile / 14 * 14))};
}

// Fills the Winograd part for output tiles of side m.
void plan_winograd(const ConvShape& s, const KernelTable* kernels, int64_t m, WinogradBlocks in, ConvPlan* plan) {
  const int64_t a = m + s.r - 1, tiles = winograd_tiles(s, m);
  plan->m = m;
  plan->scratch_px = s.c + (s.c * 4 % 4096 == 0 ? kBlock : 0);
  plan->shared = in.shared;
  const int64_t block = std::max<int64_t>(1, in.shared ? std::min(tiles, in.tiles) : in.tiles);
  // Private blocks come in fours, so that small teams share them evenly.
  const int64_t blocks = in.shared ? ceil_div(tiles, block) : round_up(ceil_div(tiles, block), 4);
  plan->tile_block = std::max<int64_t>(1, ceil_div(tiles, std::max<int64_t>(1, blocks)));
  const Tile tile = best_tile(kernels, plan->tile_block, s.k, static_cast<double>(s.c), false);
  plan->ob = tile.ob;
  plan->px = tile.px;
  const double products = static_cast<double>(a * a * s.c * std::max<int64_t>(1, blocks)) * tile.cycles;
  const int64_t per_tile = a * a * (s.c + s.k) * 4;
  const double moved = static_cast<double>(tiles * (2 * per_tile + (a * a * s.c + m * m * s.k) * 4));
  plan->cycles = products + moved / kProfile.scratch_bytes_cycle;
  plan->weight_bytes = 4 * a * a * s.c * s.k;
}

// Winograd where its estimate beats direct convolution's; F(4,3) against F(2,3) likewise. 5x5 filters have F(2,5) alone.
bool prefer_winograd(const ConvShape& s, const KernelTable* kernels, bool forced, ConvPlan* plan) {
  ConvPlan two = *plan, four = *plan, direct = *plan;
  plan_winograd(s, kernels, 2, winograd_blocks(s, 2), &two);
  if (s.r == 3) plan_winograd(s, kernels, 4, winograd_blocks(s, 4), &four);
  plan_direct(s, kernels, false, &direct);
  *plan = s.r != 3 || cold_cycles(two) < cold_cycles(four) ? two : four;
  plan->algo = ConvAlgo::winograd;
  return forced || cold_cycles(*plan) < 0.95 * cold_cycles(direct);
}

bool same_choice(const ConvPlan& a, const ConvPlan& b) {
  const auto choice = [](const ConvPlan& p) {
    const bool winograd = p.algo == ConvAlgo::winograd;
    return std::make_tuple(p.algo, p.ob, p.px, winograd ? p.m : 0, winograd ? p.tile_block : 0, winograd && p.shared);
  };
  return choice(a) == choice(b);
}

}  // namespace

const char* algo_name(ConvAlgo algo) { return kNames[static_cast<int>(algo)]; }

ConvPlan conv_select(const ConvShape& s, const KernelTable* kernels, const std::string& wanted, bool strict,
                     bool x_channels_last, int64_t x_px, bool flat, bool scaled) {
  ConvPlan plan;
  std::string able;
  int forced = -1;
  for (int i = 0; i < kConvAlgos; ++i) {
    const ConvAlgo algo = static_cast<ConvAlgo>(i);
    if (!can_serve(algo, s, x_channels_last, scaled)) continue;
    if (wanted == kNames[i]) forced = i;
    able += (able.empty() ? "" : ", ") + std::string(kNames[i]);
  }
  if (wanted != "auto" && forced < 0)
    throw std::invalid_argument("algo='" + wanted + "' cannot serve this convolution; these can: " + able);
  if (forced >= 0) {
    plan.algo = static_cast<ConvAlgo>(forced);
  } else if (s.c > 1 && can_serve(ConvAlgo::depthwise, s, x_channels_last, scaled)) {
    plan.algo = ConvAlgo::depthwise;
  } else if (can_serve(ConvAlgo::grouped, s, x_channels_last, scaled) &&
             prefer_grouped(s, kernels, can_serve(ConvAlgo::pointwise, s, x_channels_last, scaled), x_px, flat)) {
    plan.algo = ConvAlgo::grouped;
  } else if (can_serve(ConvAlgo::pointwise, s, x_channels_last, scaled)) {
    plan.algo = ConvAlgo::pointwise;
  } else if (!strict && can_serve(ConvAlgo::winograd, s, x_channels_last, scaled) && s.c >= kBlock && s.k >= kBlock &&
             prefer_winograd(s, kernels, false, &plan)) {
    return plan;
  } else {
    plan = ConvPlan();
    plan.algo = can_serve(ConvAlgo::direct, s, x_channels_last, scaled) ? ConvAlgo::direct : ConvAlgo::im2col;
  }
  if (plan.algo == ConvAlgo::winograd) prefer_winograd(s, kernels, true, &plan);
  if (plan.algo == ConvAlgo::direct) plan_direct(s, kernels, scaled, &plan);
  if (plan.algo == ConvAlgo::im2col) plan_im2col(s, kernels, &plan);
  if (plan.algo == ConvAlgo::pointwise) plan_pointwise(s, kernels, x_px, flat, scaled, &plan);
  if (plan.algo == ConvAlgo::depthwise) plan_depthwise(s, kernels, &plan);
  if (plan.algo == ConvAlgo::grouped) plan_grouped(s, kernels, &plan);
  return plan;
}

std::vector<ConvPlan> conv_candidates(const ConvShape& s, const KernelTable* kernels, const std::string& wanted,
                                      bool strict, bool x_channels_last, int64_t x_px, bool flat, bool scaled) {
  std::vector<ConvPlan> found{conv_select(s, kernels, wanted, strict, x_channels_last, x_px, flat, scaled)};
  const auto offer = [&](ConvPlan plan, ConvAlgo algo) {
    plan.algo = algo;
    for (const ConvPlan& other : found)
      if (same_choice(plan, other)) return;
    found.push_back(plan);
  };
  const auto may = [&](ConvAlgo algo) {
    return can_serve(algo, s, x_channels_last, scaled) && (wanted == "auto" || wanted == algo_name(algo));
  };
  for (int64_t ob = 1; ob <= kMaxOb; ++ob) {
    if (!kernels->conv[ob][1]) continue;
    ConvPlan direct, pointwise;
    plan_direct(s, kernels, scaled, &direct, ob);
    plan_pointwise(s, kernels, x_px, flat, scaled, &pointwise, ob);
    // Wider than what there is to compute is the same panels again.
    if (ob > 1 && ob > ceil_div(s.kg() * direct.merge, kBlock)) break;
    if (may(ConvAlgo::direct)) offer(direct, ConvAlgo::direct);
    if (may(ConvAlgo::pointwise)) offer(pointwise, ConvAlgo::pointwise);
  }
  ConvPlan plain;
  plan_im2col(s, kernels, &plain);
  if (may(ConvAlgo::im2col)) offer(plain, ConvAlgo::im2col);
  ConvPlan depthwise, grouped;
  plan_depthwise(s, kernels, &depthwise);
  plan_grouped(s, kernels, &grouped);
  if (may(ConvAlgo::depthwise)) offer(depthwise, ConvAlgo::depthwise);
  if (may(ConvAlgo::grouped)) offer(grouped, ConvAlgo::grouped);
  for (int64_t m : {2, 4}) {
    if (!may(ConvAlgo::winograd) || (strict && wanted == "auto") || (m == 4 && s.r != 3)) break;
    const int64_t fit = winograd_blocks(s, m).tiles;
    for (const WinogradBlocks& blocks : {WinogradBlocks{true, kSharedTiles}, {false, fit}, {false, (fit + 1) / 2}}) {
      ConvPlan plan;
      plan_winograd(s, kernels, m, blocks, &plan);
      offer(plan, ConvAlgo::winograd);
    }
  }
  return found;
}

std::unique_ptr<Op> make_conv(const ConvArgs& a) {
  switch (a.plan.algo) {
    case ConvAlgo::direct:
      return make_conv_direct(a);
    case ConvAlgo::im2col:
      return make_conv_im2col(a);
    case ConvAlgo::pointwise:
      return make_conv_pointwise(a);
    case ConvAlgo::depthwise:
    case ConvAlgo::grouped:
      return make_conv_depthwise(a);
    case ConvAlgo::winograd:
      return make_conv_winograd(a);
  }
  throw std::invalid_argument("unknown convolution algorithm");
}

}  // namespace cnnkern
