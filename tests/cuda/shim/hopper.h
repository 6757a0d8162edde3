// prims.cuh's part for sm_90a: barriers in shared memory, bulk copies, wgmma. Every launch sees them as late as a GPU
// may: what a bulk copy brings is NaN until the phase that counts it ends, accumulators are NaN until they are waited
// for, and operands that change before that are an error.
#pragma once

namespace shim {

constexpr u32 SHARED_AT = 1024;  // what instructions call byte 0 of the block's shared memory

// --- barriers with phases. Where one lies, shared memory holds its number below this mark: who writes there is found.

constexpr u64 MBARRIER = 0x6d62617272000000;

inline Mbarrier& mbarrier(const char* name, const void* at) {
  u64 word;
  check_shared(name, at, 8);
  memcpy(&word, at, 8);
  u32 number = u32(word - MBARRIER), byte = u32(static_cast<const u8*>(at) - shared);
  if (word < MBARRIER || word - MBARRIER >= mbarrier_count || mbarriers[number].at != byte)
    fail("%s at byte %u of shared memory, where no barrier was begun or something else was written", name, byte);
  return mbarriers[number];
}

inline void begin_mbarrier(void* at, u32 arrivals) {
  check_shared("mbarrier_init", at, 8);
  if (!arrivals || arrivals >= 1u << 20) fail("mbarrier_init for %u arrivals", arrivals);
  if (mbarrier_count == MAX_MBARRIERS) fail("more than %u barriers in shared memory", MAX_MBARRIERS);
  u64 word = MBARRIER + mbarrier_count;
  mbarriers[mbarrier_count++] = {u32(static_cast<u8*>(at) - shared), arrivals, arrivals, 0, 0, false, {}};
  memcpy(at, &word, 8);
}

// Lets the phase end if nothing is missing. Copies come as late as they may: when somebody waits for them.
inline void settle(Mbarrier& barrier) {
  if (barrier.pending || (!barrier.copies.empty() && !barrier.waited_for)) return;
  for (const Copy& copy : barrier.copies) {
    memcpy(copy.to, copy.from, copy.bytes);
    barrier.bytes -= copy.bytes;
  }
  barrier.copies.clear();
  if (barrier.bytes) return;
  ++barrier.phase;
  barrier.pending = barrier.count;
  barrier.waited_for = false;
}

inline void arrive(const char* name, void* at, u32 bytes) {
  Mbarrier& barrier = mbarrier(name, at);
  if (running->unseen) fail("%s with copies that tensor cores may not see: fence_async is missing", name);
  if (!barrier.pending) fail("%s: one arrival more than the %u of a phase", name, barrier.count);
  if ((barrier.bytes += bytes) >= 1 << 20) fail("%s: %lld bytes announced", name, (long long)barrier.bytes);
  --barrier.pending;
  settle(barrier);
}

inline void wait_for_phase(void* at, u32 parity, Place place) {
  Mbarrier& barrier = mbarrier("mbarrier_wait", at);
  if (parity > 1) fail("mbarrier_wait for parity %u", parity);
  while (!ended(barrier, parity)) {
    barrier.waited_for = true;
    settle(barrier);
    if (ended(barrier, parity)) break;
    running->state = State::phase;
    running->mbarrier = &barrier;
    running->parity = parity;
    wait("mbarrier_wait", place);
  }
}

inline void copy_bulk(void* to, const void* from, u32 bytes, void* at) {
  Mbarrier& barrier = mbarrier("copy_bulk", at);
  if (!bytes || bytes % 16) fail("copy_bulk of %u bytes", bytes);
  for (u32 i = 0; i < bytes; i += 16) {
    check_shared("copy_bulk", static_cast<u8*>(to) + i, 16);
    touch<16>("copy_bulk", static_cast<const u8*>(from) + i, LOADED);
  }
  counts.bytes_read += bytes;
  memset(to, NAN_BYTE, bytes);
  barrier.copies.push_back({to, from, bytes, 0});
  settle(barrier);
}

// --- wgmma

// A warpgroup's accumulators, while something is added to them. The threads' own are NaN meanwhile.
struct Sums {
  float* of[128];
  u32 columns, users;
  std::vector<float> values;  // [64][columns]

  // Where thread t's register i lies (PTX ISA, "Register Fragments": D of wgmma.mma_async.m64nNk16 and .m64nNk8).
  float& at(u32 t, u32 i) {
    u32 row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + t % 4 * 2 + i % 2;
    return values[row * columns + column];
  }
};

struct Product {
  Sums* sums;
  u32 group;
  u64 a, b;
  std::vector<u8> operands;  // as they were when it began
};

struct Warpgroup {
  u32 groups;  // closed so far
  std::vector<Product> products;
  std::vector<Sums*> sums;
};
inline Warpgroup wgmmas[MAX_THREADS / 128];
inline u32 named_arrived[16];
inline Place named_at[16];

inline void forget_warpgroups() {
  mbarrier_count = 0;
  memset(named_arrived, 0, sizeof(named_arrived));
  for (Warpgroup& of : wgmmas) {
    for (Sums* sums : of.sums) delete sums;
    of = {};
  }
}

// What a block that has ended has not waited for, or null.
inline const char* under_way() {
  for (u32 i = 0; i < mbarrier_count; ++i)
    if (!mbarriers[i].copies.empty()) return "bulk copies";
  for (const Warpgroup& of : wgmmas)
    if (!of.products.empty()) return "wgmma";
  return nullptr;
}

// 32 bytes of each of `rows` rows, by a descriptor (PTX ISA, "Matrix Descriptor Format" and "Strides"): K-major, 128-byte
// swizzling, in which bits 4 to 6 of an address are changed by bits 7 to 9 (Swizzle<3, 4, 3>).
inline void read_operand(u64 descriptor, u32 rows, u8* to) {
  auto field = [descriptor](int at, int bits) { return u32(descriptor >> at) & ((1u << bits) - 1); };
  u32 start = field(0, 14) << 4, stride = field(32, 14) << 4;
  if (field(62, 2) != 1 || field(49, 3) || start >> 7 & 7)
    fail("wgmma: descriptor 0x%llx is none of 128-byte swizzling from a multiple of 1024 bytes on",
         (unsigned long long)descriptor);
  if (start % 128 > 96) fail("wgmma: descriptor 0x%llx leaves its pattern", (unsigned long long)descriptor);
  for (u32 row = 0; row < rows; ++row)
    for (u32 i = 0; i < 32; i += 16, to += 16) {
      u32 address = start + row / 8 * stride + row % 8 * 128 + i;
      address ^= (address >> 7 & 7) << 4;
      if (address < SHARED_AT || address + 16 > SHARED_AT + launch->shared_bytes)
        fail("wgmma: descriptor 0x%llx reads byte %lld of %llu of shared memory", (unsigned long long)descriptor,
             (long long)address - SHARED_AT, (unsigned long long)launch->shared_bytes);
      memcpy(to, shared + (address - SHARED_AT), 16);
    }
}

inline std::vector<u8> read_operands(u64 a, u64 b, u32 columns) {
  std::vector<u8> found(32 * (64 + columns));
  read_operand(a, 64, found.data());
  read_operand(b, columns, found.data() + 32 * 64);
  return found;
}

struct WgmmaPart {
  float* d;
  u64 a, b;
  bool add;
};

inline bool are_nan(const float* d, u32 n) {
  return std::all_of(d, d + n, [](float x) { return bits_of(x) == ~0u; });
}

template <class T, u32 REGISTERS>
inline void wgmma(Place at, float (&d)[REGISTERS], u64 a, u64 b, bool add, T) {
  constexpr u32 COLUMNS = 2 * REGISTERS, K = 32 / sizeof(T);
  WgmmaPart mine = {d, a, b, add};
  Thread* caller = running;
  Warpgroup& group = wgmmas[caller->id / 128];
  collective<128>("wgmma", at, mine, [&](auto lane) {
    auto found = std::find_if(group.sums.begin(), group.sums.end(), [&](Sums* s) { return s->of[0] == lane(0).d; });
    bool begins = found == group.sums.end();
    Sums* sums = begins ? new Sums : *found;
    if (begins) {
      group.sums.push_back(sums);
      sums->columns = COLUMNS;
      sums->users = 0;
      sums->values.resize(64 * COLUMNS);
    }
    const Thread* first = threads + caller->id / 128 * 128;
    for (u32 t = 0; t < 128; ++t) {
      if (lane(t).a != lane(0).a || lane(t).b != lane(0).b || lane(t).add != lane(0).add)
        fail("wgmma: thread %u of the warpgroup has other operands than the first", t);
      if (begins && !first[t].fenced) fail("wgmma without wgmma_fence before it");
      if (begins) sums->of[t] = lane(t).d;
      if (!begins && !are_nan(lane(t).d, REGISTERS)) fail("wgmma: accumulators were written while it was under way");
      for (u32 i = 0; begins && i < REGISTERS; ++i) sums->at(t, i) = lane(t).d[i];
      memset(lane(t).d, 0xff, sizeof(d));
    }
    static float left[64][K], right[K][COLUMNS];
    group.products.push_back({sums, group.groups, lane(0).a, lane(0).b, read_operands(lane(0).a, lane(0).b, COLUMNS)});
    ++sums->users;
    const u8* bytes = group.products.back().operands.data();
    auto value = [bytes](u32 row, u32 k) {
      T x;
      memcpy(&x, bytes + row * 32 + k * sizeof(T), sizeof(T));
      if constexpr (sizeof(T) == 4) x.bits &= 0xffffe000;  // the rest is no part of a tf32
      return to_float(x);
    };
    for (u32 k = 0; k < K; ++k) {
      for (u32 row = 0; row < 64; ++row) left[row][k] = value(row, k);
      for (u32 n = 0; n < COLUMNS; ++n) right[k][n] = value(64 + n, k);
    }
    for (u32 row = 0; row < 64; ++row) {
      float* sum = sums->values.data() + row * COLUMNS;
      if (!lane(0).add) std::fill(sum, sum + COLUMNS, 0.f);
      for (u32 k = 0; k < K; ++k)
        for (u32 n = 0; n < COLUMNS; ++n) sum[n] = __builtin_fmaf(left[row][k], right[k][n], sum[n]);
    }
    shim::counts.fma += 64 * COLUMNS * K;
  });
}

inline void land_wgmma(Place at, u32 groups_under_way) {
  Warpgroup& group = wgmmas[running->id / 128];
  u32 first = running->id / 128 * 128;
  collective<128>("wgmma_wait", at, at, [&](auto) {
    auto done = group.products.begin();
    for (; done != group.products.end() && done->group + groups_under_way < group.groups; ++done) {
      Sums* sums = done->sums;
      if (read_operands(done->a, done->b, sums->columns) != done->operands)
        fail("wgmma_wait: what wgmma multiplies was written before it had ended");
      if (--sums->users) continue;
      for (u32 t = 0; t < 128; ++t)
        for (u32 i = 0; i < sums->columns / 2; ++i) sums->of[t][i] = sums->at(t, i);
      group.sums.erase(std::find(group.sums.begin(), group.sums.end(), sums));
      delete sums;
      for (u32 t = 0; t < 128; ++t) threads[first + t].fenced = false;
    }
    group.products.erase(group.products.begin(), done);
  });
}

// --- some of a block's threads

inline void wait_for_some(u32 id, u32 expected, Place at) {
  if (named_arrived[id] && named_at[id] != at)
    fail("sync_some<%u> at %s:%d, while other threads wait at %s:%d", id, at.file, at.line, named_at[id].file,
         named_at[id].line);
  named_at[id] = at;
  running->state = State::some;
  running->named = id;
  if (++named_arrived[id] == expected) {
    named_arrived[id] = 0;
    for (Thread* t = threads; t < threads + thread_count; ++t)
      if (t->state == State::some && t->named == id) t->state = State::ready;
  }
  wait("sync_some", at);
}

}  // namespace shim

DEVICE u32 shared_address(const void* p) { return u32(static_cast<const u8*>(p) - shim::shared) + shim::SHARED_AT; }
DEVICE void mbarrier_init(u64* barrier, u32 arrivals) { shim::begin_mbarrier(barrier, arrivals); }
DEVICE void mbarrier_arrive(u64* barrier) { shim::arrive("mbarrier_arrive", barrier, 0); }
DEVICE void mbarrier_arrive_expect(u64* barrier, u32 bytes) { shim::arrive("mbarrier_arrive_expect", barrier, bytes); }
DEVICE void mbarrier_wait(u64* barrier, u32 parity, shim::Place at = shim::here()) {
  shim::wait_for_phase(barrier, parity, at);
}
DEVICE void copy_bulk(void* shared, const void* global, u32 bytes, u64* barrier) {
  shim::copy_bulk(shared, global, bytes, barrier);
}
DEVICE void fence_async() { shim::running->unseen = false; }
template <int ID, int THREADS>
DEVICE void sync_some(shim::Place at = shim::here()) {
  static_assert(ID > 0 && ID < 16 && THREADS % 32 == 0);
  shim::wait_for_some(ID, THREADS, at);
}
template <int N>
DEVICE void registers_give() {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
}
template <int N>
DEVICE void registers_take() {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
}
DEVICE void wgmma_fence() { shim::running->fenced = true; }
DEVICE void wgmma_commit(shim::Place at = shim::here()) {
  shim::Warpgroup& group = shim::wgmmas[shim::running->id / 128];
  shim::collective<128>("wgmma_commit", at, at, [&group](auto) { ++group.groups; });
}
template <int N>
DEVICE void wgmma_wait(shim::Place at = shim::here()) {
  shim::land_wgmma(at, N);
}
template <int N>
DEVICE void wgmma_ended(float (&)[N]) {}
template <int N, class T>
DEVICE void wgmma(float (&d)[N], u64 a, u64 b, bool add, T, shim::Place at = shim::here()) {
  static_assert(N == 32 || N == 64 || N == 128, "the shapes that the device has");
  shim::wgmma(at, d, a, b, add, T{});
}
