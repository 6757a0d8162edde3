// Convolution with untied weights: every output position has panels of its own, and the pixels of a tile are the images
// of the batch.
#include <algorithm>

#include "conv_pack.h"
#include "ops.h"

namespace cnnkern {
namespace {

class LocallyConnected final : public Op {
 public:
  explicit LocallyConnected(const LocalArgs& a)
      : x_(a.x), y_(a.y), w_(a.window), e_(a.epilogue), taps_(a.window.r * a.window.s) {
    const int64_t ob = widest(a.kernels, y_.view.c, y_.view.n);
    panels_ = make_panels(1, x_.view.c, y_.view.c, taps_, ob, std::max<int64_t>(1, y_.view.n), a.kernels);
    lanes_ = round_up(y_.view.c, kBlock);
    pack(a);
  }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_);
    if (y.n == 0) return;
    const Range mine = share(y.h * y.w, team.size(), team.rank());
    for (int64_t at = mine.begin; at < mine.end; ++at) position(ctx, x, y, at);
  }

 private:
  // The tile that keeps most sums in flight: a long one where there are images enough, else a wide one.
  static int64_t widest(const KernelTable* kernels, int64_t k, int64_t images) {
    int64_t best = 1, most = 0;
    for (int64_t ob = 1; ob <= std::min<int64_t>(kMaxOb, ceil_div(k, kBlock)); ++ob) {
      int64_t px = 0;
      while (px < kMaxPx && px < images && kernels->conv[ob][px + 1]) ++px;
      if (px * ob >= most) best = ob, most = px * ob;
    }
    return best;
  }

  // weights_[position][panel][tap][c][lanes], zero beyond the last channel; bias_[position][lanes].
  void pack(const LocalArgs& a) {
    const int64_t positions = y_.view.h * y_.view.w;
    weights_ = Arena(static_cast<size_t>(positions * taps_ * x_.view.c * lanes_) * sizeof(float));
    if (a.bias) bias_ = Arena(static_cast<size_t>(positions * lanes_) * sizeof(float));
    run_team(a.threads, [&](Team& team) {
      const Range mine = share(positions, team.size(), team.rank());
      for (int64_t at = mine.begin; at < mine.end; ++at) pack_position(a, at, positions);
    });
  }

  void pack_position(const LocalArgs& a, int64_t at, int64_t positions) {
    const int64_t k = y_.view.c, c = x_.view.c;
    for (const Panel& panel : panels_)
      for (int64_t j = 0; j < panel.valid; ++j) {
        const float* from = a.weight + (at * k + panel.k0 + j) * c * taps_;
        float* to = weights_.data() + at * taps_ * c * lanes_ + panel.offset + j;
        for (int64_t ci = 0; ci < c; ++ci)
          for (int64_t t = 0; t < taps_; ++t) to[(t * c + ci) * panel.ob * kBlock] = from[ci * taps_ + t];
      }
    if (!a.bias) return;
    for (int64_t i = 0; i < k; ++i)
      bias_.data()[at * lanes_ + i] = a.bias[a.bias_per_position ? i * positions + at : i];
  }

  void position(const RunContext& ctx, const TensorView& x, const TensorView& y, int64_t at) const {
    const int64_t p = at / y.w, q = at % y.w, h0 = p * w_.stride_h - w_.pad_t, w0 = q * w_.stride_w - w_.pad_l;
    // A filter row is one run where its pixels touch and none is padding.
    const bool whole = x.sw == x.c && w0 >= 0 && w0 + w_.s <= x.w;
    int64_t offsets[kMaxTaps];  // of the first image; -1: padding
    ConvTile t = {};
    t.nrows = whole ? w_.r : taps_;
    t.klen = whole ? w_.s * x.c : x.c;
    for (int64_t i = 0; i < t.nrows; ++i) {
      const int64_t ih = h0 + (whole ? i : i / w_.s), iw = w0 + (whole ? 0 : i % w_.s);
      offsets[i] = ih >= 0 && ih < x.h && iw >= 0 && iw < x.w ? ih * x.sh + iw * x.sw : -1;
    }
    t.x_px = x.sn;
    t.y_px = y.sn;
    t.lo = e_.lo;
    t.hi = e_.hi;
    t.clamp = e_.clamp;
    for (const Panel& panel : panels_) {
      t.w = weights_.data() + at * taps_ * x.c * lanes_ + panel.offset;
      t.prefetch = t.w;  // the next panel follows in memory: the hardware sees that
      t.bias = bias_.data() ? bias_.data() + at * lanes_ + panel.k0 : nullptr;
      t.valid = panel.valid;
      const int64_t tiles = ceil_div(y.n, panel.px);
      for (int64_t i = 0; i < tiles; ++i) tile(ctx, x, y, panel, offsets, p, q, share(y.n, tiles, i), &t);
    }
  }

  void tile(const RunContext& ctx, const TensorView& x, const TensorView& y, const Panel& panel, const int64_t* offsets,
            int64_t p, int64_t q, Range images, ConvTile* t) const {
    const float* rows[kMaxTaps];
    for (int64_t i = 0; i < t->nrows; ++i) rows[i] = offsets[i] < 0 ? nullptr : x.at(images.begin, 0, 0) + offsets[i];
    t->rows = rows;
    t->y = y.at(images.begin, p, q) + panel.k0;
    const int64_t px = images.end - images.begin;
    ctx.kernels->conv[panel.ob][px](t);
    e_.finish(ctx.kernels, t->y, px, t->y_px, t->valid);
  }

  TensorRef x_, y_;
  Window w_;
  Epilogue e_;
  int64_t taps_, lanes_;
  std::vector<Panel> panels_;
  Arena weights_, bias_;
};

}  // namespace

std::unique_ptr<Op> make_locally_connected(const LocalArgs& a) { return std::make_unique<LocallyConnected>(a); }

}  // namespace cnnkern
