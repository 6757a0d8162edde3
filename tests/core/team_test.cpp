// Exercises csrc/core/team.h and arena.h without Python; test_core.py compiles and runs it.
// `team_test` checks; `team_test --time` prints what a barrier costs (the numbers behind kSpin in team.cpp).
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "core/team.h"

using namespace cnnkern;

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                \
    }                                                                              \
  } while (false)

namespace {

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Each member writes its own (non-atomic) cell, and after the barrier reads everybody's.
void check_barriers(int threads, int rounds) {
  std::vector<int> cells(threads * 16, -1);
  run_team(threads, [&](Team& team) {
    CHECK(team.rank() >= 0 && team.rank() < team.size() && team.size() <= threads);
    for (int round = 0; round < rounds; ++round) {
      cells[team.rank() * 16] = round;
      team.barrier();
      for (int other = 0; other < team.size(); ++other) CHECK(cells[other * 16] == round);
      team.barrier();
    }
  });
}

// Every unit once, whoever is slow and however many there are; more rounds than a mark has values.
void check_units(int threads) {
  const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1000};
  std::vector<int> taken(1000);
  std::atomic<int64_t> slow{0}, fast{0};
  run_team(threads, [&](Team& team) {
    for (int round = 0; round < 3000; ++round) {
      const int64_t count = round == 2999 ? 64 : round % 300 < 290 ? 1 : counts[round % 7];
      Units units(team, count);
      for (int64_t unit; units.next(&unit);) {
        CHECK(unit >= 0 && unit < count);
        ++taken[unit];  // not atomic: a unit has one member
        if (round == 2999) {
          if (team.rank() == 0) usleep(3000);
          ++(team.rank() == 0 ? slow : fast);
        }
      }
      team.barrier();
      if (team.rank() == 0)
        for (int64_t i = 0; i < 1000; ++i) {
          CHECK(taken[i] == (i < count));
          taken[i] = 0;
        }
      team.barrier();
    }
  });
  if (threads > 1) CHECK(slow + fast == 64 && slow < fast);
}

void check_uneven() {  // long enough apart that the waiting members sleep
  run_team(3, [&](Team& team) {
    for (int round = 0; round < 30; ++round) {
      if (round % 3 == team.rank()) usleep(2000);
      team.barrier();
    }
  });
}

void check_exception(int threads, int thrower) {
  std::atomic<int> passed{0};
  std::string caught;
  try {
    run_team(threads, [&](Team& team) {
      team.barrier();
      if (team.rank() == thrower % team.size()) throw std::runtime_error("member");
      team.barrier();
      ++passed;
    });
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  CHECK(caught == "member");
  CHECK(passed == 0);
  check_barriers(threads, 10);  // and the next region is sound
}

void check_concurrent_callers() {
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) callers.emplace_back([] { check_barriers(2, 200); });
  for (std::thread& caller : callers) caller.join();
}

void check_fork() {
  check_barriers(2, 10);  // so that a pool exists which the child will miss
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);  // a hang is a failure
    check_barriers(2, 10);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  check_barriers(2, 10);
}

void check_arena() {
  CHECK(Arena().data() == nullptr && Arena(0).bytes() == 0);
  for (size_t bytes : {size_t(1), size_t(4096), size_t(2) << 20, (size_t(5) << 20) + 12}) {
    Arena arena(bytes);
    CHECK(arena.bytes() == bytes);
    CHECK(reinterpret_cast<uintptr_t>(arena.data()) % (bytes >= size_t(2) << 20 ? size_t(2) << 20 : 64) == 0);
    unsigned char* data = reinterpret_cast<unsigned char*>(arena.data());
    for (size_t i = 0; i < bytes; i += bytes / 7 + 1) CHECK(data[i] == 0);
    std::memset(data, 1, bytes);
    Arena moved(std::move(arena));
    CHECK(moved.data() == reinterpret_cast<float*>(data) && arena.data() == nullptr && arena.bytes() == 0);
    Arena other(64);
    other = std::move(moved);
    CHECK(other.bytes() == bytes);
  }
  for (size_t bytes : {SIZE_MAX, SIZE_MAX / 2 - 1}) {
    bool refused = false;
    try {
      Arena arena(bytes);
    } catch (const std::bad_alloc&) {
      refused = true;
    }
    CHECK(refused);
  }
}

void print_times() {
  double start = now_us();
  run_team(2, [](Team& team) {
    for (int i = 0; i < 100000; ++i) team.barrier();
  });
  std::printf("barrier, balanced          %7.2f us\n", (now_us() - start) / 100000);
  for (int late : {20, 100, 1000}) {
    const int rounds = 300000 / late;
    start = now_us();
    run_team(2, [&](Team& team) {
      for (int i = 0; i < rounds; ++i) {
        const double end = now_us() + (i % 2 == team.rank() ? late : 1);
        while (now_us() < end) {
        }
        team.barrier();
      }
    });
    std::printf("barrier, %4d us uneven    +%7.2f us\n", late, (now_us() - start) / rounds - late);
  }
  start = now_us();
  for (int i = 0; i < 10000; ++i) run_team(2, [](Team&) {});
  std::printf("region of two              %7.2f us\n", (now_us() - start) / 10000);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--time") {
    print_times();
    return 0;
  }
  for (int threads : {1, 2, 3, 7}) check_barriers(threads, threads > 2 ? 50 : 500);
  for (int threads : {1, 2, 3, 7}) check_units(threads);
  check_uneven();
  for (int thrower : {0, 1, 2}) {
    check_exception(2, thrower);
    check_exception(4, thrower);
  }
  check_concurrent_callers();
  check_arena();
  if (argc < 2) check_fork();  // ThreadSanitizer cannot follow a fork
  std::puts("ok");
  return 0;
}
