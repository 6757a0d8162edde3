// Sums, products and extremes over any axes of an array of any rank and layout.
//
// A group, what one output is made of, is cut into parts of a fixed number of elements; each part is added up by itself,
// then the parts. So the rounding errors of long sums stay small, a single long sum keeps a whole team busy, and the
// order of a sum follows from shape and strides alone.
#include <algorithm>
#include <cstdlib>

#include "nd_ops.h"
#include "nd.h"

namespace cnnkern {
namespace {

// The axes of v whose flag is `which`; its other axes have size 1.
NdView only(const NdView& v, const bool (&flags)[kMaxRank], bool which) {
  NdView out = v;
  for (int i = 0; i < v.rank; ++i)
    if (flags[i] != which) out.size[i] = 1;
  return out;
}

ReduceKind leaf_kind(Reduction kind) {
  switch (kind) {
    case Reduction::max:
      return reduce_max;
    case Reduction::min:
      return reduce_min;
    case Reduction::prod:
      return reduce_prod;
    case Reduction::l1:
      return reduce_sum_abs;
    case Reduction::l2:
    case Reduction::sum_square:
      return reduce_sum_square;
    case Reduction::log_sum_exp:
      return reduce_sum_exp;
    default:
      return reduce_sum;
  }
}

// Of no elements.
float empty_value(Reduction kind) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  switch (kind) {
    case Reduction::max:
    case Reduction::log_sum:
    case Reduction::log_sum_exp:
      return -inf;
    case Reduction::min:
      return inf;
    case Reduction::prod:
      return 1;
    case Reduction::mean:
      return std::numeric_limits<float>::quiet_NaN();
    default:
      return 0;
  }
}

class Reducer final : public Op {
 public:
  Reducer(const NdRef& x, const NdRef& y, const bool (&reduced)[kMaxRank], Reduction kind) : x_(x), y_(y), kind_(kind) {
    const NdView kept = only(x.view, reduced, false), gone = only(x.view, reduced, true);
    Axes outputs = merge(nd_axes(kept, {x.view, y.view})), group = merge(nd_axes(gone, {x.view}));
    elements_ = gone.elements();
    outputs_ = kept.elements();
    const Axis last = outputs.back(), inner = group.back();
    const bool nearer = std::abs(last.stride[0]) < std::abs(inner.stride[0]);
    // Folding a vector costs more than turning a few: short groups go across, through scratch.
    const bool brief = elements_ <= kBrief && last.size >= kBrief;
    across_ = last.size > 1 && (inner.size == 1 || nearer || brief);
    staged_ = (across_ ? last : inner).stride[0] != 1;
    direct_ = last.stride[1] == 1;
    parts_ = cut(group, across_ ? kSteps : kUnitFloats);
    const int64_t part = std::min(elements_, across_ ? kSteps : kUnitFloats);
    const int64_t chunk = across_ ? (staged_ ? std::min(kUnitFloats, kStage / std::max<int64_t>(1, part)) : kWide)
                                  : kUnitFloats / std::max<int64_t>(1, part);
    int64_t place = 1;  // of an output among all, whatever y looks like
    for (size_t i = outputs.size(); i-- > 0; place *= outputs[i].size) outputs[i].stride[2] = place;
    const Axis cols = outputs.back();
    outputs.pop_back();
    blocks_ = Blocks(std::move(outputs), {1, {}}, cols, 1, std::max<int64_t>(1, chunk));
  }

  int64_t workspace_floats(int threads) const override {
    return threads * kOwn + (parts_.units() > 1 ? (parts_.units() + 1) * outputs_ : 0);
  }

  void run(const RunContext& ctx, Team& team) const override {
    if (outputs_ == 0) return;
    if (elements_ > 0 && parts_.units() > 1) return by_parts(ctx, team);
    const Own own(ctx, team);
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const Blocks::Block b = blocks_.block(unit);
      float* out = target(ctx, own, b);
      if (elements_ == 0) {
        ctx.kernels->fill(out, b.cols, empty_value(kind_));
      } else if (kind_ == Reduction::log_sum_exp) {
        join(ctx, own, reduce_max, b, 0, nullptr, own.shift);
        tame(ctx, own.shift, b.cols);
        join(ctx, own, reduce_sum_exp, b, 0, own.shift, out);
      } else {
        join(ctx, own, leaf_kind(kind_), b, 0, nullptr, out);
      }
      if (elements_ > 0) finish(ctx, out, own.shift, b.cols);
      deliver(ctx, out, b);
    }
  }

 private:
  static constexpr int64_t kSteps = 256;  // of a part across: so many roundings in a row
  static constexpr int64_t kBrief = 32;
  static constexpr int64_t kWide = 512;  // outputs at a time across
  static constexpr int64_t kStage = 16 * 1024, kOwn = kStage + 2 * kUnitFloats;  // of a member's scratch

  struct Own {
    float *in, *out, *shift, *shared;
    Own(const RunContext& ctx, const Team& team)
        : in(ctx.workspace + team.rank() * kOwn), out(in + kStage), shift(out + kUnitFloats),
          shared(ctx.workspace + team.size() * kOwn) {}
  };

  static Blocks cut(Axes group, int64_t part) {
    const Axis cols = group.back();
    group.pop_back();
    Axis rows{1, {}};
    if (!group.empty()) {
      rows = group.back();
      group.pop_back();
    }
    const int64_t col_chunk = std::max<int64_t>(1, std::min(cols.size, part));
    return Blocks(std::move(group), rows, cols, std::max<int64_t>(1, part / col_chunk), col_chunk);
  }

  // Parts to [part][output], their sums and what follows from them. The exponentials' shifts stand behind the parts.
  void by_parts(const RunContext& ctx, Team& team) const {
    const Own own(ctx, team);
    float* shifts = own.shared + parts_.units() * outputs_;
    const ReduceKind kind = leaf_kind(kind_);
    if (kind == reduce_sum_exp) {
      all_parts(ctx, team, own, reduce_max, nullptr);
      for_outputs(team, [&](const Blocks::Block& b) {
        total(ctx, own, reduce_max, b, shifts + b.offset[2]);
        tame(ctx, shifts + b.offset[2], b.cols);
      });
      team.barrier();
    }
    all_parts(ctx, team, own, kind, shifts);
    const bool sums = kind != reduce_max && kind != reduce_min && kind != reduce_prod;
    for_outputs(team, [&](const Blocks::Block& b) {
      float* out = target(ctx, own, b);
      total(ctx, own, sums ? reduce_sum : kind, b, out);
      finish(ctx, out, shifts + b.offset[2], b.cols);
      deliver(ctx, out, b);
    });
  }

  void all_parts(const RunContext& ctx, Team& team, const Own& own, ReduceKind kind, const float* shifts) const {
    const int64_t parts = parts_.units();
    const Range mine = share(blocks_.units() * parts, team.size(), team.rank());
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const Blocks::Block b = blocks_.block(unit / parts);
      float* out = own.shared + unit % parts * outputs_ + b.offset[2];
      join(ctx, own, kind, b, unit % parts, shifts ? shifts + b.offset[2] : nullptr, out);
    }
    team.barrier();
  }

  template <class Body>
  void for_outputs(Team& team, const Body& body) const {
    const Range mine = share(blocks_.units(), team.size(), team.rank());
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) body(blocks_.block(unit));
  }

  // One part of the groups of a block of outputs.
  void join(const RunContext& ctx, const Own& own, ReduceKind kind, const Blocks::Block& b, int64_t part,
            const float* shift, float* out) const {
    const Blocks::Block p = parts_.block(part);
    Reduce t = {};
    t.x = ctx(x_) + b.offset[0] + p.offset[0];
    t.n = b.cols, t.rows = p.rows, t.cols = p.cols;
    t.x_n = blocks_.cols().stride[0], t.x_row = parts_.rows().stride[0], t.x_col = parts_.cols().stride[0];
    t.shift = shift;
    t.out = out;
    if (staged_) stage(ctx, own.in, &t);
    ctx.kernels->reduce[kind][across_ ? reduce_across : reduce_along](&t);
  }

  void stage(const RunContext& ctx, float* in, Reduce* t) const {
    if (across_) {
      for (int64_t r = 0; r < t->rows; ++r)
        gather(ctx.kernels, t->x + r * t->x_row, t->x_col, t->x_n, in + r * t->cols * t->n, t->n, t->cols, t->n);
      t->x_n = 1, t->x_col = t->n, t->x_row = t->cols * t->n;
    } else {
      for (int64_t i = 0; i < t->n; ++i)
        gather(ctx.kernels, t->x + i * t->x_n, t->x_row, t->x_col, in + i * t->rows * t->cols, t->cols, t->rows,
               t->cols);
      t->x_col = 1, t->x_row = t->cols, t->x_n = t->rows * t->cols;
    }
    t->x = in;
  }

  void total(const RunContext& ctx, const Own& own, ReduceKind kind, const Blocks::Block& b, float* out) const {
    Reduce t = {};
    t.x = own.shared + b.offset[2];
    t.n = b.cols, t.rows = 1, t.cols = parts_.units();
    t.x_n = 1, t.x_col = outputs_;
    t.out = out;
    ctx.kernels->reduce[kind][reduce_across](&t);
  }

  // The largest of a group where it is finite: an infinite one is taken out as the largest float.
  static void tame(const RunContext& ctx, float* shift, int64_t n) {
    constexpr float most = std::numeric_limits<float>::max();
    const ActRow row{shift, shift, n, -most, most};
    ctx.kernels->act[static_cast<int>(Act::clip)](&row);
  }

  void finish(const RunContext& ctx, float* out, const float* shift, int64_t n) const {
    const auto apply = [&](Unary function, float alpha) {
      const ActRow row{out, out, n, alpha, 0};
      ctx.kernels->unary[static_cast<int>(function)](&row);
    };
    if (kind_ == Reduction::mean) apply(Unary::affine, static_cast<float>(1.0 / static_cast<double>(elements_)));
    if (kind_ == Reduction::l2) apply(Unary::sqrt, 0);
    if (kind_ == Reduction::log_sum || kind_ == Reduction::log_sum_exp) apply(Unary::log, 0);
    if (kind_ != Reduction::log_sum_exp) return;
    BinaryRows t = {};
    t.a = out, t.b = shift, t.y = out;
    t.rows = 1, t.n = n;
    ctx.kernels->binary[binary_add][false](&t);
  }

  // Where a block's results are made, and how they get from there to y.
  float* target(const RunContext& ctx, const Own& own, const Blocks::Block& b) const {
    return direct_ ? ctx(y_) + b.offset[1] : own.out;
  }
  void deliver(const RunContext& ctx, const float* out, const Blocks::Block& b) const {
    if (!direct_) scatter(ctx.kernels, out, b.cols, ctx(y_) + b.offset[1], 0, blocks_.cols().stride[1], 1, b.cols);
  }

  NdRef x_, y_;
  Reduction kind_;
  int64_t elements_, outputs_;  // of a group; all
  bool across_, staged_, direct_;
  Blocks parts_;  // of a group: offset 0 in x
  Blocks blocks_;  // of outputs: offsets in x, in y and among all
};

}  // namespace

std::unique_ptr<Op> make_reduce(const NdRef& x, const NdRef& y, const bool (&reduced)[kMaxRank], Reduction kind) {
  return std::make_unique<Reducer>(x, y, reduced, kind);
}

}  // namespace cnnkern
