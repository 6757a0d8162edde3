// Program: slots, steps, runs. Buffers are checked here, once per call, before any native code touches them.
#include "../core/arch.h"
#include "bindings.h"

namespace cnnkern {

TensorRef tensor_ref(const Program& program, const py::object& tensor, const char* what) {
  TensorRef ref;
  if (tensor.is_none()) return ref;
  using Four = std::tuple<int64_t, int64_t, int64_t, int64_t>;
  const auto parts = tensor.cast<std::tuple<int, int64_t, Four, Four>>();
  ref.slot = std::get<0>(parts);
  ref.offset = std::get<1>(parts);
  std::tie(ref.view.n, ref.view.h, ref.view.w, ref.view.c) = std::get<2>(parts);
  std::tie(ref.view.sn, ref.view.sh, ref.view.sw, ref.view.sc) = std::get<3>(parts);
  program.check(ref, what);
  return ref;
}

const float* float_data(const py::object& array, int64_t floats, const char* what) {
  if (array.is_none()) return nullptr;
  const std::string name(what);
  if (!FloatArray::check_(array)) throw std::invalid_argument(name + ": want a C-contiguous float32 array");
  const FloatArray a = py::reinterpret_borrow<FloatArray>(array);
  if (a.size() != floats)
    throw std::invalid_argument(name + ": want " + std::to_string(floats) + " values, got " + std::to_string(a.size()));
  return a.data();
}

namespace {

// The caller's buffers in slot order. Inputs only need to be readable; Python marks which ones are written.
std::vector<float*> buffers(const Program& program, const py::sequence& arrays, size_t writable_from) {
  if (arrays.size() != program.externals())
    throw std::invalid_argument("want " + std::to_string(program.externals()) + " buffers, got " +
                                std::to_string(arrays.size()));
  std::vector<float*> out;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const py::object item = arrays[i];
    const std::string name = "buffer " + std::to_string(i);
    if (!FloatArray::check_(item)) throw std::invalid_argument(name + ": want a C-contiguous float32 array");
    FloatArray a = py::reinterpret_borrow<FloatArray>(item);
    if (a.size() < program.external_floats(i))
      throw std::invalid_argument(name + ": want " + std::to_string(program.external_floats(i)) + " floats, got " +
                                  std::to_string(a.size()));
    if (reinterpret_cast<uintptr_t>(a.data()) % alignof(float)) throw std::invalid_argument(name + ": misaligned");
    if (i >= writable_from && !a.writeable()) throw std::invalid_argument(name + ": read-only");
    out.push_back(const_cast<float*>(a.data()));
  }
  return out;
}

py::tuple counts(const Counters& c) {
  return py::make_tuple(c.fma, c.mul, c.add, c.max, c.special, c.bytes_read, c.bytes_written);
}

}  // namespace

void bind_program(py::module_& m) {
  py::class_<Program> program(m, "Program");
  program
      .def(py::init([](const std::string& isa, bool counting, int threads, int64_t arena_floats,
                       std::vector<int64_t> external_floats, size_t inputs) {
             if (inputs > external_floats.size()) throw std::invalid_argument("more inputs than buffers");
             auto p = std::make_unique<Program>(resolve_isa(isa), counting, threads, arena_floats,
                                                std::move(external_floats));
             p->inputs = inputs;
             return p;
           }),
           py::arg("isa"), py::arg("counting"), py::arg("threads"), py::arg("arena_floats"),
           py::arg("external_floats"), py::arg("inputs"),
           "Slot 0 is an arena of `arena_floats`; slots 1.. are buffers brought to each run, the first `inputs` of "
           "them read only.")
      .def("run",
           [](Program& p, const py::sequence& arrays) {
             const std::vector<float*> slots = buffers(p, arrays, p.inputs);
             py::gil_scoped_release release;
             p.run(slots);
           })
      .def("profile",
           [](Program& p, const py::sequence& arrays) {
             const std::vector<float*> slots = buffers(p, arrays, p.inputs);
             py::gil_scoped_release release;
             return p.profile(slots);
           })
      .def("count",
           [](Program& p, const py::sequence& arrays) {
             const std::vector<float*> slots = buffers(p, arrays, p.inputs);
             std::vector<Counters> all;
             {
               py::gil_scoped_release release;
               all = p.count(slots);
             }
             py::list rows;
             for (const Counters& c : all) rows.append(counts(c));
             return rows;
           })
      .def("run_single",
           [](Program& p, size_t step, const py::sequence& arrays, FloatArray& arena) {
             const std::vector<float*> slots = buffers(p, arrays, p.inputs);
             if (arena.size() < p.arena_floats() || !arena.writeable())
               throw std::invalid_argument("arena: want a writable array of arena_floats");
             float* data = arena.mutable_data();
             py::gil_scoped_release release;
             p.run_single(step, slots, data);
           },
           py::arg("step"), py::arg("arrays"), py::arg("arena").noconvert())
      .def("__len__", &Program::size)
      .def_property_readonly("isa", [](const Program& p) { return p.kernels()->isa; })
      .def_property_readonly("threads", &Program::threads)
      .def_property_readonly("arena_floats", &Program::arena_floats)
      .def_property_readonly("workspace_floats", &Program::workspace_floats);
  bind_conv(program);
  bind_ops(program);
  m.def("conv_select", &py_conv_select, py::arg("isa"), py::arg("shape"), py::arg("algo"), py::arg("strict"),
        py::arg("channels_last"), py::arg("x_px"), py::arg("flat"));
}

}  // namespace cnnkern
