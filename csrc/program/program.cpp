#include "program.h"

#include <chrono>

#include "../ukernels/tables.h"

namespace cnnkern {

Program::Program(Isa isa, bool counting, int threads, int64_t arena_floats, std::vector<int64_t> external_floats)
    : kernels_(table_for(isa, counting)), threads_(threads) {
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be in 1..1024");
  if (arena_floats < 0) throw std::invalid_argument("arena_floats must not be negative");
  slot_floats_.push_back(arena_floats);
  for (int64_t floats : external_floats) {
    if (floats < 0) throw std::invalid_argument("external sizes must not be negative");
    slot_floats_.push_back(floats);
  }
}

void Program::check(const TensorRef& ref, const char* what) const {
  const std::string name(what);
  if (ref.slot < 0 || static_cast<size_t>(ref.slot) >= slot_floats_.size())
    throw std::invalid_argument(name + ": no such slot");
  const TensorView& v = ref.view;
  if (v.n < 0 || v.h < 0 || v.w < 0 || v.c < 0) throw std::invalid_argument(name + ": negative size");
  if (v.sn < 0 || v.sh < 0 || v.sw < 0 || v.sc < 0 || ref.offset < 0)
    throw std::invalid_argument(name + ": negative stride or offset");
  if (v.n == 0 || v.h == 0 || v.w == 0 || v.c == 0) return;
  __int128 last = ref.offset;
  last += static_cast<__int128>(v.n - 1) * v.sn + static_cast<__int128>(v.h - 1) * v.sh;
  last += static_cast<__int128>(v.w - 1) * v.sw + static_cast<__int128>(v.c - 1) * v.sc;
  if (last >= slot_floats_[static_cast<size_t>(ref.slot)])
    throw std::invalid_argument(name + ": the view reaches outside its buffer");
}

void Program::add(std::unique_ptr<Op> op) {
  workspace_floats_ = std::max(workspace_floats_, op->workspace_floats(threads_));
  ops_.push_back(std::move(op));
}

// A context for the length of one run.
class Program::Lease {
 public:
  explicit Lease(Program* program) : program_(program), context_(program->acquire()) {}
  ~Lease() { program_->release(context_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Context* operator->() const { return context_; }

 private:
  Program* program_;
  Context* context_;
};

Program::Context* Program::acquire() {
  std::unique_lock<std::mutex> lock(mutex_);
  freed_.wait(lock, [&] { return !idle_.empty() || contexts_.size() < kMaxContexts; });
  if (!idle_.empty()) {
    Context* context = idle_.back();
    idle_.pop_back();
    return context;
  }
  auto fresh = std::make_unique<Context>();
  fresh->arena = Arena(static_cast<size_t>(slot_floats_[0]) * sizeof(float));
  fresh->workspace = Arena(static_cast<size_t>(workspace_floats_) * sizeof(float));
  contexts_.push_back(std::move(fresh));
  return contexts_.back().get();
}

void Program::release(Context* context) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(context);
  }
  freed_.notify_one();
}

namespace {
std::vector<float*> slots_of(float* arena, const std::vector<float*>& externals) {
  std::vector<float*> slots{arena};
  slots.insert(slots.end(), externals.begin(), externals.end());
  return slots;
}
}  // namespace

void Program::run(const std::vector<float*>& externals) {
  Lease context(this);
  const std::vector<float*> slots = slots_of(context->arena.data(), externals);
  const RunContext ctx{kernels_, slots.data(), context->workspace.data()};
  run_team(threads_, [&](Team& team) {
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (i) team.barrier();
      ops_[i]->run(ctx, team);
    }
  });
}

std::vector<double> Program::profile(const std::vector<float*>& externals) {
  using Clock = std::chrono::steady_clock;
  Lease context(this);
  const std::vector<float*> slots = slots_of(context->arena.data(), externals);
  const RunContext ctx{kernels_, slots.data(), context->workspace.data()};
  std::vector<double> ms(ops_.size());
  run_team(threads_, [&](Team& team) {
    team.barrier();
    for (size_t i = 0; i < ops_.size(); ++i) {
      const Clock::time_point start = Clock::now();
      ops_[i]->run(ctx, team);
      team.barrier();
      if (team.rank() == 0) ms[i] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
  });
  return ms;
}

std::vector<Counters> Program::count(const std::vector<float*>& externals) {
  if (!kernels_->counting) throw std::invalid_argument("this program was not made for counting");
  Lease context(this);
  const std::vector<float*> slots = slots_of(context->arena.data(), externals);
  const RunContext ctx{kernels_, slots.data(), context->workspace.data()};
  std::vector<Counters> total(ops_.size());
  std::mutex sum;
  run_team(threads_, [&](Team& team) {
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (i) team.barrier();
      Counters mine;
      kernels_->set_counters(&mine);
      ops_[i]->run(ctx, team);
      kernels_->set_counters(nullptr);
      std::lock_guard<std::mutex> lock(sum);
      Counters& t = total[i];
      t.fma += mine.fma;
      t.mul += mine.mul;
      t.add += mine.add;
      t.max += mine.max;
      t.special += mine.special;
      t.bytes_read += mine.bytes_read;
      t.bytes_written += mine.bytes_written;
    }
  });
  return total;
}

void Program::run_single(size_t i, const std::vector<float*>& externals, float* arena) {
  if (i >= ops_.size()) throw std::invalid_argument("no such step");
  Lease context(this);
  const std::vector<float*> slots = slots_of(arena, externals);
  const RunContext ctx{kernels_, slots.data(), context->workspace.data()};
  run_team(threads_, [&](Team& team) { ops_[i]->run(ctx, team); });
}

}  // namespace cnnkern
