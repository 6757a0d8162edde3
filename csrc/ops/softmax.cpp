// Softmax over the channels of every pixel.
#include "nest.h"
#include "ops.h"

namespace cnnkern {
namespace {

class Softmax final : public Op {
 public:
  Softmax(const TensorRef& x, const TensorRef& y, bool log) : x_(x), y_(y), log_(log) {
    Axes axes = image_axes(y.view, {x.view, y.view});
    const Axis channels = axes.back();
    axes.pop_back();
    axes = merge(axes);
    axes.push_back(channels);
    blocks_ = Blocks::over(axes, true);
  }

  void run(const RunContext& ctx, Team& team) const override {
    const float* x = ctx(x_).data;
    float* y = ctx(y_).data;
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Blocks::Block b = blocks_.block(i);
      const SoftmaxRows t{x + b.offset[0], blocks_.rows().stride[0], y + b.offset[1], blocks_.rows().stride[1], b.rows,
                          b.cols};
      ctx.kernels->softmax[log_](&t);
    }
  }

 private:
  TensorRef x_, y_;
  bool log_;
  Blocks blocks_;
};

}  // namespace

std::unique_ptr<Op> make_softmax(const TensorRef& x, const TensorRef& y, bool log) {
  return std::make_unique<Softmax>(x, y, log);
}

}  // namespace cnnkern
