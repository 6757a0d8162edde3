// Program: slots, steps, runs. Buffers are checked here, once per call, before any native code touches them.
#include "../core/arch.h"
#include "bindings.h"

namespace cnnkern {

TensorRef tensor_ref(const Program& program, const py::object& tensor, const char* what) {
  TensorRef ref;
  if (tensor.is_none()) return ref;
  using Four = std::tuple<int64_t, int64_t, int64_t, int64_t>;
  const py::tuple parts = tensor.cast<py::tuple>();
  if (parts.size() != 4 && parts.size() != 5)
    throw std::invalid_argument(std::string(what) + ": want (slot, offset, sizes, strides[, image])");
  ref.slot = parts[0].cast<int>();
  ref.offset = parts[1].cast<int64_t>();
  std::tie(ref.view.n, ref.view.h, ref.view.w, ref.view.c) = parts[2].cast<Four>();
  std::tie(ref.view.sn, ref.view.sh, ref.view.sw, ref.view.sc) = parts[3].cast<Four>();
  if (parts.size() == 5) ref.image = parts[4].cast<int64_t>();
  program.check(ref, what);
  return ref;
}

NdRef nd_view(const py::object& tensor, const char* what) {
  const std::string name(what);
  const py::tuple parts = tensor.cast<py::tuple>();
  if (parts.size() != 4 && parts.size() != 5)
    throw std::invalid_argument(name + ": want (slot, offset, sizes, strides[, image])");
  NdRef ref;
  ref.slot = parts[0].cast<int>();
  ref.offset = parts[1].cast<int64_t>();
  const auto sizes = parts[2].cast<std::vector<int64_t>>(), strides = parts[3].cast<std::vector<int64_t>>();
  if (sizes.size() != strides.size() || sizes.size() > static_cast<size_t>(kMaxRank))
    throw std::invalid_argument(name + ": want as many strides as sizes, at most " + std::to_string(kMaxRank));
  __int128 elements = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0) throw std::invalid_argument(name + ": negative size");
    if (sizes[i] >= int64_t{1} << 31 || (elements *= sizes[i]) > int64_t{1} << 44)
      throw std::invalid_argument(name + ": too large");
    ref.view.size[i] = sizes[i];
    ref.view.stride[i] = strides[i];
  }
  ref.view.rank = static_cast<int>(sizes.size());
  if (parts.size() == 5) ref.image = parts[4].cast<int64_t>();
  return ref;
}

NdRef nd_ref(const Program& program, const py::object& tensor, const char* what) {
  const NdRef ref = nd_view(tensor, what);
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

// The caller's buffers in slot order, checked; inputs need only be readable.
std::vector<float*> buffers(const Program& program, const py::sequence& arrays) {
  if (arrays.size() != program.externals())
    throw std::invalid_argument("want " + std::to_string(program.externals()) + " buffers, got " +
                                std::to_string(arrays.size()));
  std::vector<float*> out;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const py::object item = arrays[i];
    const std::string name = "buffer " + std::to_string(i);
    if (!FloatArray::check_(item)) throw std::invalid_argument(name + ": want a C-contiguous float32 array");
    const FloatArray a = py::reinterpret_borrow<FloatArray>(item);
    if (a.size() < program.external_floats(i))
      throw std::invalid_argument(name + ": want " + std::to_string(program.external_floats(i)) + " floats, got " +
                                  std::to_string(a.size()));
    if (reinterpret_cast<uintptr_t>(a.data()) % alignof(float)) throw std::invalid_argument(name + ": misaligned");
    if (i >= program.inputs() && !a.writeable()) throw std::invalid_argument(name + ": read-only");
    out.push_back(const_cast<float*>(a.data()));
  }
  return out;
}

// The ops a call asks for, and a context that is this program's.
std::pair<size_t, size_t> span(const Program& p, const Context& context, size_t begin, const py::object& end) {
  const size_t last = end.is_none() ? p.size() : end.cast<size_t>();
  if (begin > last || last > p.size()) throw std::invalid_argument("no such steps");
  if (context.arena.bytes() < static_cast<size_t>(p.arena_floats()) * sizeof(float) ||
      context.workspace.bytes() < static_cast<size_t>(p.workspace_floats()) * sizeof(float) ||
      context.own.bytes() < static_cast<size_t>(p.own_floats() * p.threads()) * sizeof(float))
    throw std::invalid_argument("the context was made by another program");
  return {begin, last};
}

py::tuple counts(const Counters& c) {
  return py::make_tuple(c.fma, c.mul, c.add, c.max, c.special, c.bytes_read, c.bytes_written);
}

}  // namespace

void bind_program(py::module_& m) {
  py::class_<Context>(m, "Context", "The memory of one concurrent caller of a Program.")
      .def_property_readonly(
          "arena",
          [](const py::object& self) {
            const Context& c = self.cast<const Context&>();
            return FloatArray(static_cast<py::ssize_t>(c.arena.bytes() / sizeof(float)), c.arena.data(), self);
          },
          "The arena as a float32 array; it lives as long as the context.")
      .def_property_readonly(
          "own",
          [](const py::object& self) {
            const Context& c = self.cast<const Context&>();
            return FloatArray(static_cast<py::ssize_t>(c.own.bytes() / sizeof(float)), c.own.data(), self);
          },
          "The images' own arenas, one after the other; a run of part of a stretch may replace it.");
  py::class_<Program> program(m, "Program");
  program
      .def(py::init([](const std::string& isa, int threads, int64_t arena_floats, std::vector<int64_t> external_floats,
                       size_t inputs, int64_t own_floats, int64_t images) {
             return std::make_unique<Program>(resolve_isa(isa), threads, arena_floats, std::move(external_floats),
                                              inputs, own_floats, images);
           }),
           py::arg("isa"), py::arg("threads"), py::arg("arena_floats"), py::arg("external_floats"), py::arg("inputs"),
           py::arg("own_floats") = 0, py::arg("images") = 1,
           "Slot 0 is an arena of `arena_floats`; slots 1.. are buffers brought to each run, the first `inputs` of "
           "them read only; the last slot is an arena of `own_floats` for each image at hand.")
      .def("per_image", &Program::per_image, py::arg("on"),
           "From here on, steps are added that run once for each image, or again once for all.")
      .def("new_context", &Program::new_context)
      .def(
          "run",
          [](const Program& p, Context& context, const py::sequence& arrays, size_t begin, const py::object& end) {
            const std::vector<float*> slots = buffers(p, arrays);
            const auto [first, last] = span(p, context, begin, end);
            const py::gil_scoped_release release;
            p.run(context, slots, first, last);
          },
          py::arg("context"), py::arg("arrays"), py::arg("begin") = 0, py::arg("end") = py::none())
      .def(
          "profile",
          [](const Program& p, Context& context, const py::sequence& arrays, size_t begin, const py::object& end) {
            const std::vector<float*> slots = buffers(p, arrays);
            const auto [first, last] = span(p, context, begin, end);
            const py::gil_scoped_release release;
            return p.profile(context, slots, first, last);
          },
          py::arg("context"), py::arg("arrays"), py::arg("begin") = 0, py::arg("end") = py::none(),
          "As run; returns the milliseconds of each step.")
      .def(
          "count",
          [](const Program& p, Context& context, const py::sequence& arrays, size_t begin, const py::object& end) {
            const std::vector<float*> slots = buffers(p, arrays);
            const auto [first, last] = span(p, context, begin, end);
            std::vector<Counters> all;
            {
              const py::gil_scoped_release release;
              all = p.count(context, slots, first, last);
            }
            py::list rows;
            for (const Counters& c : all) rows.append(counts(c));
            return rows;
          },
          py::arg("context"), py::arg("arrays"), py::arg("begin") = 0, py::arg("end") = py::none(),
          "As run, on the counting kernels; returns (fma, mul, add, max, special, bytes_read, bytes_written) a step.")
      .def("__len__", &Program::size)
      .def_property_readonly("isa", [](const Program& p) { return p.kernels()->isa; })
      .def_property_readonly("width", [](const Program& p) { return p.kernels()->width; })
      .def_property_readonly("threads", &Program::threads)
      .def_property_readonly("arena_floats", &Program::arena_floats)
      .def_property_readonly("own_floats", &Program::own_floats)
      .def_property_readonly("workspace_floats", &Program::workspace_floats);
  bind_conv(m, program);
  bind_ops(program);
  bind_moves(program);
  bind_math(program);
}

}  // namespace cnnkern
