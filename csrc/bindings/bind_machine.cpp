// What this machine is and what it can do at most.
#include <algorithm>
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

// GB/s of reading `size_bytes` again and again, each member of a team its own share of it, for about `seconds`.
double peak_bandwidth(const std::string& isa, int64_t size_bytes, int threads, double seconds) {
  if (size_bytes < 4096 || size_bytes > (int64_t{1} << 36))
    throw std::invalid_argument("size_bytes must be in 4096..2**36, got " + std::to_string(size_bytes));
  constexpr int64_t line = 16, between_looks = 1 << 18;  // floats; a look at the clock costs as much as a few KiB
  const KernelTable* kernels = table_for(resolve_isa(isa), false);
  py::gil_scoped_release release;
  Arena arena(static_cast<size_t>(size_bytes));
  std::atomic<int64_t> rate{0};
  std::atomic<bool> sink{false};
  run_team(threads, [&](Team& team) {
    const Range lines = share(size_bytes / (line * 4), team.size(), team.rank());
    float* mine = arena.data() + lines.begin * line;
    const int64_t floats = (lines.end - lines.begin) * line;
    if (floats == 0) return team.barrier();
    const int64_t passes = std::max<int64_t>(1, between_looks / floats);
    std::fill(mine, mine + floats, 1.0f);
    float sum = kernels->read_sum(mine, floats);
    team.barrier();
    const Clock::time_point start = Clock::now();
    double took = 0, moved = 0;
    while (took < seconds) {
      for (int64_t i = 0; i < passes; ++i) sum += kernels->read_sum(mine, floats);
      moved += static_cast<double>(passes * floats * 4);
      took = std::chrono::duration<double>(Clock::now() - start).count();
    }
    if (sum == 0) sink = true;  // never so; the sums cannot be removed
    rate += static_cast<int64_t>(moved / took);
  });
  return static_cast<double>(rate) / 1e9 + (sink ? 1e-9 : 0);
}

// What read_sum makes of x, and the counts of its counting form.
py::tuple read_sum(const std::string& isa, const FloatArray& x) {
  const Isa found = resolve_isa(isa);
  const KernelTable* counting = table_for(found, true);
  Counters counters;
  counting->set_counters(&counters);
  counting->read_sum(x.data(), x.size());
  counting->set_counters(nullptr);
  return py::make_tuple(table_for(found, false)->read_sum(x.data(), x.size()), counters.add, counters.bytes_read);
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
  m.def("peak_bandwidth", &peak_bandwidth, py::arg("isa"), py::arg("size_bytes"), py::arg("threads") = 1,
        py::arg("seconds") = 0.2, "GB/s of reading a buffer of `size_bytes` over and over, summed over `threads`.");
  m.def("read_sum", &read_sum, py::arg("isa"), py::arg("x"),
        "The bandwidth probe's leaf: (sum of x, additions counted, bytes counted).");
}

}  // namespace cnnkern
