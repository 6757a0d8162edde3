// add_pool, add_binary, ...: every op that is no convolution. All sizes are checked here, before an op is made.
#include <array>

#include "../ops/ops.h"
#include "bindings.h"

namespace cnnkern {
namespace {

using Pair = std::array<int64_t, 2>;
using Four = std::array<int64_t, 4>;

constexpr int64_t kMaxSize = int64_t{1} << 31;  // of any one size, so that products of a few stay in 64 bits

void require(bool good, const char* op, const std::string& message) {
  if (!good) throw std::invalid_argument(std::string(op) + ": " + message);
}

bool fits(std::initializer_list<int64_t> sizes) {
  __int128 product = 1;
  for (int64_t size : sizes) {
    product *= size;
    if (product > (static_cast<__int128>(1) << 44)) return false;
  }
  return true;
}

// A tensor that must be there. Where channels have no neighbour their stride is 1, whatever it was called.
TensorRef tensor(const Program& program, const py::object& object, const char* op, const char* what) {
  TensorRef ref = tensor_ref(program, object, what);
  require(ref.present(), op, std::string(what) + " is needed");
  TensorView& v = ref.view;
  for (int64_t size : {v.n, v.h, v.w, v.c}) require(size < kMaxSize, op, std::string(what) + " is too large");
  require(fits({v.n, v.h, v.w, v.c}), op, std::string(what) + " is too large");
  if (v.c <= 1 || v.size() == 0) v.sc = 1;
  return ref;
}

TensorRef channels_last(const Program& program, const py::object& object, const char* op, const char* what) {
  const TensorRef ref = tensor(program, object, op, what);
  require(ref.view.sc == 1, op, std::string(what) + " must be channels-last");
  return ref;
}

struct Ends {
  TensorRef x, y;
};

Ends ends(const Program& program, const py::object& x, const py::object& y, const char* op) {
  return {channels_last(program, x, op, "x"), channels_last(program, y, op, "y")};
}

void require_same(const Ends& e, const char* op) {
  const TensorView &x = e.x.view, &y = e.y.view;
  require(x.n == y.n && x.h == y.h && x.w == y.w && x.c == y.c, op, "x and y must have the same sizes");
}

void require_planes(const Ends& e, const char* op) {
  const TensorView &x = e.x.view, &y = e.y.view;
  require(x.n == y.n && x.c == y.c, op, "x and y must have the same n and c");
  require(x.n == 0 || (x.h >= 1 && x.w >= 1 && y.h >= 1 && y.w >= 1), op, "planes must not be empty");
}

Window window_of(const Pair& kernel, const Pair& stride, const Four& pad, const Pair& dilation, const char* op) {
  for (const Pair& pair : {kernel, stride, dilation})
    for (int64_t v : pair)
      require(v >= 1 && v < kMaxSize, op, "a kernel size, stride or dilation is not positive or too large");
  for (int64_t v : pad) require(v >= 0 && v < kMaxSize, op, "a padding is negative or too large");
  return {kernel[0], kernel[1], stride[0], stride[1], pad[0], pad[1], pad[2], pad[3], dilation[0], dilation[1]};
}

// Windows along one axis, the last whole one included, or with `partial` also a partial one that starts inside the
// input or the padding before it.
int64_t window_count(int64_t size, int64_t kernel, int64_t stride, int64_t before, int64_t after, int64_t dil,
                     bool partial, const char* op) {
  const int64_t room = size + before + after - dil * (kernel - 1) - 1;
  require(room > (partial ? -stride : -1), op, "the kernel is larger than the padded input");
  if (!partial) return room / stride + 1;
  const int64_t count = ceil_div(room, stride) + 1;
  return (count - 1) * stride >= size + before ? count - 1 : count;
}

void require_windows(const TensorView& x, const TensorView& y, const Window& w, bool partial, const char* op) {
  const auto matches = [&](bool p) {
    return std::array<bool, 2>{
        y.h == window_count(x.h, w.r, w.stride_h, w.pad_t, w.pad_b, w.dil_h, p, op),
        y.w == window_count(x.w, w.s, w.stride_w, w.pad_l, w.pad_r, w.dil_w, p, op),
    };
  };
  const auto good = [&](bool p) {
    const std::array<bool, 2> axes = matches(p);
    return axes[0] && axes[1];
  };
  require((partial && good(true)) || good(false), op, "y has not the size that the windows give it");
}

Epilogue epilogue_of(const Program& program, const std::string& act, float param, float param2, const char* op) {
  const Epilogue e = Epilogue::of(act_of(act), param, param2, TensorRef());
  require(e.post == Act::none || program.kernels()->act[static_cast<int>(e.post)], op, "no such activation");
  return e;
}

void add_pool(Program& program, const py::object& x, const py::object& y, const std::string& kind, const Pair& kernel,
              const Pair& stride, const Four& pad, const Pair& dilation, bool count_include_pad) {
  const char* op = "pool";
  const Ends e = ends(program, x, y, op);
  require_planes(e, op);
  require(kind == "max" || kind == "avg" || kind == "sum", op, "kind must be max, avg or sum");
  const Window w = window_of(kernel, stride, pad, dilation, op);
  if (e.x.view.n > 0) require_windows(e.x.view, e.y.view, w, true, op);
  const PoolKind which = kind == "max" ? pool_max : kind == "avg" ? pool_avg : pool_sum;
  program.add(make_pool(which, e.x, e.y, w, count_include_pad));
}

void add_global_pool(Program& program, const py::object& x, const py::object& y, const std::string& kind) {
  const char* op = "global_pool";
  const Ends e = ends(program, x, y, op);
  require_planes(e, op);
  require(e.y.view.h == 1 && e.y.view.w == 1, op, "y must have one value per plane");
  require(kind == "max" || kind == "avg", op, "kind must be max or avg");
  program.add(make_global_pool(kind == "max" ? pool_max : pool_avg, e.x, e.y));
}

void add_adaptive_avg_pool(Program& program, const py::object& x, const py::object& y) {
  const Ends e = ends(program, x, y, "adaptive_avg_pool");
  require_planes(e, "adaptive_avg_pool");
  program.add(make_adaptive_avg_pool(e.x, e.y));
}

void add_roi_max_pool(Program& program, const py::object& x, const py::object& rois, const py::object& y, float scale) {
  const char* op = "roi_max_pool";
  const Ends e = ends(program, x, y, op);
  const TensorRef regions = channels_last(program, rois, op, "rois");
  const TensorView& v = regions.view;
  require(v.n == e.y.view.n && v.h == 1 && v.w == 1 && v.c == 5, op, "rois must have five values for each image of y");
  require(e.x.view.c == e.y.view.c, op, "x and y must have the same c");
  require(e.y.view.n == 0 || (e.y.view.h >= 1 && e.y.view.w >= 1), op, "y must have cells");
  require(scale >= 0 && scale <= 0x1p64f, op, "scale must be in 0 to 2**64");
  program.add(make_roi_max_pool(e.x, regions, e.y, scale));
}

void add_activation(Program& program, const py::object& x, const py::object& y, const std::string& kind, float param,
                    float param2) {
  const char* op = "activation";
  const Ends e = ends(program, x, y, op);
  require_same(e, op);
  const Act act = act_of(kind);
  require(act != Act::none && program.kernels()->act[static_cast<int>(act)], op, "no such activation");
  program.add(make_activation(e.x, e.y, act, param, param2));
}

void add_binary(Program& program, const py::object& a, const py::object& b, const py::object& y,
                const std::string& kind, const std::string& act, float param, float param2) {
  const char* op = "binary";
  const TensorRef ra = channels_last(program, a, op, "a"), rb = channels_last(program, b, op, "b");
  const TensorRef ry = channels_last(program, y, op, "y");
  const TensorView &va = ra.view, &vb = rb.view, &vy = ry.view;
  const auto broadcasts = [](int64_t m, int64_t n, int64_t out) {
    return (m == out && (n == out || n == 1)) || (n == out && m == 1);
  };
  require(broadcasts(va.n, vb.n, vy.n) && broadcasts(va.h, vb.h, vy.h) && broadcasts(va.w, vb.w, vy.w) &&
              broadcasts(va.c, vb.c, vy.c),
          op, "a and b do not broadcast to y");
  require(kind == "add" || kind == "mul", op, "kind must be add or mul");
  const Epilogue e = epilogue_of(program, act, param, param2, op);
  program.add(make_binary(kind == "add" ? binary_add : binary_mul, ra, rb, ry, e));
}

void add_affine(Program& program, const py::object& x, const py::object& y, const py::object& scale,
                const py::object& shift, const std::string& act, float param, float param2) {
  const char* op = "affine";
  const Ends e = ends(program, x, y, op);
  require_same(e, op);
  const float* scales = float_data(scale, e.y.view.c, "scale");
  const float* shifts = float_data(shift, e.y.view.c, "shift");
  require(scales && shifts, op, "scale and shift are needed");
  program.add(make_affine(e.x, e.y, scales, shifts, epilogue_of(program, act, param, param2, op)));
}

void add_lrn(Program& program, const py::object& x, const py::object& y, int64_t size, float factor, float beta,
             float k) {
  const char* op = "lrn";
  const Ends e = ends(program, x, y, op);
  require_same(e, op);
  require(size >= 1, op, "size must be positive");
  require(k > 0 && factor >= 0, op, "k must be positive and factor not negative");
  program.add(make_lrn(e.x, e.y, size, factor, beta, k));
}

void add_lcn(Program& program, const py::object& x, const py::object& y, const std::vector<float>& window, float eps) {
  const char* op = "lcn";
  const Ends e = ends(program, x, y, op);
  require_same(e, op);
  require(window.size() % 2 == 1 && window.size() < (size_t{1} << 20), op, "window must hold an odd number of weights");
  for (float weight : window) require(weight > 0, op, "window's weights must be positive");
  require(eps > 0, op, "eps must be positive");
  program.add(make_lcn(e.x, e.y, window, eps));
}

void add_softmax(Program& program, const py::object& x, const py::object& y, bool log) {
  const Ends e = ends(program, x, y, "softmax");
  require_same(e, "softmax");
  program.add(make_softmax(e.x, e.y, log));
}

void add_copy(Program& program, const py::object& x, const py::object& y) {
  const Ends e = {tensor(program, x, "copy", "x"), tensor(program, y, "copy", "y")};
  require_same(e, "copy");
  program.add(make_copy(e.x, e.y));
}

void add_channel_shuffle(Program& program, const py::object& x, const py::object& y, int64_t groups) {
  const char* op = "channel_shuffle";
  const Ends e = {tensor(program, x, op, "x"), tensor(program, y, op, "y")};
  require_same(e, op);
  require(groups >= 1 && e.y.view.c % groups == 0, op, "groups must divide the channels");
  program.add(make_channel_shuffle(e.x, e.y, groups));
}

void add_pad(Program& program, const py::object& x, const py::object& y, const Four& pad, float value) {
  const char* op = "pad";
  const Ends e = {tensor(program, x, op, "x"), tensor(program, y, op, "y")};
  for (int64_t v : pad) require(v >= 0 && v < kMaxSize, op, "a padding is negative or too large");
  const TensorView &in = e.x.view, &out = e.y.view;
  require(out.n == in.n && out.c == in.c && out.h == in.h + pad[0] + pad[1] && out.w == in.w + pad[2] + pad[3], op,
          "y has not the size of x and its padding");
  program.add(make_pad(e.x, e.y, pad[0], pad[2], value));
}

void add_im2col(Program& program, const py::object& x, const py::object& y, const Pair& kernel, const Pair& stride,
                const Four& pad, const Pair& dilation) {
  const char* op = "im2col";
  const Ends e = {tensor(program, x, op, "x"), tensor(program, y, op, "y")};
  const Window w = window_of(kernel, stride, pad, dilation, op);
  const TensorView &in = e.x.view, &out = e.y.view;
  require(fits({in.c, w.r, w.s}) && out.n == in.n && out.c == in.c * w.r * w.s, op, "y must have n and c * r * s of x");
  if (in.n > 0) require_windows(in, out, w, false, op);
  program.add(make_im2col(e.x, e.y, w));
}

void add_locally_connected(Program& program, const py::object& x, const py::object& y, const py::object& weight,
                           const py::object& bias, const Pair& kernel, const Pair& stride, const Four& pad,
                           const std::string& act, float param, float param2) {
  const char* op = "locally_connected";
  const Ends e = ends(program, x, y, op);
  const TensorView &in = e.x.view, &out = e.y.view;
  require(in.n == out.n && in.c >= 1 && out.c >= 1, op, "x and y must have the same n, and channels");
  LocalArgs a;
  a.x = e.x, a.y = e.y;
  a.window = window_of(kernel, stride, pad, {1, 1}, op);
  require_windows(in, out, a.window, false, op);
  require(fits({kernel[0], kernel[1]}) && kernel[0] * kernel[1] <= kMaxTaps, op, "too many taps");
  const int64_t taps = kernel[0] * kernel[1];
  require(fits({out.h, out.w, out.c + kBlock, in.c, taps}), op, "too many weights");
  a.weight = float_data(weight, out.h * out.w * out.c * in.c * taps, "weight");
  require(a.weight != nullptr, op, "weight is needed");
  const int64_t all = out.h * out.w * out.c;
  a.bias_per_position = !bias.is_none() && py::len(bias) > 0 && bias.attr("size").cast<int64_t>() != out.c;
  a.bias = float_data(bias, a.bias_per_position ? all : out.c, "bias");
  a.epilogue = epilogue_of(program, act, param, param2, op);
  a.kernels = program.kernels();
  a.threads = program.threads();
  std::unique_ptr<Op> made;
  {
    const py::gil_scoped_release release;
    made = make_locally_connected(a);
  }
  program.add(std::move(made));
}

}  // namespace

void bind_ops(py::class_<Program>& program) {
  const Pair one{1, 1};
  const Four none{0, 0, 0, 0};
  const auto x = py::arg("x"), y = py::arg("y");
  program
      .def("add_pool", &add_pool, x, y, py::arg("kind"), py::arg("kernel"), py::arg("stride"), py::arg("pad") = none,
           py::arg("dilation") = one, py::arg("count_include_pad") = true,
           "Windows of `kernel` (r, s), padding (top, bottom, left, right); y's size may be ceil_mode's.")
      .def("add_global_pool", &add_global_pool, x, y, py::arg("kind") = "avg")
      .def("add_adaptive_avg_pool", &add_adaptive_avg_pool, x, y)
      .def("add_roi_max_pool", &add_roi_max_pool, x, py::arg("rois"), y, py::arg("scale"),
           "rois (n, 1, 1, 5): image, x1, y1, x2, y2, for each image of y.")
      .def("add_activation", &add_activation, x, y, py::arg("kind"), py::arg("param") = 0.0f, py::arg("param2") = 0.0f)
      .def("add_binary", &add_binary, py::arg("a"), py::arg("b"), y, py::arg("kind") = "add", py::arg("act") = "",
           py::arg("param") = 0.0f, py::arg("param2") = 0.0f, "y = act(a + b) or act(a * b), sizes of 1 broadcast.")
      .def("add_affine", &add_affine, x, y, py::arg("scale"), py::arg("shift"), py::arg("act") = "",
           py::arg("param") = 0.0f, py::arg("param2") = 0.0f, "y = act(x * scale + shift), by channel.")
      .def("add_lrn", &add_lrn, x, y, py::arg("size"), py::arg("factor"), py::arg("beta"), py::arg("k"))
      .def("add_lcn", &add_lcn, x, y, py::arg("window"), py::arg("eps"))
      .def("add_softmax", &add_softmax, x, y, py::arg("log") = false, "Over the channels.")
      .def("add_copy", &add_copy, x, y, "Any strides on both sides.")
      .def("add_channel_shuffle", &add_channel_shuffle, x, y, py::arg("groups"))
      .def("add_pad", &add_pad, x, y, py::arg("pad"), py::arg("value") = 0.0f, "Padding (top, bottom, left, right).")
      .def("add_im2col", &add_im2col, x, y, py::arg("kernel"), py::arg("stride") = one, py::arg("pad") = none,
           py::arg("dilation") = one, "y (n, p, q, c r s): the windows, channel (c R + r) S + s.")
      .def("add_locally_connected", &add_locally_connected, x, y, py::arg("weight"), py::arg("bias"), py::arg("kernel"),
           py::arg("stride") = one, py::arg("pad") = none, py::arg("act") = "", py::arg("param") = 0.0f,
           py::arg("param2") = 0.0f, "weight (P, Q, K, C, R, S), bias (K,), (K, P, Q) or None.");
}

}  // namespace cnnkern
