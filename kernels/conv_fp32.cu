// Convolution as an implicit matrix product on FFMA: rows are output pixels, columns output channels, and the sum runs
// over (r, s, c). The patches are never written: a tile of them is gathered into shared memory as it is needed.
//
// The same kernel is every float32 matrix product: 1x1 convolution and linear (R = S = 1), the product behind im2col,
// the 16 or 36 products of Winograd (one group each).
#include "epilogue.cuh"

struct GemmArgs {
  const float* x;         // NHWC
  const float* w;         // per group: R S C rows of `w_stride` columns, zeros behind the outputs
  const float* bias;      // or null
  const float* residual;  // flat, or null
  float* y;               // flat: pixels y_stride apart
  int n, h, width, c, p, q, r, s;  // c: of a group
  int m, k;                        // pixels in all; outputs of a group
  int stride[2], pad[2], dilation[2];
  int x_strides[3];  // image, row, pixel
  int y_stride, residual_stride, w_stride;
  int x_group, w_group, y_group, bias_group;  // from one group to the next
  int column_tiles, splits;                   // splits: parts of the sum, each stored for itself behind the other
  int split_steps, y_split;                   // steps of BK in a part; elements from one part to the next
  int act;
  float param;
};

constexpr int BK = 8;  // taps in a step

// A block makes BM x BN outputs, a thread TM x TN of them as blocks of 4 x 4, so that both operands leave shared memory
// in 16-byte words and neighbours in a warp read neighbours. While a step is multiplied the next one is on its way into
// registers; shared memory holds two.
//
// V: channels that one load takes; C, strides and offsets of x are multiples of it. blockIdx.x = row tile *
// column_tiles + column tile: blocks that read the same patches run side by side. blockIdx.z = group * splits + part.
template <int BM, int BN, int TM, int TN, int V>
__global__ void __launch_bounds__((BM / TM) * (BN / TN), 512 / ((BM / TM) * (BN / TN))) conv_fp32(const GemmArgs a) {
  constexpr int THREADS = (BM / TM) * (BN / TN), ACROSS = BN / TN;
  constexpr int PER_ROW = BK / V, ROWS = THREADS / PER_ROW;  // vectors of x
  constexpr int LOADS_A = BM > ROWS ? BM / ROWS : 1;
  constexpr int PER_TAP = BN / 4, TAPS = THREADS / PER_TAP;  // vectors of w
  constexpr int LOADS_B = BK > TAPS ? BK / TAPS : 1;
  constexpr int LINE = BM + 4;  // a warp's transposing stores meet no bank twice
  static_assert(THREADS % PER_ROW == 0 && THREADS % PER_TAP == 0, "uneven tiles");
  static_assert((BM % ROWS == 0 || ROWS % BM == 0) && (BK % TAPS == 0 || TAPS % BK == 0), "uneven tiles");
  SHARED_MEMORY(bytes);
  float (*tile_a)[BK][LINE] = reinterpret_cast<float (*)[BK][LINE]>(bytes);
  float (*tile_b)[BK][BN] = reinterpret_cast<float (*)[BK][BN]>(bytes + 2 * sizeof(float) * BK * LINE);

  int t = threadIdx.x;
  int row0 = blockIdx.x / a.column_tiles * BM, column0 = blockIdx.x % a.column_tiles * BN;
  int group = blockIdx.z / a.splits, part = blockIdx.z % a.splits;
  const float* x = a.x + i64(group) * a.x_group;
  const float* w = a.w + i64(group) * a.w_group;
  int taps = a.r * a.s * a.c;
  int first = part * a.split_steps * BK, last = first + a.split_steps * BK;
  last = last < taps ? last : taps;

  // What this thread gathers, if there is enough for all: the same taps of LOADS_A pixels, LOADS_B rows of w.
  bool rows = ROWS <= BM || t / PER_ROW < BM, lines = TAPS <= BK || t / PER_TAP < BK;
  int tap = first + t % PER_ROW * V;
  int c = tap % a.c, s = tap / a.c % a.s, r = tap / a.c / a.s;
  int image[LOADS_A], top[LOADS_A], left[LOADS_A];
#pragma unroll
  for (int i = 0; i < LOADS_A; ++i) {
    int pixel = row0 + t / PER_ROW + i * ROWS;
    int q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
    image[i] = n * a.x_strides[0];
    // A row of the tile beyond the last pixel sees nothing.
    top[i] = pixel < a.m ? p * a.stride[0] - a.pad[0] : -(1 << 29);
    left[i] = q * a.stride[1] - a.pad[1];
  }
  int line = first + t / PER_TAP, column = column0 + t % PER_TAP * 4;

  float next_a[LOADS_A][V], next_b[LOADS_B][4];
  auto fetch = [&]() {
#pragma unroll
    for (int i = 0; i < LOADS_A; ++i) {
      int h = top[i] + r * a.dilation[0], across = left[i] + s * a.dilation[1];
      bool inside = rows && tap < last && u32(h) < u32(a.h) && u32(across) < u32(a.width);
#pragma unroll
      for (int j = 0; j < V; ++j) next_a[i][j] = 0.f;
      if (inside) load_floats<V>(next_a[i], x + (image[i] + h * a.x_strides[1] + across * a.x_strides[2] + c));
    }
#pragma unroll
    for (int i = 0; i < LOADS_B; ++i) {
      bool inside = line + i * TAPS < last && column < a.w_stride && lines;
#pragma unroll
      for (int j = 0; j < 4; ++j) next_b[i][j] = 0.f;
      if (inside) load_floats<4>(next_b[i], w + ((line + i * TAPS) * a.w_stride + column));
    }
    line += BK;
    tap += BK;
    for (c += BK; c >= a.c; c -= a.c) {
      if (++s == a.s) {
        s = 0;
        ++r;
      }
    }
  };
  auto put = [&](int half) {
#pragma unroll
    for (int i = 0; i < LOADS_A; ++i) {
#pragma unroll
      for (int j = 0; j < V; ++j) {
        if (rows) tile_a[half][t % PER_ROW * V + j][t / PER_ROW + i * ROWS] = next_a[i][j];
      }
    }
#pragma unroll
    for (int i = 0; i < LOADS_B; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (lines) tile_b[half][t / PER_TAP + i * TAPS][t % PER_TAP * 4 + j] = next_b[i][j];
      }
    }
  };

  float sum[TM][TN] = {};
  int ty = t / ACROSS, tx = t % ACROSS;
  constexpr int DOWN = BM / TM * 4, RIGHT = BN / TN * 4;  // from one 4 x 4 of a thread to the next
  fetch();
  put(0);
  int half = 0;
  for (int k0 = first; k0 < last; k0 += BK) {
    __syncthreads();
    bool more = k0 + BK < last;
    if (more) fetch();
#pragma unroll
    for (int kk = 0; kk < BK; ++kk) {
      float left_side[TM], right_side[TN];
#pragma unroll
      for (int i = 0; i < TM; ++i) left_side[i] = tile_a[half][kk][i / 4 * DOWN + ty * 4 + i % 4];
#pragma unroll
      for (int j = 0; j < TN; ++j) right_side[j] = tile_b[half][kk][j / 4 * RIGHT + tx * 4 + j % 4];
#pragma unroll
      for (int i = 0; i < TM; ++i) {
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] = op::fma(left_side[i], right_side[j], sum[i][j]);
      }
    }
    half ^= 1;
    if (more) put(half);  // nobody reads this half: all have passed the barrier behind its last use
  }

  // The sums leave by way of shared memory, DOWN rows at a time.
  constexpr int OUT_LINE = BN + 4;
  float* tile = reinterpret_cast<float*>(bytes);
  float* y = a.y + i64(group) * a.y_group + i64(part) * a.y_split;
  const float* bias = a.bias ? a.bias + group * a.bias_group : a.bias;
  const float* residual = a.residual ? a.residual + i64(group) * a.y_group : a.residual;
#pragma unroll
  for (int pass = 0; pass < TM / 4; ++pass) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < TN; ++j)
        tile[(ty * 4 + i) * OUT_LINE + j / 4 * RIGHT + tx * 4 + j % 4] = sum[pass * 4 + i][j];
    }
    __syncthreads();
    store_tile<THREADS, BN, OUT_LINE>(tile, DOWN, row0 + pass * DOWN, a.m, column0, a.k, y, a.y_stride, bias, residual,
                                      a.residual_stride, a.act, a.param);
  }
}
