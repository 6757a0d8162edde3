// Direct convolution of any shape. The input of a band of output rows is first packed into padded rows (so that tiles
// never meet an edge), scaled and shifted on the way where that is asked for; then tiles run over output rows and weight
// panels. Planes of a few channels, what stems read, stay planes. Bands go to the members of a team one each, or, where
// weights are many, one band at a time is shared by the whole team.
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

  int64_t workspace_floats(int threads) const override { return (plan_.shared ? 1 : threads) * band_floats(); }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    const int64_t packs = ceil_div(s_.n, plan_.band_images) * ceil_div(s_.p, plan_.band_rows);
    if (!plan_.shared) {
      float* scratch = ctx.workspace + team.rank() * band_floats();
      Units bands(team, packs);
      for (int64_t i; bands.next(&i);) {
        const Band b = band(i);
        pack(ctx, x, scratch, b, {0, b.images * in_rows(b)});
        for (size_t panel = 0; panel < packed_.panels.size(); ++panel)
          rows(ctx, y, res, scratch, b, panel, {0, b.images * b.rows});
      }
      return;
    }
    for (int64_t i = 0; i < packs; ++i) {
      const Band b = band(i);
      if (i) team.barrier();  // the last band is still being read
      pack(ctx, x, ctx.workspace, b, share(b.images * in_rows(b), team.size(), team.rank()));
      team.barrier();
      // Rows are split while every member gets a few; then channels are, so that each keeps its panels to itself.
      const int64_t lines = b.images * b.rows, panels = static_cast<int64_t>(packed_.panels.size());
      const bool by_rows = lines >= 4 * team.size() || panels < team.size();
      const int64_t parts = by_rows ? std::min(lines, team.size() * ceil_div(kUnits, panels)) : 1;
      Units units(team, parts * panels);
      for (int64_t u; units.next(&u);) rows(ctx, y, res, ctx.workspace, b, u % panels, share(lines, parts, u / panels));
    }
  }

 private:
  // Output rows [p0, p0 + rows) of images [n0, n0 + images).
  struct Band {
    int64_t n0, images, p0, rows;
  };

  Band band(int64_t i) const {
    const int64_t cuts = ceil_div(s_.p, plan_.band_rows), n0 = i / cuts * plan_.band_images;
    const Range p = share(s_.p, cuts, i % cuts);
    return {n0, std::min(plan_.band_images, s_.n - n0), p.begin, p.end - p.begin};
  }

  // Of an image.
  int64_t in_rows(const Band& b) const { return (b.rows - 1) * s_.stride_h + (s_.r - 1) * s_.dil_h + 1; }
  int64_t band_floats() const { return plan_.band_images * in_rows({0, 0, 0, plan_.band_rows}) * row_floats_; }

  // Input rows `mine` of a band, image after image, into their places, with the columns that padding adds. Rows that are
  // all padding are left out: tiles skip them.
  void pack(const RunContext& ctx, const TensorView& x, float* scratch, const Band& b, Range mine) const {
    const int64_t count = in_rows(b), px = plan_.scratch_px;
    const int64_t left = s_.pad_l, cols = std::max<int64_t>(0, std::min(x.w, in_cols_ - left));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t ih = b.p0 * s_.stride_h - s_.pad_t + i % count;
      if (ih < 0 || ih >= s_.h) continue;
      const float* from = x.at(b.n0 + i / count, ih, 0);
      float* out = scratch + i * row_floats_;
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

  // Output rows `lines` of a band, image after image, through panel i.
  void rows(const RunContext& ctx, const TensorView& y, const TensorView& res, const float* scratch, const Band& b,
            size_t i, Range lines) const {
    PanelPrefetch prefetch = packed_.after(i);
    for (int64_t l = lines.begin; l < lines.end; ++l) {
      const float* top = scratch + (l / b.rows * in_rows(b) + l % b.rows * s_.stride_h) * row_floats_;
      row(ctx, y, res, top, i, b.n0 + l / b.rows, b.p0 + l % b.rows, &prefetch);
    }
  }

  // Output row p of one panel; `packed` is where its window begins.
  void row(const RunContext& ctx, const TensorView& y, const TensorView& res, const float* packed, size_t i, int64_t n,
           int64_t p, PanelPrefetch* prefetch) const {
    const Panel& panel = packed_.panels[i];
    const int64_t top = p * s_.stride_h - s_.pad_t, x_px = s_.stride_w * plan_.scratch_px;
    const float* base = packed + panel.c0;
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
  int64_t in_cols_, row_floats_;
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
