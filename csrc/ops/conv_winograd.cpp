// Winograd F(2x2, 3x3), F(4x4, 3x3) and F(2x2, 5x5): a block of tiles is transformed, multiplied position by position with the
// transformed weights, and transformed back, all within cache. Blocks go to the members of a team one each, or, where
// there are few tiles and many channels, one block is shared and its products are split by position and panel.
#include <algorithm>

#include "conv.h"
#include "conv_pack.h"

namespace cnnkern {
namespace {

// A filter of R taps, G g, at each point x but infinity: sum of x^k g[k], over the product of x's distances to the
// others (for 0, 1, -1 with the signs that the input transform leaves out); at infinity, the last tap.
constexpr double kNear = 2 * .5625 * (.5625 - 2.25), kFar = 2 * 2.25 * (2.25 - .5625);
constexpr double kPoints4[] = {0, 1, -1}, kScales4[] = {1, .5, .5};
constexpr double kPoints6[] = {0, .75, -.75, 1.5, -1.5};
constexpr double kScales6[] = {1 / (.5625 * 2.25), 1 / kNear, 1 / kNear, 1 / kFar, 1 / kFar};

class ConvWinograd final : public Op {
 public:
  explicit ConvWinograd(const ConvArgs& a)
      : s_(a.shape), plan_(a.plan), a_(a.plan.m + a.shape.r - 1), x_(a.x), y_(a.y), e_(a.epilogue) {
    panels_ = make_panels(1, s_.c, s_.k, 1, plan_.ob, plan_.px, a.kernels);
    for (const Panel& p : panels_) position_floats_ += s_.c * p.ob * kBlock;
    transform_weights(a);
    if (a.bias) {
      bias_ = Arena(static_cast<size_t>(round_up(s_.k, kBlock)) * sizeof(float));
      std::copy(a.bias, a.bias + s_.k, bias_.data());
    }
    down_ = ceil_div(s_.p, plan_.m);
    across_ = ceil_div(s_.q, plan_.m);
    tiles_ = s_.n * down_ * across_;
    blocks_ = ceil_div(tiles_, plan_.tile_block);
    largest_ = blocks_ ? ceil_div(tiles_, blocks_) : 0;
    v_px_ = plan_.scratch_px;
    m_px_ = round_up(s_.k, kBlock);
    if (m_px_ * 4 % 4096 == 0) m_px_ += kBlock;
    // Positions are not a multiple of 4 KiB apart, or the transforms' 36 streams would share cache sets.
    v_pos_ = largest_ * v_px_ + kBlock;
    m_pos_ = largest_ * m_px_ + kBlock;
  }

  int64_t workspace_floats(int threads) const override {
    return (plan_.shared ? 1 : threads) * a_ * a_ * (v_pos_ + m_pos_);
  }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_), res = ctx(e_.residual);
    const int64_t products = a_ * a_ * static_cast<int64_t>(panels_.size());
    if (!plan_.shared) {
      float* v = ctx.workspace + team.rank() * a_ * a_ * (v_pos_ + m_pos_);
      Units blocks(team, blocks_);
      for (int64_t b; blocks.next(&b);) {
        const Range tiles = share(tiles_, blocks_, b);
        input(ctx, x, v, tiles.begin, tiles);
        for (int64_t i = 0; i < products; ++i) multiply(ctx, v, tiles.end - tiles.begin, i);
        output(ctx, y, res, v, tiles.begin, tiles);
      }
      return;
    }
    for (int64_t b = 0; b < blocks_; ++b) {
      const Range tiles = share(tiles_, blocks_, b);
      const Range part = share(tiles.end - tiles.begin, team.size(), team.rank());
      const Range mine{tiles.begin + part.begin, tiles.begin + part.end};
      if (b) team.barrier();
      input(ctx, x, ctx.workspace, tiles.begin, mine);
      team.barrier();
      Units units(team, products);
      for (int64_t i; units.next(&i);) multiply(ctx, ctx.workspace, tiles.end - tiles.begin, i);
      team.barrier();
      output(ctx, y, res, ctx.workspace, tiles.begin, mine);
    }
  }

 private:
  // U = G g G^T in double, rounded once: [position][panel][c][16*ob].
  void transform_weights(const ConvArgs& a) {
    weights_ = Arena(static_cast<size_t>(a_ * a_ * position_floats_) * sizeof(float));
    run_team(a.threads, [&](Team& team) {
      const Range channels = share(s_.c, team.size(), team.rank());
      for (const Panel& p : panels_)
        for (int64_t c = channels.begin; c < channels.end; ++c)
          for (int64_t j = 0; j < p.valid; ++j)
            transform_filter(a.weight + ((p.k0 + j) * s_.c + c) * s_.r * s_.s,
                             weights_.data() + p.offset + c * p.ob * kBlock + j);
    });
  }

  void transform_filter(const float* g, float* u) const {
    const int64_t taps = s_.r;
    double half[6][5];
    for (int64_t i = 0; i < a_; ++i)
      for (int64_t col = 0; col < taps; ++col) {
        half[i][col] = 0;
        for (int64_t k = 0; k < taps; ++k) half[i][col] += coefficient(i, k) * static_cast<double>(g[k * taps + col]);
      }
    for (int64_t i = 0; i < a_; ++i)
      for (int64_t l = 0; l < a_; ++l) {
        double sum = 0;
        for (int64_t k = 0; k < taps; ++k) sum += half[i][k] * coefficient(l, k);
        u[(i * a_ + l) * position_floats_] = static_cast<float>(sum);
      }
  }

  double coefficient(int64_t i, int64_t k) const {
    if (i == a_ - 1) return k == s_.r - 1;
    double value = a_ == 4 ? kScales4[i] : kScales6[i];
    for (int64_t n = 0; n < k; ++n) value *= a_ == 4 ? kPoints4[i] : kPoints6[i];
    return value;
  }

  void input(const RunContext& ctx, const TensorView& x, float* v, int64_t first, Range tiles) const {
    const float* at[36];
    WinoIn in = {};
    in.at = at;
    in.v_pos = v_pos_;
    in.c = s_.c;
    for (int64_t t = tiles.begin; t < tiles.end; ++t) {
      const int64_t n = t / (down_ * across_), ih = t / across_ % down_ * plan_.m - s_.pad_t,
                    iw = t % across_ * plan_.m - s_.pad_l;
      for (int64_t i = 0; i < a_; ++i) {
        const bool row = ih + i >= 0 && ih + i < s_.h;
        for (int64_t j = 0; j < a_; ++j)
          at[i * a_ + j] = row && iw + j >= 0 && iw + j < s_.w ? x.at(n, ih + i, iw + j) : nullptr;
      }
      in.v = v + (t - first) * v_px_;
      ctx.kernels->wino_in[a_](&in);
    }
  }

  // Product i of positions x panels over a block of `count` tiles.
  void multiply(const RunContext& ctx, float* v, int64_t count, int64_t i) const {
    float* m = v + a_ * a_ * v_pos_;
    const int64_t panels = static_cast<int64_t>(panels_.size()), next = (i + 1) % (a_ * a_ * panels);
    const Panel &panel = panels_[i % panels], &after = panels_[next % panels];
    PanelPrefetch prefetch(weights_.data() + next / panels * position_floats_ + after.offset, s_.c * after.ob * kBlock);
    const int64_t position = i / panels;
    ConvTile t = {};
    t.klen = s_.c;
    t.x_px = v_px_;
    t.w = weights_.data() + position * position_floats_ + panel.offset;
    t.y_px = m_px_;
    t.valid = panel.valid;
    run_line(ctx.kernels, Epilogue(), panel, t, v + position * v_pos_, m + position * m_pos_, nullptr, count,
             &prefetch);
  }

  void output(const RunContext& ctx, const TensorView& y, const TensorView& res, const float* v, int64_t first,
              Range tiles) const {
    const float* m = v + a_ * a_ * v_pos_;
    for (int64_t t = tiles.begin; t < tiles.end; ++t) {
      const int64_t n = t / (down_ * across_), p = t / across_ % down_ * plan_.m, q = t % across_ * plan_.m;
      WinoOut out = {};
      out.m = m + (t - first) * m_px_;
      out.m_pos = m_pos_;
      out.y = y.at(n, p, q);
      out.y_row = y.sh;
      out.y_px = y.sw;
      out.res = res.data ? res.at(n, p, q) : nullptr;
      out.res_row = res.sh;
      out.res_px = res.sw;
      out.bias = bias_.data();
      out.lo = e_.lo;
      out.hi = e_.hi;
      out.clamp = e_.clamp;
      out.nrows = std::min(plan_.m, s_.p - p);
      out.ncols = std::min(plan_.m, s_.q - q);
      out.c = s_.k;
      ctx.kernels->wino_out[a_][plan_.m](&out);
      for (int64_t i = 0; i < out.nrows; ++i) e_.finish(ctx.kernels, out.y + i * y.sh, out.ncols, y.sw, s_.k);
    }
  }

  ConvShape s_;
  ConvPlan plan_;
  int64_t a_;  // input tile side
  TensorRef x_, y_;
  Epilogue e_;
  std::vector<Panel> panels_;
  int64_t position_floats_ = 0;
  Arena weights_, bias_;
  int64_t down_, across_, tiles_, blocks_, largest_;
  int64_t v_px_, m_px_, v_pos_, m_pos_;
};

}  // namespace

std::unique_ptr<Op> make_conv_winograd(const ConvArgs& a) { return std::make_unique<ConvWinograd>(a); }

}  // namespace cnnkern
