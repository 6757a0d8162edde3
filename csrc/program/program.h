// A program: ops over slots of memory, run in one native call without the GIL.
#pragma once

#include <vector>

#include "../core/isa.h"
#include "../ops/op.h"

namespace cnnkern {

// What one concurrent caller needs for itself. Made by a program, fits that program only.
struct Context {
  Arena arena, workspace;
};

// Memory is named by slots: slot 0 is the context's arena, the rest are buffers that callers bring to each run, the
// first `inputs` of which no op writes. Sizes are in floats.
class Program {
 public:
  Program(Isa isa, int threads, int64_t arena_floats, std::vector<int64_t> external_floats, size_t inputs);

  const KernelTable* kernels() const { return kernels_; }
  int threads() const { return threads_; }
  size_t size() const { return ops_.size(); }
  size_t inputs() const { return inputs_; }
  size_t externals() const { return slot_floats_.size() - 1; }
  int64_t external_floats(size_t i) const { return slot_floats_[i + 1]; }
  int64_t arena_floats() const { return slot_floats_[0]; }
  int64_t workspace_floats() const { return workspace_floats_; }

  // Throws std::invalid_argument if the view reaches outside its slot, has a negative size, or sizes overflow.
  void check(const TensorRef& ref, const char* what) const;

  void add(std::unique_ptr<Op> op);

  std::unique_ptr<Context> new_context() const;

  // Ops [begin, end) over a context and the caller's buffers. Calls with different contexts may run at once.
  void run(const Context& context, const std::vector<float*>& externals, size_t begin, size_t end) const;

  // The same, with the time of each op in milliseconds, the team's barrier after it included.
  std::vector<double> profile(const Context&, const std::vector<float*>& externals, size_t begin, size_t end) const;

  // The same on the counting leaves: what each op executes. The weights and the plan are those of a plain run.
  std::vector<Counters> count(const Context&, const std::vector<float*>& externals, size_t begin, size_t end) const;

 private:
  const KernelTable* kernels_;
  const KernelTable* counting_;
  int threads_;
  size_t inputs_;
  std::vector<int64_t> slot_floats_;
  std::vector<std::unique_ptr<Op>> ops_;
  int64_t workspace_floats_ = 0;
};

}  // namespace cnnkern
