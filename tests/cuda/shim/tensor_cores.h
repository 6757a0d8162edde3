// prims.cuh's tensor core instructions: fragments as the PTX ISA lays them out, a warp at a time. In what follows lane
// = 4 g + t, and a register of 16-bit values holds two, the first in its lower half.
//
// Products are exact; sums are made in float, by ascending k. A GPU adds in an order of its own, and may cut off bits:
// results agree within the error of a sum, not in bits.
#pragma once

namespace shim {

// Matrix i is what lanes 8 i to 8 i + 7 point at, a row of 8 each; lane's pair of it is (row g, columns 2 t, 2 t + 1).
inline void load_matrices(const char* name, Place at, u32 (&r)[4], const void* row, bool transposed) {
  struct Part {
    u32 (&r)[4];
    const u16* row;
  } mine = {r, static_cast<const u16*>(row)};
  check_shared(name, row, 16);
  collective(name, at, mine, [transposed](auto lane) {
    for (int i = 0; i < 32; ++i)
      for (int matrix = 0; matrix < 4; ++matrix) {
        auto value = [&](int row, int column) {
          return u32(transposed ? lane(8 * matrix + column).row[row] : lane(8 * matrix + row).row[column]);
        };
        lane(i).r[matrix] = value(i / 4, i % 4 * 2) | value(i / 4, i % 4 * 2 + 1) << 16;
      }
  });
}

struct MmaPart {
  float (&d)[4];
  const u32 (&a)[4];
  const u32 (&b)[2];
};

// d (16x8) += a (16xK) b (Kx8), gathered from the lanes and given back to them. PER is the number of values a register
// holds; value(bits, i) is its i-th. Register r of a lies at rows g + 8 (r % 2), columns PER t + K/2 (r / 2); register r
// of b at rows PER t + K/2 r, column g; d[r] at row g + 8 (r / 2), column 2 t + r % 2.
template <int K, int PER, class Value>
inline void mma(const char* name, Place at, float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], Value value) {
  MmaPart mine = {d, a, b};
  collective(name, at, mine, [value](auto lane) {
    float left[16][K], right[K][8], sum[16][8];
    for (int i = 0; i < 32; ++i) {
      const MmaPart& part = lane(i);
      int g = i / 4, t = i % 4;
      for (int j = 0; j < PER; ++j) {
        for (int r = 0; r < 4; ++r) left[g + 8 * (r % 2)][PER * t + K / 2 * (r / 2) + j] = value(part.a[r], j);
        for (int r = 0; r < 2; ++r) right[PER * t + K / 2 * r + j][g] = value(part.b[r], j);
      }
      for (int r = 0; r < 4; ++r) sum[g + 8 * (r / 2)][2 * t + r % 2] = part.d[r];
    }
    for (int m = 0; m < 16; ++m)
      for (int k = 0; k < K; ++k)
        for (int n = 0; n < 8; ++n) sum[m][n] = __builtin_fmaf(left[m][k], right[k][n], sum[m][n]);
    for (int i = 0; i < 32; ++i)
      for (int r = 0; r < 4; ++r) lane(i).d[r] = sum[i / 4 + 8 * (r / 2)][i % 4 * 2 + r % 2];
    counts.fma += 16 * 8 * K;
  });
}

}  // namespace shim

DEVICE void load_matrix_x4(u32 (&r)[4], const void* row, shim::Place at = shim::here()) {
  shim::load_matrices("load_matrix_x4", at, r, row, false);
}
DEVICE void load_matrix_x4_trans(u32 (&r)[4], const void* row, shim::Place at = shim::here()) {
  shim::load_matrices("load_matrix_x4_trans", at, r, row, true);
}
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], f16, shim::Place at = shim::here()) {
  shim::mma<16, 2>("mma_m16n8k16 f16", at, d, a, b, [](u32 bits, int i) { return to_float(f16{u16(bits >> 16 * i)}); });
}
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], bf16, shim::Place at = shim::here()) {
  shim::mma<16, 2>("mma_m16n8k16 bf16", at, d, a, b,
                   [](u32 bits, int i) { return to_float(bf16{u16(bits >> 16 * i)}); });
}
// The operands' lower 13 bits are no part of a tf32.
DEVICE void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], shim::Place at = shim::here()) {
  shim::mma<8, 1>("mma_m16n8k8_tf32", at, d, a, b, [](u32 bits, int) { return shim::float_of(bits & 0xffffe000); });
}
