// Depthwise convolution, and that of groups of 2, 4 or 8 channels: one block of 16 channels at a time, in bands of rows.
// Inside the image runs go along the row with all taps; the columns whose taps leave the image run downwards, with the
// taps that remain.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"

namespace cnnkern {
namespace {

class ConvDepthwise final : public Op {
 public:
  explicit ConvDepthwise(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), x_(a.x), y_(a.y), e_(a.epilogue),
        packed_(pack_depthwise(a.shape, a.weight, a.bias)), inner_kind_(depthwise_kind(a.shape)),
        edge_kind_(a.plan.algo == ConvAlgo::grouped ? group_of_any : dw_any) {
    inner_q_ = inner(s_.q, s_.w, s_.s, s_.stride_w, s_.dil_w, s_.pad_l);
    inner_p_ = inner(s_.p, s_.h, s_.r, s_.stride_h, s_.dil_h, s_.pad_t);
  }

  // With a multiplier m, output channel k reads input channel k / m: the input is widened first, an image at a time.
  int64_t workspace_floats(int) const override { return multiplier() == 1 ? 0 : s_.h * s_.w * s_.k; }

  void run(const RunContext& ctx, Team& team) const override {
    TensorView x = ctx(x_);
    const TensorView y = ctx(y_), res = ctx(e_.residual);
    const int64_t blocks = ceil_div(s_.k, kBlock), bands = ceil_div(s_.p, plan_.band_rows);
    if (multiplier() == 1) {
      const Range mine = share(s_.n * bands * blocks, team.size(), team.rank());
      // Channel blocks outermost within an image: neighbouring bands of a block share input rows in L1 or L2. For groups
      // bands are: all blocks of a band read the same rows.
      const bool by_band = plan_.algo == ConvAlgo::grouped;
      for (int64_t i = mine.begin; i < mine.end; ++i)
        band(ctx, x, y, res, i / (bands * blocks), by_band ? i / blocks % bands : i % bands,
             by_band ? i % blocks : i / bands % blocks, 0);
      return;
    }
    for (int64_t n = 0; n < s_.n; ++n) {
      if (n) team.barrier();
      const TensorView wide = widen(ctx, team, x, n);
      team.barrier();
      const Range mine = share(bands * blocks, team.size(), team.rank());
      for (int64_t i = mine.begin; i < mine.end; ++i) band(ctx, wide, y, res, n, i % bands, i / bands, n);
    }
  }

 private:
  int64_t multiplier() const { return s_.k / s_.c; }

  // Outputs [begin, end) all of whose taps lie inside the image.
  static Range inner(int64_t outputs, int64_t size, int64_t taps, int64_t stride, int64_t dil, int64_t pad) {
    const int64_t begin = std::min(outputs, ceil_div(std::max<int64_t>(pad, 0), stride));
    const int64_t room = size - 1 + pad - (taps - 1) * dil;
    const int64_t end = room < 0 ? begin : std::min(outputs, room / stride + 1);
    return {begin, std::max(begin, end)};
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

  // x_base: the image number that x's first image stands for.
  void band(const RunContext& ctx, const TensorView& x, const TensorView& y, const TensorView& res, int64_t n,
            int64_t band, int64_t block, int64_t x_base) const {
    const int64_t p0 = band * plan_.band_rows, p1 = std::min(s_.p, p0 + plan_.band_rows);
    if (inner_q_.end > inner_q_.begin)
      for (int64_t p = p0; p < p1; ++p) run_of(ctx, x, y, res, n - x_base, n, block, inner_kind_, {p, p + 1}, inner_q_);
    for (int64_t q = 0; q < s_.q; ++q) {
      if (q == inner_q_.begin) q = inner_q_.end;
      if (q >= s_.q) break;
      column(ctx, x, y, res, n - x_base, n, block, p0, p1, q);
    }
  }

  // Column q of rows [p0, p1): rows with all taps together, the others one by one.
  void column(const RunContext& ctx, const TensorView& x, const TensorView& y, const TensorView& res, int64_t xn,
              int64_t n, int64_t block, int64_t p0, int64_t p1, int64_t q) const {
    const int64_t a = std::min(std::max(p0, inner_p_.begin), p1), b = std::max(a, std::min(p1, inner_p_.end));
    for (int64_t p = p0; p < a; ++p) run_of(ctx, x, y, res, xn, n, block, edge_kind_, {p, p + 1}, {q, q + 1});
    if (b > a) run_of(ctx, x, y, res, xn, n, block, edge_kind_, {a, b}, {q, q + 1});
    for (int64_t p = b; p < p1; ++p) run_of(ctx, x, y, res, xn, n, block, edge_kind_, {p, p + 1}, {q, q + 1});
  }

  // Outputs p x q, one of the two ranges being a single row or column. Taps outside the image are left out.
  void run_of(const RunContext& ctx, const TensorView& x, const TensorView& y, const TensorView& res, int64_t xn,
              int64_t n, int64_t block, int kind, Range p, Range q) const {
    const bool down = p.end - p.begin > 1;
    const int64_t iw = q.begin * s_.stride_w - s_.pad_l, c0 = block * kBlock;
    const float* rows[kMaxTaps];
    for (int64_t r = 0; r < s_.r; ++r) {
      const int64_t ih = p.begin * s_.stride_h - s_.pad_t + r * s_.dil_h;
      rows[r] = ih >= 0 && ih < s_.h ? x.at(xn, ih, 0) + iw * x.sw + c0 : nullptr;
    }
    DwRun t = {};
    t.rows = rows;
    t.nrows = s_.r;
    t.taps = s_.s;
    t.group = s_.cg();
    t.s0 = 0;
    t.s1 = s_.s;
    while (t.s0 < t.s1 && iw + t.s0 * s_.dil_w < 0) ++t.s0;
    while (t.s1 > t.s0 && iw + (t.s1 - 1) * s_.dil_w >= s_.w) --t.s1;
    t.x_tap = s_.dil_w * x.sw;
    t.x_px = down ? s_.stride_h * x.sh : s_.stride_w * x.sw;
    t.w = packed_.block(block);
    t.y = y.at(n, p.begin, q.begin) + c0;
    t.y_px = down ? y.sh : y.sw;
    t.bias = packed_.block_bias(block);
    t.lo = e_.lo;
    t.hi = e_.hi;
    t.clamp = e_.clamp;
    t.valid = std::min<int64_t>(kBlock, s_.k - c0);
    t.px = std::max(p.end - p.begin, q.end - q.begin);
    if (res.data) {
      t.res = res.at(n, p.begin, q.begin) + c0;
      t.res_px = down ? res.sh : res.sw;
    }
    ctx.kernels->dw[kind](&t);
    e_.finish(ctx.kernels, t.y, t.px, t.y_px, t.valid);
  }

  ConvShape s_;
  ConvPlan plan_;
  TensorRef x_, y_;
  Epilogue e_;
  PackedDepthwise packed_;
  DwKind inner_kind_, edge_kind_;  // leaves: where all taps lie inside the image, and elsewhere
  Range inner_q_, inner_p_;
};

}  // namespace

std::unique_ptr<Op> make_conv_depthwise(const ConvArgs& a) { return std::make_unique<ConvDepthwise>(a); }

}  // namespace cnnkern
