// add_unary, add_binary_nd, ...: operations on arrays of any rank and layout. All sizes are checked here, before an op
// is made.
#include "../ops/nd_ops.h"

#include <array>

#include "bindings.h"

namespace cnnkern {
namespace {

constexpr const char* kUnary[] = {"neg",      "abs",         "sign", "floor",     "ceil", "round",
                                  "sqrt",     "reciprocal",  "exp",  "log",       "erf",  "affine",
                                  "clip",     "hardsigmoid", "elu",  "selu",      "celu", "thresholded_relu",
                                  "softplus", "softsign",    "mish", "gelu_tanh", "swish"};
static_assert(std::size(kUnary) == static_cast<size_t>(Unary::count));
constexpr const char* kBinary[] = {"add", "mul", "sub", "div", "pow", "min", "max", "prelu"};
static_assert(std::size(kBinary) == static_cast<size_t>(binary_kinds) + pair_kinds);
constexpr const char* kReduce[] = {"sum", "mean", "max",        "min",     "prod",
                                   "l1",  "l2",   "sum_square", "log_sum", "log_sum_exp"};
static_assert(std::size(kReduce) == static_cast<size_t>(Reduction::count));

void require(bool good, const std::string& op, const std::string& message) {
  if (!good) throw std::invalid_argument(op + ": " + message);
}

template <size_t N>
int index_of(const std::string& name, const char* const (&names)[N], const std::string& op) {
  std::string all;
  for (size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<int>(i);
    all += (i ? ", " : "") + std::string(names[i]);
  }
  throw std::invalid_argument(op + ": kind must be one of " + all + ", got '" + name + "'");
}

NdRef tensor(const Program& program, const py::object& object, const std::string& op, const char* what) {
  require(!object.is_none(), op, std::string(what) + " is needed");
  return nd_ref(program, object, what);
}

NdRef output(const Program& program, const py::object& object, const std::string& op) {
  const NdRef ref = tensor(program, object, op, "y");
  for (int i = 0; i < ref.view.rank; ++i)
    require(ref.view.size[i] <= 1 || ref.view.stride[i] != 0 || ref.view.elements() == 0, op,
            "y must not repeat its elements");
  return ref;
}

void require_same(const NdRef& x, const NdRef& y, const std::string& op, const char* what) {
  bool same = x.view.rank == y.view.rank;
  for (int i = 0; same && i < y.view.rank; ++i) same = x.view.size[i] == y.view.size[i];
  require(same, op, std::string(what) + " and y must have the same sizes");
}

int axis_of(const NdRef& y, int64_t axis, const std::string& op) {
  require(axis >= 0 && axis < y.view.rank, op, "there is no such axis");
  return static_cast<int>(axis);
}

Epilogue epilogue_of(const std::string& act, float param, float param2) {
  return Epilogue::of(act_of(act), param, param2, TensorRef());
}

void add_unary(Program& program, const py::object& x, const py::object& y, const std::string& kind, float alpha,
               float beta) {
  const std::string op = "unary";
  const NdRef in = tensor(program, x, op, "x"), out = output(program, y, op);
  require_same(in, out, op, "x");
  program.add(make_unary(in, out, static_cast<Unary>(index_of(kind, kUnary, op)), alpha, beta));
}

void add_binary_nd(Program& program, const py::object& a, const py::object& b, const py::object& y,
                   const std::string& kind, const std::string& act, float param, float param2) {
  const std::string op = "binary";
  const NdRef left = tensor(program, a, op, "a"), right = tensor(program, b, op, "b"), out = output(program, y, op);
  require_same(left, out, op, "a");
  require_same(right, out, op, "b");
  const int which = index_of(kind, kBinary, op);
  const Epilogue e = epilogue_of(act, param, param2);
  require(which < binary_kinds || e.act == Act::none, op, "an activation follows add and mul alone");
  program.add(make_binary_nd(left, right, out, which, e));
}

void add_affine_nd(Program& program, const py::object& x, const py::object& y, int64_t axis, const py::object& scale,
                   const py::object& shift, const std::string& act, float param, float param2) {
  const std::string op = "affine";
  const NdRef in = tensor(program, x, op, "x"), out = output(program, y, op);
  require_same(in, out, op, "x");
  const int at = axis_of(out, axis, op);
  const float* scales = float_data(scale, out.view.size[at], "scale");
  const float* shifts = float_data(shift, out.view.size[at], "shift");
  require(scales && shifts, op, "scale and shift are needed");
  program.add(make_affine_nd(in, out, at, scales, shifts, epilogue_of(act, param, param2)));
}

void add_reduce(Program& program, const py::object& x, const py::object& y, const std::string& kind,
                const std::vector<int64_t>& axes) {
  const std::string op = "reduce";
  const NdRef in = tensor(program, x, op, "x"), out = output(program, y, op);
  bool reduced[kMaxRank] = {};
  for (int64_t axis : axes) {
    bool& flag = reduced[axis_of(in, axis, op)];
    require(!flag, op, "axes must differ");
    flag = true;
  }
  require(in.view.rank == out.view.rank, op, "x and y must have the same rank");
  for (int i = 0; i < in.view.rank; ++i)
    require(out.view.size[i] == (reduced[i] ? 1 : in.view.size[i]), op, "y must have x's sizes, 1 where it is reduced");
  program.add(make_reduce(in, out, reduced, static_cast<Reduction>(index_of(kind, kReduce, op))));
}

void add_softmax_nd(Program& program, const py::object& x, const py::object& y, int64_t axis, bool log) {
  const std::string op = "softmax";
  const NdRef in = tensor(program, x, op, "x"), out = output(program, y, op);
  require_same(in, out, op, "x");
  const int at = axis_of(out, axis, op);
  program.add(make_softmax_nd(in, out, at, log));
}

void add_matmul(Program& program, const py::object& a, const py::object& b, const py::object& y, int64_t ob, int64_t px,
                const py::object& weight) {
  const std::string op = "matmul";
  MatMulArgs args = {};
  args.a = tensor(program, a, op, "a"), args.y = output(program, y, op);
  const bool known = !weight.is_none();
  require(known != !b.is_none(), op, "b or weight is needed, and not both");
  const int rank = args.y.view.rank;
  require(rank >= 2 && args.a.view.rank == rank, op, "a and y must have the same rank, 2 or more");
  const int64_t k = args.a.view.size[rank - 1], n = args.y.view.size[rank - 1];
  if (known) {
    if (!FloatArray::check_(weight)) throw std::invalid_argument("weight: want a C-contiguous float32 array");
    const FloatArray array = py::reinterpret_borrow<FloatArray>(weight);
    require(array.ndim() >= 2 && array.ndim() <= rank, op, "weight must have rank 2 or more, and y's at most");
    args.weight = array.data();
    NdView& v = args.b.view;
    v.rank = rank;
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      const int at = i - (rank - static_cast<int>(array.ndim()));
      const int64_t own = at < 0 ? 1 : array.shape(at);
      const bool whole = i >= rank - 2 || own == args.y.view.size[i];
      v.size[i] = i >= rank - 2 ? own : args.y.view.size[i];
      require(whole || own == 1, op, "weight does not broadcast to y");
      v.stride[i] = own == 1 && i < rank - 2 ? 0 : step;
      step *= own;
    }
  } else {
    args.b = tensor(program, b, op, "b");
    require(args.b.view.rank == rank, op, "b and y must have the same rank");
  }
  for (int i = 0; i < rank - 2; ++i)
    require(args.a.view.size[i] == args.y.view.size[i] && args.b.view.size[i] == args.y.view.size[i], op,
            "the leading sizes must be the same");
  require(args.a.view.size[rank - 2] == args.y.view.size[rank - 2], op, "a and y must have as many rows");
  require(args.b.view.size[rank - 2] == k && args.b.view.size[rank - 1] == n, op,
          "b must have a's columns as rows, y's as columns");
  args.ob = ob, args.px = px;
  args.kernels = program.kernels();
  args.threads = program.threads();
  require(ob >= 1 && ob <= kMaxOb && args.kernels->conv[ob][1], op, "no tiles of that width");
  require(px >= 1 && px <= kMaxPx && args.kernels->conv[ob][px], op, "no tiles of that length");
  require(n < (int64_t{1} << 30) && (n + kMaxOb * kBlock) * std::max<int64_t>(1, k) < (int64_t{1} << 44), op,
          "b is too large");
  std::unique_ptr<Op> made;
  {
    const py::gil_scoped_release release;
    made = make_matmul(args);
  }
  program.add(std::move(made));
}

}  // namespace

void bind_math(py::class_<Program>& program) {
  const auto x = py::arg("x"), y = py::arg("y"), kind = py::arg("kind"), a = py::arg("a"), b = py::arg("b");
  const auto act = py::arg("act") = "", param = py::arg("param") = 0.0f, param2 = py::arg("param2") = 0.0f;
  program
      .def("add_unary", &add_unary, x, y, kind, py::arg("alpha") = 0.0f, py::arg("beta") = 0.0f,
           "y = f(x): tensors of any rank, as (slot, offset, sizes, strides).")
      .def("add_binary_nd", &add_binary_nd, a, b, y, kind, act, param, param2,
           "y = f(a, b): operands have y's sizes, and stride 0 where they repeat themselves.")
      .def("add_affine_nd", &add_affine_nd, x, y, py::arg("axis"), py::arg("scale"), py::arg("shift"), act, param,
           param2, "y = act(x * scale + shift) by the index along `axis`; both tensors have an axis of stride 1.")
      .def("add_reduce", &add_reduce, x, y, kind, py::arg("axes"), "y has size 1 along `axes`.")
      .def("add_softmax_nd", &add_softmax_nd, x, y, py::arg("axis"), py::arg("log") = false)
      .def("add_matmul", &add_matmul, a, b, y, py::arg("ob"), py::arg("px"), py::arg("weight") = py::none(),
           "y (.., m, n) = a (.., m, k) b (.., k, n); `weight` is a b that is known, with b None.");
}

}  // namespace cnnkern
