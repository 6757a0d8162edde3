// Local response and local contrast normalisation.
#include <algorithm>
#include <utility>

#include "ops.h"

namespace cnnkern {
namespace {

class Lrn final : public Op {
 public:
  Lrn(const TensorRef& x, const TensorRef& y, int64_t size, float factor, float beta, float k)
      : x_(x), y_(y), factor_(factor), beta_(beta), k_(k) {
    const int64_t most = std::max<int64_t>(0, y.view.c - 1);
    before_ = std::min(size / 2, most);
    after_ = std::min((size - 1) / 2, most);
  }

  int64_t workspace_floats(int threads) const override { return threads * scratch(); }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_);
    const LrnFn leaf = ctx.kernels->lrn[beta_ == 0.75f ? lrn_three_quarters : lrn_any];
    const int64_t chunks = ceil_div(y.w, kPixels);
    const Range mine = share(y.n * y.h * chunks, team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t n = i / chunks / y.h, p = i / chunks % y.h, q = i % chunks * kPixels;
      LrnPixels t = {};
      t.x = x.at(n, p, q);
      t.x_px = x.sw;
      t.y = y.at(n, p, q);
      t.y_px = y.sw;
      t.px = std::min(kPixels, y.w - q);
      t.c = y.c;
      t.before = before_;
      t.after = after_;
      t.k = k_;
      t.factor = factor_;
      t.beta = beta_;
      t.squares = ctx.workspace + team.rank() * scratch();
      leaf(&t);
    }
  }

 private:
  int64_t scratch() const { return round_up(before_ + y_.view.c + after_, kBlock); }

  static constexpr int64_t kPixels = 16;
  TensorRef x_, y_;
  int64_t before_, after_;
  float factor_, beta_, k_;
};

// Image by image. The Gaussian is separable and sums over channels first, so that windows are correlated on planes of
// one channel: along the rows, then, with the rows above and below, along the columns. The image's first value is taken
// from all of them (the result does not depend on it), so that a faint contrast on a bright image keeps its digits.
class Lcn final : public Op {
 public:
  Lcn(const TensorRef& x, const TensorRef& y, std::vector<float> window, float eps)
      : x_(x), y_(y), window_(std::move(window)), eps_(eps), half_(static_cast<int64_t>(window_.size()) / 2),
        row_scale_(inverse_weights(y.view.h)), column_scale_(inverse_weights(y.view.w)),
        mean_weight_(1.0f / static_cast<float>(std::max<int64_t>(1, y.view.h * y.view.w))) {
    for (float& scale : row_scale_) scale /= static_cast<float>(y.view.c);
  }

  int64_t workspace_floats(int threads) const override {
    return 3 * plane() + round_up(y_.view.h, kBlock) + kBlock + threads * scratch();
  }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_);
    const Range rows = share(y.h, team.size(), team.rank());
    for (int64_t n = 0; n < y.n; ++n) {
      if (n) team.barrier();  // the last image's planes are still being read
      Image image(*this, ctx, x, y, n, team.rank());
      for (int64_t h = rows.begin; h < rows.end; ++h) image.blur_sums(h);
      team.barrier();
      for (int64_t h = rows.begin; h < rows.end; ++h) image.blur_squares(h);
      team.barrier();
      for (int64_t h = rows.begin; h < rows.end; ++h) image.deviation(h);
      team.barrier();
      if (team.rank() == 0) image.average();
      team.barrier();
      for (int64_t h = rows.begin; h < rows.end; ++h) image.divide(h);
    }
  }

 private:
  // 1 / the part of the window's weight that falls inside, for every position along an axis.
  std::vector<float> inverse_weights(int64_t size) const {
    std::vector<float> out;
    for (int64_t i = 0; i < size; ++i) {
      double sum = 0;
      for (int64_t t = -half_; t <= half_; ++t)
        if (i + t >= 0 && i + t < size) sum += window_[static_cast<size_t>(half_ + t)];
      out.push_back(static_cast<float>(1 / sum));
    }
    return out;
  }

  int64_t plane() const { return round_up(y_.view.h * y_.view.w, kBlock); }
  int64_t scratch() const { return round_up(y_.view.w + 2 * half_, kBlock); }

  struct Image {
    const Lcn& op;
    const KernelTable* kernels;
    const TensorView &x, &y;
    int64_t n;
    float *blurred, *mean, *squares, *row_sums, *floor, *row;  // blurred becomes sigma once it has been read

    Image(const Lcn& lcn, const RunContext& ctx, const TensorView& in, const TensorView& out, int64_t image, int rank)
        : op(lcn), kernels(ctx.kernels), x(in), y(out), n(image), blurred(ctx.workspace), mean(blurred + lcn.plane()),
          squares(mean + lcn.plane()), row_sums(squares + lcn.plane()), floor(row_sums + round_up(y.h, kBlock)),
          row(floor + kBlock + rank * lcn.scratch()) {}

    LcnPixels pixels(int64_t h) const {
      LcnPixels t = {};
      t.x = x.at(n, h, 0);
      t.x_px = x.sw;
      t.px = y.w;
      t.c = y.c;
      t.pivot = x.at(n, 0, 0);
      t.eps = op.eps_;
      return t;
    }

    void along_row(LcnPixels* t, LcnKind kind, float* out) const {
      kernels->fill(row, op.half_, 0.0f);
      kernels->fill(row + op.half_ + y.w, op.half_, 0.0f);
      t->out = row + op.half_;
      kernels->lcn[kind](t);
      Correlate c = {};
      c.x = row;
      c.step = 1;
      c.taps = static_cast<int64_t>(op.window_.size());
      c.g = op.window_.data();
      c.y = out;
      c.n = y.w;
      kernels->correlate(&c);
    }

    void along_column(const float* in, int64_t h, bool root, float* out) const {
      const int64_t top = std::max<int64_t>(0, h - op.half_), bottom = std::min(y.h, h + op.half_ + 1);
      Correlate c = {};
      c.x = in + top * y.w;
      c.step = y.w;
      c.taps = bottom - top;
      c.g = op.window_.data() + (top - (h - op.half_));
      c.scale = op.column_scale_.data();
      c.factor = op.row_scale_[static_cast<size_t>(h)];
      c.root = root;
      c.y = out;
      c.n = y.w;
      kernels->correlate(&c);
    }

    void blur_sums(int64_t h) const {
      LcnPixels t = pixels(h);
      along_row(&t, lcn_sum, blurred + h * y.w);
    }

    void blur_squares(int64_t h) const {
      along_column(blurred, h, false, mean + h * y.w);
      LcnPixels t = pixels(h);
      t.mean = mean + h * y.w;
      along_row(&t, lcn_squares, squares + h * y.w);
    }

    void deviation(int64_t h) const {
      along_column(squares, h, true, blurred + h * y.w);
      sum(blurred + h * y.w, y.w, row_sums + h);
    }

    void average() const {
      sum(row_sums, y.h, floor);
      Correlate c = {};
      c.x = floor;
      c.taps = 1;
      c.g = &op.mean_weight_;
      c.y = floor;
      c.n = 1;
      kernels->correlate(&c);
    }

    void divide(int64_t h) const {
      LcnPixels t = pixels(h);
      t.mean = mean + h * y.w;
      t.sigma = blurred + h * y.w;
      t.floor = floor;
      t.y = y.at(n, h, 0);
      t.y_px = y.sw;
      kernels->lcn[lcn_divide](&t);
    }

    void sum(const float* values, int64_t count, float* out) const {
      LcnPixels t = {};
      t.x = values;
      t.px = 1;
      t.c = count;
      t.pivot = &op.zero_;
      t.out = out;
      kernels->lcn[lcn_sum](&t);
    }
  };

  TensorRef x_, y_;
  std::vector<float> window_;
  float eps_;
  int64_t half_;
  std::vector<float> row_scale_, column_scale_;  // the former with 1 / C
  float mean_weight_;
  float zero_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_lrn(const TensorRef& x, const TensorRef& y, int64_t size, float factor, float beta, float k) {
  return std::make_unique<Lrn>(x, y, size, factor, beta, k);
}

std::unique_ptr<Op> make_lcn(const TensorRef& x, const TensorRef& y, const std::vector<float>& window, float eps) {
  return std::make_unique<Lcn>(x, y, window, eps);
}

}  // namespace cnnkern
