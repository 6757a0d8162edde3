// Resampling along an axis. Where an axis beside it lies densely in both tensors, vectors run along that one and every
// output is a sum of rows; else they run along the resampled axis, over elements picked one by one.
#include <algorithm>

#include "nest.h"
#include "ops.h"

namespace cnnkern {
namespace {

// Operand 0 is read, operand 1 written; "operand" 2 counts outputs along the axis.
class ResampleOp final : public Op {
 public:
  explicit ResampleOp(const ResampleArgs& a) : x_(a.x), y_(a.y), taps_(a.taps), weighted_(a.weight != nullptr) {
    const NdView &in = a.x.view, &out = a.y.view;
    const int64_t outputs = out.size[a.axis];
    const Axis own{outputs, {0, out.stride[a.axis], 1}};
    x_axis_ = in.stride[a.axis];
    y_axis_ = out.stride[a.axis];
    if (!out.elements()) return;
    Axes axes;
    for (int i = 0; i < out.rank; ++i)
      axes.push_back(i == a.axis ? own : Axis{out.size[i], {in.stride[i], out.stride[i], 0}});
    Axes loops = sweep(axes, 1);
    const Axis& last = loops.back();
    rows_form_ = last.stride[0] == 1 && last.stride[1] == 1 && last.stride[2] == 0;
    if (rows_form_) {
      blocks_ = Blocks::over(loops);
    } else {  // the axis innermost
      loops.erase(std::remove_if(loops.begin(), loops.end(), [](const Axis& l) { return l.stride[2] != 0; }),
                  loops.end());
      loops.push_back(own);
      blocks_ = Blocks::over(loops);
    }
    tables(a, outputs);
  }

  void run(const RunContext& ctx, Team& team) const override {
    const float* x = ctx(x_);
    float* y = ctx(y_);
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const Blocks::Block b = blocks_.block(unit);
      const Axis& rows = blocks_.rows();
      const int64_t first = b.offset[2];
      Resample t;
      t.x = x + b.offset[0];
      t.y = y + b.offset[1];
      t.x_axis = x_axis_, t.y_axis = y_axis_;
      t.x_row = rows.stride[0], t.y_row = rows.stride[1];
      t.taps = taps_, t.step = step_;
      const int64_t at = rows_form_ ? first * taps_ : first;
      t.index = index_.data() + at;
      t.w = weighted_ ? weight_.data() + at : nullptr;
      const bool rows_are_outputs = rows.stride[2] != 0;
      t.outputs = !rows_form_ ? b.cols : rows_are_outputs ? b.rows : 1;
      t.rows = rows_form_ && rows_are_outputs ? 1 : b.rows;
      t.n = b.cols;
      (rows_form_ ? ctx.kernels->resample_rows : ctx.kernels->resample_cols)(&t);
    }
  }

 private:
  // [outputs][taps] for sums of rows, [taps][outputs] where vectors run along the outputs.
  void tables(const ResampleArgs& a, int64_t outputs) {
    const size_t entries = static_cast<size_t>(outputs * taps_);
    index_.resize(entries);
    weight_.resize(weighted_ ? entries : 0);
    step_ = outputs;
    for (int64_t i = 0; i < outputs; ++i)
      for (int64_t t = 0; t < taps_; ++t) {
        const size_t to = static_cast<size_t>(rows_form_ ? i * taps_ + t : t * outputs + i);
        index_[to] = a.index[i * taps_ + t];
        if (weighted_) weight_[to] = a.weight[i * taps_ + t];
      }
  }

  NdRef x_, y_;
  int64_t taps_, step_ = 0, x_axis_, y_axis_;
  bool weighted_, rows_form_ = false;
  std::vector<int64_t> index_;
  std::vector<float> weight_;
  Blocks blocks_;
};

}  // namespace

std::unique_ptr<Op> make_resample(const ResampleArgs& args) { return std::make_unique<ResampleOp>(args); }

}  // namespace cnnkern
