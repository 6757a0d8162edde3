#include "conv_pack.h"

#include <algorithm>

namespace cnnkern {

std::vector<Panel> make_panels(int64_t groups, int64_t c, int64_t k, int64_t taps, int64_t ob, int64_t px,
                               const KernelTable* kernels) {
  std::vector<Panel> panels;
  int64_t offset = 0;
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t k0 = 0; k0 < k;) {
      int64_t width = std::min(ob, ceil_div(k - k0, kBlock));
      while (!kernels->conv[width][1]) --width;
      int longest = 1;
      while (longest < kMaxPx && longest < px && kernels->conv[width][longest + 1]) ++longest;
      const int64_t valid = std::min<int64_t>(width * kBlock, k - k0);
      panels.push_back({offset, g * k + k0, g * c, valid, static_cast<int>(width), longest});
      offset += taps * c * width * kBlock;
      k0 += valid;
    }
  }
  return panels;
}

namespace {

// Panel i's weights and biases into their zeroed places, written in order, read as one stream per output channel.
void pack_panel(const ConvShape& s, const PackedConv& packed, size_t i, const float* weight, const float* bias) {
  const Panel& p = packed.panels[i];
  const int64_t lanes = p.ob * kBlock, taps = packed.taps, run = packed.run;
  const int64_t cg = s.cg(), kg = s.kg();
  float* out = packed.weights.data() + p.offset;
  if (bias) std::copy(bias + p.k0, bias + p.k0 + p.valid, packed.bias.data() + packed.bias_offset[i]);
  for (int64_t j = 0; j < p.valid;) {
    // Within merged groups only the channels of an output's own group have weights; the rest stay zero.
    const int64_t group = (p.k0 + j) / kg, end = std::min(p.valid, (group + 1) * kg - p.k0);
    const int64_t first = group * cg - p.c0;
    for (int64_t c = 0; c < cg; ++c)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t lane = j; lane < end; ++lane)
          out[((t / run * packed.c + first + c) * run + t % run) * lanes + lane] =
              weight[((p.k0 + lane) * cg + c) * taps + t];
    j = end;
  }
}

}  // namespace

PackedConv pack_conv(const ConvShape& s, const ConvPlan& plan, const KernelTable* kernels, const float* weight,
                     const float* bias, int threads) {
  PackedConv packed;
  const int64_t groups = s.groups / plan.merge;
  const int64_t c = s.cg() * plan.merge, k = s.kg() * plan.merge;
  packed.c = c;
  packed.taps = s.r * s.s;
  packed.run = plan.planar ? s.s : 1;
  packed.panels = make_panels(groups, c, k, packed.taps, plan.ob, plan.px, kernels);
  int64_t floats = 0, bias_floats = 0;
  for (const Panel& p : packed.panels) {
    floats += packed.panel_floats(p);
    packed.bias_offset.push_back(bias_floats);
    bias_floats += p.ob * kBlock;
  }
  packed.weights = Arena(static_cast<size_t>(floats) * sizeof(float));
  if (bias) packed.bias = Arena(static_cast<size_t>(bias_floats) * sizeof(float));
  run_team(threads, [&](Team& team) {
    const Range mine = share(static_cast<int64_t>(packed.panels.size()), team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) pack_panel(s, packed, static_cast<size_t>(i), weight, bias);
  });
  return packed;
}

PackedDepthwise pack_depthwise(const ConvShape& s, const float* weight, const float* bias) {
  PackedDepthwise packed;
  const int64_t cg = s.cg(), blocks = ceil_div(s.k, kBlock);
  packed.steps = s.r * cg * s.s;
  packed.weights = Arena(static_cast<size_t>(blocks * packed.steps * kBlock) * sizeof(float));
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t c = 0; c < cg; ++c)
      for (int64_t r = 0; r < s.r; ++r)
        for (int64_t t = 0; t < s.s; ++t) {
          const int64_t d = c ^ (k % cg), step = k / kBlock * packed.steps + (r * cg + d) * s.s + t;
          packed.weights.data()[step * kBlock + k % kBlock] = weight[((k * cg + c) * s.r + r) * s.s + t];
        }
  if (!bias) return packed;
  packed.bias = Arena(static_cast<size_t>(blocks * kBlock) * sizeof(float));
  std::copy(bias, bias + s.k, packed.bias.data());
  return packed;
}

DwKind depthwise_kind(const ConvShape& s) {
  if (s.cg() > 1)
    return s.s != 3 || s.dil_w > 1 || s.stride_w > 2 ? group_of_any : s.stride_w == 1 ? group_3s1 : group_3s2;
  const bool square = s.r == s.s && s.dil_h == 1 && s.dil_w == 1 && s.stride_h == s.stride_w && s.k == s.c;
  if (square && s.s == 3 && s.stride_w <= 2) return s.stride_w == 1 ? dw_3s1 : dw_3s2;
  if (square && s.s == 5 && s.stride_w <= 2) return s.stride_w == 1 ? dw_5s1 : dw_5s2;
  return dw_any;
}

}  // namespace cnnkern
