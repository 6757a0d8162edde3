// Weights for conv_wgmma: once, when they are packed.
#include "prims.cuh"

struct WeightsArgs {
  const float* x;  // (k, c, r, s), groups one after the other
  void* y;  // tiles of `columns` outputs and one step; zeros where there is no weight
  int groups, k, c, r, s;  // k: of a group
  int channels;  // that a tap has in y, c of them of x
  int columns, column_tiles, steps;
};

constexpr int WORD = 16, WORDS = 8;  // bytes; of a row of a tile

// A thread makes one word: values of neighbouring taps of one output. Word i of row j lies where word i ^ (j % 8) would
// (PTX ISA, "Shared Memory Matrix Layout": 128-byte swizzling, K-major).
template <class T>
__global__ void wgmma_weights(const WeightsArgs a) {
  constexpr int PER_WORD = WORD / sizeof(T);
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int tile = i / (a.columns * WORDS), row = i / WORDS % a.columns, word = i % WORDS;
  if (tile >= a.groups * a.column_tiles * a.steps) return;
  int step = tile % a.steps, output = tile / a.steps % a.column_tiles * a.columns + row;
  int group = tile / a.steps / a.column_tiles;
  Pack<T, PER_WORD> made;
#pragma unroll
  for (int j = 0; j < PER_WORD; ++j) {
    int tap = (step * WORDS + word) * PER_WORD + j;
    int c = tap % a.channels, position = tap / a.channels;
    bool exists = output < a.k && c < a.c && position < a.r * a.s;
    int from = exists ? ((group * a.k + output) * a.c + c) * (a.r * a.s) + position : 0;
    made.v[j] = from_float<T>(exists ? load(a.x + from) : 0.f);
  }
  int to = (tile * a.columns + row) * WORDS + ((word ^ row) & 7);
  store(static_cast<T*>(a.y) + i64(to) * PER_WORD, made);
}
