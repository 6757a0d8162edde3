// The shapes drivers work on, in the project's one alphabet: N C H W in, K P Q out, R S filter.
#pragma once

#include <cstdint>

namespace cnnkern {

struct ConvShape {
  int64_t n, c, h, w;            // input
  int64_t k, r, s;               // output channels, filter height and width
  int64_t p, q;                  // output height and width
  int64_t stride_h, stride_w;
  int64_t pad_t, pad_b, pad_l, pad_r;
  int64_t dil_h, dil_w;
  int64_t groups;

  int64_t cg() const { return c / groups; }
  int64_t kg() const { return k / groups; }
  int64_t macs() const { return n * p * q * k * cg() * r * s; }
  bool pointwise() const { return r == 1 && s == 1 && !padded(); }
  bool padded() const { return pad_t || pad_b || pad_l || pad_r; }
};

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

// The i-th of `parts` nearly equal shares of [0, total): the only way work is ever split.
struct Range {
  int64_t begin, end;
};
constexpr Range share(int64_t total, int64_t parts, int64_t i) { return {total * i / parts, total * (i + 1) / parts}; }

}  // namespace cnnkern
