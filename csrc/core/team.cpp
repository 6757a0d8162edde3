#include "team.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cnnkern {

// What is left of a member's units: the epoch of the Units (8 bits), the first and the end (28 bits each).
struct alignas(64) Left {
  std::atomic<uint64_t> word{0};
};

// What a team shares. The counters that every member writes sit on their own line, away from the one they all read.
struct TeamState {
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<uint32_t> phase{0};  // a futex word: advances once per barrier
  std::atomic<int> sleepers{0};
  std::atomic<bool> aborted{false};
  bool may_spin = true;
  std::mutex failure_lock;
  std::exception_ptr failure;
  std::unique_ptr<Left[]> left;  // one for each member
};

namespace {

struct TeamAborted {};  // unwinds a member whose team-mate has thrown; never leaves this file

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void sleep_while(TeamState& s, uint32_t phase) {
#ifdef __linux__
  s.sleepers.fetch_add(1);
  syscall(SYS_futex, &s.phase, FUTEX_WAIT_PRIVATE, phase, nullptr, nullptr, 0);  // returns at once if it has advanced
  s.sleepers.fetch_sub(1);
#else
  std::this_thread::yield();
  (void)s, (void)phase;
#endif
}

void advance(TeamState& s) {
  s.phase.fetch_add(1);  // sequentially consistent with `sleepers`: a sleeper is either counted or sees the new phase
#ifdef __linux__
  if (s.sleepers.load() > 0) syscall(SYS_futex, &s.phase, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#endif
}

// A member that slept comes back about 17 us late (AMD EPYC, 2 virtual cores, 2026-11-20; team_test --time): steps'
// unevenness up to 200 us is bridged awake, and a stalled team gives its cores back soon.
constexpr auto kSpin = std::chrono::microseconds(200);

bool spin_while(TeamState& s, uint32_t phase) {
  if (!s.may_spin) return false;
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 64; ++i) {
      if (s.phase.load(std::memory_order_acquire) != phase) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() - start < kSpin);
  return false;
}

// Keeps the exception being handled, if it is the team's first, and wakes everyone.
void fail(TeamState& state) {
  {
    std::lock_guard<std::mutex> lock(state.failure_lock);
    if (!state.failure) state.failure = std::current_exception();
  }
  state.aborted.store(true);
  advance(state);
}

void run_member(int rank, int size, TeamState& state, TeamBody body) {
  Team team(rank, size, &state);
  try {
    body(team);
  } catch (const TeamAborted&) {
  } catch (...) {
    fail(state);
  }
}

// Without OpenMP, and in a child of fork(), where libgomp's sleeping workers do not exist and a region would wait for
// them for ever.
void run_on_fresh_threads(int threads, TeamState& state, TeamBody body) {
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  try {
    for (int rank = 1; rank < threads; ++rank) {
      others.emplace_back([&, rank] { run_member(rank, threads, state, body); });
    }
  } catch (...) {  // the system has no thread left: release those that wait for it
    fail(state);
  }
  run_member(0, threads, state, body);
  for (std::thread& other : others) other.join();
}

#ifdef _OPENMP
std::atomic<bool> g_forked{false};

void watch_for_fork() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { g_forked.store(true); });
  (void)registered;
}
#endif

}  // namespace

void Team::wait() {
  TeamState& s = *state_;
  const uint32_t phase = s.phase.load(std::memory_order_acquire);
  if (s.aborted.load(std::memory_order_acquire)) throw TeamAborted();
  if (s.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    s.arrived.store(0, std::memory_order_relaxed);
    advance(s);
  } else if (!spin_while(s, phase)) {
    while (s.phase.load(std::memory_order_acquire) == phase) sleep_while(s, phase);
  }
  if (s.aborted.load(std::memory_order_acquire)) throw TeamAborted();
}

namespace {

constexpr int kBits = 28;
constexpr uint64_t kMost = (uint64_t(1) << kBits) - 1;

uint64_t pack(uint64_t epoch, Range r) {
  return epoch << 2 * kBits | static_cast<uint64_t>(r.begin) << kBits | static_cast<uint64_t>(r.end);
}
Range unpack(uint64_t word) {
  return {static_cast<int64_t>(word >> kBits & kMost), static_cast<int64_t>(word & kMost)};
}

}  // namespace

Units::Units(Team& team, int64_t count)
    : team_(team), count_(count), own_(share(count, team.size(), team.rank())),
      shared_(team.size() > 1 && count <= static_cast<int64_t>(kMost)) {
  team.epoch_ = (team.epoch_ + 1) & 0xff;
  if (!shared_) return;
  // Every slot is marked every time, or an epoch could come round to an old mark. A thief may have been quicker.
  std::atomic<uint64_t>& slot = team.state_->left[team.rank()].word;
  uint64_t word = slot.load(std::memory_order_relaxed);
  if (word >> 2 * kBits != team.epoch_)
    slot.compare_exchange_strong(word, pack(team.epoch_, own_), std::memory_order_relaxed);
}

bool Units::take(int64_t* unit) {
  const uint64_t epoch = team_.epoch_;
  // A member that has not come here yet has all of its share left.
  const auto left = [&](int member, uint64_t word) {
    return word >> 2 * kBits == epoch ? unpack(word) : share(count_, team_.size(), member);
  };
  for (int victim = team_.rank();;) {
    std::atomic<uint64_t>& slot = team_.state_->left[victim].word;
    uint64_t word = slot.load(std::memory_order_relaxed);
    for (Range r = left(victim, word); r.begin < r.end; r = left(victim, word)) {
      const bool mine = victim == team_.rank();
      *unit = mine ? r.begin++ : --r.end;
      if (slot.compare_exchange_weak(word, pack(epoch, r), std::memory_order_relaxed)) return true;
    }
    int64_t most = 0;
    for (int member = 0; member < team_.size(); ++member) {
      const Range r = left(member, team_.state_->left[member].word.load(std::memory_order_relaxed));
      if (r.end - r.begin > most) most = r.end - r.begin, victim = member;
    }
    if (most == 0) return false;
  }
}

void run_team(int threads, TeamBody body) {
  if (threads <= 1) {
    Team team(0, 1, nullptr);
    body(team);
    return;
  }
  static const int cpus = static_cast<int>(std::thread::hardware_concurrency());  // heeds the affinity mask; 0: unknown
  TeamState state;
  state.left = std::make_unique<Left[]>(static_cast<size_t>(threads));
  state.may_spin = threads <= cpus;  // with more members than CPUs a spinning one keeps the others from arriving
#ifdef _OPENMP
  watch_for_fork();
  if (g_forked.load(std::memory_order_relaxed)) {
    run_on_fresh_threads(threads, state, body);
  } else {
#pragma omp parallel num_threads(threads)
    run_member(omp_get_thread_num(), omp_get_num_threads(), state, body);
  }
#else
  run_on_fresh_threads(threads, state, body);
#endif
  if (state.failure) std::rethrow_exception(state.failure);
}

}  // namespace cnnkern
