// Depthwise convolution, and that of groups of 2, 4 or 8 channels: bands of whole rows, one block of 16 channels at a
// time. A member's rows are those that it has when the layers around split by pixels, so that they are in its caches.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"

namespace cnnkern {
namespace {

class ConvDepthwise final : public Op {
 public:
  explicit ConvDepthwise(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), x_(a.x), y_(a.y), e_(a.epilogue),
        packed_(pack_depthwise(a.shape, a.weight, a.bias)), kind_(depthwise_kind(a.shape)),
        blocks_(ceil_div(a.shape.k, kBlock)) {}

  // With a multiplier m, output channel k reads input channel k / m: the input is widened first, an image at a time.
  int64_t workspace_floats(int) const override { return multiplier() == 1 ? 0 : s_.h * s_.w * s_.k; }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    if (multiplier() == 1) return rows(ctx, team, x, y, res);
    for (int64_t n = 0; n < s_.n; ++n) {
      if (n) team.barrier();
      const TensorView wide = widen(ctx, team, x, n);
      team.barrier();
      rows(ctx, team, wide, image(y, n), image(res, n));
    }
  }

 private:
  int64_t multiplier() const { return s_.k / s_.c; }

  static TensorView image(TensorView v, int64_t n) {
    if (v.data) v.data = v.at(n, 0, 0);
    v.n = 1;
    return v;
  }

  TensorView widen(const RunContext& ctx, Team& team, const TensorView& x, int64_t n) const {
    TensorView wide;
    wide.data = ctx.workspace;
    wide.n = 1, wide.h = s_.h, wide.w = s_.w, wide.c = s_.k;
    wide.sw = s_.k, wide.sh = s_.w * s_.k, wide.sn = s_.h * wide.sh;
    const int64_t m = multiplier();
    const Range mine = share(s_.h, team.size(), team.rank());
    for (int64_t ih = mine.begin; ih < mine.end; ++ih)
      for (int64_t iw = 0; iw < s_.w; ++iw)
        for (int64_t j = 0; j < m; ++j) {
          const CopyRow row{x.at(n, ih, iw), x.sc, wide.at(0, ih, iw) + j, m, s_.c};
          ctx.kernels->copy(&row);
        }
    return wide;
  }

  // Units are bands of rows, with all blocks of them where there are enough.
  void rows(const RunContext& ctx, Team& team, const TensorView& x, const TensorView& y, const TensorView& res) const {
    const int64_t wanted = kUnits * team.size(), most = std::min(plan_.band_rows, kMaxTaps / s_.r);
    const int64_t bands = ceil_div(s_.p, std::max<int64_t>(1, std::min(most, y.n * s_.p / wanted)));
    const int64_t parts = std::min(blocks_, ceil_div(wanted, std::max<int64_t>(1, y.n * bands)));
    Units units(team, y.n * bands * parts);
    for (int64_t u; units.next(&u);) {
      const Range band = share(s_.p, bands, u / parts % bands), mine = share(blocks_, parts, u % parts);
      for (int64_t i = mine.begin; i < mine.end; ++i) block(ctx, x, y, res, u / parts / bands, band, i);
    }
  }

  void block(const RunContext& ctx, const TensorView& x, const TensorView& y, const TensorView& res, int64_t n, Range p,
             int64_t i) const {
    DwBand t = packed_.band(s_, e_, i);
    const float* rows[kMaxTaps];
    t.rows = rows;
    t.height = p.end - p.begin;
    for (int64_t j = 0; j < t.height * s_.r; ++j) {
      const int64_t ih = (p.begin + j / s_.r) * s_.stride_h - s_.pad_t + j % s_.r * s_.dil_h;
      rows[j] = ih >= 0 && ih < s_.h ? x.at(n, ih, 0) - s_.pad_l * x.sw : nullptr;
    }
    t.x_col = x.sw;
    t.y = y.at(n, p.begin, 0) + t.channel;
    t.y_px = y.sw;
    t.y_row = y.sh;
    if (res.data) t.res = res.at(n, p.begin, 0) + t.channel;
    t.res_px = res.sw;
    t.res_row = res.sh;
    ctx.kernels->dw[kind_](&t);
    for (int64_t r = 0; r < t.height; ++r) e_.finish(ctx.kernels, t.y + r * t.y_row, t.px, t.y_px, t.valid);
  }

  static constexpr int64_t kUnits = 4;  // for each member
  ConvShape s_;
  ConvPlan plan_;
  TensorRef x_, y_;
  Epilogue e_;
  PackedDepthwise packed_;
  DwKind kind_;
  int64_t blocks_;
};

}  // namespace

std::unique_ptr<Op> make_conv_depthwise(const ConvArgs& a) { return std::make_unique<ConvDepthwise>(a); }

}  // namespace cnnkern
