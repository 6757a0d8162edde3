// TensorView: where a tensor lies. Owns nothing, checks nothing; sizes and strides are in floats.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cnnkern {

// Inside a program every image is NHWC (sc == 1) with a pixel stride sw >= c; at the edges any stride may occur
// (a user's NCHW array has sc = H*W). A matrix (N, F) is an image with h = w = 1 and c = F.
struct TensorView {
  float* data = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t sn = 0, sh = 0, sw = 0, sc = 1;

  float* at(int64_t in, int64_t ih, int64_t iw) const { return data + in * sn + ih * sh + iw * sw; }
  int64_t size() const { return n * h * w * c; }
  bool channels_last() const { return sc == 1; }
  // True when all pixels of an image follow each other at the pixel stride, so that rows can be walked as one.
  bool rows_flat() const { return h <= 1 || sh == w * sw; }
  bool images_flat() const { return rows_flat() && (n <= 1 || sn == h * w * sw); }
};

constexpr int kMaxRank = 8;

// A tensor of any rank, outermost axis first. Strides have any sign, and are 0 where an axis repeats one element.
struct NdView {
  float* data = nullptr;
  int rank = 0;
  int64_t size[kMaxRank] = {}, stride[kMaxRank] = {};

  int64_t elements() const {
    int64_t all = 1;
    for (int i = 0; i < rank; ++i) all *= size[i];
    return all;
  }
};

}  // namespace cnnkern
