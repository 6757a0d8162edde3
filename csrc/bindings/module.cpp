#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/arch.h"
#include "core/team.h"

namespace py = pybind11;
using namespace cnnkern;

PYBIND11_MODULE(_core, m) {
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (Isa isa : available_isas()) names.push_back(isa_name(isa));
    return names;
  });
  m.def("resolve_isa", [](const std::string& name) { return std::string(isa_name(resolve_isa(name))); }, py::arg("name") = "");
  m.def("cpu_name", &cpu_name);
  m.def("cache_sizes", [] {
    const CacheSizes s = cache_sizes();
    return py::make_tuple(s.l1d, s.l2, s.l3);
  });
  m.def("default_threads", &default_threads);
}
