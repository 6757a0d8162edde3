// Element-wise operations: activations, add, mul, scale and shift.
#include "nest.h"
#include "ops.h"
#include "scale_shift.h"

namespace cnnkern {
namespace {

class Activation final : public Op {
 public:
  Activation(const TensorRef& x, const TensorRef& y, Act act, float param, float param2)
      : x_(x), y_(y), act_(act), param_(param), param2_(param2),
        blocks_(Blocks::over(merge(image_axes(y.view, {x.view, y.view})))) {}

  void run(const RunContext& ctx, Team& team) const override {
    const float* x = ctx(x_).data;
    float* y = ctx(y_).data;
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Blocks::Block b = blocks_.block(i);
      const ActRow row{x + b.offset[0],          y + b.offset[1],         b.cols, param_, param2_, b.rows,
                       blocks_.rows().stride[0], blocks_.rows().stride[1]};
      ctx.kernels->act[static_cast<int>(act_)](&row);
    }
  }

 private:
  TensorRef x_, y_;
  Act act_;
  float param_, param2_;
  Blocks blocks_;
};

class Binary final : public Op {
 public:
  // Both operations commute, so the one that may broadcast along a row is b.
  Binary(BinaryKind kind, const TensorRef& a, const TensorRef& b, const TensorRef& y, const Epilogue& e)
      : kind_(kind), a_(a.view.c == y.view.c ? a : b), b_(a.view.c == y.view.c ? b : a), y_(y), e_(e),
        blocks_(Blocks::over(merge(image_axes(y.view, {a_.view, b_.view, y.view})))) {}

  void run(const RunContext& ctx, Team& team) const override {
    const float *a = ctx(a_).data, *b = ctx(b_).data;
    float* y = ctx(y_).data;
    const Axis &rows = blocks_.rows(), &cols = blocks_.cols();
    const BinaryFn leaf = ctx.kernels->binary[kind_][cols.stride[1] == 0];
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Blocks::Block block = blocks_.block(i);
      BinaryRows t = {};
      t.a = a + block.offset[0];
      t.b = b + block.offset[1];
      t.y = y + block.offset[2];
      t.rows = block.rows;
      t.n = block.cols;
      t.a_row = rows.stride[0];
      t.b_row = rows.stride[1];
      t.y_row = rows.stride[2];
      t.lo = e_.lo;
      t.hi = e_.hi;
      t.clamp = e_.clamp;
      leaf(&t);
      e_.finish(ctx.kernels, t.y, t.rows, t.y_row, t.n);
    }
  }

 private:
  BinaryKind kind_;
  TensorRef a_, b_, y_;
  Epilogue e_;
  Blocks blocks_;
};

class Affine final : public Op {
 public:
  Affine(const TensorRef& x, const TensorRef& y, const float* scale, const float* shift, const Epilogue& e)
      : x_(x), y_(y), e_(e), map_(scale, shift, y.view.c, e) {
    TensorView vector;
    vector.n = vector.h = vector.w = 1;
    vector.c = y.view.c;
    Axes axes = image_axes(y.view, {x.view, y.view, vector});
    for (int i = 0; i < 3; ++i) axes[static_cast<size_t>(i)].stride[2] = 0;
    blocks_ = Blocks::over(merge(axes));
  }

  void run(const RunContext& ctx, Team& team) const override {
    const float* x = ctx(x_).data;
    float* y = ctx(y_).data;
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Blocks::Block b = blocks_.block(i);
      AffineRows t = map_.rows(b.offset[2]);
      t.x = x + b.offset[0];
      t.y = y + b.offset[1];
      t.rows = b.rows;
      t.n = b.cols;
      t.x_row = blocks_.rows().stride[0];
      t.y_row = blocks_.rows().stride[1];
      ctx.kernels->affine(&t);
      e_.finish(ctx.kernels, t.y, t.rows, t.y_row, t.n);
    }
  }

 private:
  TensorRef x_, y_;
  Epilogue e_;
  ScaleShift map_;
  Blocks blocks_;
};

}  // namespace

std::unique_ptr<Op> make_activation(const TensorRef& x, const TensorRef& y, Act act, float param, float param2) {
  return std::make_unique<Activation>(x, y, act, param, param2);
}

std::unique_ptr<Op> make_binary(BinaryKind kind, const TensorRef& a, const TensorRef& b, const TensorRef& y,
                                const Epilogue& epilogue) {
  return std::make_unique<Binary>(kind, a, b, y, epilogue);
}

std::unique_ptr<Op> make_affine(const TensorRef& x, const TensorRef& y, const float* scale, const float* shift,
                                const Epilogue& epilogue) {
  return std::make_unique<Affine>(x, y, scale, shift, epilogue);
}

}  // namespace cnnkern
