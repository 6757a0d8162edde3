// What host.py calls.
#pragma once

#include <signal.h>

#include "memory.h"

namespace shim {

inline bool run_block() {
  for (uint32_t i = 0; i < thread_count; ++i) {
    threads[i].state = State::ready;
    threads[i].started = false;
    threads[i].groups = 0;
    threads[i].unseen = threads[i].fenced = false;
  }
  for (Group& group : warps) group.arrived = group.returned = 0;
  for (Group& group : warpgroups) group.arrived = group.returned = 0;
  forget_warpgroups();
  memset(shared, NAN_BYTE, launch->shared_bytes);
  live = thread_count;
  round_size = turn = at_barrier = 0;
  Thread* first = next();
  begin_on_stack(first);
  become(first);
  switch_to(home, first->context);
  running = nullptr;
  if (launch->message[0]) return false;
  if (const char* left_over = under_way()) {
    complain("all have returned with %s under way", left_over);
    return false;
  }
  const uint8_t* wrong = overrun();
  if (wrong)
    complain("byte %lld of %llu of shared memory was written", (long long)(wrong - shared),
             (unsigned long long)launch->shared_bytes);
  return !wrong;
}

// Whether the launch is one that a GPU takes.
inline bool acceptable() {
  const uint32_t* grid = launch->grid;
  const uint32_t* block = launch->block;
  uint64_t all = uint64_t(block[0]) * block[1] * block[2];
  if (launch->args_bytes != kernel->args_bytes)
    complain("arguments of %llu bytes, but the kernel takes %llu", (unsigned long long)launch->args_bytes,
             (unsigned long long)kernel->args_bytes);
  else if (!all || all > MAX_THREADS || block[0] > 1024 || block[1] > 1024 || block[2] > 64)
    complain("blocks of (%u, %u, %u) threads", block[0], block[1], block[2]);
  else if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535)
    complain("a grid of (%u, %u, %u) blocks", grid[0], grid[1], grid[2]);
  else if (launch->shared_bytes > MAX_SHARED_BYTES)
    complain("%llu bytes of shared memory", (unsigned long long)launch->shared_bytes);
  else if (!map_stacks() || !map_shared())
    complain("no memory for the stacks of its threads");
  return !launch->message[0];
}

inline bool run() {
  if (!acceptable()) return false;
  const uint32_t* grid = launch->grid;
  const uint32_t* block = launch->block;
  thread_count = idle_count = block[0] * block[1] * block[2];
  for (uint32_t i = 0; i < thread_count; ++i) {
    threads[i].id = i;
    threads[i].index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
    threads[i].copies.clear();
    idle[i] = thread_count - 1 - i;
  }
  random_state = launch->order * 0x9e3779b97f4a7c15ull | 1;
  counts = Counts();
  forget_marks();
  memcpy(args, launch->args, launch->args_bytes);
  blockDim = {block[0], block[1], block[2]};
  gridDim = {grid[0], grid[1], grid[2]};
  for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
        if (!run_block()) return false;
  launch->counts = counts;
  return true;
}

// Makes an error of a fault in a kernel for as long as it lives. Under AddressSanitizer the report is better.
class Faults {
#ifndef __SANITIZE_ADDRESS__
 public:
  Faults() {
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;  // the handler does not return: its signal must not stay blocked
    for (int i = 0; i < 3; ++i) sigaction(SIGNALS[i], &action, &before[i]);
  }
  ~Faults() {
    for (int i = 0; i < 3; ++i) sigaction(SIGNALS[i], &before[i], nullptr);
  }

 private:
  static void handle(int signal, siginfo_t* info, void*) {
    if (running)
      fail(signal == SIGFPE ? "division by zero" : "fault at %p: a wild pointer, or one not aligned to its type",
           info->si_addr);
    for (int i = 0; i < 3; ++i)  // not ours: returning repeats it
      if (SIGNALS[i] == signal) sigaction(signal, &before[i], nullptr);
  }

  static constexpr int SIGNALS[3] = {SIGSEGV, SIGBUS, SIGFPE};
  static inline struct sigaction before[3];
#endif
};

}  // namespace shim

// Runs kernel number `index` of those that were added. Returns 0 and the counts, or 1 and the message. One call at a
// time: host.py keeps Python's lock.
extern "C" __attribute__((visibility("default"))) int cnnkern_launch(uint32_t index, shim::Launch* launch) {
  [[maybe_unused]] shim::Faults faults;
  shim::kernel = &shim::kernels()[index];
  shim::launch = launch;
  shim::running = nullptr;
  launch->message[0] = 0;
  bool right = shim::run();
  shim::forget_marks();
  return right ? 0 : 1;
}
