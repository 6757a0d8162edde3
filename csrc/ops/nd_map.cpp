// Element-wise operations on arrays of any rank and layout.
#include "nd_ops.h"
#include "nd.h"
#include "scale_shift.h"

namespace cnnkern {
namespace {

// Where a leaf finds the rows of an operand: at its place, once a row, or in scratch.
enum class Road { straight, once, staged };

// The blocks of y and of the operands that are read for it; y is the last.
class Map {
 public:
  Map(const std::vector<NdView>& reads, const NdView& y) : count_(reads.size()) {
    std::vector<NdView> all = reads;
    all.push_back(y);
    blocks_ = Blocks::over(merge(nd_axes(y, all)));
    const Axis& cols = blocks_.cols();
    size_t moving = 0;
    for (size_t i = 0; i <= count_; ++i) {
      const int64_t step = cols.stride[i];
      road_[i] = step == 1 ? Road::straight : step == 0 && i < count_ ? Road::once : Road::staged;
      moving += i < count_ && road_[i] != Road::once;
    }
    if (moving == 0) road_[0] = Road::staged;  // a leaf repeats one operand at most
  }

  const Blocks& blocks() const { return blocks_; }
  bool once(size_t i) const { return road_[i] == Road::once; }
  int64_t workspace_floats(int threads) const {
    for (size_t i = 0; i <= count_; ++i)
      if (road_[i] == Road::staged) return threads * kMaxOperands * kUnitFloats;
    return 0;
  }

  // A block as a leaf sees it.
  struct Rows {
    const float* x[kMaxOperands];
    int64_t x_row[kMaxOperands];
    float* y;
    int64_t y_row, rows, cols;
  };

  // leaf(rows) for each of this member's blocks.
  template <class Leaf>
  void run(const RunContext& ctx, Team& team, const float* const* reads, float* y, const Leaf& leaf) const {
    float* scratch = workspace_floats(1) ? ctx.workspace + team.rank() * kMaxOperands * kUnitFloats : nullptr;
    const Axis &rows = blocks_.rows(), &cols = blocks_.cols();
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const Blocks::Block b = blocks_.block(unit);
      Rows t;
      t.rows = b.rows, t.cols = b.cols;
      for (size_t i = 0; i < count_; ++i) {
        t.x[i] = reads[i] + b.offset[i];
        t.x_row[i] = rows.stride[i];
        if (road_[i] != Road::staged) continue;
        const bool same = rows.stride[i] == 0;  // every row: it is fetched once
        float* staged = scratch + static_cast<int64_t>(i) * kUnitFloats;
        gather(ctx.kernels, t.x[i], rows.stride[i], cols.stride[i], staged, b.cols, same ? 1 : b.rows, b.cols);
        t.x[i] = staged;
        t.x_row[i] = same ? 0 : b.cols;
      }
      float* out = y + b.offset[count_];
      const bool aside = road_[count_] == Road::staged;
      t.y = aside ? scratch + static_cast<int64_t>(count_) * kUnitFloats : out;
      t.y_row = aside ? b.cols : rows.stride[count_];
      leaf(t);
      if (aside) scatter(ctx.kernels, t.y, b.cols, out, rows.stride[count_], cols.stride[count_], b.rows, b.cols);
    }
  }

 private:
  size_t count_;
  Blocks blocks_;
  Road road_[kMaxOperands] = {};
};

class UnaryMap final : public Op {
 public:
  UnaryMap(const NdRef& x, const NdRef& y, Unary kind, float alpha, float beta)
      : x_(x), y_(y), kind_(kind), alpha_(alpha), beta_(beta), map_({x.view}, y.view) {}

  int64_t workspace_floats(int threads) const override { return map_.workspace_floats(threads); }

  void run(const RunContext& ctx, Team& team) const override {
    const float* reads[] = {ctx(x_)};
    const ActFn leaf = ctx.kernels->unary[static_cast<int>(kind_)];
    map_.run(ctx, team, reads, ctx(y_), [&](const Map::Rows& t) {
      const ActRow row{t.x[0], t.y, t.cols, alpha_, beta_, t.rows, t.x_row[0], t.y_row};
      leaf(&row);
    });
  }

 private:
  NdRef x_, y_;
  Unary kind_;
  float alpha_, beta_;
  Map map_;
};

class BinaryMap final : public Op {
 public:
  BinaryMap(const NdRef& a, const NdRef& b, const NdRef& y, int kind, const Epilogue& e)
      : a_(a), b_(b), y_(y), kind_(kind), e_(e), map_({a.view, b.view}, y.view) {}

  int64_t workspace_floats(int threads) const override { return map_.workspace_floats(threads); }

  void run(const RunContext& ctx, Team& team) const override {
    const float* reads[] = {ctx(a_), ctx(b_)};
    const KernelTable* k = ctx.kernels;
    const bool commutes = kind_ < binary_kinds, swapped = commutes && map_.once(0);
    const PairForm form = map_.once(0) ? pair_a_once : map_.once(1) ? pair_b_once : pair_both;
    const BinaryFn leaf = commutes ? k->binary[kind_][form != pair_both] : k->pair[kind_ - binary_kinds][form];
    map_.run(ctx, team, reads, ctx(y_), [&](const Map::Rows& rows) {
      BinaryRows t = {};
      t.a = rows.x[swapped], t.a_row = rows.x_row[swapped];
      t.b = rows.x[!swapped], t.b_row = rows.x_row[!swapped];
      t.y = rows.y, t.y_row = rows.y_row;
      t.rows = rows.rows, t.n = rows.cols;
      t.lo = e_.lo, t.hi = e_.hi, t.clamp = e_.clamp;
      leaf(&t);
      e_.finish(k, rows.y, rows.rows, rows.y_row, rows.cols);
    });
  }

 private:
  NdRef a_, b_, y_;
  int kind_;
  Epilogue e_;
  Map map_;
};

// Along the rows of a channel a scale and a shift are two numbers; where channels follow each other they are vectors.
class AffineMap final : public Op {
 public:
  AffineMap(const NdRef& x, const NdRef& y, int axis, const float* scale, const float* shift, const Epilogue& e)
      : x_(x), y_(y), e_(e), vectors_(scale, shift, y.view.size[axis], e), channels_(y.view) {
    for (int i = 0; i < channels_.rank; ++i) channels_.stride[i] = i == axis;
    blocks_ = Blocks::over(merge(nd_axes(y.view, {x.view, y.view, channels_})));
    if (blocks_.cols().stride[0] != 1 || blocks_.cols().stride[1] != 1)
      throw std::invalid_argument("affine: x and y must have an axis of stride 1, the same one");
  }

  void run(const RunContext& ctx, Team& team) const override {
    const Axis &rows = blocks_.rows(), &cols = blocks_.cols();
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const Blocks::Block b = blocks_.block(unit);
      const int64_t step = rows.stride[2], calls = step ? b.rows : 1, together = step ? 1 : b.rows;
      for (int64_t r = 0; r < calls; ++r) {
        AffineRows t = vectors_.rows(b.offset[2] + r * step);
        t.x = ctx(x_) + b.offset[0] + r * rows.stride[0];
        t.y = ctx(y_) + b.offset[1] + r * rows.stride[1];
        t.rows = together, t.n = b.cols;
        t.x_row = rows.stride[0], t.y_row = rows.stride[1];
        if (cols.stride[2] != 0) {
          ctx.kernels->affine(&t);
          e_.finish(ctx.kernels, t.y, t.rows, t.y_row, t.n);
          continue;
        }
        const ActRow row{t.x, t.y, t.n, *t.scale, *t.shift, t.rows, t.x_row, t.y_row};
        ctx.kernels->unary[static_cast<int>(Unary::affine)](&row);
        if (e_.act == Act::none) continue;
        const ActRow act{t.y, t.y, t.n, e_.param, e_.param2, t.rows, t.y_row, t.y_row};
        ctx.kernels->act[static_cast<int>(e_.act)](&act);
      }
    }
  }

 private:
  NdRef x_, y_;
  Epilogue e_;
  ScaleShift vectors_;
  NdView channels_;
  Blocks blocks_;
};

}  // namespace

std::unique_ptr<Op> make_unary(const NdRef& x, const NdRef& y, Unary kind, float alpha, float beta) {
  return std::make_unique<UnaryMap>(x, y, kind, alpha, beta);
}

std::unique_ptr<Op> make_binary_nd(const NdRef& a, const NdRef& b, const NdRef& y, int kind, const Epilogue& epilogue) {
  return std::make_unique<BinaryMap>(a, b, y, kind, epilogue);
}

std::unique_ptr<Op> make_affine_nd(const NdRef& x, const NdRef& y, int axis, const float* scale, const float* shift,
                                   const Epilogue& epilogue) {
  return std::make_unique<AffineMap>(x, y, axis, scale, shift, epilogue);
}

}  // namespace cnnkern
