// Runs CUDA kernels on one thread of a CPU, to see that they are right: what a kernel forgets becomes an error that
// names block and thread, or a NaN in its output.
//
// Each CUDA thread of a block is a fiber that runs until it waits; blocks come one after the other. Threads run in
// rounds: all that can go on do so once, in an order the launch chooses, so that where a barrier is missing some order
// reads what is not yet written. Shared memory begins as NaN. What is not seen: a loop that never ends.
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "fibers.h"

namespace shim {

struct Index {
  uint32_t x, y, z;
};

// A line of a kernel. As a default argument, `Place at = here()` is the line of the call.
struct Place {
  const char* file;
  int line;
  bool operator!=(const Place& b) const { return line != b.line || (file != b.file && strcmp(file, b.file)); }
};
constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }

// cnnkern.ops.base.Counts
struct Counts {
  uint64_t fma, mul, add, max, special, bytes_read, bytes_written;
};

// Global memory that a launch may touch: [begin, end).
struct Region {
  uint64_t begin, end;
};

// What host.py fills in, and what it reads afterwards.
struct Launch {
  uint32_t grid[3], block[3];
  uint64_t shared_bytes;
  const void* args;
  uint64_t args_bytes;
  const Region* regions;  // ascending, disjoint
  uint32_t regions_count;  // 0: every address will do
  uint32_t order;  // of threads: 0 ascending, 1 descending, else random from this seed, anew in each round; from 3 on
  // who waits for a phase is late
  Counts counts;
  char message[1024];
};

struct Kernel {
  const char* name;
  uint64_t args_bytes;
  void (*function)();
  void (*call)(void (*function)(), const void* args);
};

constexpr size_t MAX_ARGS_BYTES = 4096;  // as on a GPU

enum class State : uint8_t { ready, running, barrier, some, group, phase, done };

// A copy from global to shared memory that is under way.
struct Copy {
  void* to;
  const void* from;  // null: zeros
  uint32_t bytes, group;
};

// A barrier in shared memory, which holds its number alone.
struct Mbarrier {
  uint32_t at;  // byte of shared memory
  uint32_t count, pending, phase;  // arrivals of a phase, those still to come; phases that have ended
  int64_t bytes;  // announced, and not yet come
  bool waited_for;
  std::vector<Copy> copies;
};

struct Thread {
  Context context;
  Index index;
  uint32_t id, stack;
  State state;
  bool started;
  const char* waits_in;
  Place at;
  uint32_t groups;  // of copies, closed so far
  std::vector<Copy> copies;
  const Mbarrier* mbarrier;  // that it waits for, until the phase of that parity has ended
  uint32_t parity;
  uint32_t named;  // barrier that some threads wait at
  bool unseen;  // copies that it waited for may not be seen by wgmma: fence_async is to come
  bool fenced;  // wgmma may use its registers
};

// Lanes that do things together: a warp or a warpgroup.
struct Group {
  uint32_t arrived, returned;  // lanes
  const char* waits_in;
  Place at;
  void* operands[128];
};

}  // namespace shim

inline shim::Index threadIdx, blockIdx, blockDim, gridDim;  // of the thread that runs

namespace shim {

inline Counts counts;
inline Thread* running;
inline Launch* launch;
inline const Kernel* kernel;
inline Context home;  // of who launched
alignas(128) inline uint8_t args[MAX_ARGS_BYTES];

inline Thread threads[MAX_THREADS];
inline Group warps[MAX_THREADS / 32], warpgroups[MAX_THREADS / 128];
inline uint32_t thread_count, live, at_barrier;  // all of the block, those that have not returned, those that wait
inline Place barrier_at;
inline uint32_t round[MAX_THREADS], round_size, turn;
inline uint32_t idle[MAX_THREADS], idle_count;  // stacks
inline uint64_t random_state;

constexpr uint32_t MAX_MBARRIERS = 64;
inline Mbarrier mbarriers[MAX_MBARRIERS];  // of the block
inline uint32_t mbarrier_count;

inline std::vector<Kernel>& kernels() {
  static std::vector<Kernel> all;
  return all;
}

template <class Args>
inline bool add_kernel(const char* name, void (*function)(Args)) {
  static_assert(sizeof(Args) <= MAX_ARGS_BYTES && alignof(Args) <= 128);
  kernels().push_back({name, sizeof(Args), reinterpret_cast<void (*)()>(function), [](void (*f)(), const void* args) {
                         reinterpret_cast<void (*)(Args)>(f)(*static_cast<const Args*>(args));
                       }});
  return true;
}

// --- errors

inline void write_message(const char* format, va_list list) {
  char* at = launch->message;
  const char* end = at + sizeof(launch->message);
  at += snprintf(at, end - at, "%s: ", kernel->name);
  if (running && at < end)
    at += snprintf(at, end - at, "block (%u, %u, %u), thread (%u, %u, %u): ", blockIdx.x, blockIdx.y, blockIdx.z,
                   threadIdx.x, threadIdx.y, threadIdx.z);
  if (at < end) vsnprintf(at, end - at, format, list);
}

__attribute__((format(printf, 1, 2))) inline void complain(const char* format, ...) {
  va_list list;
  va_start(list, format);
  write_message(format, list);
  va_end(list);
}

// Ends the launch with an error. Fibers stay where they are: their stacks are simply used anew.
[[noreturn]] __attribute__((format(printf, 1, 2), noinline, cold)) inline void fail(const char* format, ...) {
  va_list list;
  va_start(list, format);
  write_message(format, list);
  va_end(list);
  switch_to(running->context, home, true);
  __builtin_unreachable();
}

// Nobody can go on, though some have not returned: says who waits where.
[[noreturn]] __attribute__((noinline, cold)) inline void fail_stuck() {
  char text[800] = "";
  size_t used = 0;
  for (const Thread* t = threads; t < threads + thread_count && used < sizeof(text); ++t) {
    auto alike = [t](const Thread& b) {
      return b.state == t->state && (b.state == State::done || (b.waits_in == t->waits_in && !(b.at != t->at)));
    };
    if (std::any_of(static_cast<const Thread*>(threads), t, alike)) continue;
    used += snprintf(text + used, sizeof(text) - used, "; %d as thread (%u, %u, %u) ",
                     int(std::count_if(t, static_cast<const Thread*>(threads) + thread_count, alike)), t->index.x,
                     t->index.y, t->index.z);
    if (used >= sizeof(text)) break;
    if (t->state == State::done)
      used += snprintf(text + used, sizeof(text) - used, "have returned");
    else
      used += snprintf(text + used, sizeof(text) - used, "wait in %s at %s:%d", t->waits_in, t->at.file, t->at.line);
    if (t->state == State::phase && used < sizeof(text))
      used += snprintf(text + used, sizeof(text) - used, " for %u arrivals and %lld bytes", t->mbarrier->pending,
                       (long long)t->mbarrier->bytes);
  }
  fail("deadlock%s", text);
}

// --- whose turn it is

inline uint32_t random_below(uint32_t n) {  // xorshift64*
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return uint32_t((random_state * 0x2545f4914f6cdd1dull >> 32) * n >> 32);
}

// Whether the phase that a thread waits for has ended: it is not the one that goes on.
inline bool ended(const Mbarrier& barrier, uint32_t parity) { return (barrier.phase & 1) != parity; }

// Fills the round. Who waits for a phase that has ended goes on at once, or, if `late`, some rounds later.
inline void gather_round(bool late) {
  bool pass = at_barrier == live;  // whoever has returned counts as arrived
  if (pass) at_barrier = 0;
  round_size = turn = 0;
  for (uint32_t i = 0; i < thread_count; ++i) {
    Thread& t = threads[i];
    if (pass && t.state == State::barrier) t.state = State::ready;
    if (t.state == State::phase && ended(*t.mbarrier, t.parity) && !(late && random_below(8))) t.state = State::ready;
    if (t.state == State::ready) round[round_size++] = i;
  }
}

inline void begin_round() {
  gather_round(launch->order > 2);
  if (!round_size) gather_round(false);
  if (launch->order == 1) std::reverse(round, round + round_size);
  if (launch->order > 1)
    for (uint32_t i = round_size; i > 1; --i) std::swap(round[i - 1], round[random_below(i)]);
}

// The next thread to run; null after the last has returned.
inline Thread* next() {
  if (turn == round_size) begin_round();
  if (turn == round_size && live) fail_stuck();
  return live ? &threads[round[turn++]] : nullptr;
}

inline void become(Thread* thread) {
  running = thread;
  threadIdx = thread->index;
  thread->state = State::running;
}

inline void begin_on_stack(Thread* thread) {
  thread->started = true;
  thread->stack = idle[--idle_count];
  prepare(thread->context, thread->stack);
}

// Lets others run until the caller, whose state says what it waits for, can go on.
inline void wait(const char* in, Place at) {
  Thread* self = running;
  self->waits_in = in;
  self->at = at;
  Thread* to = next();
  if (!to->started) begin_on_stack(to);
  become(to);
  if (to != self) switch_to(self->context, to->context);
}

inline void end_thread() {
  if (!running->copies.empty()) fail("returned with copies under way: copy_async_wait<0> is missing");
  for (Group* group : {&warps[running->id / 32], &warpgroups[running->id / 128]}) {
    if (group->arrived)
      fail("returned, while lanes of its warp wait in %s at %s:%d", group->waits_in, group->at.file, group->at.line);
    ++group->returned;
  }
  --live;
  running->state = State::done;
}

// What a fiber does: runs threads from their begin to their end, until one is next that has stopped elsewhere. So a
// kernel that never waits runs on one stack, without a switch.
inline void work() {
  for (;;) {
    kernel->call(kernel->function, args);
    end_thread();
    Thread* self = running;
    Thread* to = next();
    bool elsewhere = !to || to->started;
    if (elsewhere)
      idle[idle_count++] = self->stack;
    else
      to->stack = self->stack;
    if (to) {
      to->started = true;
      become(to);
    }
    if (elsewhere) switch_to(self->context, to ? to->context : home, true);
  }
}

// __syncthreads
inline void wait_for_block(Place at) {
  if (at_barrier && barrier_at != at)
    fail("__syncthreads at %s:%d, while other threads wait at %s:%d", at.file, at.line, barrier_at.file,
         barrier_at.line);
  ++at_barrier;
  barrier_at = at;
  running->state = State::barrier;
  wait("__syncthreads", at);
}

// What a warp, or LANES = 128 threads of a warpgroup, do together. `mine` is the caller's part; when the last lane has
// come, compute(lanes) sees all of them, as lanes(i). To each lane the values of its own part are the result.
template <uint32_t LANES = 32, class Part, class Compute>
inline void collective(const char* name, Place at, Part& mine, Compute compute) {
  constexpr const char* KIND = LANES == 32 ? "warp" : "warpgroup";
  uint32_t first = running->id / LANES * LANES;
  Group& group = LANES == 32 ? warps[first / 32] : warpgroups[first / 128];
  if (group.arrived && (group.at != at || strcmp(group.waits_in, name)))
    fail("%s at %s:%d, while other lanes of the %s wait in %s at %s:%d", name, at.file, at.line, KIND, group.waits_in,
         group.at.file, group.at.line);
  if (group.returned || first + LANES > thread_count)
    fail("%s at %s:%d takes all %u lanes of a %s, but some %s", name, at.file, at.line, LANES, KIND,
         group.returned ? "have returned" : "are beyond the block");
  group.waits_in = name;
  group.at = at;
  group.operands[running->id - first] = &mine;
  running->state = State::group;
  if (++group.arrived == LANES) {
    compute([&group](int i) -> Part& { return *static_cast<Part*>(group.operands[i]); });
    group.arrived = 0;
    for (Thread* t = threads + first; t < threads + first + LANES; ++t) t->state = State::ready;
  }
  wait(name, at);
}

}  // namespace shim
