// im2col + GEMM: the patches of a chunk of output pixels, written out, times the weights. Serves every shape, and
// filters too large for the row tables of the direct form.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"
#include "scale_shift.h"

namespace cnnkern {
namespace {

class ConvIm2col final : public Op {
 public:
  explicit ConvIm2col(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), x_(a.x), y_(a.y), e_(a.epilogue),
        prologue_(a.scale, a.shift, a.scale ? a.shape.c : 0, a.prologue),
        packed_(pack_conv(a.shape, a.plan, a.kernels, a.weight, a.bias, a.threads)) {}

  // One patch matrix a member: a row of output pixels, all channels of all taps.
  int64_t workspace_floats(int threads) const override { return threads * s_.q * patch(); }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    float* patches = ctx.workspace + team.rank() * s_.q * patch();
    const Range lines = share(s_.n * s_.p, team.size(), team.rank());
    for (int64_t line = lines.begin; line < lines.end; ++line) {
      const int64_t n = line / s_.p, p = line % s_.p;
      for (int64_t q = 0; q < s_.q; ++q) gather(ctx, x, n, p, q, patches + q * patch());
      for (size_t i = 0; i < packed_.panels.size(); ++i) multiply(ctx, patches, y, res, i, n, p);
    }
  }

 private:
  // A patch is [group][r][s][c of the group]: a panel reads one contiguous run.
  int64_t patch() const { return s_.c * s_.r * s_.s; }

  void gather(const RunContext& ctx, const TensorView& x, int64_t n, int64_t p, int64_t q, float* out) const {
    const int64_t cg = packed_.c;
    for (int64_t c0 = 0; c0 < s_.c; c0 += cg)
      for (int64_t r = 0; r < s_.r; ++r)
        for (int64_t c = 0; c < s_.s; ++c, out += cg) {
          const int64_t ih = p * s_.stride_h - s_.pad_t + r * s_.dil_h, iw = q * s_.stride_w - s_.pad_l + c * s_.dil_w;
          if (ih < 0 || ih >= s_.h || iw < 0 || iw >= s_.w) {
            ctx.kernels->fill(out, cg, 0.0f);
          } else if (prologue_.present()) {
            prologue_.apply(ctx.kernels, x.at(n, ih, iw) + c0, x.sw, out, cg, 1, {c0, c0 + cg});
          } else {
            const CopyRow row{x.at(n, ih, iw) + c0 * x.sc, x.sc, out, 1, cg};
            ctx.kernels->copy(&row);
          }
        }
  }

  void multiply(const RunContext& ctx, const float* patches, const TensorView& y, const TensorView& res, size_t i,
                int64_t n, int64_t p) const {
    PanelPrefetch prefetch = packed_.after(i);
    ConvTile t = packed_.tile(i, e_);
    t.klen = packed_.taps * packed_.c;
    t.x_px = patch();
    t.y_px = y.sw;
    t.res_px = res.sw;
    run_line(ctx.kernels, e_, packed_.panels[i], t, patches + packed_.panels[i].c0 / packed_.c * t.klen, y.at(n, p, 0),
             res.data ? res.at(n, p, 0) : nullptr, s_.q, &prefetch);
  }

  ConvShape s_;
  ConvPlan plan_;
  TensorRef x_, y_;
  Epilogue e_;
  ScaleShift prologue_;
  PackedConv packed_;
};

}  // namespace

std::unique_ptr<Op> make_conv_im2col(const ConvArgs& a) { return std::make_unique<ConvIm2col>(a); }

}  // namespace cnnkern
