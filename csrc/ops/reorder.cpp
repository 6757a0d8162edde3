// Moves: copies between any strides, transposes among them, and fills. Copy, channel shuffle, pad and im2col are lists
// of these, no two of which write the same place, so that a team needs no barrier between them.
#include <algorithm>

#include "nest.h"
#include "ops.h"

namespace cnnkern {
namespace {

// One copy. Operand 0 is read, operand 1 written.
class Copy {
 public:
  Copy(const Axes& axes, int64_t x_offset, int64_t y_offset) : x_offset_(x_offset), y_offset_(y_offset) {
    Axes loops = sweep(axes, 1);
    const Axis last = loops.back();
    if (last.stride[1] == 1 && last.stride[0] != 1) {
      const auto unit = std::find_if(loops.begin(), loops.end(), [](const Axis& a) { return a.stride[0] == 1; });
      if (unit != loops.end()) {
        form_ = Form::transpose;
        const Axis rows = *unit;
        loops.erase(unit);
        loops.pop_back();
        // A square of 64 x 64, or with fewer columns more rows; whole vectors of every ISA but at the ends.
        const int64_t cols = std::max<int64_t>(1, std::min<int64_t>(last.size, 64));
        blocks_ = Blocks(loops, rows, last, round_up(kUnitFloats / cols, kBlock), cols);
        return;
      }
    }
    form_ = last.stride[0] == 1 && last.stride[1] == 1 ? Form::rows : Form::strided;
    blocks_ = Blocks::over(loops);
  }

  int64_t units() const { return blocks_.units(); }

  void run(const KernelTable* kernels, const float* x, float* y, int64_t unit) const {
    const Blocks::Block b = blocks_.block(unit);
    const Axis &rows = blocks_.rows(), &cols = blocks_.cols();
    x += x_offset_ + b.offset[0];
    y += y_offset_ + b.offset[1];
    if (form_ == Form::strided) {
      for (int64_t i = 0; i < b.rows; ++i) {
        const CopyRow row{x + i * rows.stride[0], cols.stride[0], y + i * rows.stride[1], cols.stride[1], b.cols};
        kernels->copy(&row);
      }
    } else {
      const bool rows_form = form_ == Form::rows;
      const CopyBlock t{x, rows_form ? rows.stride[0] : cols.stride[0], y, rows.stride[1], b.rows, b.cols};
      (rows_form ? kernels->copy_block : kernels->transpose)(&t);
    }
  }

 private:
  enum class Form { rows, transpose, strided };
  int64_t x_offset_, y_offset_;
  Form form_;
  Blocks blocks_;
};

// One fill of a part of the output, which is operand 0 here.
class Fill {
 public:
  Fill(const Axes& axes, int64_t y_offset, float value)
      : y_offset_(y_offset), value_(value), blocks_(Blocks::over(sweep(axes, 0))) {}

  int64_t units() const { return blocks_.units(); }

  void run(const KernelTable* kernels, float* y, int64_t unit) const {
    const Blocks::Block b = blocks_.block(unit);
    y += y_offset_ + b.offset[0];
    const int64_t step = blocks_.cols().stride[0];
    for (int64_t i = 0; i < b.rows; ++i, y += blocks_.rows().stride[0]) {
      if (step == 1)
        kernels->fill(y, b.cols, value_);
      else
        kernels->fill_strided(y, step, b.cols, value_);
    }
  }

 private:
  int64_t y_offset_;
  float value_;
  Blocks blocks_;
};

class Moves final : public Op {
 public:
  Moves(const TensorRef& x, const TensorRef& y) : x_(x), y_(y) {}

  void add(const Copy& copy) {
    if (copy.units()) copies_.push_back(copy);
  }
  void add(const Fill& fill) {
    if (fill.units()) fills_.push_back(fill);
  }

  void run(const RunContext& ctx, Team& team) const override {
    const float* x = ctx(x_).data;
    float* y = ctx(y_).data;
    for (const Fill& fill : fills_) {
      const Range mine = share(fill.units(), team.size(), team.rank());
      for (int64_t i = mine.begin; i < mine.end; ++i) fill.run(ctx.kernels, y, i);
    }
    for (const Copy& copy : copies_) {
      const Range mine = share(copy.units(), team.size(), team.rank());
      for (int64_t i = mine.begin; i < mine.end; ++i) copy.run(ctx.kernels, x, y, i);
    }
  }

 private:
  TensorRef x_, y_;
  std::vector<Copy> copies_;
  std::vector<Fill> fills_;
};

// Copies and fills of parts of one or more tensors of any rank, their units counted through, so that many small parts
// are shared like one large one.
class Parts final : public Op {
 public:
  Parts(const std::vector<MoveCopy>& copies, const std::vector<MoveFill>& fills, const float* values, int64_t floats)
      : values_(values, values + floats) {
    for (const MoveFill& f : fills) add({NdRef(), f.y, Form::fill, fills_.size()}, Fill(axes_of(f.y, f.y), 0, f.value));
    for (const MoveCopy& c : copies) add({c.x, c.y, Form::copy, copies_.size()}, Copy(axes_of(c.x, c.y), 0, 0));
  }

  void run(const RunContext& ctx, Team& team) const override {
    const Range mine = share(units_, team.size(), team.rank());
    int64_t unit = mine.begin;
    const auto after = [](int64_t u, const Part& part) { return u < part.end; };
    for (auto part = std::upper_bound(parts_.begin(), parts_.end(), unit, after); unit < mine.end; ++part) {
      float* y = ctx(part->y);
      const float* x = part->x.slot < 0 ? values_.data() + part->x.offset : ctx(part->x);
      for (; unit < std::min(mine.end, part->end); ++unit) {
        if (part->form == Form::fill)
          fills_[part->index].run(ctx.kernels, y, unit - part->begin);
        else
          copies_[part->index].run(ctx.kernels, x, y, unit - part->begin);
      }
    }
  }

 private:
  enum class Form { fill, copy };
  struct Part {
    NdRef x, y;
    Form form;
    size_t index;
    int64_t begin = 0, end = 0;  // its units
  };

  static Axes axes_of(const NdRef& x, const NdRef& y) {
    Axes axes;
    for (int i = 0; i < y.view.rank; ++i) axes.push_back({y.view.size[i], {x.view.stride[i], y.view.stride[i]}});
    return axes;
  }

  void keep(const Copy& copy) { copies_.push_back(copy); }
  void keep(const Fill& fill) { fills_.push_back(fill); }
  template <class Move>
  void add(Part part, const Move& move) {
    if (!move.units()) return;
    keep(move);
    part.begin = units_;
    part.end = units_ += move.units();
    parts_.push_back(part);
  }

  std::vector<float> values_;
  std::vector<Part> parts_;
  std::vector<Copy> copies_;
  std::vector<Fill> fills_;
  int64_t units_ = 0;
};

// Everything of a plane of `view` (its axes n and c given apart) but rows [p0, p1) x columns [q0, q1).
void fill_around(Moves* moves, const TensorView& view, const Axis& n, const Axis& c, Range p, Range q, int64_t offset,
                 float value) {
  const auto fill = [&](Range rows, Range cols) {
    const Axes axes = {n, {rows.end - rows.begin, {view.sh}}, {cols.end - cols.begin, {view.sw}}, c};
    moves->add(Fill(axes, offset + rows.begin * view.sh + cols.begin * view.sw, value));
  };
  fill({0, p.begin}, {0, view.w});
  fill({p.end, view.h}, {0, view.w});
  fill(p, {0, q.begin});
  fill(p, {q.end, view.w});
}

// Outputs i with 0 <= i * stride + at < size.
Range inside(int64_t outputs, int64_t size, int64_t stride, int64_t at) {
  const int64_t begin = std::min(outputs, at < 0 ? ceil_div(-at, stride) : 0);
  return {begin, std::max(begin, std::min(outputs, at < size ? ceil_div(size - at, stride) : 0))};
}

}  // namespace

std::unique_ptr<Op> make_copy(const TensorRef& x, const TensorRef& y) {
  auto moves = std::make_unique<Moves>(x, y);
  moves->add(Copy(image_axes(y.view, {x.view, y.view}), 0, 0));
  return moves;
}

std::unique_ptr<Op> make_moves(const std::vector<MoveCopy>& copies, const std::vector<MoveFill>& fills,
                               const float* values, int64_t floats) {
  return std::make_unique<Parts>(copies, fills, values, floats);
}

std::unique_ptr<Op> make_channel_shuffle(const TensorRef& x, const TensorRef& y, int64_t groups) {
  auto moves = std::make_unique<Moves>(x, y);
  const int64_t each = y.view.c / groups, sx = x.view.sc, sy = y.view.sc;
  Axes axes = image_axes(y.view, {x.view, y.view});
  axes.back() = {each, {sx, groups * sy}};
  axes.push_back({groups, {each * sx, sy}});
  moves->add(Copy(axes, 0, 0));
  return moves;
}

std::unique_ptr<Op> make_pad(const TensorRef& x, const TensorRef& y, int64_t top, int64_t left, float value) {
  auto moves = std::make_unique<Moves>(x, y);
  const TensorView &in = x.view, &out = y.view;
  fill_around(moves.get(), out, {out.n, {out.sn}}, {out.c, {out.sc}}, {top, top + in.h}, {left, left + in.w}, 0, value);
  TensorView middle = out;
  middle.h = in.h;
  middle.w = in.w;
  moves->add(Copy(image_axes(in, {in, middle}), 0, top * out.sh + left * out.sw));
  return moves;
}

std::unique_ptr<Op> make_im2col(const TensorRef& x, const TensorRef& y, const Window& w) {
  auto moves = std::make_unique<Moves>(x, y);
  const TensorView &in = x.view, &out = y.view;
  for (int64_t tap = 0; tap < w.r * w.s; ++tap) {
    const int64_t h0 = tap / w.s * w.dil_h - w.pad_t, w0 = tap % w.s * w.dil_w - w.pad_l, y0 = tap * out.sc;
    const Range p = inside(out.h, in.h, w.stride_h, h0), q = inside(out.w, in.w, w.stride_w, w0);
    const int64_t channel = w.r * w.s * out.sc;
    fill_around(moves.get(), out, {out.n, {out.sn}}, {in.c, {channel}}, p, q, y0, 0.0f);
    const Axes axes = {{in.n, {in.sn, out.sn}},
                       {p.end - p.begin, {w.stride_h * in.sh, out.sh}},
                       {q.end - q.begin, {w.stride_w * in.sw, out.sw}},
                       {in.c, {in.sc, channel}}};
    moves->add(Copy(axes, (p.begin * w.stride_h + h0) * in.sh + (q.begin * w.stride_w + w0) * in.sw,
                    y0 + p.begin * out.sh + q.begin * out.sw));
  }
  return moves;
}

}  // namespace cnnkern
