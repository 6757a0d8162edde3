// Products of stacks of matrices, on the tiles that convolutions run on: rows of a are pixels, columns of b are output
// channels. b is packed into panels, in every run or, where it is known, when the plan is made.
#include <algorithm>

#include "conv_pack.h"
#include "nd_ops.h"
#include "nd.h"

namespace cnnkern {
namespace {

class MatMul final : public Op {
 public:
  explicit MatMul(const MatMulArgs& args) : a_(args.a), b_(args.b), y_(args.y), known_(args.weight != nullptr) {
    const NdView &a = a_.view, &b = b_.view, &y = y_.view;
    const int last = y.rank - 1, row = y.rank - 2;
    m_ = y.size[row], n_ = y.size[last], k_ = a.size[last];
    a_row_ = a.stride[row], a_col_ = k_ > 1 ? a.stride[last] : 1;
    b_row_ = b.stride[row], b_col_ = b.stride[last];
    y_row_ = y.stride[row], y_col_ = n_ > 1 ? y.stride[last] : 1;
    for (int i = 0; i < row; ++i)
      if (y.size[i] != 1) batch_.push_back({y.size[i], {a.stride[i], b.stride[i], y.stride[i]}});
    fold();
    panels_ = make_panels(1, k_, n_, 1, args.ob, args.px, args.kernels);
    matrix_ = panels_.empty() ? 0 : panels_.back().offset + panel_floats(panels_.back());
    count();
    const int64_t cells = ceil_div(m_, args.px), fit = std::min(kChunkFloats / std::max<int64_t>(1, k_), kChunkRows);
    const int64_t chunk = std::min(std::max<int64_t>(1, fit / args.px), std::max<int64_t>(1, ceil_div(cells, kUnits)));
    chunk_ = chunk * args.px;
    if (known_) pack_known(args);
  }

  int64_t workspace_floats(int threads) const override {
    const int64_t own = y_col_ == 1 ? 0 : threads * kChunkRows * kMaxOb * kBlock;
    return (known_ ? 0 : b_count_ * matrix_) + (a_col_ == 1 ? 0 : round_up(a_count_ * m_ * k_, kBlock)) + own;
  }

  void run(const RunContext& ctx, Team& team) const override {
    if (m_ == 0 || n_ == 0 || batches_ == 0) return;
    float* packed = ctx.workspace;
    float* rows = packed + (known_ ? 0 : b_count_ * matrix_);
    float* own = nullptr;  // where y's rows lie apart
    if (y_col_ != 1) {
      own = rows + (a_col_ == 1 ? 0 : round_up(a_count_ * m_ * k_, kBlock));
      own += team.rank() * kChunkRows * kMaxOb * kBlock;
    }
    if (!known_) pack(ctx.kernels, ctx(b_), packed, team);
    if (a_col_ != 1) gather_rows(ctx, rows, team);
    if (!known_ || a_col_ != 1) team.barrier();
    const float* weights = known_ ? weights_.data() : packed;
    const int64_t panels = static_cast<int64_t>(panels_.size()), chunks = ceil_div(m_, chunk_);
    Units units(team, batches_ * chunks * panels);
    for (int64_t u; units.next(&u);) {
      const Place at = place(u / (chunks * panels));
      const int64_t first = u / panels % chunks * chunk_;
      const Range range{first, std::min(m_, first + chunk_)};
      const float* a = a_col_ == 1 ? ctx(a_) + at.a + first * a_row_ : rows + (at.a_index * m_ + first) * k_;
      multiply(ctx, weights + at.b_index * matrix_, a, ctx(y_) + at.y + first * y_row_, u % panels, range, own);
    }
  }

 private:
  static constexpr int64_t kUnits = 16;  // that the rows of a matrix are cut into, where there are enough
  static constexpr int64_t kChunkFloats = 48 * 1024;  // of a: 192 KiB, as in conv_pointwise.cpp
  static constexpr int64_t kChunkRows = 256;

  // One product: where its operands begin, and which of the packed ones they are.
  struct Place {
    int64_t a, b, y, a_index, b_index;
  };

  int64_t panel_floats(const Panel& p) const { return k_ * p.ob * kBlock; }

  // Products with one b whose rows follow each other are one product of more rows.
  void fold() {
    while (!batch_.empty()) {
      const Axis& axis = batch_.back();
      const bool joins = m_ == 1 || (axis.stride[0] == m_ * a_row_ && axis.stride[2] == m_ * y_row_);
      if (axis.stride[1] != 0 || !joins) break;
      if (m_ == 1) a_row_ = axis.stride[0], y_row_ = axis.stride[2];
      m_ *= axis.size;
      batch_.pop_back();
    }
  }

  void count() {
    for (const Axis& axis : batch_) {
      batches_ *= axis.size;
      if (axis.stride[0] != 0) a_count_ *= axis.size;
      if (axis.stride[1] != 0) b_count_ *= axis.size;
    }
  }

  Place place(int64_t batch) const {
    Place at = {0, 0, 0, 0, 0};
    int64_t a_step = 1, b_step = 1;
    for (size_t i = batch_.size(); i-- > 0; batch /= batch_[i].size) {
      const Axis& axis = batch_[i];
      const int64_t index = batch % axis.size;
      at.a += index * axis.stride[0], at.b += index * axis.stride[1], at.y += index * axis.stride[2];
      if (axis.stride[0] != 0) at.a_index += index * a_step, a_step *= axis.size;
      if (axis.stride[1] != 0) at.b_index += index * b_step, b_step *= axis.size;
    }
    return at;
  }

  // The i-th of the matrices that `operand` (0: a, 1: b) really has.
  int64_t offset(int operand, int64_t i) const {
    int64_t at = 0;
    for (size_t axis = batch_.size(); axis-- > 0;) {
      const int64_t stride = batch_[axis].stride[operand];
      if (stride == 0) continue;
      at += i % batch_[axis].size * stride;
      i /= batch_[axis].size;
    }
    return at;
  }

  void pack(const KernelTable* kernels, const float* b, float* out, const Team& team) const {
    const int64_t panels = static_cast<int64_t>(panels_.size());
    const Range mine = share(b_count_ * panels, team.size(), team.rank());
    for (int64_t u = mine.begin; u < mine.end; ++u) {
      const Panel& p = panels_[static_cast<size_t>(u % panels)];
      float* to = out + u / panels * matrix_ + p.offset;
      if (p.valid < p.ob * kBlock) kernels->fill(to, panel_floats(p), 0.0f);
      gather(kernels, b + offset(1, u / panels) + p.k0 * b_col_, b_row_, b_col_, to, p.ob * kBlock, k_, p.valid);
    }
  }

  void pack_known(const MatMulArgs& args) {
    weights_ = Arena(static_cast<size_t>(b_count_ * matrix_) * sizeof(float));
    run_team(args.threads, [&](Team& team) { pack(args.kernels, args.weight, weights_.data(), team); });
  }

  void gather_rows(const RunContext& ctx, float* out, const Team& team) const {
    const Range mine = share(a_count_ * ceil_div(m_, chunk_), team.size(), team.rank());
    for (int64_t u = mine.begin; u < mine.end; ++u) {
      const int64_t i = u / ceil_div(m_, chunk_), first = u % ceil_div(m_, chunk_) * chunk_;
      gather(ctx.kernels, ctx(a_) + offset(0, i) + first * a_row_, a_row_, a_col_, out + (i * m_ + first) * k_, k_,
             std::min(chunk_, m_ - first), k_);
    }
  }

  void multiply(const RunContext& ctx, const float* weights, const float* a, float* y, int64_t i, Range rows,
                float* own) const {
    const Panel &p = panels_[static_cast<size_t>(i)], &next = panels_[static_cast<size_t>(i + 1) % panels_.size()];
    PanelPrefetch prefetch(weights + next.offset, panel_floats(next));
    ConvTile t = {};
    t.w = t.prefetch = weights + p.offset;
    t.klen = k_;
    t.valid = p.valid;
    t.x_px = a_col_ == 1 ? a_row_ : k_;
    const int64_t length = rows.end - rows.begin;
    if (y_col_ == 1) {
      t.y_px = y_row_;
      return run_line(ctx.kernels, Epilogue(), p, t, a, y, nullptr, length, &prefetch);
    }
    t.y_px = p.ob * kBlock;
    run_line(ctx.kernels, Epilogue(), p, t, a, own - p.k0, nullptr, length, &prefetch);
    scatter(ctx.kernels, own, t.y_px, y + p.k0 * y_col_, y_row_, y_col_, length, p.valid);
  }

  NdRef a_, b_, y_;
  bool known_;
  int64_t m_, n_, k_;
  int64_t a_row_, a_col_, b_row_, b_col_, y_row_, y_col_;
  Axes batch_;  // strides of a, b and y
  int64_t batches_ = 1, a_count_ = 1, b_count_ = 1;  // products, and the matrices that a and b have for them
  int64_t chunk_;  // rows at a time
  std::vector<Panel> panels_;
  int64_t matrix_;  // floats of a packed b
  Arena weights_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const MatMulArgs& args) { return std::make_unique<MatMul>(args); }

}  // namespace cnnkern
