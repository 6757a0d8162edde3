// An inverted residual block (1x1 expand, depthwise, perhaps a 1x1 project) by output rows: the wide tensor in between
// lives in a ring of as many rows as the depthwise filter is high, and never leaves L2.
//
// The team splits the output rows. Wide rows that two neighbours read are computed first, each by one of them, into
// memory they share; then everybody goes on alone. So every team does the same work, and no row is computed twice.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"

namespace cnnkern {
namespace {

class FusedBlock final : public Op {
 public:
  explicit FusedBlock(const FusedArgs& a)
      : s_(a.depthwise.shape), x_(a.x), y_(a.y), residual_(a.residual), expand_(a.expand), filter_(a.depthwise),
        project_(a.project) {
    wide_px_ = wide_stride(s_.c);
    cols_ = std::min(s_.w, (s_.q - 1) * s_.stride_w - s_.pad_l + s_.s);
    row_floats_ = cols_ * wide_px_;
    halo_rows_ = std::max<int64_t>(0, s_.r - s_.stride_h);
  }

  // The rows between members, then for each member a ring and one row of the filter's outputs.
  int64_t workspace_floats(int threads) const override {
    return (threads - 1) * halo_rows_ * row_floats_ + threads * own_floats();
  }

  void run(const RunContext& ctx, Team& team) const override {
    Member m;
    m.ctx = &ctx;
    m.x = ctx(x_), m.y = ctx(y_), m.res = ctx(residual_);
    m.halos = ctx.workspace;
    m.ring = ctx.workspace + (team.size() - 1) * halo_rows_ * row_floats_ + team.rank() * own_floats();
    // Neighbouring halos must not meet, so that each is between two members only.
    const int64_t least = std::max<int64_t>(1, ceil_div(s_.r, s_.stride_h) - 1);
    const int64_t members = std::max<int64_t>(1, std::min<int64_t>(team.size(), s_.p / least));
    m.rank = team.rank();
    m.above = m.rank > 0 && m.rank < members;
    m.below = m.rank + 1 < members;
    m.rows = m.rank < members ? share(s_.p, members, m.rank) : Range{0, 0};
    for (m.n = 0; m.n < s_.n; ++m.n) {
      if (m.n) team.barrier();  // the last image's halos are still being read
      if (m.above) expand_halo(m, std::max(first_row(m.rows.begin), part(m.rows.begin)), end_row(m.rows.begin));
      if (m.below) expand_halo(m, first_row(m.rows.end), std::min(end_row(m.rows.end), part(m.rows.end)));
      team.barrier();
      filter_rows(m);
    }
  }

 private:
  // A 1x1 or depthwise convolution with its weights packed.
  struct Lines {
    explicit Lines(const FusedStage& f)
        : packed(f.present ? pack_conv(f.shape, f.plan, f.kernels, f.weight, f.bias, f.threads) : PackedConv()),
          epilogue(f.epilogue), present(f.present) {}
    PackedConv packed;
    Epilogue epilogue;
    bool present;
  };
  struct Filter {
    explicit Filter(const FusedStage& f)
        : packed(pack_depthwise(f.shape, f.weight, f.bias)), epilogue(f.epilogue), kind(depthwise_kind(f.shape)) {}
    PackedDepthwise packed;
    Epilogue epilogue;
    int kind;
  };
  // What one member of the team works with during a run.
  struct Member {
    const RunContext* ctx;
    TensorView x, y, res;
    float *halos, *ring;
    int64_t rank, n;
    bool above, below;  // whether there is a neighbour
    Range rows;         // of the output
  };

  // A pixel stride that is no multiple of 512 bytes: those would meet in a few sets of L1.
  static int64_t wide_stride(int64_t c) {
    const int64_t px = round_up(c, kBlock);
    return px % 128 == 0 ? px + kBlock : px;
  }

  int64_t own_floats() const { return round_up(s_.r * row_floats_ + (project_.present ? s_.q * wide_px_ : 0), kBlock); }

  // Wide rows [first_row(p), end_row(p)) lie within reach of outputs on both sides of the border before output row p;
  // those from part(p) on belong to the member below.
  int64_t first_row(int64_t p) const { return clip(p * s_.stride_h - s_.pad_t); }
  int64_t end_row(int64_t p) const { return clip((p - 1) * s_.stride_h - s_.pad_t + s_.r); }
  int64_t part(int64_t p) const { return clip(p * s_.stride_h); }
  int64_t clip(int64_t row) const { return std::max<int64_t>(0, std::min(s_.h, row)); }

  // A wide row that a neighbour reads too; null for the others.
  float* halo(const Member& m, int64_t row) const {
    if (m.above && row < end_row(m.rows.begin))
      return m.halos + ((m.rank - 1) * halo_rows_ + row - first_row(m.rows.begin)) * row_floats_;
    if (m.below && row >= first_row(m.rows.end))
      return m.halos + (m.rank * halo_rows_ + row - first_row(m.rows.end)) * row_floats_;
    return nullptr;
  }
  float* own(const Member& m, int64_t row) const { return m.ring + row % s_.r * row_floats_; }

  void expand_row(const Member& m, int64_t row, float* to) const {
    line(m.ctx->kernels, expand_, m.x.at(m.n, row, 0), m.x.sw, to, wide_px_, nullptr, 0, cols_);
  }

  void expand_halo(const Member& m, int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) expand_row(m, row, halo(m, row));
  }

  void filter_rows(const Member& m) const {
    const KernelTable* k = m.ctx->kernels;
    float* narrow = m.ring + s_.r * row_floats_;
    int64_t done = first_row(m.rows.begin);
    for (int64_t p = m.rows.begin; p < m.rows.end; ++p) {
      const int64_t top = p * s_.stride_h - s_.pad_t, end = end_row(p + 1);
      for (int64_t row = std::max(done, first_row(p)); row < end; ++row)
        if (!halo(m, row)) expand_row(m, row, own(m, row));
      done = std::max(done, end);
      const float* rows[kMaxTaps];
      for (int64_t r = 0; r < s_.r; ++r) {
        const int64_t row = top + r;
        const float* shared = row < 0 || row >= s_.h ? nullptr : halo(m, row);
        rows[r] = row < 0 || row >= s_.h ? nullptr : (shared ? shared : own(m, row)) - s_.pad_l * wide_px_;
      }
      float* y = m.y.at(m.n, p, 0);
      const float* res = m.res.data ? m.res.at(m.n, p, 0) : nullptr;
      if (!project_.present) {
        filter(k, rows, y, m.y.sw, res, m.res.sw);
      } else {
        filter(k, rows, narrow, wide_px_, nullptr, 0);
        line(k, project_, narrow, wide_px_, y, m.y.sw, res, m.res.sw, s_.q);
      }
    }
  }

  // One row of the depthwise filter.
  void filter(const KernelTable* k, const float* const* wide, float* y, int64_t y_px, const float* res,
              int64_t res_px) const {
    for (int64_t i = 0; i < ceil_div(s_.c, kBlock); ++i) {
      DwBand t = filter_.packed.band(s_, filter_.epilogue, i);
      t.rows = wide;
      t.x_col = wide_px_;
      t.y = y + t.channel;
      t.y_px = y_px;
      t.res = res ? res + t.channel : nullptr;
      t.res_px = res_px;
      t.height = 1;
      k->dw[filter_.kind](&t);
      filter_.epilogue.finish(k, t.y, t.px, y_px, t.valid);
    }
  }

  // A 1x1 convolution over `length` pixels.
  static void line(const KernelTable* k, const Lines& conv, const float* x, int64_t x_px, float* y, int64_t y_px,
                   const float* res, int64_t res_px, int64_t length) {
    for (size_t i = 0; i < conv.packed.panels.size(); ++i) {
      PanelPrefetch prefetch = conv.packed.after(i);
      ConvTile t = conv.packed.tile(i, conv.epilogue);
      t.klen = conv.packed.c;
      t.x_px = x_px;
      t.y_px = y_px;
      t.res_px = res_px;
      run_line(k, conv.epilogue, conv.packed.panels[i], t, x, y, res, length, &prefetch);
    }
  }

  ConvShape s_;  // of the depthwise convolution
  TensorRef x_, y_, residual_;
  Lines expand_;
  Filter filter_;
  Lines project_;
  int64_t wide_px_, cols_, row_floats_, halo_rows_;  // cols_: of a wide row, those that are read
};

}  // namespace

std::unique_ptr<Op> make_fused_block(const FusedArgs& a) { return std::make_unique<FusedBlock>(a); }

}  // namespace cnnkern
