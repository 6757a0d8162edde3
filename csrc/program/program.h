// A program: ops over slots of memory, run in one native call without the GIL.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "../core/isa.h"
#include "../ops/op.h"

namespace cnnkern {

// Memory is named by slots: slot 0 is the context's arena, the rest are buffers that callers bring to each run
// (inputs, then outputs, then whatever the plan keeps outside the arena). Sizes are in floats.
class Program {
 public:
  Program(Isa isa, bool counting, int threads, int64_t arena_floats, std::vector<int64_t> external_floats);

  const KernelTable* kernels() const { return kernels_; }
  int threads() const { return threads_; }
  size_t size() const { return ops_.size(); }
  size_t externals() const { return slot_floats_.size() - 1; }
  int64_t external_floats(size_t i) const { return slot_floats_[i + 1]; }
  int64_t workspace_floats() const { return workspace_floats_; }

  // Throws std::invalid_argument if the view reaches outside its slot, has a negative size, or sizes overflow.
  void check(const TensorRef& ref, const char* what) const;

  void add(std::unique_ptr<Op> op);

  // Runs ops [begin, end) over the caller's buffers. Several threads may call this at once: each takes a context (an
  // arena and a workspace) from the pool, which grows to `max_contexts` and then makes callers wait.
  void run(const std::vector<float*>& externals);

  // The same, with the time of each op in milliseconds.
  std::vector<double> profile(const std::vector<float*>& externals);

  // The same on the counting leaves (the program must have been made for counting): one Counters an op.
  std::vector<Counters> count(const std::vector<float*>& externals);

  // Runs op `i` alone in the arena that the last run_single left, for checking a plan step by step; `arena` is its
  // memory, of arena_floats.
  void run_single(size_t i, const std::vector<float*>& externals, float* arena);

  int64_t arena_floats() const { return slot_floats_[0]; }

  size_t inputs = 0;  // the first externals, which no op writes

 private:
  struct Context {
    Arena arena, workspace;
  };
  class Lease;
  Context* acquire();
  void release(Context*);

  const KernelTable* kernels_;
  int threads_;
  std::vector<int64_t> slot_floats_;
  std::vector<std::unique_ptr<Op>> ops_;
  int64_t workspace_floats_ = 0;

  static constexpr size_t kMaxContexts = 8;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Context>> contexts_;
  std::vector<Context*> idle_;
};

}  // namespace cnnkern
