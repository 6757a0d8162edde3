// Threads as the drivers see them: every member of a team runs the same function and meets the others at barriers.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "shapes.h"

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
  friend class Units;
  void wait();
  int rank_;
  int size_;
  TeamState* state_;
  uint64_t epoch_ = 0;  // of its last Units
};

// Units [0, count) of work, each for one member of the team: its own share from the front, then, from their ends, what
// others have not begun. So the team is done together even where cores differ or something else runs on one. Which
// member computes a unit must not show in the result.
//   for (int64_t unit; units.next(&unit);) ...
// Every member makes the same Units in the same order, with a barrier between two of them.
class Units {
 public:
  Units(Team& team, int64_t count);
  bool next(int64_t* unit) {
    if (!shared_ && own_.begin < own_.end) return *unit = own_.begin++, true;
    return shared_ && take(unit);
  }

 private:
  bool take(int64_t* unit);
  Team& team_;
  int64_t count_;
  Range own_;  // of a team of one, and where units are too many to be shared
  bool shared_;
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
