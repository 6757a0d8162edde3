#include "conv_pack.h"

#include <algorithm>
#include <cstring>

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

PackedConv pack_conv(const ConvShape& s, const ConvPlan& plan, const KernelTable* kernels, const float* weight,
                     const float* bias) {
  PackedConv packed;
  const int64_t groups = s.groups / plan.merge;
  const int64_t cg = s.cg(), kg = s.kg(), c = cg * plan.merge, k = kg * plan.merge;
  packed.c = c;
  packed.taps = s.r * s.s;
  packed.panels = make_panels(groups, c, k, packed.taps, plan.ob, plan.px, kernels);
  int64_t floats = 0, bias_floats = 0;
  for (const Panel& p : packed.panels) {
    floats += packed.panel_floats(p);
    packed.bias_offset.push_back(bias_floats);
    bias_floats += p.ob * kBlock;
  }
  packed.weights = Arena(static_cast<size_t>(floats) * sizeof(float));
  if (bias) packed.bias = Arena(static_cast<size_t>(bias_floats) * sizeof(float));
  const int64_t taps = packed.taps;
  for (size_t i = 0; i < packed.panels.size(); ++i) {
    const Panel& p = packed.panels[i];
    float* out = packed.weights.data() + p.offset;
    const int64_t lanes = p.ob * kBlock;
    for (int64_t j = 0; j < p.valid; ++j) {
      const int64_t ko = p.k0 + j;
      if (bias) packed.bias.data()[packed.bias_offset[i] + j] = bias[ko];
      // Within merged groups only the channels of ko's own group have weights; the rest stay zero.
      const int64_t first = ko / kg * cg - p.c0;
      const float* src = weight + ko * cg * taps;
      for (int64_t ci = 0; ci < cg; ++ci)
        for (int64_t t = 0; t < taps; ++t) out[(t * c + first + ci) * lanes + j] = src[ci * taps + t];
    }
  }
  return packed;
}

}  // namespace cnnkern
