// Stacks to run on, and the switch from one to another: about 8 ns by hand, 170 by ucontext, which asks the system for
// the signal mask each time.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <algorithm>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(CNNKERN_UCONTEXT) || !defined(__x86_64__)
#include <ucontext.h>
#define SHIM_UCONTEXT
#endif

namespace shim {

constexpr uint32_t MAX_THREADS = 1024;
#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK_BYTES = 512 << 10;
#else
constexpr size_t STACK_BYTES = 64 << 10;  // no guard pages: the build refuses frames larger than a quarter of this
#endif
// Equal depths of neighbouring stacks shall not meet in one cache set.
constexpr size_t STACK_STRIDE = STACK_BYTES + 5 * 64;

// Where a fiber stopped.
struct Context {
#ifdef SHIM_UCONTEXT
  ucontext_t machine;
#else
  void* sp;
#endif
#ifdef __SANITIZE_ADDRESS__
  void* fake_stack;
  const void* bottom;
  size_t bytes;
#endif
};

inline uint8_t* stacks;
inline Context* left;  // that the last switch came from

#ifndef SHIM_UCONTEXT
// Saves what the calling convention asks a function to keep, on the stack it leaves, and takes up what lies on the
// other. Floating-point modes are the same for all.
extern "C" __attribute__((visibility("hidden"))) void cnnkern_switch(void** leave, void* enter);
asm(R"(
.text
.p2align 4
.globl cnnkern_switch
.hidden cnnkern_switch
.type cnnkern_switch, @function
cnnkern_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
.size cnnkern_switch, .-cnnkern_switch
)");
constexpr int SAVED_WORDS = 8, RETURN_WORD = 6;  // the last is the entry's own return address: it has no caller
#endif

inline void arrived([[maybe_unused]] void* fake_stack) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, &left->bottom, &left->bytes);
#endif
}

// Leaves `from` for `to`. Returns when someone comes back to `from`; if the fiber `ends`, never.
inline void switch_to(Context& from, Context& to, [[maybe_unused]] bool ends = false) {
  left = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack, to.bottom, to.bytes);
#endif
#ifdef SHIM_UCONTEXT
  swapcontext(&from.machine, &to.machine);
#else
  cnnkern_switch(&from.sp, to.sp);
#endif
#ifdef __SANITIZE_ADDRESS__
  arrived(from.fake_stack);
#endif
}

inline void work();

inline void fiber() {
  arrived(nullptr);
  work();
}

// A context that begins with work() on stack number `stack`; work() never returns.
inline void prepare(Context& context, uint32_t stack) {
  uint8_t* bottom = stacks + stack * STACK_STRIDE;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(bottom, STACK_BYTES);  // who had it before has left without returning
  context.bottom = bottom;
  context.bytes = STACK_BYTES;
#endif
#ifdef SHIM_UCONTEXT
  getcontext(&context.machine);
  context.machine.uc_stack.ss_sp = bottom;
  context.machine.uc_stack.ss_size = STACK_BYTES;
  makecontext(&context.machine, fiber, 0);
#else
  uint64_t* words = reinterpret_cast<uint64_t*>(bottom + STACK_BYTES) - SAVED_WORDS;
  std::fill(words, words + SAVED_WORDS, 0);
  words[RETURN_WORD] = reinterpret_cast<uint64_t>(&fiber);
  context.sp = words;
#endif
}

// The memory of all stacks; only what fibers reach becomes real. Says whether it is there.
inline bool map_stacks() {
  static void* all = mmap(nullptr, MAX_THREADS * STACK_STRIDE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  stacks = static_cast<uint8_t*>(all);
  return all != MAP_FAILED;
}

}  // namespace shim
