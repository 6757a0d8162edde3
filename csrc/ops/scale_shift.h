// The affine map per channel, a batch norm with known statistics: an op of its own, or what a convolution does to its
// input while it packs it.
#pragma once

#include <cstring>

#include "op.h"

namespace cnnkern {

class ScaleShift {
 public:
  ScaleShift() = default;
  // Copies scale and shift, c floats each. Of the epilogue only the clamp counts.
  ScaleShift(const float* scale, const float* shift, int64_t c, const Epilogue& e)
      : vectors_(static_cast<size_t>(2 * c) * sizeof(float)), c_(c), clamp_(e.clamp), lo_(e.lo), hi_(e.hi) {
    const size_t bytes = static_cast<size_t>(c) * sizeof(float);
    if (bytes) std::memcpy(vectors_.data(), scale, bytes);
    if (bytes) std::memcpy(vectors_.data() + c, shift, bytes);
  }

  bool present() const { return c_ > 0; }

  // y = clamp(x * scale[c] + shift[c]) over pixels of those channels, x_px and y_px floats apart.
  void apply(const KernelTable* k, const float* x, int64_t x_px, float* y, int64_t y_px, int64_t pixels,
             Range channels) const {
    AffineRows t = rows(channels.begin);
    t.x = x;
    t.y = y;
    t.rows = pixels;
    t.n = channels.end - channels.begin;
    t.x_row = x_px;
    t.y_row = y_px;
    k->affine(&t);
  }

  // The leaf's arguments from that channel on, without the pixels.
  AffineRows rows(int64_t channel) const {
    AffineRows t = {};
    t.scale = vectors_.data() + channel;
    t.shift = t.scale + c_;
    t.lo = lo_;
    t.hi = hi_;
    t.clamp = clamp_;
    return t;
  }

 private:
  Arena vectors_;  // scale, then shift
  int64_t c_ = 0;
  bool clamp_ = false;
  float lo_ = 0, hi_ = 0;
};

}  // namespace cnnkern
