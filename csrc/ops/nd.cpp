#include "nd.h"

#include <algorithm>
#include <cstdlib>

namespace cnnkern {

Axes nd_axes(const NdView& lead, const std::vector<NdView>& operands) {
  struct Ordered {
    int64_t key;
    Axis axis;
  };
  std::vector<Ordered> found;
  for (int i = 0; i < lead.rank; ++i) {
    if (lead.size[i] == 1) continue;
    Ordered o{std::abs(lead.stride[i]), {lead.size[i], {}}};
    for (size_t k = 0; k < operands.size(); ++k) o.axis.stride[k] = operands[k].stride[i];
    found.push_back(o);
  }
  std::stable_sort(found.begin(), found.end(), [](const Ordered& a, const Ordered& b) { return a.key > b.key; });
  Axes axes;
  for (const Ordered& o : found) axes.push_back(o.axis);
  if (axes.empty()) axes.push_back({1, {1, 1, 1}});
  return axes;
}

void gather(const KernelTable* k, const float* x, int64_t x_row, int64_t x_col, float* out, int64_t out_row,
            int64_t rows, int64_t cols) {
  const bool turned = x_col != 1 && x_row == 1 && rows > 1;
  if (turned || x_col == 1) {
    const CopyBlock block{x, turned ? x_col : x_row, out, out_row, rows, cols};
    return (turned ? k->transpose : k->copy_block)(&block);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const CopyRow row{x + r * x_row, x_col, out + r * out_row, 1, cols};
    k->copy(&row);
  }
}

void scatter(const KernelTable* k, const float* in, int64_t in_row, float* y, int64_t y_row, int64_t y_col,
             int64_t rows, int64_t cols) {
  const bool turned = y_col != 1 && y_row == 1 && rows > 1;
  if (turned) {
    const CopyBlock block{in, in_row, y, y_col, cols, rows};
    return k->transpose(&block);
  }
  if (y_col == 1) {
    const CopyBlock block{in, in_row, y, y_row, rows, cols};
    return k->copy_block(&block);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const CopyRow row{in + r * in_row, 1, y + r * y_row, y_col, cols};
    k->copy(&row);
  }
}

}  // namespace cnnkern
