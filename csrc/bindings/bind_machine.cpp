// What this machine is and what it can do at most.
#include <atomic>
#include <chrono>
#include <thread>

#include "../core/arch.h"
#include "../core/team.h"
#include "../ukernels/tables.h"
#include "bindings.h"

namespace cnnkern {
namespace {

using Clock = std::chrono::steady_clock;

// GFLOP/s of independent FMAs from registers, all members of a team at once, for about `seconds`.
double peak_fma(const std::string& isa, int threads, double seconds) {
  const KernelTable* kernels = table_for(resolve_isa(isa), false);
  py::gil_scoped_release release;
  std::atomic<int64_t> flops{0};
  double elapsed = 0;
  run_team(threads, [&](Team& team) {
    kernels->peak_fma(200000);
    team.barrier();
    const Clock::time_point start = Clock::now();
    double mine = 0, took = 0;
    while (took < seconds) {
      mine += kernels->peak_fma(200000);
      took = std::chrono::duration<double>(Clock::now() - start).count();
    }
    flops += static_cast<int64_t>(mine / took);
    team.barrier();
    if (team.rank() == 0) elapsed = took;
  });
  return static_cast<double>(flops) / 1e9;
}

// GB/s of reading `bytes` again and again, split over a team, for about `seconds`.
double peak_bandwidth(int64_t bytes, int threads, double seconds) {
  if (bytes < 4096 || bytes > (int64_t{1} << 36)) throw std::invalid_argument("bytes must be in 4096..2**36");
  py::gil_scoped_release release;
  const int64_t words = bytes / 8;
  Arena arena(static_cast<size_t>(bytes));
  uint64_t* data = reinterpret_cast<uint64_t*>(arena.data());
  std::atomic<int64_t> rate{0};
  std::atomic<uint64_t> sink{0};
  run_team(threads, [&](Team& team) {
    const Range mine = share(words, team.size(), team.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) data[i] = static_cast<uint64_t>(i);
    team.barrier();
    const Clock::time_point start = Clock::now();
    double took = 0, moved = 0;
    uint64_t sum = 0;
    while (took < seconds) {
      typedef uint64_t wide __attribute__((vector_size(64), aligned(8), may_alias));
      wide s[4] = {};
      int64_t i = mine.begin;
      for (; i + 32 <= mine.end; i += 32)
        for (int j = 0; j < 4; ++j) s[j] += *reinterpret_cast<const wide*>(data + i + 8 * j);
      for (int j = 0; j < 4; ++j) sum += s[j][0] + s[j][7];
      moved += static_cast<double>((mine.end - mine.begin) * 8);
      took = std::chrono::duration<double>(Clock::now() - start).count();
    }
    sink += sum;
    rate += static_cast<int64_t>(moved / took);
  });
  return static_cast<double>(rate) / 1e9 + (sink == 1 ? 1e-9 : 0);
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (Isa isa : available_isas()) names.push_back(isa_name(isa));
    return names;
  });
  m.def(
      "resolve_isa", [](const std::string& name) { return std::string(isa_name(resolve_isa(name))); },
      py::arg("name") = "");
  m.def("cpu_name", &cpu_name);
  m.def("cache_sizes", [] {
    const CacheSizes s = cache_sizes();
    return py::make_tuple(s.l1d, s.l2, s.l3);
  });
  m.def("peak_fma", &peak_fma, py::arg("isa") = "", py::arg("threads") = 1, py::arg("seconds") = 0.2,
        "GFLOP/s of independent fused multiply-adds on registers, summed over `threads`.");
  m.def("peak_bandwidth", &peak_bandwidth, py::arg("bytes"), py::arg("threads") = 1, py::arg("seconds") = 0.2,
        "GB/s of reading a buffer of `bytes` over and over, summed over `threads`.");
}

}  // namespace cnnkern
