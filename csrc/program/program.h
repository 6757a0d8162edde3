// A program: ops over slots of memory, run in one native call without the GIL.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../core/isa.h"
#include "../ops/op.h"

namespace cnnkern {

// What one concurrent caller needs for itself. Made by a program, fits that program only.
struct Context {
  Arena arena, workspace;
  Arena own;  // the members' own arenas, one after the other
};

// Memory is named by slots: slot 0 is the context's arena, the next are buffers that callers bring to each run, the
// first `inputs` of which no op writes; the last is the arena of the image at hand. Sizes are in floats.
//
// An op works on the whole batch, or is made for one image and run once for each. Stretches of the latter go image by
// image: each member of the team takes images through the whole stretch alone, so that an image's activations stay in
// its caches, and what is left over is computed by all, image after image. The bits are those of any other order.
class Program {
 public:
  Program(Isa isa, int threads, int64_t arena_floats, std::vector<int64_t> external_floats, size_t inputs,
          int64_t own_floats, int64_t images);

  const KernelTable* kernels() const { return kernels_; }
  int threads() const { return threads_; }
  size_t size() const { return ops_.size(); }
  size_t inputs() const { return inputs_; }
  size_t externals() const { return slot_floats_.size() - 2; }
  int64_t external_floats(size_t i) const { return slot_floats_[i + 1]; }
  int64_t arena_floats() const { return slot_floats_.front(); }
  int64_t own_floats() const { return slot_floats_.back(); }
  int64_t workspace_floats() const;

  // From here on, ops are added that run once for each image (or, again, once for all).
  void per_image(bool on) { per_image_ = on && images_ > 1; }

  // Throws std::invalid_argument if the view reaches outside its slot, has a negative size, or sizes overflow.
  void check(const TensorRef& ref, const char* what) const;
  void check(const NdRef& ref, const char* what) const;

  void add(std::unique_ptr<Op> op);

  std::unique_ptr<Context> new_context() const;

  // Ops [begin, end) over a context and the caller's buffers. Calls with different contexts may run at once. Where a
  // stretch of per-image ops is only in part asked for, each op takes all images before the next one does, and every
  // image keeps its own arena: the context grows so that the next call finds all values.
  void run(Context& context, const std::vector<float*>& externals, size_t begin, size_t end) const;

  // The same, with the time of each op in milliseconds, the team's barrier after it included; of ops that members run
  // alone, the mean over the members.
  std::vector<double> profile(Context&, const std::vector<float*>& externals, size_t begin, size_t end) const;

  // The same on the counting leaves: what each op executes. The weights and the plan are those of a plain run.
  std::vector<Counters> count(Context&, const std::vector<float*>& externals, size_t begin, size_t end) const;

 private:
  struct Step {
    std::unique_ptr<Op> op;
    bool per_image;
  };
  // What is done with each op; it must end with the team's barrier.
  using Visit = std::function<void(size_t, const RunContext&, Team&)>;

  // Throws unless all of an image's elements, from `first` to `last` floats behind the slot's begin, lie in the slot.
  void check_reach(int slot, __int128 first, __int128 last, int64_t image, const std::string& name) const;
  // The end of the stretch of equally run ops that begins at op i.
  size_t stretch_end(size_t i) const;
  void walk(const KernelTable* kernels, Context&, const std::vector<float*>& externals, size_t begin, size_t end,
            const Visit& visit) const;

  const KernelTable* kernels_;
  const KernelTable* counting_;
  int threads_;
  size_t inputs_;
  int64_t images_;
  bool per_image_ = false;
  std::vector<int64_t> slot_floats_;
  std::vector<Step> ops_;
  int64_t shared_workspace_ = 0, own_workspace_ = 0;  // of the team at work on one op; of a member alone
};

}  // namespace cnnkern
