// 1x1 convolution and every matrix product: tiles read the input where it lies, or, where it is scaled and shifted first,
// a pack of it that is made a chunk at a time.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"
#include "scale_shift.h"

namespace cnnkern {
namespace {

class ConvPointwise final : public Op {
 public:
  explicit ConvPointwise(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), x_(a.x), y_(a.y), e_(a.epilogue),
        prologue_(a.scale, a.shift, a.scale ? a.shape.c : 0, a.prologue),
        packed_(pack_conv(a.shape, a.plan, a.kernels, a.weight, a.bias, a.threads)) {
    // Where pixels follow each other at one stride in every tensor, the whole batch is one long line.
    const bool unit = s_.stride_h == 1 && s_.stride_w == 1;
    const bool res_flat = !e_.residual.present() || e_.residual.view.images_flat();
    flat_ = unit && x_.view.images_flat() && y_.view.images_flat() && res_flat;
    // A batch of vectors (h = w = 1) has its pixels one image apart.
    vectors_ = !flat_ && s_.p == 1 && s_.q == 1;
    lines_ = flat_ || vectors_ ? 1 : s_.n * s_.p;
    length_ = flat_ ? s_.n * s_.p * s_.q : vectors_ ? s_.n : s_.q;
    per_line_ = ceil_div(length_, plan_.px);
    cells_ = lines_ * per_line_;
    // Pixels are taken in chunks whose input stays in L2 while all panels pass over it.
    chunk_ = std::max<int64_t>(1, kChunkFloats / (plan_.px * std::max<int64_t>(1, s_.c)));
  }

  // With a prologue: the chunk of each member, or all pixels, which every member then reads.
  int64_t workspace_floats(int threads) const override {
    if (!prologue_.present()) return 0;
    return (by_pixels(threads) ? threads * std::min(chunk_, cells_) : cells_) * cell_floats();
  }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    if (prologue_.present()) return run_scaled(ctx, team, x, y, res);
    const int64_t panels = count();
    if (by_pixels(team.size())) {
      const int64_t parts = pixel_parts(team.size());
      Units units(team, parts * panels);
      for (int64_t u; units.next(&u);) panel(ctx, x, nullptr, y, res, u % panels, share(cells_, parts, u / panels));
    } else {  // panel after panel; few or unequal ones are cut, so that the team is done together
      const int64_t parts = std::max<int64_t>(1, std::min(cells_, ceil_div(kUnits, panels)));
      Units units(team, parts * panels);
      for (int64_t u; units.next(&u);) panel(ctx, x, nullptr, y, res, u / parts, share(cells_, parts, u % parts));
    }
  }

 private:
  // The pixels that the widest tile takes at once, [begin, end) of a line: what the team splits, packs and tiles, so that
  // neither tiles nor what is packed depend on the split.
  struct Cell {
    int64_t n, p, begin, end;
  };

  Cell cell(int64_t i) const {
    const int64_t line = i / per_line_;
    const Range q = share(length_, per_line_, i % per_line_);
    return {flat_ ? 0 : line / s_.p, flat_ ? 0 : line % s_.p, q.begin, q.end};
  }

  int64_t cell_floats() const { return plan_.px * plan_.scratch_px; }
  int64_t x_px(const TensorView& x) const { return vectors_ ? x.sn : s_.stride_w * x.sw; }
  const float* source(const TensorView& x, const Cell& c) const {
    return x.at(c.n, c.p * s_.stride_h, 0) + c.begin * x_px(x);
  }

  int64_t count() const { return static_cast<int64_t>(packed_.panels.size()); }

  // The larger operand is split, so that each member streams its own half of it; what is scaled, even into uneven parts:
  // nobody then waits for what another packs.
  bool by_pixels(int64_t team) const {
    const int64_t x_floats = lines_ * length_ * s_.c, w_floats = s_.k * s_.cg();
    return count() < team || (cells_ >= (prologue_.present() ? 2 : 4) * team && 4 * x_floats >= w_floats);
  }

  // Chunks, as many for each member; with few panels smaller ones, or there would be too few units to even a team out.
  int64_t pixel_parts(int64_t team) const {
    return std::min(cells_, team * std::max(ceil_div(cells_, team * chunk_), ceil_div(kUnits, count())));
  }

  // What is scaled is packed by whoever reads it, so every member keeps its share.
  void run_scaled(const RunContext& ctx, Team& team, const TensorView& x, const TensorView& y,
                  const TensorView& res) const {
    const bool split = by_pixels(team.size());
    const Range mine = split ? Range{0, count()} : share(count(), team.size(), team.rank());
    const Range part = share(cells_, team.size(), team.rank()), pixels = split ? part : Range{0, cells_};
    float* scratch = ctx.workspace;
    if (split) {
      scratch += team.rank() * std::min(chunk_, cells_) * cell_floats();
    } else {
      scale(ctx, x, part, scratch + part.begin * cell_floats());
      team.barrier();
    }
    for (int64_t t0 = pixels.begin; t0 < pixels.end; t0 += chunk_) {
      const Range chunk{t0, std::min(pixels.end, t0 + chunk_)};
      if (split) scale(ctx, x, chunk, scratch);
      const float* scaled = split ? scratch : scratch + t0 * cell_floats();
      for (int64_t i = mine.begin; i < mine.end; ++i) panel(ctx, x, scaled, y, res, i, chunk);
    }
  }

  void scale(const RunContext& ctx, const TensorView& x, Range cells, float* to) const {
    for (int64_t i = cells.begin; i < cells.end; ++i, to += cell_floats()) {
      const Cell c = cell(i);
      prologue_.apply(ctx.kernels, source(x, c), x_px(x), to, plan_.scratch_px, c.end - c.begin, {0, s_.c});
    }
  }

  // Panel i over cells; `scaled` is the first one's pack, or null: x is read where it lies.
  void panel(const RunContext& ctx, const TensorView& x, const float* scaled, const TensorView& y,
             const TensorView& res, int64_t i, Range cells) const {
    PanelPrefetch prefetch = packed_.after(i);
    ConvTile t = packed_.tile(i, e_);
    t.klen = packed_.c;
    t.x_px = scaled ? plan_.scratch_px : x_px(x);
    t.y_px = vectors_ ? y.sn : y.sw;
    t.res_px = vectors_ ? res.sn : res.sw;
    for (int64_t at = cells.begin; at < cells.end; ++at) {
      const Cell c = cell(at);
      const float* from = (scaled ? scaled + (at - cells.begin) * cell_floats() : source(x, c)) + packed_.panels[i].c0;
      run_line(ctx.kernels, e_, packed_.panels[i], t, from, y.at(c.n, c.p, 0) + c.begin * t.y_px,
               res.data ? res.at(c.n, c.p, 0) + c.begin * t.res_px : nullptr, c.end - c.begin, &prefetch);
    }
  }

  static constexpr int64_t kUnits = 8;  // for each member where pixels are split, for all where panels are
  static constexpr int64_t kChunkFloats = 48 * 1024;  // 192 KiB: a fifth of a 1 MiB L2, beside two weight panels
  ConvShape s_;
  ConvPlan plan_;
  TensorRef x_, y_;
  Epilogue e_;
  ScaleShift prologue_;
  PackedConv packed_;
  bool flat_, vectors_;
  int64_t lines_, length_, per_line_, cells_, chunk_;
};

}  // namespace

std::unique_ptr<Op> make_conv_pointwise(const ConvArgs& a) { return std::make_unique<ConvPointwise>(a); }

}  // namespace cnnkern
