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
constexpr int kMaxDwPx = 8;      // longest depthwise tile, in pixels

// What the counting form adds up; the order is that of cnnkern.ops.base.Counts.
struct Counters {
  uint64_t fma = 0, mul = 0, add = 0, max = 0, special = 0, bytes_read = 0, bytes_written = 0;
};

enum class Act : int { none = 0, relu, relu6, leaky_relu, sigmoid, tanh, silu, hardswish, hardsigmoid, gelu, clip, count };

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
  const float* prefetch;         // a line of the next weight panel is fetched per k, from here on
  int64_t prefetch_step;         // floats per k: 16, or 0 to fetch nothing new
};
using ConvTileFn = void (*)(const ConvTile*);

// dw_tile: PX pixels x one block of a depthwise convolution.
//   y[px][j] = clamp(bias[j] + sum over r < nrows, s0 <= s < s1 of rows[r][px * x_px + s * x_tap + j] * w[r][s][j]
//                    + res[px][j], lo, hi)
// The special forms know S and the stride (x_px == stride * x_tap), run all taps and load each input once.
struct DwTile {
  const float* const* rows;      // null: padding, skipped
  int64_t nrows, taps;           // taps: S, the row length of w
  int64_t s0, s1;
  int64_t x_px, x_tap;
  const float* w;                // [nrows][taps][16]
  float* y;
  int64_t y_px;
  const float* bias;             // 16 floats or null
  const float* res;              // or null
  int64_t res_px;
  float lo, hi;
  bool clamp;
  int64_t valid;                 // 1..16
};
using DwTileFn = void (*)(const DwTile*);
enum DwKind { dw_any = 0, dw_3s1, dw_3s2, dw_5s1, dw_5s2, dw_kinds };

// Winograd F(M x M, 3x3): tiles of (M+2)^2 inputs, `c` channels.
// input:  v[(i*A + j) * v_pos + ch] = (B^T d B)[i][j], A = M+2; rows[i] null or columns outside [col0, col1): zero.
struct WinoIn {
  const float* const* rows;      // A pointers to column 0 of the tile (which may lie outside when col0 > 0)
  int64_t x_px;                  // floats between columns
  int64_t col0, col1;
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
  const float* bias;             // padded to whole blocks, or null
  float lo, hi;
  bool clamp;
  int64_t nrows, ncols, c;
};
using WinoInFn = void (*)(const WinoIn*);
using WinoOutFn = void (*)(const WinoOut*);

// y[i] = act(x[i]), i < n; x == y allowed.
struct ActRow {
  const float* x;
  float* y;
  int64_t n;
  float param, param2;
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

struct KernelTable {
  const char* isa;
  bool counting;
  int width;                                     // floats in a vector
  void (*set_counters)(Counters*);               // for the calling thread; null ends counting. No-op in the plain form.
  ConvTileFn conv[kMaxOb + 1][kMaxPx + 1];       // [OB][PX], null where there is no such tile
  DwTileFn dw[dw_kinds][kMaxDwPx + 1];           // [kind][PX]
  WinoInFn wino_in[5];                           // [M], M = 2 and 4
  WinoOutFn wino_out[5];
  ActFn act[static_cast<int>(Act::count)];
  CopyFn copy;
  void (*fill)(float* y, int64_t n, float value);
  double (*peak_fma)(int64_t iterations);        // runs that many rounds of independent FMAs, returns their FLOPs
};

}  // namespace cnnkern
