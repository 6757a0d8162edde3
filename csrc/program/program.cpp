#include "program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

#include "../ukernels/tables.h"

namespace cnnkern {

Program::Program(Isa isa, int threads, int64_t arena_floats, std::vector<int64_t> external_floats, size_t inputs,
                 int64_t own_floats, int64_t images)
    : kernels_(table_for(isa, false)), counting_(table_for(isa, true)), threads_(threads), inputs_(inputs),
      images_(images) {
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be in 1..1024");
  if (inputs > external_floats.size()) throw std::invalid_argument("more inputs than buffers");
  if (images < 0 || images >= (int64_t{1} << 31)) throw std::invalid_argument("the number of images is out of range");
  slot_floats_.push_back(arena_floats);
  slot_floats_.insert(slot_floats_.end(), external_floats.begin(), external_floats.end());
  slot_floats_.push_back(own_floats);
  for (int64_t floats : slot_floats_)
    if (floats < 0 || floats > (int64_t{1} << 45)) throw std::invalid_argument("a buffer's size is out of range");
  slot_floats_.back() = round_up(own_floats, kBlock);
}

int64_t Program::workspace_floats() const { return std::max(shared_workspace_, threads_ * own_workspace_); }

void Program::check(const TensorRef& ref, const char* what) const {
  const std::string name(what);
  if (ref.slot < 0 || static_cast<size_t>(ref.slot) >= slot_floats_.size())
    throw std::invalid_argument(name + ": no such slot");
  const TensorView& v = ref.view;
  if (v.n < 0 || v.h < 0 || v.w < 0 || v.c < 0) throw std::invalid_argument(name + ": negative size");
  if (v.sn < 0 || v.sh < 0 || v.sw < 0 || v.sc < 0 || ref.offset < 0 || ref.image < 0)
    throw std::invalid_argument(name + ": negative stride or offset");
  if (v.n == 0 || v.h == 0 || v.w == 0 || v.c == 0) return;
  __int128 last = ref.offset;
  last += static_cast<__int128>(v.n - 1) * v.sn + static_cast<__int128>(v.h - 1) * v.sh;
  last += static_cast<__int128>(v.w - 1) * v.sw + static_cast<__int128>(v.c - 1) * v.sc;
  check_reach(ref.slot, ref.offset, last, ref.image, name);
}

void Program::check(const NdRef& ref, const char* what) const {
  const std::string name(what);
  if (ref.slot < 0 || static_cast<size_t>(ref.slot) >= slot_floats_.size())
    throw std::invalid_argument(name + ": no such slot");
  if (ref.offset < 0 || ref.image < 0) throw std::invalid_argument(name + ": negative offset");
  __int128 first = ref.offset, last = ref.offset;
  bool empty = false;
  for (int i = 0; i < ref.view.rank; ++i) {
    const int64_t size = ref.view.size[i], stride = ref.view.stride[i];
    if (size < 0) throw std::invalid_argument(name + ": negative size");
    empty = empty || size == 0;
    (stride < 0 ? first : last) += static_cast<__int128>(size - 1) * stride;
  }
  if (!empty) check_reach(ref.slot, first, last, ref.image, name);
}

void Program::check_reach(int slot, __int128 first, __int128 last, int64_t image, const std::string& name) const {
  const bool own = static_cast<size_t>(slot) + 1 == slot_floats_.size();
  if (own && (!per_image_ || image)) throw std::invalid_argument(name + ": an image's own arena holds one image");
  if (per_image_) last += static_cast<__int128>(images_ - 1) * image;
  if (first < 0 || last >= slot_floats_[static_cast<size_t>(slot)])
    throw std::invalid_argument(name + ": the view reaches outside its buffer");
}

void Program::add(std::unique_ptr<Op> op) {
  shared_workspace_ = std::max(shared_workspace_, op->workspace_floats(threads_));
  if (per_image_) own_workspace_ = std::max(own_workspace_, round_up(op->workspace_floats(1), kBlock));
  ops_.push_back({std::move(op), per_image_});
}

std::unique_ptr<Context> Program::new_context() const {
  auto context = std::make_unique<Context>();
  context->arena = Arena(static_cast<size_t>(arena_floats()) * sizeof(float));
  context->workspace = Arena(static_cast<size_t>(workspace_floats()) * sizeof(float));
  context->own = Arena(static_cast<size_t>(own_floats() * threads_) * sizeof(float));
  return context;
}

namespace {

// Kernels, slots and workspace as one member sees them during one run.
class Lease {
 public:
  Lease(const KernelTable* kernels, const Context& context, const std::vector<float*>& externals)
      : own_(context.own.data()), workspace_(context.workspace.data()), slots_{context.arena.data()} {
    slots_.insert(slots_.end(), externals.begin(), externals.end());
    slots_.push_back(own_);
    ctx_ = {kernels, slots_.data(), workspace_};
  }

  // For image `image`, in the own arena and workspace that begin there.
  const RunContext& at(int64_t image, int64_t own, int64_t workspace) {
    slots_.back() = own_ + own;
    ctx_.workspace = workspace_ + workspace;
    ctx_.image = image;
    return ctx_;
  }

 private:
  float* own_;
  float* workspace_;
  std::vector<float*> slots_;
  RunContext ctx_;
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

size_t Program::stretch_end(size_t i) const {
  size_t end = i;
  while (end < ops_.size() && ops_[end].per_image == ops_[i].per_image) ++end;
  return end;
}

void Program::walk(const KernelTable* kernels, Context& context, const std::vector<float*>& externals, size_t begin,
                   size_t end, const Visit& visit) const {
  const auto cut = [&](size_t i) {  // whether ops before `begin` or from `end` on belong to the stretch around op i
    const bool before = i == begin && i > 0 && ops_[i - 1].per_image;
    return ops_[i].per_image && (before || stretch_end(i) > end);
  };
  for (size_t i = begin; i < end; i = stretch_end(i)) {
    const size_t floats = static_cast<size_t>(own_floats() * images_);
    if (cut(i) && context.own.bytes() < floats * sizeof(float)) context.own = Arena(floats * sizeof(float));
  }
  std::atomic<int64_t> tickets{0};  // of images that members take alone; a stretch's tickets follow the last one's
  run_team(threads_, [&](Team& team) {
    Lease lease(kernels, context, externals);
    Team alone(0, 1, nullptr);
    int64_t first_ticket = 0;
    for (size_t i = begin; i < end;) {
      const size_t first = i, last = std::min(end, stretch_end(i));
      i = last;
      if (!ops_[first].per_image) {
        for (size_t op = first; op < last; ++op) visit(op, lease.at(0, 0, 0), team);
      } else if (cut(first)) {
        for (size_t op = first; op < last; ++op)
          for (int64_t image = 0; image < images_; ++image) visit(op, lease.at(image, image * own_floats(), 0), team);
      } else {
        // Whoever is free takes the next image: a member whose core is disturbed takes fewer. Each asks once in vain.
        const int64_t alone_images = images_ / team.size() * team.size();
        for (int64_t image; (image = tickets.fetch_add(1) - first_ticket) < alone_images;)
          for (size_t op = first; op < last; ++op)
            visit(op, lease.at(image, team.rank() * own_floats(), team.rank() * own_workspace_), alone);
        first_ticket += alone_images + team.size();
        team.barrier();
        for (int64_t image = alone_images; image < images_; ++image)
          for (size_t op = first; op < last; ++op) visit(op, lease.at(image, 0, 0), team);
      }
    }
  });
}

void Program::run(Context& context, const std::vector<float*>& externals, size_t begin, size_t end) const {
  walk(kernels_, context, externals, begin, end, [&](size_t op, const RunContext& ctx, Team& team) {
    ops_[op].op->run(ctx, team);
    team.barrier();
  });
}

std::vector<double> Program::profile(Context& context, const std::vector<float*>& externals, size_t begin,
                                     size_t end) const {
  using Clock = std::chrono::steady_clock;
  struct Span {
    Clock::time_point first, last;
    double ms() const { return std::chrono::duration<double, std::milli>(last - first).count(); }
  };
  std::vector<double> ms(end - begin);
  std::mutex sum;
  // An op lasts from whoever begins first to whoever ends last: one that comes late finds its work done by others. The
  // members' spans of this op and of the next: nobody is further ahead.
  std::vector<Span> spans(static_cast<size_t>(2 * threads_));
  std::vector<size_t> turns(static_cast<size_t>(threads_));
  walk(kernels_, context, externals, begin, end, [&](size_t op, const RunContext& ctx, Team& team) {
    Span own{Clock::now(), {}};
    ops_[op].op->run(ctx, team);
    own.last = Clock::now();
    const bool together = team.size() > 1 || threads_ == 1;
    if (together) {
      const size_t rank = static_cast<size_t>(team.rank());
      Span* all = &spans[turns[rank]++ % 2 * static_cast<size_t>(threads_)];
      all[rank] = own;
      team.barrier();
      if (rank > 0) return;
      for (int i = 1; i < team.size(); ++i) own = {std::min(own.first, all[i].first), std::max(own.last, all[i].last)};
    }
    const std::lock_guard<std::mutex> lock(sum);
    ms[op - begin] += together ? own.ms() : own.ms() / threads_;
  });
  return ms;
}

std::vector<Counters> Program::count(Context& context, const std::vector<float*>& externals, size_t begin,
                                     size_t end) const {
  std::vector<Counters> total(end - begin);
  std::mutex sum;
  walk(counting_, context, externals, begin, end, [&](size_t op, const RunContext& ctx, Team& team) {
    Counters mine;
    counting_->set_counters(&mine);
    ops_[op].op->run(ctx, team);
    counting_->set_counters(nullptr);
    {
      const std::lock_guard<std::mutex> lock(sum);
      add_to(&total[op - begin], mine);
    }
    team.barrier();
  });
  return total;
}

}  // namespace cnnkern
