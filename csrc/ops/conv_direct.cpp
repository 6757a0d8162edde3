// Direct convolution of any shape. The input of a band of output rows is first packed into padded rows (so that tiles
// never meet an edge), scaled and shifted on the way where that is asked for; then tiles run over output rows and weight
// panels. Planes of a few channels, what stems read, stay planes.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"
#include "scale_shift.h"

namespace cnnkern {
namespace {

class ConvDirect final : public Op {
 public:
  explicit ConvDirect(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), x_(a.x), y_(a.y), e_(a.epilogue),
        prologue_(a.scale, a.shift, a.scale ? a.shape.c : 0, a.prologue),
        packed_(pack_conv(a.shape, a.plan, a.kernels, a.weight, a.bias, a.threads)) {
    in_rows_ = (plan_.band_rows - 1) * s_.stride_h + (s_.r - 1) * s_.dil_h + 1;
    in_cols_ = (s_.q - 1) * s_.stride_w + (s_.s - 1) * s_.dil_w + 1;
    row_floats_ = in_cols_ * (plan_.planar ? s_.c : plan_.scratch_px);
    // A filter row is one run of S*C floats where the packed pixels touch, S floats of every channel where channels lie
    // one after the other; else every tap is a run of its own.
    const bool touching = s_.dil_w == 1 && plan_.scratch_px == s_.c && s_.groups == plan_.merge;
    const int64_t per_row = plan_.planar ? s_.c : touching ? 1 : s_.s;
    const int64_t step = plan_.planar ? in_cols_ : s_.dil_w * plan_.scratch_px;
    for (int64_t r = 0; r < s_.r; ++r)
      for (int64_t i = 0; i < per_row; ++i) runs_.push_back({r * s_.dil_h, r * s_.dil_h * row_floats_ + i * step});
    run_length_ = s_.s * packed_.c / per_row;
  }

  int64_t workspace_floats(int) const override { return plan_.band_images * in_rows_ * row_floats_; }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    for (int64_t n0 = 0; n0 < s_.n; n0 += plan_.band_images) {
      const int64_t images = std::min(plan_.band_images, s_.n - n0);
      for (int64_t p0 = 0; p0 < s_.p; p0 += plan_.band_rows) {
        const int64_t rows = std::min(plan_.band_rows, s_.p - p0);
        if (n0 || p0) team.barrier();  // the last band is still being read
        pack(ctx, team, x, n0, images, p0, rows);
        team.barrier();
        compute(ctx, team, y, res, n0, images, p0, rows);
      }
    }
  }

 private:
  // Input row `ih` of an image into its place, with the columns that padding adds. Rows that are all padding are left
  // out: tiles skip them.
  void pack(const RunContext& ctx, Team& team, const TensorView& x, int64_t n0, int64_t images, int64_t p0,
            int64_t rows) const {
    const int64_t count = (rows - 1) * s_.stride_h + (s_.r - 1) * s_.dil_h + 1, px = plan_.scratch_px;
    const Range mine = share(images * count, team.size(), team.rank());
    const int64_t left = s_.pad_l, cols = std::max<int64_t>(0, std::min(x.w, in_cols_ - left));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t n = i / count, row = i % count, ih = p0 * s_.stride_h - s_.pad_t + row;
      if (ih < 0 || ih >= s_.h) continue;
      const float* from = x.at(n0 + n, ih, 0);
      float* out = ctx.workspace + (n * in_rows_ + row) * row_floats_;
      // Planes are packed as pixels of one float, one after the other.
      for (int64_t plane = 0; plane < (plan_.planar ? s_.c : 1); ++plane, from += x.sc, out += in_cols_) {
        const int64_t head = std::min(left, in_cols_), tail = in_cols_ - head - cols;
        if (head) ctx.kernels->fill(out, head * px, 0.0f);
        copy_pixels(ctx, x, from, out + head * px, cols);
        if (tail > 0) ctx.kernels->fill(out + (head + cols) * px, tail * px, 0.0f);
      }
    }
  }

  void copy_pixels(const RunContext& ctx, const TensorView& x, const float* from, float* to, int64_t cols) const {
    const int64_t px = plan_.scratch_px;
    if (plan_.planar) {
      const CopyRow c{from, x.sw, to, 1, cols};
      ctx.kernels->copy(&c);
    } else if (prologue_.present()) {
      prologue_.apply(ctx.kernels, from, x.sw, to, px, cols, {0, s_.c});
    } else if (x.channels_last() && x.sw == s_.c && px == s_.c) {
      const CopyRow c{from, 1, to, 1, cols * s_.c};
      ctx.kernels->copy(&c);
    } else if (x.channels_last()) {
      for (int64_t i = 0; i < cols; ++i) {
        const CopyRow c{from + i * x.sw, 1, to + i * px, 1, s_.c};
        ctx.kernels->copy(&c);
      }
    } else {
      for (int64_t ch = 0; ch < s_.c; ++ch) {
        const CopyRow c{from + ch * x.sc, x.sw, to + ch, px, cols};
        ctx.kernels->copy(&c);
      }
    }
  }

  void compute(const RunContext& ctx, Team& team, const TensorView& y, const TensorView& res, int64_t n0,
               int64_t images, int64_t p0, int64_t rows) const {
    // Rows are split while every member gets a few; then channels are, so that each keeps its panels to itself.
    const int64_t lines = images * rows, panels = static_cast<int64_t>(packed_.panels.size());
    const bool by_rows = lines >= 4 * team.size() || panels < team.size();
    const int64_t parts = by_rows ? std::min(lines, team.size() * ceil_div(kUnits, panels)) : 1;
    Units units(team, parts * panels);
    for (int64_t u; units.next(&u);) {
      const int64_t i = u % panels;
      const Range part = share(lines, parts, u / panels);
      PanelPrefetch prefetch = packed_.after(i);
      for (int64_t l = part.begin; l < part.end; ++l)
        row(ctx, y, res, i, l / rows, n0 + l / rows, p0, l % rows, &prefetch);
    }
  }

  // One output row of one panel.
  void row(const RunContext& ctx, const TensorView& y, const TensorView& res, size_t i, int64_t slot, int64_t n,
           int64_t p0, int64_t prow, PanelPrefetch* prefetch) const {
    const Panel& panel = packed_.panels[i];
    const int64_t p = p0 + prow, top = p * s_.stride_h - s_.pad_t, x_px = s_.stride_w * plan_.scratch_px;
    const float* base = ctx.workspace + (slot * in_rows_ + prow * s_.stride_h) * row_floats_ + panel.c0;
    const float* rows[kMaxTaps];
    ConvTile t = packed_.tile(i, e_);
    t.rows = rows;
    t.nrows = static_cast<int64_t>(runs_.size());
    t.klen = run_length_;
    t.x_px = x_px;
    t.y_px = y.sw;
    t.res_px = res.sw;
    const int64_t tiles = ceil_div(s_.q, panel.px);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const Range q = share(s_.q, tiles, tile);
      for (int64_t j = 0; j < t.nrows; ++j) {
        const int64_t ih = top + runs_[j].row;
        rows[j] = ih >= 0 && ih < s_.h ? base + runs_[j].offset + q.begin * x_px : nullptr;
      }
      t.y = y.at(n, p, q.begin) + panel.k0;
      t.res = res.data ? res.at(n, p, q.begin) + panel.k0 : nullptr;
      prefetch->arm(&t);
      ctx.kernels->conv[panel.ob][q.end - q.begin](&t);
      e_.finish(ctx.kernels, t.y, q.end - q.begin, t.y_px, t.valid);
    }
  }

  static constexpr int64_t kUnits = 8;  // for each member, where rows are split
  ConvShape s_;
  ConvPlan plan_;
  TensorRef x_, y_;
  Epilogue e_;
  ScaleShift prologue_;
  PackedConv packed_;
  int64_t in_rows_, in_cols_, row_floats_;
  // What a tile reads without a break: its input row within the window, and how far it lies from the window's begin.
  struct Run {
    int64_t row, offset;
  };
  std::vector<Run> runs_;
  int64_t run_length_;
};

}  // namespace

std::unique_ptr<Op> make_conv_direct(const ConvArgs& a) { return std::make_unique<ConvDirect>(a); }

}  // namespace cnnkern
