// Which algorithm, which tile, which blocking: decided here, as the estimates of conv_cost.h say.
#include <tuple>

#include "conv.h"
#include "conv_cost.h"

namespace cnnkern {
namespace {

const char* const kNames[] = {"direct", "im2col", "pointwise", "depthwise", "grouped", "winograd"};

// `scaled`: a pack applies scale and shift, channel after channel; what reads the input where it lies cannot.
bool can_serve(ConvAlgo algo, const ConvQuery& q) {
  const ConvShape& s = q.shape;
  const bool x_channels_last = q.x_channels_last, scaled = q.scaled;
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

// Winograd's rounding is coarser, and its estimate less certain: it has to be so much better.
constexpr double kWinogradGain = 0.95;

// A plan has to be so much better than one of narrower tiles, or of an algorithm named before, which is the simpler one.
constexpr double kGain = 0.999;

// Output tiles to compare. 5x5 filters have F(2,5) alone.
std::vector<int64_t> winograd_sides(const ConvQuery& q) {
  if (q.shape.r == 3) return {4, 2};
  return {2};
}

// Every plan worth comparing for an algorithm: each tile width, bands and blocks shared and of a member's own.
std::vector<ConvPlan> plans_of(ConvAlgo algo, const ConvQuery& q) {
  const CostModel cost(q);
  if (algo == ConvAlgo::depthwise) return {cost.depthwise()};
  if (algo == ConvAlgo::grouped) return {cost.grouped()};
  std::vector<ConvPlan> found;
  for (int64_t ob = 1; ob <= kMaxOb; ++ob) {
    // Wider than what there is to compute is the same panels again.
    if (!q.kernels->conv[ob][1] || (!found.empty() && ob > ceil_div(q.shape.kg() * found[0].merge, kBlock))) continue;
    if (algo == ConvAlgo::pointwise) found.push_back(cost.pointwise(ob));
    if (algo == ConvAlgo::im2col) found.push_back(cost.im2col(ob));
    if (algo == ConvAlgo::direct)
      for (bool shared : {false, true}) found.push_back(cost.direct(shared, ob));
    if (algo == ConvAlgo::winograd)
      for (int64_t m : winograd_sides(q))
        for (const WinogradBlocks& blocks : {cost.own_blocks(m), cost.shared_blocks()})
          found.push_back(cost.winograd(m, blocks, ob));
  }
  return found;
}

ConvPlan cheapest(const std::vector<ConvPlan>& plans, const CostModel& cost) {
  const ConvPlan* best = &plans.front();
  for (const ConvPlan& plan : plans)
    if (cost.total(plan) < kGain * cost.total(*best)) best = &plan;
  return *best;
}

// Those that "auto" compares. A depthwise filter is its own leaf's; Winograd's leaves take 16 channels at a time.
std::vector<ConvAlgo> contenders(const ConvQuery& q) {
  if (q.shape.c > 1 && can_serve(ConvAlgo::depthwise, q)) return {ConvAlgo::depthwise};
  std::vector<ConvAlgo> found;
  if (can_serve(ConvAlgo::grouped, q)) found.push_back(ConvAlgo::grouped);
  for (ConvAlgo algo : {ConvAlgo::pointwise, ConvAlgo::direct, ConvAlgo::im2col})
    if (can_serve(algo, q)) found.push_back(algo);
  if (!q.strict && can_serve(ConvAlgo::winograd, q) && q.shape.c >= kBlock && q.shape.k >= kBlock)
    found.push_back(ConvAlgo::winograd);
  return found;
}

bool same_choice(const ConvPlan& a, const ConvPlan& b) {
  const auto choice = [](const ConvPlan& p) {
    const bool winograd = p.algo == ConvAlgo::winograd, direct = p.algo == ConvAlgo::direct;
    return std::make_tuple(p.algo, p.ob, p.px, winograd ? p.m : 0, winograd ? p.tile_block : 0,
                           (winograd || direct) && p.shared, direct ? p.band_rows : 0);
  };
  return choice(a) == choice(b);
}

}  // namespace

const char* algo_name(ConvAlgo algo) { return kNames[static_cast<int>(algo)]; }

std::vector<ConvAlgo> conv_algos(const ConvQuery& q) {
  std::string able;
  std::vector<ConvAlgo> algos;
  for (int i = 0; i < kConvAlgos; ++i) {
    const ConvAlgo algo = static_cast<ConvAlgo>(i);
    if (!can_serve(algo, q)) continue;
    if (q.wanted == kNames[i]) algos = {algo};
    able += (able.empty() ? "" : ", ") + std::string(kNames[i]);
  }
  if (q.wanted == "auto") algos = contenders(q);
  if (algos.empty())
    throw std::invalid_argument("algo='" + q.wanted + "' cannot serve this convolution; these can: " + able);
  return algos;
}

ConvPlan conv_select(const ConvQuery& q) {
  const std::vector<ConvAlgo> algos = conv_algos(q);
  const CostModel cost(q);
  ConvPlan best = cheapest(plans_of(algos[0], q), cost);
  for (size_t i = 1; i < algos.size(); ++i) {
    const ConvPlan plan = cheapest(plans_of(algos[i], q), cost);
    const double gain = algos[i] == ConvAlgo::winograd ? kWinogradGain : kGain;
    if (cost.total(plan) < gain * cost.total(best)) best = plan;
  }
  return best;
}

std::vector<ConvPlan> conv_candidates(const ConvQuery& q) {
  std::vector<ConvPlan> found{conv_select(q)};
  const auto offer = [&](const ConvPlan& plan) {
    for (const ConvPlan& other : found)
      if (same_choice(plan, other)) return;
    found.push_back(plan);
  };
  const CostModel cost(q);
  for (int i = 0; i < kConvAlgos; ++i) {
    const ConvAlgo algo = static_cast<ConvAlgo>(i);
    if (!can_serve(algo, q) || (q.wanted != "auto" && q.wanted != kNames[i])) continue;
    if (algo == ConvAlgo::winograd && q.strict && q.wanted == "auto") continue;
    const std::vector<ConvPlan> plans = plans_of(algo, q);
    if (algo == ConvAlgo::im2col) {  // one width, as it is rarely the best
      offer(cheapest(plans, cost));
    } else if (algo != ConvAlgo::winograd) {
      for (const ConvPlan& plan : plans) offer(plan);
    } else {  // one width for each kind of block: there would be too many
      std::vector<ConvPlan> kind;
      for (const ConvPlan& plan : plans) {
        kind.clear();
        for (const ConvPlan& other : plans)
          if (other.m == plan.m && other.shared == plan.shared) kind.push_back(other);
        offer(cheapest(kind, cost));
      }
      for (int64_t m : winograd_sides(q)) {
        WinogradBlocks half = cost.own_blocks(m);
        half.tiles = (half.tiles + 1) / 2;
        offer(cost.winograd(m, half, cheapest(plans, cost).ob));
      }
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
