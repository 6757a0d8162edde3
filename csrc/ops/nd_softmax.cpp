// Softmax along any axis of an array of any rank: rows that lie apart go through scratch, turned.
#include <algorithm>

#include "nd_ops.h"
#include "nd.h"

namespace cnnkern {
namespace {

class SoftmaxAlong final : public Op {
 public:
  SoftmaxAlong(const NdRef& x, const NdRef& y, int axis, bool log) : x_(x), y_(y), log_(log) {
    NdView others = y.view;
    others.size[axis] = 1;
    Axis row{y.view.size[axis], {x.view.stride[axis], y.view.stride[axis]}};
    if (row.size == 1) row.stride[0] = row.stride[1] = 1;
    staged_ = row.stride[0] != 1 || row.stride[1] != 1;
    Axes axes = merge(nd_axes(others, {x.view, y.view}));
    const Axis rows = axes.back();
    axes.pop_back();
    const int64_t fit = (staged_ ? kTurnedFloats : kUnitFloats) / std::max<int64_t>(1, row.size);
    const int64_t chunk = std::max<int64_t>(staged_ ? kTurned : 1, fit);
    chunk_ = std::min(chunk, std::max<int64_t>(1, rows.size));
    blocks_ = Blocks(std::move(axes), rows, row, chunk_, std::max<int64_t>(1, row.size));
  }

  int64_t workspace_floats(int threads) const override { return staged_ ? threads * scratch() : 0; }

  void run(const RunContext& ctx, Team& team) const override {
    const Axis &rows = blocks_.rows(), &cols = blocks_.cols();
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    float* own = staged_ ? ctx.workspace + team.rank() * scratch() : nullptr;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Blocks::Block b = blocks_.block(i);
      const float* x = ctx(x_) + b.offset[0];
      float* y = ctx(y_) + b.offset[1];
      SoftmaxRows t{x, rows.stride[0], y, rows.stride[1], b.rows, b.cols};
      if (staged_) {
        gather(ctx.kernels, x, rows.stride[0], cols.stride[0], own, b.cols, b.rows, b.cols);
        t.x = t.y = own;
        t.x_row = t.y_row = b.cols;
      }
      ctx.kernels->softmax[log_](&t);
      if (staged_) scatter(ctx.kernels, own, b.cols, y, rows.stride[1], cols.stride[1], b.rows, b.cols);
    }
  }

 private:
  int64_t scratch() const { return round_up(chunk_ * blocks_.cols().size, kBlock); }

  static constexpr int64_t kTurned = 16;  // rows at least that are fetched together: their elements share cache lines
  static constexpr int64_t kTurnedFloats = 32 * 1024;  // of them, in L2
  NdRef x_, y_;
  bool log_, staged_;
  int64_t chunk_;
  Blocks blocks_;
};

}  // namespace

std::unique_ptr<Op> make_softmax_nd(const NdRef& x, const NdRef& y, int axis, bool log) {
  return std::make_unique<SoftmaxAlong>(x, y, axis, log);
}

}  // namespace cnnkern
