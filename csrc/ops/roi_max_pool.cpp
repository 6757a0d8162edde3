// The largest value in each cell of a grid over regions of interest; cells are windows of a max pool, clipped to the map.
#include <algorithm>
#include <cmath>

#include "ops.h"

namespace cnnkern {
namespace {

struct Cell {
  int64_t first, taps;  // 0 taps: nothing of it lies inside
};

// A region along one axis, cut into cells. Float32 arithmetic decides where they lie, as it does on every backend.
class Cut {
 public:
  Cut(float from, float to, float scale, int64_t cells, int64_t size) : start_(pixel(from * scale)), size_(size) {
    const int64_t length = std::max<int64_t>(pixel(to * scale) - start_ + 1, 1);
    cell_ = static_cast<float>(length) / static_cast<float>(cells);
  }

  Cell at(int64_t i) const {
    const int64_t first = inside(start_ + static_cast<int64_t>(std::floor(static_cast<float>(i) * cell_)));
    const int64_t end = inside(start_ + static_cast<int64_t>(std::ceil(static_cast<float>(i + 1) * cell_)));
    return {first, std::max<int64_t>(end - first, 0)};
  }

 private:
  // The nearest pixel. Far beyond any map all are alike, and so is what is no number: callers have refused that.
  static int64_t pixel(float at) {
    constexpr float far = 0x1p40f;
    return static_cast<int64_t>(std::round(at > -far ? std::min(at, far) : -far));
  }
  int64_t inside(int64_t at) const { return std::min(std::max<int64_t>(at, 0), size_); }

  int64_t start_, size_;
  float cell_;
};

class RoiMaxPool final : public Op {
 public:
  RoiMaxPool(const TensorRef& x, const TensorRef& rois, const TensorRef& y, float scale)
      : x_(x), rois_(rois), y_(y), scale_(scale) {}

  void run(const RunContext& ctx, Team& team) const override {
    const TensorView x = ctx(x_), rois = ctx(rois_), y = ctx(y_);
    Units units(team, y.n * y.h);
    for (int64_t unit; units.next(&unit);) row(ctx, x, rois.at(unit / y.h, 0, 0), y, unit / y.h, unit % y.h);
  }

 private:
  // Row p of region r's cells. Images that are not there, which callers have refused, are empty.
  void row(const RunContext& ctx, const TensorView& x, const float* roi, const TensorView& y, int64_t r,
           int64_t p) const {
    const bool there = roi[0] >= 0 && roi[0] < static_cast<float>(x.n);
    const int64_t image = there ? std::min(static_cast<int64_t>(roi[0]), x.n - 1) : 0;
    const Cell rows = Cut(roi[2], roi[4], scale_, y.h, there ? x.h : 0).at(p);
    const Cut columns(roi[1], roi[3], scale_, y.w, x.w);
    PoolTile t = {};
    t.nrows = rows.taps;
    t.x_row = x.sh;
    t.x_tap = x.sw;
    t.px = 1;
    t.c = y.c;
    for (int64_t q = 0; q < y.w; ++q) {
      const Cell seen = columns.at(q);
      t.y = y.at(r, p, q);
      t.taps = seen.taps;
      if (rows.taps == 0 || seen.taps == 0) {
        ctx.kernels->fill(t.y, y.c, 0.0f);
        continue;
      }
      t.x = x.at(image, rows.first, seen.first);
      ctx.kernels->pool[pool_max](&t);
    }
  }

  TensorRef x_, rois_, y_;
  float scale_;
};

}  // namespace

std::unique_ptr<Op> make_roi_max_pool(const TensorRef& x, const TensorRef& rois, const TensorRef& y, float scale) {
  return std::make_unique<RoiMaxPool>(x, rois, y, scale);
}

}  // namespace cnnkern
