// Threads as the drivers see them: every member of a team runs the same function and meets the others at barriers.
#pragma once

#include <memory>
#include <type_traits>

namespace cnnkern {

struct TeamState;

// One member's view of its team. Lives on the member's stack, for the length of the region.
class Team {
 public:
  Team(int rank, int size, TeamState* state) : rank_(rank), size_(size), state_(state) {}
  int rank() const { return rank_; }
  int size() const { return size_; }

  // Waits until every member is here; what they wrote before it is visible after it. Spins first, then sleeps.
  // Throws where another member has thrown, so that nobody waits for one that never comes.
  void barrier() {
    if (size_ > 1) wait();
  }

 private:
  void wait();
  int rank_;
  int size_;
  TeamState* state_;
};

// A reference to anything callable with a Team&; owns nothing and allocates nothing, so it must not outlive the call.
class TeamBody {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, TeamBody>>>
  TeamBody(F&& f)  // NOLINT: implicit, so that a lambda can be passed as it is
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Team& team) { (*static_cast<std::remove_reference_t<F>*>(object))(team); }) {}
  void operator()(Team& team) const { call_(object_, team); }

 private:
  void* object_;
  void (*call_)(void*, Team&);
};

// Runs `body` on `threads` members and returns when all are done. A team of one runs inline. The team can be smaller
// than asked for (OMP_THREAD_LIMIT): bodies split their work by team.size(). The first exception thrown by a member
// is thrown again here, after the region.
void run_team(int threads, TeamBody body);

}  // namespace cnnkern
