// Weights in the order the tiles read them: panels of up to `ob` blocks of 16 output channels, each one stream.
#pragma once

#include <algorithm>

#include "op.h"

namespace cnnkern {

struct Panel {
  int64_t offset;  // floats into the packed weights
  int64_t k0;      // first output channel
  int64_t c0;      // first input channel of its group
  int64_t valid;   // output channels, 1 .. 16*ob
  int ob;
  int px;          // longest tile of this width
};

// Walks the next panel a few lines per tile, so that it is in L2 when its turn comes.
class PanelPrefetch {
 public:
  PanelPrefetch(const float* begin, int64_t floats) : at_(begin), end_(begin + floats) {}
  void arm(ConvTile* t) {
    t->prefetch = at_;
    t->prefetch_step = at_ < end_ ? kBlock : 0;
    if (at_ < end_) at_ += t->nrows * t->klen * kBlock;
  }

 private:
  const float* at_;
  const float* end_;
};

// `length` pixels that follow each other through one panel, in tiles of nearly equal length. Of `t` the weights and the
// strides are set; x, y and res (or null) belong to the first pixel, the latter two to channel 0.
inline void run_line(const KernelTable* k, const Epilogue& e, const Panel& panel, ConvTile t, const float* x, float* y,
                     const float* res, int64_t length, PanelPrefetch* prefetch) {
  const float* rows[1];
  t.rows = rows;
  t.nrows = 1;
  const int64_t tiles = ceil_div(length, panel.px);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const Range q = share(length, tiles, tile);
    rows[0] = x + q.begin * t.x_px;
    t.y = y + q.begin * t.y_px + panel.k0;
    t.res = res ? res + q.begin * t.res_px + panel.k0 : nullptr;
    prefetch->arm(&t);
    k->conv[panel.ob][q.end - q.begin](&t);
    e.finish(k, t.y, q.end - q.begin, t.y_px, t.valid);
  }
}

struct PackedConv {
  Arena weights;
  Arena bias;                 // 16-aligned per panel; null when there is none
  std::vector<Panel> panels;  // by group, then by output channel
  std::vector<int64_t> bias_offset;
  int64_t c = 0;              // input channels a panel reads (those of a merged group)
  int64_t taps = 0;           // R*S
  int64_t run = 1;            // taps of a channel that follow each other: S where channels are outside of columns
  int64_t panel_floats(const Panel& p) const { return taps * c * p.ob * kBlock; }
  const float* panel(size_t i) const { return weights.data() + panels[i].offset; }
  const float* panel_bias(size_t i) const { return bias.data() ? bias.data() + bias_offset[i] : nullptr; }

  // Fetches the panel after panel i: whoever has one mostly takes that next.
  PanelPrefetch after(size_t i) const {
    const size_t next = (i + 1) % panels.size();
    return PanelPrefetch(panel(next), panel_floats(panels[next]));
  }

  // A tile of panel i with everything but its pixels: rows, y and res are the driver's to set.
  ConvTile tile(size_t i, const Epilogue& e) const {
    ConvTile t = {};
    t.w = t.prefetch = panel(i);
    t.bias = panel_bias(i);
    t.lo = e.lo;
    t.hi = e.hi;
    t.clamp = e.clamp;
    t.valid = panels[i].valid;
    return t;
  }
};

// weight: (K, C/groups, R, S) as users give it; bias: K floats or null. `px` caps the tile length.
PackedConv pack_conv(const ConvShape& shape, const ConvPlan& plan, const KernelTable* kernels, const float* weight,
                     const float* bias, int threads);

// The panels alone.
std::vector<Panel> make_panels(int64_t groups, int64_t c, int64_t k, int64_t taps, int64_t ob, int64_t px,
                               const KernelTable* kernels);

// Depthwise weights: [block of 16 channels][r][s][16], those of narrow groups [block][r][d][s][16] with d as the leaf
// says, zero beyond the last channel; biases likewise.
struct PackedDepthwise {
  Arena weights, bias;
  int64_t steps = 0;  // R * channels of a group * S
  const float* block(int64_t i) const { return weights.data() + i * steps * kBlock; }
  const float* block_bias(int64_t i) const { return bias.data() ? bias.data() + i * kBlock : nullptr; }

  // Whole rows of block i with everything but their place: rows, y, res and height are the driver's to set.
  DwBand band(const ConvShape& s, const Epilogue& e, int64_t i) const {
    DwBand t = {};
    t.channel = i * kBlock;
    t.nrows = s.r;
    t.taps = s.s;
    t.group = s.cg();
    t.stride = s.stride_w;
    t.dil = s.dil_w;
    t.col0 = s.pad_l;
    t.col1 = s.pad_l + s.w;
    t.w = block(i);
    t.bias = block_bias(i);
    t.lo = e.lo;
    t.hi = e.hi;
    t.clamp = e.clamp;
    t.valid = std::min<int64_t>(kBlock, s.k - t.channel);
    t.px = s.q;
    return t;
  }
};
PackedDepthwise pack_depthwise(const ConvShape& shape, const float* weight, const float* bias);

// The leaf for a shape.
DwKind depthwise_kind(const ConvShape& shape);

}  // namespace cnnkern
