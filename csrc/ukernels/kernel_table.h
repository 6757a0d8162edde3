// The contract of every leaf, and the table through which drivers reach them.
//
// Leaves are single-threaded, reentrant, allocate nothing and know no shapes beyond their arguments. Strides are in
// floats. Channels are the fastest axis; a "block" is 16 channels on every ISA, and the last block of a tensor may
// hold fewer valid ones: leaves then load and store exactly those (no over-read, no over-write, pad lanes untouched).
#pragma once

#include <cstddef>
#include <cstdint>

namespace cnnkern {

constexpr int kBlock = 16;       // channels in a block
constexpr int kMaxOb = 4;        // widest tile, in blocks
constexpr int kMaxPx = 14;       // longest tile, in pixels
constexpr int64_t kMaxTaps = 1024;  // filter taps (R*S) that row tables hold; larger filters go through im2col

// What the counting form adds up; the order is that of cnnkern.ops.base.Counts.
struct Counters {
  uint64_t fma = 0, mul = 0, add = 0, max = 0, special = 0, bytes_read = 0, bytes_written = 0;
};

enum class Act : int {
  none = 0,
  relu,
  relu6,
  leaky_relu,
  sigmoid,
  tanh,
  silu,
  hardswish,
  hardsigmoid,
  gelu,
  clip,
  count
};

// Functions of one array, in the order of their names in bindings/bind_math.cpp.
enum class Unary : int {
  neg = 0,
  abs,
  sign,
  floor,
  ceil,
  round,
  sqrt,
  reciprocal,
  exp,
  log,
  erf,
  affine,
  clip,
  hardsigmoid,
  elu,
  selu,
  celu,
  thresholded_relu,
  softplus,
  softsign,
  mish,
  gelu_tanh,
  swish,
  count
};

// conv_tile: PX pixels x OB blocks of a convolution, of a GEMM, of anything that is a sum of products.
//   y[px][j] = clamp(bias[j] + sum over rows r, k < klen of rows[r][px * x_px + k] * w[r][k][j]  + res[px][j], lo, hi)
// A row is a run of klen contiguous input floats for pixel 0 (for an undilated filter: one filter row, S*C floats);
// a null row is padding and is skipped, its weights too. The order of the sum is (r, k) in every tile variant, so the
// bits of an output do not depend on the tile it fell into.
struct ConvTile {
  const float* const* rows;
  int64_t nrows, klen;
  int64_t x_px;                  // floats from one output pixel's input to the next's
  const float* w;                // [nrows][klen][OB*16], one sequential stream
  float* y;
  int64_t y_px;
  const float* bias;             // OB*16 floats (zero beyond the valid ones), or null
  const float* res;              // residual, added before the clamp, or null
  int64_t res_px;
  float lo, hi;                  // clamp; -inf and +inf for none (`clamp` false skips it)
  bool clamp;
  int64_t valid;                 // channels to store, in (16*(OB-1), 16*OB]
  const float* prefetch;  // a line of the next weight panel is fetched per k, from here on (not by a single pixel)
  int64_t prefetch_step;  // floats per k: 16, or 0 to fetch nothing new
};
using ConvTileFn = void (*)(const ConvTile*);

// dw_band: `height` rows of `px` pixels x one block of a depthwise convolution, a row in ceil(px / dw_px) tiles of nearly
// equal length. Output i of row p, over the taps inside the image (those of missing rows, and of columns outside
// [col0, col1), are left out, not multiplied by zero):
//   y[p][i][j] = clamp(bias[j] + sum over r < nrows, s < taps of x(p, r)[(i * stride + s * dil) * x_col + j] * w[r][s][j]
//                      + res[p][i][j], lo, hi),   x(p, r) = rows[p * nrows + r] + channel
// The special forms know S, the stride and dil = 1; they load each input of a tile once.
// The group forms, in tiles of up to group_px, serve groups of `group` = 2, 4 or 8 channels in and out:
//   y[p][i][j] = clamp(bias[j] + sum over r, d < group, s of x(p, r)[(i * stride + s * dil) * x_col + (j ^ d)] * w[r][d][s][j]
//                      + res[p][i][j], lo, hi)
// so that w[r][d][s][j] holds output channel j's weight for input channel j ^ d of its block; `valid` is a multiple of
// `group`. Their special forms load each input of a tile once per d.
struct DwBand {
  const float* const* rows;  // [height][nrows], to where the first pixel's window begins, perhaps beside the image;
  // null: no such row
  int64_t channel;  // floats from a row's pointer to the block
  int64_t nrows, taps;  // R and S
  int64_t group;  // channels in a group; read by the group forms
  int64_t stride, dil;  // columns between pixels, and between taps
  int64_t col0, col1;  // the columns that exist, counted as `rows` are
  int64_t x_col;  // floats between columns
  const float* w;  // [nrows][taps][16]; of groups [nrows][group][taps][16]
  float* y;
  int64_t y_px, y_row;
  const float* bias;  // 16 floats or null
  const float* res;  // or null
  int64_t res_px, res_row;
  float lo, hi;
  bool clamp;
  int64_t valid;  // 1..16
  int64_t height, px;
};
using DwBandFn = void (*)(const DwBand*);
enum DwKind { dw_any = 0, dw_3s1, dw_3s2, dw_5s1, dw_5s2, group_of_any, group_3s1, group_3s2, dw_kinds };

// Winograd: tiles of A x A inputs make M x M outputs, `c` channels.
// input:  v[(i*A + j) * v_pos + ch] = (B^T d B)[i][j], d[i][j] = at[i*A + j][ch], zero where null.
struct WinoIn {
  const float* const* at;  // A*A pixels; null: beside the image
  float* v;
  int64_t v_pos;
  int64_t c;
};
// output: y[i][j] = clamp((A^T m A)[i][j] + bias + res, lo, hi) for i < nrows, j < ncols.
struct WinoOut {
  const float* m;
  int64_t m_pos;
  float* y;
  int64_t y_row, y_px;
  const float* res;
  int64_t res_row, res_px;
  const float* bias;  // padded to whole blocks, or null
  float lo, hi;
  bool clamp;
  int64_t nrows, ncols, c;
};
using WinoInFn = void (*)(const WinoIn*);
using WinoOutFn = void (*)(const WinoOut*);

// y[r][i] = act(x[r][i]), i < n, r < rows; x == y allowed.
struct ActRow {
  const float* x;
  float* y;
  int64_t n;
  float param, param2;
  int64_t rows = 1, x_row = 0, y_row = 0;
};
using ActFn = void (*)(const ActRow*);

// y[i * y_step] = x[i * x_step], i < n.
struct CopyRow {
  const float* x;
  int64_t x_step;
  float* y;
  int64_t y_step;
  int64_t n;
};
using CopyFn = void (*)(const CopyRow*);

// Rows of n contiguous floats, y[i][j] = x[i][j]; transposed, y[i][j] = x[j][i]: i < rows, j < n.
struct CopyBlock {
  const float* x;
  int64_t x_row;  // transposed: floats from x[j] to x[j + 1]
  float* y;
  int64_t y_row;
  int64_t rows, n;
};
using CopyBlockFn = void (*)(const CopyBlock*);

// Resampling: output i of `outputs`, over the taps in order, without weights the one tap as it is:
//   resample_rows: y[i * y_axis + r * y_row + j] = sum over t < taps of w[i * taps + t]
//                                                  * x[index[i * taps + t] * x_axis + r * x_row + j],  j < n
//   resample_cols: y[i * y_axis + r * y_row] = sum over t < taps of w[t * step + i] * x[index[t * step + i] * x_axis
//                                                                                  + r * x_row]
struct Resample {
  const float* x;
  int64_t x_axis, x_row;
  const int64_t* index;
  const float* w;  // or null: taps is 1
  int64_t taps, step;
  float* y;
  int64_t y_axis, y_row;
  int64_t outputs, rows, n;
};
using ResampleFn = void (*)(const Resample*);

// Pooling, `px` windows of nrows x taps pixels that all lie inside the input (both at least 1):
//   y[px][j] = combine over r, s of x[px * x_px + r * x_row + s * x_tap + j], times scale for avg; j < c
struct PoolTile {
  const float* x;
  int64_t nrows, taps;
  int64_t x_row, x_tap, x_px;
  float* y;
  int64_t y_px, px, c;
  float scale;
};
using PoolFn = void (*)(const PoolTile*);
enum PoolKind { pool_max = 0, pool_avg, pool_sum, pool_kinds };

// y[i][j] = clamp(a[i][j] + b[i][j]) or of a * b, i < rows, j < n; in the broadcast forms b[i] is one float.
struct BinaryRows {
  const float *a, *b;
  float* y;
  int64_t rows, n;
  int64_t a_row, b_row, y_row;
  float lo, hi;
  bool clamp;
};
using BinaryFn = void (*)(const BinaryRows*);
enum BinaryKind { binary_add = 0, binary_mul, binary_kinds };

// y[i][j] = f(a[i][j], b[i][j]), nothing clamped; in the forms named after it, a[i] or b[i] is one float.
enum PairKind { pair_sub = 0, pair_div, pair_pow, pair_min, pair_max, pair_prelu, pair_kinds };
enum PairForm { pair_both = 0, pair_b_once, pair_a_once, pair_forms };

// out[i] = sum, product, maximum ... over r < rows, c < cols of f(x[i * x_n + r * x_row + c * x_col]), i < n. One form
// has its vectors along cols (x_col == 1), the other along n (x_n == 1). f is x, |x|, x^2 or e^(x - shift[i]).
struct Reduce {
  const float* x;
  int64_t n, rows, cols;
  int64_t x_n, x_row, x_col;
  const float* shift;  // of the exponentials
  float* out;
};
using ReduceFn = void (*)(const Reduce*);
enum ReduceKind {
  reduce_sum = 0,
  reduce_sum_abs,
  reduce_sum_square,
  reduce_sum_exp,
  reduce_max,
  reduce_min,
  reduce_prod,
  reduce_kinds
};
enum ReduceForm { reduce_along = 0, reduce_across, reduce_forms };

// y[i][j] = clamp(x[i][j] * scale[j] + shift[j]); x == y allowed.
struct AffineRows {
  const float *x, *scale, *shift;
  float* y;
  int64_t rows, n;
  int64_t x_row, y_row;
  float lo, hi;
  bool clamp;
};
using AffineFn = void (*)(const AffineRows*);

// Local response normalisation of px pixels: y[i][j] = x[i][j] / (k + factor * sum of x[i][m]^2)^beta over the channels
// m from j - before to j + after that exist.
struct LrnPixels {
  const float* x;
  int64_t x_px;
  float* y;
  int64_t y_px;
  int64_t px, c;
  int64_t before, after;  // less than c each
  float k, factor, beta;
  float* squares;  // scratch: before + c + after floats
};
using LrnFn = void (*)(const LrnPixels*);
enum LrnKind { lrn_any = 0, lrn_three_quarters, lrn_kinds };  // the latter: beta == 0.75, by square roots

// Local contrast normalisation, over px pixels of c channels, v[i][j] = x[i][j] - *pivot - mean[i] (mean null: 0):
//   sum: out[i] = sum over j of v[i][j];  squares: of v[i][j]^2
//   divide: y[i][j] = v[i][j] / max(sigma[i], *floor, eps), NaN if one of them is
struct LcnPixels {
  const float* x;
  int64_t x_px, px, c;
  const float *pivot, *mean;
  float* out;
  const float *sigma, *floor;
  float eps;
  float* y;
  int64_t y_px;
};
using LcnFn = void (*)(const LcnPixels*);
enum LcnKind { lcn_sum = 0, lcn_squares, lcn_divide, lcn_kinds };

// y[i] = f(factor * scale[i] * sum over t < taps of g[t] * x[i + t * step]), i < n; f the square root or nothing.
struct Correlate {
  const float* x;
  int64_t step, taps;
  const float* g;
  const float* scale;  // or null: neither factor nor scale
  float factor;
  bool root;
  float* y;
  int64_t n;
};
using CorrelateFn = void (*)(const Correlate*);

// Rows of n >= 1: y = exp(x - max) / sum of exp(x - max), or with log: x - max - ln(that sum). x == y allowed.
struct SoftmaxRows {
  const float* x;
  int64_t x_row;
  float* y;
  int64_t y_row;
  int64_t rows, n;
};
using SoftmaxFn = void (*)(const SoftmaxRows*);

struct KernelTable {
  const char* isa;
  bool counting;
  int width;  // floats in a vector
  void (*set_counters)(Counters*);  // for the calling thread; null ends counting. No-op in the plain form.
  ConvTileFn conv[kMaxOb + 1][kMaxPx + 1];  // [OB][PX], null where there is no such tile
  DwBandFn dw[dw_kinds];
  int dw_px, group_px;  // pixels in the longest depthwise tile, in the longest of the group forms
  WinoInFn wino_in[7];  // [A]: 4 and 6
  WinoOutFn wino_out[7][5];  // [A][M]: (4, 2), (6, 2), (6, 4)
  ActFn act[static_cast<int>(Act::count)];
  CopyFn copy;
  void (*fill)(float* y, int64_t n, float value);
  void (*fill_strided)(float* y, int64_t step, int64_t n, float value);  // y[i * step] = value
  CopyBlockFn copy_block, transpose;
  ResampleFn resample_rows, resample_cols;
  PoolFn pool[pool_kinds];
  BinaryFn binary[binary_kinds][2];  // [kind][b broadcast along the row]
  AffineFn affine;
  ActFn unary[static_cast<int>(Unary::count)];
  BinaryFn pair[pair_kinds][pair_forms];
  ReduceFn reduce[reduce_kinds][reduce_forms];
  LrnFn lrn[lrn_kinds];
  LcnFn lcn[lcn_kinds];
  CorrelateFn correlate;
  SoftmaxFn softmax[2];  // [log]
  double (*peak_fma)(int64_t iterations);  // runs that many rounds of independent FMAs, returns their FLOPs
  float (*read_sum)(const float* x, int64_t n);  // sum of x[i], i < n, each read once, in no stated order
};

}  // namespace cnnkern
