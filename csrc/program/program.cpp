#include "program.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "../ukernels/tables.h"

namespace cnnkern {

Program::Program(Isa isa, int threads, int64_t arena_floats, std::vector<int64_t> external_floats, size_t inputs)
    : kernels_(table_for(isa, false)), counting_(table_for(isa, true)), threads_(threads), inputs_(inputs) {
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be in 1..1024");
  if (inputs > external_floats.size()) throw std::invalid_argument("more inputs than buffers");
  slot_floats_.push_back(arena_floats);
  slot_floats_.insert(slot_floats_.end(), external_floats.begin(), external_floats.end());
  for (int64_t floats : slot_floats_)
    if (floats < 0 || floats > (int64_t{1} << 45)) throw std::invalid_argument("a buffer's size is out of range");
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

std::unique_ptr<Context> Program::new_context() const {
  auto context = std::make_unique<Context>();
  context->arena = Arena(static_cast<size_t>(slot_floats_[0]) * sizeof(float));
  context->workspace = Arena(static_cast<size_t>(workspace_floats_) * sizeof(float));
  return context;
}

namespace {

// Slots and kernels for the length of one run.
struct Lease {
  Lease(const KernelTable* kernels, const Context& context, const std::vector<float*>& externals)
      : slots{context.arena.data()} {
    slots.insert(slots.end(), externals.begin(), externals.end());
    ctx = {kernels, slots.data(), context.workspace.data()};
  }
  std::vector<float*> slots;
  RunContext ctx;
};

void add_to(Counters* total, const Counters& c) {
  total->fma += c.fma;
  total->mul += c.mul;
  total->add += c.add;
  total->max += c.max;
  total->special += c.special;
  total->bytes_read += c.bytes_read;
  total->bytes_written += c.bytes_written;
}

}  // namespace

void Program::run(const Context& context, const std::vector<float*>& externals, size_t begin, size_t end) const {
  const Lease lease(kernels_, context, externals);
  run_team(threads_, [&](Team& team) {
    for (size_t i = begin; i < end; ++i) {
      if (i > begin) team.barrier();
      ops_[i]->run(lease.ctx, team);
    }
  });
}

std::vector<double> Program::profile(const Context& context, const std::vector<float*>& externals, size_t begin,
                                     size_t end) const {
  using Clock = std::chrono::steady_clock;
  const Lease lease(kernels_, context, externals);
  std::vector<double> ms(end - begin);
  run_team(threads_, [&](Team& team) {
    team.barrier();
    for (size_t i = begin; i < end; ++i) {
      const Clock::time_point start = Clock::now();
      ops_[i]->run(lease.ctx, team);
      team.barrier();
      if (team.rank() == 0) ms[i - begin] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
  });
  return ms;
}

std::vector<Counters> Program::count(const Context& context, const std::vector<float*>& externals, size_t begin,
                                     size_t end) const {
  const Lease lease(counting_, context, externals);
  std::vector<Counters> total(end - begin);
  std::mutex sum;
  run_team(threads_, [&](Team& team) {
    for (size_t i = begin; i < end; ++i) {
      if (i > begin) team.barrier();
      Counters mine;
      counting_->set_counters(&mine);
      ops_[i]->run(lease.ctx, team);
      counting_->set_counters(nullptr);
      const std::lock_guard<std::mutex> lock(sum);
      add_to(&total[i - begin], mine);
    }
  });
  return total;
}

}  // namespace cnnkern
