// Winograd convolution F(M x M, R x R) (Lavin & Gray, arXiv:1509.09308): input tiles of A x A, A = M + R - 1, are
// transformed, multiplied by transformed filters at each of A^2 positions (conv_fp32, a group per position), and
// transformed back. A = 4: F(2, 3) at the points 0, 1, -1 and infinity. A = 6: F(4, 3) and F(2, 5) at 0, +-3/4, +-3/2 and
// infinity: a third of the error of 0, +-1, +-2, coefficients exact in float32, at the same cost.
#include "epilogue.cuh"

template <int A>
struct Winograd;

template <>
struct Winograd<4> {
  // B^T d: 4 additions.
  static DEVICE void in(const float (&d)[4], float (&t)[4]) {
    t[0] = op::sub(d[0], d[2]);
    t[1] = op::add(d[1], d[2]);
    t[2] = op::sub(d[2], d[1]);
    t[3] = op::sub(d[1], d[3]);
  }
  // A^T m: 4 additions.
  static DEVICE void out(const float (&m)[4], float (&y)[2]) {
    y[0] = op::add(op::add(m[0], m[1]), m[2]);
    y[1] = op::sub(op::sub(m[1], m[2]), m[3]);
  }
  // The filter's polynomial at point i, over the product of its distances to the others.
  static DEVICE double point(int i) { return i == 0 ? 0 : i == 1 ? 1 : -1; }
  static DEVICE double scale(int i) { return i == 0 ? 1 : 0.5; }
};

template <>
struct Winograd<6> {
  static constexpr float a = 0.75f, b = 1.5f, a2 = 0.5625f, b2 = 2.25f, a3 = 0.421875f, b3 = 3.375f;
  static constexpr float sum = a2 + b2, product = a2 * b2;  // x (x^2 - a^2) (x^2 - b^2) = x^5 - sum x^3 + product x

  // B^T d: 12 multiply-adds.
  static DEVICE void in(const float (&d)[6], float (&t)[6]) {
    float even_a = op::fma(-b2, d[2], d[4]), odd_a = op::fma(-b2, d[1], d[3]);
    float even_b = op::fma(-a2, d[2], d[4]), odd_b = op::fma(-a2, d[1], d[3]);
    t[0] = op::fma(product, d[0], op::fma(-sum, d[2], d[4]));
    t[1] = op::fma(a, odd_a, even_a);
    t[2] = op::fma(-a, odd_a, even_a);
    t[3] = op::fma(b, odd_b, even_b);
    t[4] = op::fma(-b, odd_b, even_b);
    t[5] = op::fma(product, d[1], op::fma(-sum, d[3], d[5]));
  }
  // A^T m: 4 multiply-adds, 2 multiplications, 6 additions.
  static DEVICE void out(const float (&m)[6], float (&y)[4]) {
    float s1 = op::add(m[1], m[2]), d1 = op::sub(m[1], m[2]), s2 = op::add(m[3], m[4]), d2 = op::sub(m[3], m[4]);
    y[0] = op::add(op::add(m[0], s1), s2);
    y[1] = op::fma(a, d1, op::mul(b, d2));
    y[2] = op::fma(a2, s1, op::mul(b2, s2));
    y[3] = op::fma(a3, d1, op::fma(b3, d2, m[5]));
  }
  // 2 multiply-adds, 6 additions.
  static DEVICE void out(const float (&m)[6], float (&y)[2]) {
    float s1 = op::add(m[1], m[2]), d1 = op::sub(m[1], m[2]), s2 = op::add(m[3], m[4]), d2 = op::sub(m[3], m[4]);
    y[0] = op::add(op::add(m[0], s1), s2);
    y[1] = op::fma(a, d1, op::fma(b, d2, m[5]));
  }
  static DEVICE double point(int i) { return i == 0 ? 0 : (i < 3 ? 0.75 : 1.5) * (i % 2 ? 1 : -1); }
  static DEVICE double scale(int i) {
    constexpr double near = 0.5625, far = 2.25;
    return i == 0 ? 1 / (near * far) : i < 3 ? 1 / (2 * near * (near - far)) : 1 / (2 * far * (far - near));
  }
};

struct WinogradFilterArgs {
  const float* w;  // K C R R
  float* u;  // A^2 matrices of c_padded rows of k_padded columns
  int k, c, c_padded, k_padded;
};

// u = G w G^T of one (c, k) a thread, in double: done once, and its error would be in every output. 256 a block.
template <int A, int R>
__global__ void __launch_bounds__(256) winograd_filter(const WinogradFilterArgs a) {
  u32 i = blockIdx.x * 256u + threadIdx.x;
  int k = i % a.k, c = i / a.k;
  if (c >= a.c) return;
  const float* w = a.w + (i64(k) * a.c + c) * R * R;
  double half[A][R];
  auto row = [](int point, const double (&g)[R]) {
    if (point == A - 1) return g[R - 1];
    double x = Winograd<A>::point(point), value = g[R - 1];
#pragma unroll
    for (int j = R - 2; j >= 0; --j) value = value * x + g[j];
    return value * Winograd<A>::scale(point);
  };
#pragma unroll
  for (int s = 0; s < R; ++s) {
    double g[R];
#pragma unroll
    for (int r = 0; r < R; ++r) g[r] = load(w + r * R + s);
#pragma unroll
    for (int p = 0; p < A; ++p) half[p][s] = row(p, g);
  }
#pragma unroll
  for (int p = 0; p < A; ++p) {
#pragma unroll
    for (int q = 0; q < A; ++q) store(a.u + (i64(p * A + q) * a.c_padded + c) * a.k_padded + k, float(row(q, half[p])));
  }
}

struct WinogradInArgs {
  const float* x;  // NHWC
  float* v;  // A^2 matrices of `tiles` rows of `c_padded` columns
  int n, h, width, c, c_padded;
  int down, across, tiles;  // tiles of an image, and of all
  int top, left;
  int x_strides[3];
};

// v = B^T d B of one channel of one tile a thread; neighbours in a warp take neighbouring channels. Zeros stand for the
// padding, and in the columns behind the channels. 128 a block.
template <int A, int M>
__global__ void __launch_bounds__(128) winograd_in(const WinogradInArgs a) {
  u32 i = blockIdx.x * 128u + threadIdx.x;
  int c = i % a.c_padded, tile = i / a.c_padded;
  if (tile >= a.tiles) return;
  int column = tile % a.across * M - a.left, row = tile / a.across % a.down * M - a.top, n = tile / a.across / a.down;
  const float* x = a.x + i64(n) * a.x_strides[0] + c;
  float* v = a.v + i64(tile) * a.c_padded + c;
  i64 position = i64(a.tiles) * a.c_padded;
  if (c >= a.c) {
#pragma unroll
    for (int j = 0; j < A * A; ++j) store(v + j * position, 0.f);
    return;
  }
  float half[A][A];  // [column][row]
#pragma unroll
  for (int q = 0; q < A; ++q) {
    float d[A];
#pragma unroll
    for (int p = 0; p < A; ++p) {
      bool inside = u32(row + p) < u32(a.h) && u32(column + q) < u32(a.width);
      d[p] = inside ? load(x + (row + p) * a.x_strides[1] + (column + q) * a.x_strides[2]) : 0.f;
    }
    Winograd<A>::in(d, half[q]);
  }
#pragma unroll
  for (int p = 0; p < A; ++p) {
    float d[A], t[A];
#pragma unroll
    for (int q = 0; q < A; ++q) d[q] = half[q][p];
    Winograd<A>::in(d, t);
#pragma unroll
    for (int q = 0; q < A; ++q) store(v + (p * A + q) * position, t[q]);
  }
}

struct WinogradOutArgs {
  const float* m;  // A^2 matrices of `tiles` rows of `k_padded` columns
  const float* bias;  // or null
  const float* residual;  // flat, or null
  float* y;  // flat
  int p, q, k, k_padded;
  int down, across, tiles;
  int y_stride, residual_stride;
  int act;
  float param;
};

// y = A^T m A of one output channel of one tile a thread, finished; outputs beyond the image are left out. 128 a block.
template <int A, int M>
__global__ void __launch_bounds__(128) winograd_out(const WinogradOutArgs a) {
  u32 i = blockIdx.x * 128u + threadIdx.x;
  int k = i % a.k, tile = i / a.k;
  if (tile >= a.tiles) return;
  int column = tile % a.across * M, row = tile / a.across % a.down * M, n = tile / a.across / a.down;
  const float* from = a.m + i64(tile) * a.k_padded + k;
  i64 position = i64(a.tiles) * a.k_padded;
  float half[A][M];
#pragma unroll
  for (int q = 0; q < A; ++q) {
    float m[A];
#pragma unroll
    for (int p = 0; p < A; ++p) m[p] = load(from + (p * A + q) * position);
    Winograd<A>::out(m, half[q]);
  }
  i64 pixel = (i64(n) * a.p + row) * a.q + column;
#pragma unroll
  for (int p = 0; p < M; ++p) {
    if (row + p >= a.p) break;
    float m[A], y[M];
#pragma unroll
    for (int q = 0; q < A; ++q) m[q] = half[q][p];
    Winograd<A>::out(m, y);
#pragma unroll
    for (int q = 0; q < M; ++q) {
      if (column + q >= a.q) break;
      i64 at = pixel + p * a.q + q;
      float one[1] = {y[q]};
      finish<1>(one, a.bias ? a.bias + k : a.bias, a.residual ? a.residual + at * a.residual_stride + k : a.residual,
                a.act, a.param);
      store(a.y + at * a.y_stride + k, one[0]);
    }
  }
}
