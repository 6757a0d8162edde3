// Pooling: every output pixel is a window of input pixels, given as spans of rows and columns; neighbours along a row
// whose windows look alike go to the leaf together.
#include <algorithm>

#include "ops.h"

namespace cnnkern {
namespace {

// The part of a window along one axis that lies inside the input, and how many of its taps a divisor counts.
struct Span {
  int64_t first, taps, counted;
};

std::vector<Span> window_spans(int64_t outputs, int64_t size, int64_t kernel, int64_t stride, int64_t before,
                               int64_t after, int64_t dil, bool count_pad) {
  std::vector<Span> spans;
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t at = i * stride - before;
    const int64_t lo = at < 0 ? std::min(kernel, ceil_div(-at, dil)) : 0;
    const auto taps_below = [&](int64_t end) { return at >= end ? 0 : std::min(kernel, ceil_div(end - at, dil)); };
    const int64_t hi = std::max(lo, taps_below(size));
    spans.push_back({at + lo * dil, hi - lo, count_pad ? taps_below(size + after) : hi - lo});
  }
  return spans;
}

std::vector<Span> adaptive_spans(int64_t outputs, int64_t size) {
  std::vector<Span> spans;
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t first = i * size / outputs, end = ceil_div((i + 1) * size, outputs);
    spans.push_back({first, end - first, end - first});
  }
  return spans;
}

// Outputs [begin, end) with equal taps, their inputs `advance` columns apart.
struct Run {
  int64_t begin, end, advance;
  Span span;
};

std::vector<Run> runs_of(const std::vector<Span>& spans) {
  std::vector<Run> runs;
  for (int64_t i = 0; i < static_cast<int64_t>(spans.size()); ++i) {
    const Span& s = spans[static_cast<size_t>(i)];
    if (!runs.empty()) {
      Run& last = runs.back();
      const int64_t length = last.end - last.begin, step = s.first - last.span.first;
      const bool alike = s.taps == last.span.taps && s.counted == last.span.counted;
      if (alike && (length == 1 || step == length * last.advance)) {
        last.advance = step / length;
        ++last.end;
        continue;
      }
    }
    runs.push_back({i, i + 1, 0, s});
  }
  return runs;
}

class Pool final : public Op {
 public:
  Pool(PoolKind kind, const TensorRef& x, const TensorRef& y, std::vector<Span> rows, const std::vector<Span>& columns,
       int64_t row_step, int64_t column_step)
      : kind_(kind), x_(x), y_(y), rows_(std::move(rows)), runs_(runs_of(columns)), row_step_(row_step),
        column_step_(column_step) {}

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_);
    const int64_t chunks = ceil_div(y.c, kChannels);
    const Range mine = share(y.n * y.h * chunks, team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i)
      for (const Run& run : runs_) pixels(ctx, x, y, i / chunks / y.h, i / chunks % y.h, i % chunks * kChannels, run);
  }

 private:
  void pixels(const RunContext& ctx, const TensorView& x, const TensorView& y, int64_t n, int64_t p, int64_t c0,
              const Run& run) const {
    const Span& rows = rows_[static_cast<size_t>(p)];
    const int64_t channels = std::min(kChannels, y.c - c0), px = run.end - run.begin;
    float* out = y.at(n, p, run.begin) + c0;
    if (rows.taps == 0 || run.span.taps == 0) {
      const float none = kind_ == pool_max ? -std::numeric_limits<float>::infinity() : 0.0f;
      for (int64_t i = 0; i < px; ++i) ctx.kernels->fill(out + i * y.sw, channels, none);
      return;
    }
    PoolTile t = {};
    t.x = x.at(n, rows.first, run.span.first) + c0;
    t.nrows = rows.taps;
    t.taps = run.span.taps;
    t.x_row = row_step_ * x.sh;
    t.x_tap = column_step_ * x.sw;
    t.x_px = run.advance * x.sw;
    t.y = out;
    t.y_px = y.sw;
    t.px = px;
    t.c = channels;
    t.scale = static_cast<float>(1.0 / (static_cast<double>(rows.counted) * static_cast<double>(run.span.counted)));
    ctx.kernels->pool[kind_](&t);
  }

  static constexpr int64_t kChannels = 256;  // of a unit of work: one global pool of 2048 channels serves 8 members
  PoolKind kind_;
  TensorRef x_, y_;
  std::vector<Span> rows_;
  std::vector<Run> runs_;
  int64_t row_step_, column_step_;
};

constexpr int64_t kLargeMap = 128;  // pixels; the layers around smaller maps split them by channels

// One value a channel. Members combine the rows they have from the layer before, which splits large maps by pixels; then
// the rows' results, in their order.
class GlobalPool final : public Op {
 public:
  GlobalPool(PoolKind kind, const TensorRef& x, const TensorRef& y) : kind_(kind), x_(x), y_(y) {}

  int64_t workspace_floats(int) const override { return x_.view.n * x_.view.h * row_floats(); }

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), y = ctx(y_);
    const Range mine = share(x.n * x.h, team.size(), team.rank());
    PoolTile t = {};
    t.nrows = t.px = 1;
    t.taps = x.w;
    t.x_tap = x.sw;
    t.c = x.c;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      t.x = x.at(i / x.h, i % x.h, 0);
      t.y = ctx.workspace + i * row_floats();
      ctx.kernels->pool[kind_ == pool_max ? pool_max : pool_sum](&t);
    }
    team.barrier();
    const int64_t chunks = ceil_div(x.c, kChannels);
    const Range parts = share(x.n * chunks, team.size(), team.rank());
    t.nrows = x.h;
    t.taps = 1;
    t.x_row = row_floats();
    t.scale = static_cast<float>(1.0 / (static_cast<double>(x.h) * static_cast<double>(x.w)));
    for (int64_t i = parts.begin; i < parts.end; ++i) {
      const int64_t c0 = i % chunks * kChannels;
      t.x = ctx.workspace + i / chunks * x.h * row_floats() + c0;
      t.y = y.at(i / chunks, 0, 0) + c0;
      t.c = std::min(kChannels, x.c - c0);
      ctx.kernels->pool[kind_](&t);
    }
  }

 private:
  int64_t row_floats() const { return round_up(x_.view.c, kBlock); }

  static constexpr int64_t kChannels = 64;
  PoolKind kind_;
  TensorRef x_, y_;
};

}  // namespace

std::unique_ptr<Op> make_pool(PoolKind kind, const TensorRef& x, const TensorRef& y, const Window& w,
                              bool count_include_pad) {
  const TensorView &in = x.view, &out = y.view;
  return std::make_unique<Pool>(
      kind, x, y, window_spans(out.h, in.h, w.r, w.stride_h, w.pad_t, w.pad_b, w.dil_h, count_include_pad),
      window_spans(out.w, in.w, w.s, w.stride_w, w.pad_l, w.pad_r, w.dil_w, count_include_pad), w.dil_h, w.dil_w);
}

std::unique_ptr<Op> make_global_pool(PoolKind kind, const TensorRef& x, const TensorRef& y) {
  if (x.view.h * x.view.w >= kLargeMap) return std::make_unique<GlobalPool>(kind, x, y);
  return std::make_unique<Pool>(kind, x, y, adaptive_spans(1, x.view.h), adaptive_spans(1, x.view.w), 1, 1);
}

std::unique_ptr<Op> make_adaptive_avg_pool(const TensorRef& x, const TensorRef& y) {
  return std::make_unique<Pool>(pool_avg, x, y, adaptive_spans(y.view.h, x.view.h), adaptive_spans(y.view.w, x.view.w),
                                1, 1);
}

}  // namespace cnnkern
