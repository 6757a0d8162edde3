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
    in_cols_ = (s_.q - 1) * s_.stride_w + s_.s;
    row_floats_ = in_cols_ * wide_px_;
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
      if (m.above) expand_rows(m, std::max(first_row(m.rows.begin), part(m.rows.begin)), end_row(m.rows.begin), true);
      if (m.below) expand_rows(m, first_row(m.rows.end), std::min(end_row(m.rows.end), part(m.rows.end)), true);
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

  // Where a member finds, or puts, a wide row.
  float* wide_row(const Member& m, int64_t row) const {
    if (m.above && row < end_row(m.rows.begin))
      return m.halos + ((m.rank - 1) * halo_rows_ + row - first_row(m.rows.begin)) * row_floats_;
    if (m.below && row >= first_row(m.rows.end))
      return m.halos + (m.rank * halo_rows_ + row - first_row(m.rows.end)) * row_floats_;
    return m.ring + row % s_.r * row_floats_;
  }

  bool in_halo(const Member& m, int64_t row) const {
    return (m.above && row < end_row(m.rows.begin)) || (m.below && row >= first_row(m.rows.end));
  }

  // Computes wide rows [begin, end), leaving out those that are in a halo unless `halo`.
  void expand_rows(const Member& m, int64_t begin, int64_t end, bool halo) const {
    const KernelTable* k = m.ctx->kernels;
    const int64_t left = std::min(s_.pad_l, in_cols_), cols = std::min(s_.w, in_cols_ - left);
    for (int64_t row = begin; row < end; ++row) {
      if (!halo && in_halo(m, row)) continue;
      float* to = wide_row(m, row);
      if (left) k->fill(to, left * wide_px_, 0.0f);
      line(k, expand_, m.x.at(m.n, row, 0), m.x.sw, to + left * wide_px_, wide_px_, nullptr, 0, cols);
      if (left + cols < in_cols_) k->fill(to + (left + cols) * wide_px_, (in_cols_ - left - cols) * wide_px_, 0.0f);
    }
  }

  void filter_rows(const Member& m) const {
    const KernelTable* k = m.ctx->kernels;
    float* narrow = m.ring + s_.r * row_floats_;
    int64_t done = first_row(m.rows.begin);
    for (int64_t p = m.rows.begin; p < m.rows.end; ++p) {
      const int64_t top = p * s_.stride_h - s_.pad_t, end = end_row(p + 1);
      expand_rows(m, std::max(done, first_row(p)), end, false);
      done = std::max(done, end);
      const float* rows[kMaxTaps];
      for (int64_t r = 0; r < s_.r; ++r) rows[r] = top + r >= 0 && top + r < s_.h ? wide_row(m, top + r) : nullptr;
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

  // One row of the depthwise filter over rows that are padded at both ends.
  void filter(const KernelTable* k, const float* const* wide, float* y, int64_t y_px, const float* res,
              int64_t res_px) const {
    const Epilogue& e = filter_.epilogue;
    for (int64_t c0 = 0; c0 < s_.c; c0 += kBlock) {
      const float* rows[kMaxTaps];
      for (int64_t r = 0; r < s_.r; ++r) rows[r] = wide[r] ? wide[r] + c0 : nullptr;
      DwRun t = {};
      t.rows = rows;
      t.nrows = s_.r;
      t.taps = t.s1 = s_.s;
      t.x_tap = wide_px_;
      t.x_px = s_.stride_w * wide_px_;
      t.w = filter_.packed.block(c0 / kBlock);
      t.bias = filter_.packed.block_bias(c0 / kBlock);
      t.y = y + c0;
      t.y_px = y_px;
      t.res = res ? res + c0 : nullptr;
      t.res_px = res_px;
      t.lo = e.lo;
      t.hi = e.hi;
      t.clamp = e.clamp;
      t.valid = std::min<int64_t>(kBlock, s_.c - c0);
      t.px = s_.q;
      k->dw[filter_.kind](&t);
      e.finish(k, t.y, t.px, y_px, t.valid);
    }
  }

  // A 1x1 convolution over `length` pixels.
  static void line(const KernelTable* k, const Lines& conv, const float* x, int64_t x_px, float* y, int64_t y_px,
                   const float* res, int64_t res_px, int64_t length) {
    const PackedConv& packed = conv.packed;
    for (size_t i = 0; i < packed.panels.size(); ++i) {
      const Panel& panel = packed.panels[i];
      const float* rows[1];
      ConvTile t = packed.tile(i, conv.epilogue);
      t.rows = rows;
      t.nrows = 1;
      t.klen = packed.c;
      t.x_px = x_px;
      t.y_px = y_px;
      t.res_px = res_px;
      const int64_t tiles = ceil_div(length, panel.px);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const Range q = share(length, tiles, tile);
        rows[0] = x + q.begin * x_px;
        t.y = y + q.begin * y_px + panel.k0;
        t.res = res ? res + q.begin * res_px + panel.k0 : nullptr;
        k->conv[panel.ob][q.end - q.begin](&t);
      }
      conv.epilogue.finish(k, y + panel.k0, length, y_px, panel.valid);
    }
  }

  ConvShape s_;  // of the depthwise convolution
  TensorRef x_, y_, residual_;
  Lines expand_;
  Filter filter_;
  Lines project_;
  int64_t wide_px_, in_cols_, row_floats_, halo_rows_;
};

}  // namespace

std::unique_ptr<Op> make_fused_block(const FusedArgs& a) { return std::make_unique<FusedBlock>(a); }

}  // namespace cnnkern
