// Convolution as an implicit matrix product on tensor cores (mma.sync, sm_80): as conv_fp32, with tiles that asynchronous
// copies bring in several steps ahead. Sums are float whatever the operands: f16, bf16, or float rounded to tf32.
#include "epilogue.cuh"

struct MmaArgs {
  const void* x;  // NHWC; whole 16-byte words of channels
  const void* w;  // K rows of R S C values, w_stride apart, by groups
  const float* bias;  // or null
  const void* residual;
  void* y;  // flat; float parts where there are several
  int n, h, width, c, p, q, r, s;  // c: of a group
  int m, k;  // pixels in all; outputs of a group
  int stride[2], pad[2], dilation[2];
  int x_strides[3];  // image, row, pixel
  int y_stride, residual_stride, w_stride;
  int x_group, w_group, y_group, bias_group;
  int column_tiles, splits, split_steps, y_split;
  int act;
  float param;
};

constexpr int LINE = 64;  // bytes of a row of a tile in one step: 32 halves, 16 floats
constexpr int WORD = 16;  // bytes of one copy
constexpr int STAGES = 4;  // steps that are on their way or in use

// Where 16-byte word `word` of row `row` of a tile lies: eight rows that a warp reads at once lie in different banks.
DEVICE int swizzled(int row, int word) { return row * LINE + ((word ^ (row >> 1)) & 3) * WORD; }

DEVICE void multiply(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], f16) { mma_m16n8k16(d, a, b, f16{}); }
DEVICE void multiply(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], bf16) { mma_m16n8k16(d, a, b, bf16{}); }
DEVICE void multiply(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], float) { mma_m16n8k8_tf32(d, a, b); }

DEVICE void round_operands(u32 (&)[4], f16) {}
DEVICE void round_operands(u32 (&)[4], bf16) {}
DEVICE void round_operands(u32 (&a)[4], float) {
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = to_tf32(as_float(a[i]));
}

// A block makes BM x BN outputs, a warp WM x WN of them. blockIdx as in conv_fp32. Weights are rounded when they are
// packed, the other operand here.
template <class T, int BM, int BN, int WM, int WN>
__global__ void __launch_bounds__((BM / WM) * (BN / WN) * 32) conv_mma(const MmaArgs a) {
  constexpr int THREADS = (BM / WM) * (BN / WN) * 32, WORDS = LINE / WORD;
  constexpr int PER_WORD = WORD / sizeof(T), STEP = LINE / sizeof(T);  // values
  constexpr int ROWS = THREADS / WORDS, LOADS_A = BM / ROWS, LOADS_B = BN / ROWS;
  constexpr int STAGE = (BM + BN) * LINE;
  static_assert(BM % ROWS == 0 && BN % ROWS == 0 && WM % 16 == 0 && WN % 16 == 0, "uneven tiles");
  SHARED_MEMORY(bytes);

  int t = threadIdx.x, lane = t % 32, warp = t / 32;
  int row0 = blockIdx.x / a.column_tiles * BM, column0 = blockIdx.x % a.column_tiles * BN;
  int group = blockIdx.z / a.splits, part = blockIdx.z % a.splits;
  const T* x = static_cast<const T*>(a.x) + i64(group) * a.x_group;
  const T* w = static_cast<const T*>(a.w) + i64(group) * a.w_group;
  int taps = a.r * a.s * a.c;
  int first = part * a.split_steps * STEP, last = first + a.split_steps * STEP;
  last = last < taps ? last : taps;
  int steps = (last - first + STEP - 1) / STEP;

  // What this thread copies: the same word of LOADS_A pixels and LOADS_B outputs, step after step.
  int word = t % WORDS, tap = first + word * PER_WORD;
  int c = tap % a.c, s = tap / a.c % a.s, r = tap / a.c / a.s;
  int image[LOADS_A], top[LOADS_A], left[LOADS_A];
#pragma unroll
  for (int i = 0; i < LOADS_A; ++i) {
    int pixel = row0 + t / WORDS + i * ROWS;
    int q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
    image[i] = n * a.x_strides[0];
    top[i] = pixel < a.m ? p * a.stride[0] - a.pad[0] : -(1 << 29);  // a row beyond the last pixel sees nothing
    left[i] = q * a.stride[1] - a.pad[1];
  }
  auto fetch = [&](int stage) {
    u8* tile_a = bytes + stage * STAGE;
    u8* tile_b = tile_a + BM * LINE;
#pragma unroll
    for (int i = 0; i < LOADS_A; ++i) {
      int h = top[i] + r * a.dilation[0], across = left[i] + s * a.dilation[1], row = t / WORDS + i * ROWS;
      bool inside = tap < last && u32(h) < u32(a.h) && u32(across) < u32(a.width);
      int from = inside ? image[i] + h * a.x_strides[1] + across * a.x_strides[2] + c : 0;
      copy_async16(tile_a + swizzled(row, word), x + from, inside);
    }
#pragma unroll
    for (int i = 0; i < LOADS_B; ++i) {
      int row = t / WORDS + i * ROWS;
      bool inside = tap < last && column0 + row < a.k;
      copy_async16(tile_b + swizzled(row, word), w + (inside ? (column0 + row) * a.w_stride + tap : 0), inside);
    }
    tap += STEP;
    for (c += STEP; c >= a.c; c -= a.c) {
      if (++s == a.s) {
        s = 0;
        ++r;
      }
    }
  };

  float sum[WM / 16][WN / 8][4] = {};
  int warp_row = warp / (BN / WN) * WM, warp_column = warp % (BN / WN) * WN;
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; ++stage) {
    if (stage < steps) fetch(stage);
    copy_async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    copy_async_wait<STAGES - 2>();
    __syncthreads();  // the step's tiles are there, and nobody reads those of the step before any more
    if (step + STAGES - 1 < steps) fetch((step + STAGES - 1) % STAGES);
    copy_async_commit();
    const u8* tile_a = bytes + step % STAGES * STAGE;
    const u8* tile_b = tile_a + BM * LINE;
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // 16 halves or 8 floats along the sum
      u32 left_side[WM / 16][4], right_side[WN / 8][2];
#pragma unroll
      for (int i = 0; i < WM / 16; ++i) {
        load_matrix_x4(left_side[i], tile_a + swizzled(warp_row + i * 16 + lane % 16, half * 2 + lane / 16));
        round_operands(left_side[i], T{});
      }
#pragma unroll
      for (int j = 0; j < WN / 16; ++j) {
        u32 both[4];
        int row = warp_column + j * 16 + lane / 16 * 8 + lane % 8;
        load_matrix_x4(both, tile_b + swizzled(row, half * 2 + lane / 8 % 2));
        right_side[2 * j][0] = both[0];
        right_side[2 * j][1] = both[1];
        right_side[2 * j + 1][0] = both[2];
        right_side[2 * j + 1][1] = both[3];
      }
#pragma unroll
      for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
        for (int j = 0; j < WN / 8; ++j) multiply(sum[i][j], left_side[i], right_side[j], T{});
      }
    }
  }

  // The sums leave by way of shared memory, the rows of one line of warps at a time.
  constexpr int OUT_LINE = BN + 4;
  float* tile = reinterpret_cast<float*>(bytes);
  const float* bias = a.bias ? a.bias + group * a.bias_group : a.bias;
  const T* residual = static_cast<const T*>(a.residual);
  residual = residual ? residual + i64(group) * a.y_group : residual;
#pragma unroll 1
  for (int pass = 0; pass < BM / WM; ++pass) {
    __syncthreads();
    if (warp_row == pass * WM) {
#pragma unroll
      for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
        for (int j = 0; j < WN / 8; ++j) {
          float* to = tile + (i * 16 + lane / 4) * OUT_LINE + warp_column + j * 8 + lane % 4 * 2;
          to[0] = sum[i][j][0];
          to[1] = sum[i][j][1];
          to[8 * OUT_LINE] = sum[i][j][2];
          to[8 * OUT_LINE + 1] = sum[i][j][3];
        }
      }
    }
    __syncthreads();
    if (a.splits > 1) {
      float* y = static_cast<float*>(a.y) + i64(group) * a.y_group + i64(part) * a.y_split;
      store_tile<THREADS, BN, OUT_LINE, float>(tile, WM, row0 + pass * WM, a.m, column0, a.k, y, a.y_stride, nullptr,
                                               nullptr, 0, ACT_NONE, 0.f);
    } else {
      T* y = static_cast<T*>(a.y) + i64(group) * a.y_group;
      store_tile<THREADS, BN, OUT_LINE, T>(tile, WM, row0 + pass * WM, a.m, column0, a.k, y, a.y_stride, bias, residual,
                                           a.residual_stride, a.act, a.param);
    }
  }
}
