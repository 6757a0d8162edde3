// Loops over tensors of one shape with any strides, cut into units of work that depend on the shape alone.
#pragma once

#include <vector>

#include "../core/shapes.h"
#include "../core/tensor.h"

namespace cnnkern {

constexpr int kMaxOperands = 3;
constexpr int64_t kUnitFloats = 4096;  // 16 KiB an operand: two operands fill half an L1

// One loop and how far each operand moves per turn, in floats.
struct Axis {
  int64_t size;
  int64_t stride[kMaxOperands];
};
using Axes = std::vector<Axis>;  // outermost first

// The axes n, h, w, c of tensors that broadcast to `shape`: an axis of size 1 there does not move.
Axes image_axes(const TensorView& shape, const std::vector<TensorView>& operands);

// Drops loops of one turn and joins neighbours that every operand walks as one. The last axis stays in any case: leaves
// rely on its strides.
Axes merge(const Axes& axes);

// Loops ordered by an operand's strides, so that it is walked in one sweep, unit loops left out, and merged.
Axes sweep(Axes axes, int operand);

// A nest whose two innermost loops, `rows` and `cols`, belong to a leaf, in chunks of at most row_chunk x col_chunk.
class Blocks {
 public:
  struct Block {
    int64_t offset[kMaxOperands];
    int64_t rows, cols;
  };

  Blocks() = default;
  Blocks(Axes outer, const Axis& rows, const Axis& cols, int64_t row_chunk, int64_t col_chunk);

  // The last two axes as rows and cols, in units of about kUnitFloats; with whole_cols a row is never cut.
  static Blocks over(Axes axes, bool whole_cols = false);

  int64_t units() const { return units_; }
  Block block(int64_t unit) const;
  const Axis& rows() const { return rows_; }
  const Axis& cols() const { return cols_; }

 private:
  Axes outer_;
  Axis rows_{}, cols_{};
  int64_t row_chunk_ = 1, col_chunk_ = 1, row_chunks_ = 0, col_chunks_ = 0, units_ = 0;
};

}  // namespace cnnkern
