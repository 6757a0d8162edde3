// 1x1 convolution and every matrix product: tiles read the input where it lies.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"

namespace cnnkern {
namespace {

class ConvPointwise final : public Op {
 public:
  explicit ConvPointwise(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), x_(a.x), y_(a.y), e_(a.epilogue),
        packed_(pack_conv(a.shape, a.plan, a.kernels, a.weight, a.bias, a.threads)) {
    // Where pixels follow each other at one stride in every tensor, the whole batch is one long line.
    const bool unit = s_.stride_h == 1 && s_.stride_w == 1;
    const bool res_flat = !e_.residual.present() || e_.residual.view.images_flat();
    flat_ = unit && x_.view.images_flat() && y_.view.images_flat() && res_flat;
    // A batch of vectors (h = w = 1) has its pixels one image apart.
    vectors_ = !flat_ && s_.p == 1 && s_.q == 1;
    lines_ = flat_ || vectors_ ? 1 : s_.n * s_.p;
    length_ = flat_ ? s_.n * s_.p * s_.q : vectors_ ? s_.n : s_.q;
  }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    const int64_t panels = static_cast<int64_t>(packed_.panels.size());
    const int64_t tiles = lines_ * ceil_div(length_, plan_.px);  // of the widest panels: only steers the split
    // The larger operand is split, so that each member streams its own half of it.
    const int64_t x_floats = lines_ * length_ * s_.c, w_floats = s_.k * s_.cg();
    const bool by_pixels = panels < team.size() || (tiles >= 4 * team.size() && 4 * x_floats >= w_floats);
    const Range mine = by_pixels ? Range{0, panels} : share(panels, team.size(), team.rank());
    const Range pixels = by_pixels ? share(tiles, team.size(), team.rank()) : Range{0, tiles};
    // Pixels are taken in chunks whose input stays in L2 while all panels pass over it.
    const int64_t chunk = std::max<int64_t>(1, kChunkFloats / (plan_.px * std::max<int64_t>(1, s_.c)));
    for (int64_t t0 = pixels.begin; t0 < pixels.end; t0 += chunk) {
      const Range part{t0, std::min(pixels.end, t0 + chunk)};
      for (int64_t i = mine.begin; i < mine.end; ++i) {
        const int64_t next = i + 1 < mine.end ? i + 1 : mine.begin;
        PanelPrefetch prefetch(packed_.panel(next), packed_.panel_floats(packed_.panels[next]));
        panel(ctx, x, y, res, static_cast<size_t>(i), part, tiles, &prefetch);
      }
    }
  }

 private:
  // The tiles of one panel that begin within `part` of `parts` equal parts of all its tiles: tile borders depend on the
  // shape alone, so the split never changes what is computed.
  void panel(const RunContext& ctx, const TensorView& x, const TensorView& y, const TensorView& res, size_t i,
             Range part, int64_t parts, PanelPrefetch* prefetch) const {
    const Panel& panel = packed_.panels[i];
    const int64_t per_line = ceil_div(length_, panel.px), total = lines_ * per_line;
    const float* rows[1];
    ConvTile t = packed_.tile(i, e_);
    t.rows = rows;
    t.nrows = 1;
    t.klen = packed_.c;
    t.x_px = vectors_ ? x.sn : s_.stride_w * x.sw;
    t.y_px = vectors_ ? y.sn : y.sw;
    t.res_px = vectors_ ? res.sn : res.sw;
    for (int64_t tile = total * part.begin / parts; tile < total * part.end / parts; ++tile) {
      const int64_t line = tile / per_line, n = flat_ ? 0 : line / s_.p, p = flat_ ? 0 : line % s_.p;
      const Range q = share(length_, per_line, tile % per_line);
      rows[0] = x.at(n, p * s_.stride_h, 0) + q.begin * t.x_px + panel.c0;
      t.y = y.at(n, p, 0) + q.begin * t.y_px + panel.k0;
      t.res = res.data ? res.at(n, p, 0) + q.begin * t.res_px + panel.k0 : nullptr;
      prefetch->arm(&t);
      ctx.kernels->conv[panel.ob][q.end - q.begin](&t);
      e_.finish(ctx.kernels, t.y, q.end - q.begin, t.y_px, t.valid);
    }
  }

  static constexpr int64_t kChunkFloats = 48 * 1024;  // 192 KiB: a fifth of a 1 MiB L2, beside two weight panels
  ConvShape s_;
  ConvPlan plan_;
  TensorRef x_, y_;
  Epilogue e_;
  PackedConv packed_;
  bool flat_, vectors_;
  int64_t lines_, length_;
};

}  // namespace

std::unique_ptr<Op> make_conv_pointwise(const ConvArgs& a) { return std::make_unique<ConvPointwise>(a); }

}  // namespace cnnkern
