// add_moves and add_resample: tensors of any rank. All sizes are checked here, before an op is made.
#include <algorithm>

#include "../ops/ops.h"
#include "bindings.h"

namespace cnnkern {
namespace {

void require(bool good, const char* op, const std::string& message) {
  if (!good) throw std::invalid_argument(std::string(op) + ": " + message);
}

// What a copy reads: a tensor of the program, or in slot -1 a view of the call's own values.
NdRef source(const Program& program, const py::object& object, int64_t floats) {
  const NdRef ref = nd_view(object, "x");
  if (ref.slot != -1) {
    program.check(ref, "x");
    return ref;
  }
  __int128 first = ref.offset, last = ref.offset;
  for (int i = 0; i < ref.view.rank; ++i)
    (ref.view.stride[i] < 0 ? first : last) += static_cast<__int128>(ref.view.size[i] - 1) * ref.view.stride[i];
  const bool inside = !ref.view.elements() || (first >= 0 && last < floats);
  require(inside && ref.image == 0, "moves", "x: the view reaches outside the values");
  return ref;
}

void add_moves(Program& program, const py::sequence& copies, const py::sequence& fills, const py::object& values) {
  const char* op = "moves";
  const int64_t floats = FloatArray::check_(values) ? py::reinterpret_borrow<FloatArray>(values).size() : 0;
  const float* own = float_data(values, floats, "values");
  std::vector<MoveCopy> copied;
  std::vector<MoveFill> filled;
  for (const py::handle item : copies) {
    const py::tuple pair = py::cast<py::tuple>(item);
    require(pair.size() == 2, op, "a copy is (x, y)");
    MoveCopy c = {source(program, pair[0], floats), nd_ref(program, pair[1], "y")};
    const NdView &x = c.x.view, &y = c.y.view;
    require(x.rank == y.rank && std::equal(x.size, x.size + x.rank, y.size), op, "x and y must have the same sizes");
    copied.push_back(c);
  }
  for (const py::handle item : fills) {
    const py::tuple pair = py::cast<py::tuple>(item);
    require(pair.size() == 2, op, "a fill is (y, value)");
    filled.push_back({nd_ref(program, pair[0], "y"), pair[1].cast<float>()});
  }
  program.add(make_moves(copied, filled, own, floats));
}

void add_resample(Program& program, const py::object& x, const py::object& y, int axis, const py::object& index,
                  const py::object& weight) {
  const char* op = "resample";
  using Indices = py::array_t<int64_t, py::array::c_style>;
  ResampleArgs a;
  a.x = nd_ref(program, x, "x");
  a.y = nd_ref(program, y, "y");
  const NdView &in = a.x.view, &out = a.y.view;
  require(in.rank == out.rank && axis >= 0 && axis < in.rank, op, "x and y must have one rank, and the axis be of it");
  for (int i = 0; i < in.rank; ++i)
    require(i == axis || in.size[i] == out.size[i], op, "x and y must have the same sizes but for the axis");
  require(Indices::check_(index), op, "index: want a C-contiguous int64 array");
  const Indices table = py::reinterpret_borrow<Indices>(index);
  require(table.ndim() == 2 && table.shape(0) == out.size[axis] && table.shape(1) >= 1, op,
          "index must have a row for each output");
  a.axis = axis;
  a.taps = table.shape(1);
  a.index = table.data();
  a.weight = float_data(weight, table.size(), "weight");
  require(a.weight || a.taps == 1, op, "without weights an output reads one element");
  for (int64_t i = 0; i < table.size(); ++i)
    require(a.index[i] >= 0 && a.index[i] < in.size[axis], op, "an index leaves the axis");
  program.add(make_resample(a));
}

}  // namespace

void bind_moves(py::class_<Program>& program) {
  program
      .def(
          "add_moves", &add_moves, py::arg("copies"), py::arg("fills") = py::tuple(), py::arg("values") = py::none(),
          "Pairs (x, y) of tensors of equal sizes, any strides, and pairs (y, value); no two may write one place. An x "
          "in slot -1 is a view of `values`, which are copied.")
      .def("add_resample", &add_resample, py::arg("x"), py::arg("y"), py::arg("axis"), py::arg("index"),
           py::arg("weight") = py::none(), "y[.., i, ..] = sum of weight[i][t] x[.., index[i][t], ..] along the axis.");
}

}  // namespace cnnkern
