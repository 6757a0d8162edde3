#include "nest.h"

#include <algorithm>
#include <utility>

namespace cnnkern {

Axes image_axes(const TensorView& shape, const std::vector<TensorView>& operands) {
  Axes axes = {{shape.n, {}}, {shape.h, {}}, {shape.w, {}}, {shape.c, {}}};
  for (size_t i = 0; i < operands.size(); ++i) {
    const TensorView& v = operands[i];
    axes[0].stride[i] = v.n == shape.n ? v.sn : 0;
    axes[1].stride[i] = v.h == shape.h ? v.sh : 0;
    axes[2].stride[i] = v.w == shape.w ? v.sw : 0;
    axes[3].stride[i] = v.c == shape.c ? v.sc : 0;
  }
  return axes;
}

Axes merge(const Axes& axes) {
  Axes out = {axes.back()};
  for (size_t i = axes.size() - 1; i-- > 0;) {
    const Axis& outer = axes[i];
    Axis& inner = out.back();
    if (outer.size == 1) continue;
    bool joins = true;
    for (int k = 0; k < kMaxOperands; ++k) joins = joins && outer.stride[k] == inner.size * inner.stride[k];
    if (joins)
      inner.size *= outer.size;
    else
      out.push_back(outer);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

Axes sweep(Axes axes, int operand) {
  axes.erase(std::remove_if(axes.begin(), axes.end(), [](const Axis& a) { return a.size == 1; }), axes.end());
  if (axes.empty()) axes.push_back({1, {1, 1, 1}});
  std::stable_sort(axes.begin(), axes.end(),
                   [=](const Axis& a, const Axis& b) { return a.stride[operand] > b.stride[operand]; });
  return merge(axes);
}

Blocks::Blocks(Axes outer, const Axis& rows, const Axis& cols, int64_t row_chunk, int64_t col_chunk)
    : outer_(std::move(outer)), rows_(rows), cols_(cols), row_chunk_(row_chunk), col_chunk_(col_chunk) {
  row_chunks_ = ceil_div(rows_.size, row_chunk_);
  col_chunks_ = ceil_div(cols_.size, col_chunk_);
  units_ = row_chunks_ * col_chunks_;
  for (const Axis& axis : outer_) units_ *= axis.size;
}

Blocks Blocks::over(Axes axes, bool whole_cols) {
  const Axis cols = axes.back();
  axes.pop_back();
  Axis rows{1, {}};
  if (!axes.empty()) {
    rows = axes.back();
    axes.pop_back();
  }
  const int64_t col_chunk = std::max<int64_t>(1, whole_cols ? cols.size : std::min(cols.size, kUnitFloats));
  return Blocks(std::move(axes), rows, cols, std::max<int64_t>(1, kUnitFloats / col_chunk), col_chunk);
}

Blocks::Block Blocks::block(int64_t unit) const {
  const int64_t col = unit % col_chunks_ * col_chunk_;
  unit /= col_chunks_;
  const int64_t row = unit % row_chunks_ * row_chunk_;
  unit /= row_chunks_;
  Block b;
  b.rows = std::min(row_chunk_, rows_.size - row);
  b.cols = std::min(col_chunk_, cols_.size - col);
  for (int k = 0; k < kMaxOperands; ++k) b.offset[k] = row * rows_.stride[k] + col * cols_.stride[k];
  for (size_t i = outer_.size(); i-- > 0; unit /= outer_[i].size)
    for (int k = 0; k < kMaxOperands; ++k) b.offset[k] += unit % outer_[i].size * outer_[i].stride[k];
  return b;
}

}  // namespace cnnkern
