// Loops over tensors of any rank: their axes in the order of memory, and blocks of them brought where leaves can read.
#pragma once

#include <vector>

#include "nest.h"
#include "op.h"

namespace cnnkern {

// The axes of `lead`, those of size 1 left out, outermost in lead's memory first, with what each operand (lead too,
// where it is one) moves along them. Operands have lead's sizes. At least one axis.
Axes nd_axes(const NdView& lead, const std::vector<NdView>& operands);

// Floats with any two strides, `rows` of `cols`, as dense rows `out_row` apart; and back.
void gather(const KernelTable* k, const float* x, int64_t x_row, int64_t x_col, float* out, int64_t out_row,
            int64_t rows, int64_t cols);
void scatter(const KernelTable* k, const float* in, int64_t in_row, float* y, int64_t y_row, int64_t y_col,
             int64_t rows, int64_t cols);

}  // namespace cnnkern
