// Convolution as an implicit matrix product on Hopper's tensor cores (wgmma, sm_90a): as conv_mma, but the operands go
// from shared memory to the tensor cores without a register between. One warpgroup brings tiles, two multiply; for each
// stage of tiles two barriers in shared memory say that it is full and that it is empty again.
//
// Weights were packed as the tiles of a step lie here (conv_wgmma_weights.cu): one thread has one bulk copy bring them.
// Pixels are gathered by all threads of the producer, 16 bytes a copy.
#include "epilogue.cuh"

struct WgmmaArgs {
  const void* x;  // NHWC; whole 16-byte words of channels
  const void* w;  // tiles of COLUMNS outputs and one step, by groups, columns and steps; w_stride from column to column
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

constexpr int ROWS = 128;  // pixels of a block, half of them a consumer's
constexpr int LINE = 128;  // bytes of a row of a tile in one step: 64 halves, 32 floats
constexpr int WORD = 16;  // bytes of one copy
constexpr int SLICE = 32;  // bytes of a row that one wgmma takes
constexpr int CONSUMERS = 256, PRODUCERS = 128;  // threads, in this order
constexpr int STAGES_BYTES = 192 << 10;

template <class T>
struct Operand {  // what the tensor cores take a T as
  typedef T type;
};
template <>
struct Operand<float> {
  typedef tf32 type;  // cut off, not rounded; the weights were rounded when they were packed
};

// The descriptor of a tile whose rows are LINE bytes, eight of them a pattern of 1024, which begins on a multiple of that
// but for the slice's offset. PTX ISA, "Matrix Descriptor Format": bits 13-0 the start address, 29-16 the leading
// dimension's byte offset (K-major and swizzled: not used, 1), 45-32 the stride dimension's (from eight rows to the
// next), each without its four lowest bits; 51-49 the base offset, 0 as patterns begin on 1024 bytes; 63-62 the
// swizzling mode, 1 being 128 bytes.
DEVICE u64 matrix_descriptor(const u8* tile) {
  constexpr u64 LEADING = 1, STRIDE = 8 * LINE, SWIZZLE_128 = 1;
  return u64((shared_address(tile) & 0x3ffff) >> 4) | LEADING << 16 | (STRIDE >> 4) << 32 | SWIZZLE_128 << 62;
}

// The stage that a step uses, and the parity of that use.
template <int STAGES>
struct Turn {
  int stage = 0;
  u32 parity = 0;
  DEVICE void next() {
    if (++stage < STAGES) return;
    stage = 0;
    parity ^= 1;
  }
};

// A block makes ROWS x COLUMNS outputs. blockIdx as in conv_fp32.
template <class T, int COLUMNS>
__global__ void __launch_bounds__(CONSUMERS + PRODUCERS, 1) conv_wgmma(const WgmmaArgs a) {
  constexpr int PER_WORD = WORD / sizeof(T), STEP = LINE / sizeof(T);  // values
  constexpr int TILE_A = ROWS * LINE, TILE_B = COLUMNS * LINE, STAGE = TILE_A + TILE_B;
  constexpr int STAGES = STAGES_BYTES / STAGE;
  constexpr int BEHIND = STAGES / 2;  // steps whose pixels are under way, at most STAGES - 2
  static_assert(STAGES >= 4 && STAGE % 1024 == 0 && TILE_A % 2048 == 0, "tiles begin on whole patterns");
  SHARED_MEMORY(bytes);
  u64* full = reinterpret_cast<u64*>(bytes + STAGES * STAGE);
  u64* empty = full + STAGES;

  int t = threadIdx.x;
  if (t == 0) {
    for (int i = 0; i < STAGES; ++i) {
      mbarrier_init(full + i, PRODUCERS + 1);  // each thread's pixels, and the weights' announcement
      mbarrier_init(empty + i, CONSUMERS / 32);
    }
    fence_async();
  }
  __syncthreads();

  int row0 = blockIdx.x / a.column_tiles * ROWS, column_tile = blockIdx.x % a.column_tiles;
  int group = blockIdx.z / a.splits, part = blockIdx.z % a.splits;
  int taps = a.r * a.s * a.c, first = part * a.split_steps;
  int steps = (taps + STEP - 1) / STEP - first;
  steps = steps < a.split_steps ? steps : a.split_steps;

  if (t >= CONSUMERS) {
    registers_give<56>();
    constexpr int WORDS = LINE / WORD, APART = PRODUCERS / WORDS, LOADS = ROWS / APART;
    t -= CONSUMERS;
    const T* x = static_cast<const T*>(a.x) + i64(group) * a.x_group;
    const T* w = static_cast<const T*>(a.w) + i64(group) * a.w_group + i64(column_tile) * a.w_stride;
    w += i64(first) * (TILE_B / sizeof(T));

    // What this thread copies: the same word of LOADS pixels, step after step. "PTX ISA, Shared Memory Matrix Layout",
    // 128-byte swizzling: word i of a row lies where word i ^ (row % 8) would.
    int word = t % WORDS, row = t / WORDS, tap = first * STEP + word * PER_WORD;
    int to = row * LINE + ((word ^ row) & 7) * WORD;
    int c = tap % a.c, s = tap / a.c % a.s, r = tap / a.c / a.s;
    int corner[LOADS], top[LOADS], left[LOADS];
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      int pixel = row0 + row + i * APART;
      bool exists = pixel < a.m;
      pixel = exists ? pixel : 0;
      int q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
      top[i] = p * a.stride[0] - a.pad[0];
      left[i] = q * a.stride[1] - a.pad[1];
      corner[i] = n * a.x_strides[0] + top[i] * a.x_strides[1] + left[i] * a.x_strides[2];
      top[i] = exists ? top[i] : -(1 << 29);  // a row beyond the last pixel sees nothing
    }
    Turn<STAGES> filled, landed;
    auto announce = [&] {  // this thread's pixels of the next step have landed
      fence_async();
      mbarrier_arrive(full + landed.stage);
      landed.next();
    };
    for (int step = 0; step < steps; ++step) {
      mbarrier_wait(empty + filled.stage, filled.parity ^ 1);
      u8* tile_a = bytes + filled.stage * STAGE;
      if (t == 0) {
        mbarrier_arrive_expect(full + filled.stage, TILE_B);
        copy_bulk(tile_a + TILE_A, w, TILE_B, full + filled.stage);
        w += TILE_B / sizeof(T);
      }
      int down = r * a.dilation[0], across = s * a.dilation[1];
      int offset = down * a.x_strides[1] + across * a.x_strides[2] + c;
#pragma unroll
      for (int i = 0; i < LOADS; ++i) {
        bool inside = tap < taps && u32(top[i] + down) < u32(a.h) && u32(left[i] + across) < u32(a.width);
        copy_async16(tile_a + to + i * (APART * LINE), x + (inside ? corner[i] + offset : 0), inside);
      }
      copy_async_commit();
      tap += STEP;
      for (c += STEP; c >= a.c; c -= a.c) {
        if (++s == a.s) {
          s = 0;
          ++r;
        }
      }
      filled.next();
      if (step >= BEHIND) {
        copy_async_wait<BEHIND>();
        announce();
      }
    }
    copy_async_wait<0>();
    for (int step = steps < BEHIND ? 0 : steps - BEHIND; step < steps; ++step) announce();
    return;
  }

  registers_take<224>();
  float sum[COLUMNS / 2];
  int lane = t % 32, own_row = t / 128 * 64;
  Turn<STAGES> now;
  int before = 0;
  for (int step = 0; step < steps; ++step) {
    mbarrier_wait(full + now.stage, now.parity);
    const u8* tile_a = bytes + now.stage * STAGE;
    u64 left_side = matrix_descriptor(tile_a + own_row * LINE), right_side = matrix_descriptor(tile_a + TILE_A);
    wgmma_fence();
#pragma unroll
    for (int slice = 0; slice < LINE; slice += SLICE) {  // within a pattern a start address moves on as it is
      bool add = slice > 0 || step > 0;
      wgmma(sum, left_side + (slice >> 4), right_side + (slice >> 4), add, typename Operand<T>::type{});
    }
    wgmma_commit();
    wgmma_wait<1>();  // the step before is done
    if (step > 0 && lane == 0) mbarrier_arrive(empty + before);
    before = now.stage;
    now.next();
  }
  wgmma_wait<0>();
  wgmma_ended(sum);

  // The sums leave by way of shared memory, once both consumers have no more use for the tiles there.
  constexpr int OUT_LINE = COLUMNS + 8;
  static_assert(ROWS * OUT_LINE * 4 <= STAGES * STAGE, "the sums have no room");
  sync_some<1, CONSUMERS>();
  float* tile = reinterpret_cast<float*>(bytes);
  float* own = tile + (t / 32 * 16 + lane / 4) * OUT_LINE + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < COLUMNS / 2; i += 2) {
    Pack<float, 2> pair = {{sum[i], sum[i + 1]}};
    *reinterpret_cast<Pack<float, 2>*>(own + i / 2 % 2 * (8 * OUT_LINE) + i / 4 * 8) = pair;
  }
  sync_some<1, CONSUMERS>();
  if (a.splits > 1) {
    float* y = static_cast<float*>(a.y) + i64(group) * a.y_group + i64(part) * a.y_split;
    store_tile<CONSUMERS, COLUMNS, OUT_LINE, float>(tile, ROWS, row0, a.m, column_tile * COLUMNS, a.k, y, a.y_stride,
                                                    nullptr, nullptr, 0, ACT_NONE, 0.f);
  } else {
    T* y = static_cast<T*>(a.y) + i64(group) * a.y_group;
    const float* bias = a.bias ? a.bias + group * a.bias_group : a.bias;
    const T* residual = static_cast<const T*>(a.residual);
    residual = residual ? residual + i64(group) * a.y_group : residual;
    store_tile<CONSUMERS, COLUMNS, OUT_LINE, T>(tile, ROWS, row0, a.m, column_tile * COLUMNS, a.k, y, a.y_stride, bias,
                                                residual, a.residual_stride, a.act, a.param);
  }
}
