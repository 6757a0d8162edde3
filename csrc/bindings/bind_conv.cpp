// add_conv, conv_select and its costs: shapes and plans cross the border as dicts of ints, and are checked here.
#include <cmath>

#include "../core/arch.h"
#include "../ops/conv.h"
#include "../ops/conv_cost.h"
#include "../ukernels/tables.h"
#include "bindings.h"

namespace cnnkern {
namespace {

int64_t integer(const py::dict& d, const char* key) {
  if (!d.contains(key)) throw std::invalid_argument(std::string("missing '") + key + "'");
  return d[key].cast<int64_t>();
}

void require(bool good, const char* message) {
  if (!good) throw std::invalid_argument(message);
}

constexpr int64_t kMaxSize = int64_t{1} << 31;  // of any one size, so that products of a few stay in 64 bits

ConvShape parse_shape(const py::dict& d) {
  ConvShape s;
  s.n = integer(d, "n"), s.c = integer(d, "c"), s.h = integer(d, "h"), s.w = integer(d, "w");
  s.k = integer(d, "k"), s.r = integer(d, "r"), s.s = integer(d, "s");
  s.stride_h = integer(d, "stride_h"), s.stride_w = integer(d, "stride_w");
  s.pad_t = integer(d, "pad_t"), s.pad_b = integer(d, "pad_b");
  s.pad_l = integer(d, "pad_l"), s.pad_r = integer(d, "pad_r");
  s.dil_h = integer(d, "dil_h"), s.dil_w = integer(d, "dil_w"), s.groups = integer(d, "groups");
  for (int64_t size : {s.n, s.pad_t, s.pad_b, s.pad_l, s.pad_r})
    require(size >= 0 && size < kMaxSize, "conv: a size or padding is negative or too large");
  for (int64_t size : {s.c, s.h, s.w, s.k, s.r, s.s, s.stride_h, s.stride_w, s.dil_h, s.dil_w, s.groups})
    require(size >= 1 && size < kMaxSize, "conv: a size, stride or dilation is not positive or too large");
  require(s.c % s.groups == 0 && s.k % s.groups == 0, "conv: channels are not divisible by groups");
  const int64_t room_h = s.h + s.pad_t + s.pad_b - ((s.r - 1) * s.dil_h + 1);
  const int64_t room_w = s.w + s.pad_l + s.pad_r - ((s.s - 1) * s.dil_w + 1);
  require(room_h >= 0 && room_w >= 0, "conv: the kernel is larger than the padded input");
  s.p = room_h / s.stride_h + 1;
  s.q = room_w / s.stride_w + 1;
  const auto fits = [](std::initializer_list<int64_t> sizes) {
    __int128 product = 4;
    for (int64_t size : sizes) {
      product *= size;
      if (product > (static_cast<__int128>(1) << 46)) return false;
    }
    return true;
  };
  require(fits({s.n, s.c, s.h, s.w}) && fits({s.n, s.k, s.p, s.q}) && fits({s.k, s.cg(), s.r, s.s}),
          "conv: a tensor is too large");
  return s;
}

py::dict plan_dict(const ConvPlan& p) {
  py::dict d;
  d["algo"] = algo_name(p.algo);
  d["ob"] = p.ob;
  d["px"] = p.px;
  d["merge"] = p.merge;
  d["band_rows"] = p.band_rows;
  d["band_images"] = p.band_images;
  d["scratch_px"] = p.scratch_px;
  d["planar"] = p.planar;
  d["m"] = p.m;
  d["tile_block"] = p.tile_block;
  d["shared"] = p.shared;
  d["cycles"] = p.cycles;
  d["weight_bytes"] = p.weight_bytes;
  d["barriers"] = p.barriers;
  return d;
}

ConvPlan parse_plan(const py::dict& d, const ConvShape& s, const KernelTable* kernels, bool scaled) {
  ConvPlan p;
  const std::string algo = d["algo"].cast<std::string>();
  int found = -1;
  for (int i = 0; i < kConvAlgos; ++i)
    if (algo == algo_name(static_cast<ConvAlgo>(i))) found = i;
  require(found >= 0, "conv: unknown algorithm in the plan");
  p.algo = static_cast<ConvAlgo>(found);
  p.ob = integer(d, "ob"), p.px = integer(d, "px"), p.merge = integer(d, "merge");
  p.band_rows = integer(d, "band_rows"), p.band_images = integer(d, "band_images");
  p.scratch_px = integer(d, "scratch_px"), p.m = integer(d, "m"), p.tile_block = integer(d, "tile_block");
  p.shared = d["shared"].cast<bool>();
  p.planar = p.algo == ConvAlgo::direct && d["planar"].cast<bool>();
  require(p.ob >= 1 && p.ob <= kMaxOb && p.px >= 1 && p.px <= kMaxPx, "conv: no such tile");
  require(p.merge >= 1 && p.merge <= s.groups && s.groups % p.merge == 0, "conv: bad group merge in the plan");
  require(p.band_rows >= 1 && p.band_images >= 1, "conv: bad band in the plan");
  require(p.band_images == 1 || p.band_rows >= s.p, "conv: bad band in the plan");
  if (p.planar)
    require(p.scratch_px == 1 && !scaled && p.merge == s.groups && s.dil_w == 1 && s.r * s.c <= kMaxTaps,
            "conv: bad scratch");
  else if (p.algo == ConvAlgo::direct)
    require(p.scratch_px >= s.c && p.scratch_px <= s.c + 4096, "conv: bad scratch");
  if (p.algo == ConvAlgo::pointwise && scaled)
    require(p.scratch_px >= s.c && p.scratch_px <= s.c + 4096, "conv: bad scratch");
  if (p.algo == ConvAlgo::depthwise) require(p.px == kernels->dw_px, "conv: no such tile");
  if (p.algo == ConvAlgo::grouped) require(p.px == kernels->group_px, "conv: no such tile");
  if (p.algo == ConvAlgo::winograd) {
    require(p.m == 2 || (p.m == 4 && s.r == 3), "conv: Winograd's m must be 2, or 4 with a 3x3 filter");
    require(p.tile_block >= 1 && p.scratch_px >= s.c && p.scratch_px <= s.c + 4096, "conv: bad Winograd block");
  }
  return p;
}

void require_view(const TensorRef& t, int64_t n, int64_t h, int64_t w, int64_t c, const char* what) {
  const TensorView& v = t.view;
  if (v.n != n || v.h != h || v.w != w || v.c != c)
    throw std::invalid_argument(std::string("conv: ") + what + " has not the shape the convolution gives it");
}

void add_conv(Program& program, const py::object& x, const py::object& y, const py::dict& shape, const py::dict& plan,
              const py::object& weight, const py::object& bias, const py::object& residual, const std::string& act,
              float param, float param2, const py::object& scale, const py::object& shift,
              const std::string& prologue) {
  ConvArgs a;
  a.kernels = program.kernels();
  a.threads = program.threads();
  a.shape = parse_shape(shape);
  a.plan = parse_plan(plan, a.shape, a.kernels, !scale.is_none());
  a.x = tensor_ref(program, x, "x");
  a.y = tensor_ref(program, y, "y");
  const ConvShape& s = a.shape;
  require(a.x.present() && a.y.present(), "conv: x and y are needed");
  require_view(a.x, s.n, s.h, s.w, s.c, "x");
  require_view(a.y, s.n, s.p, s.q, s.k, "y");
  require(a.y.view.sc == 1, "conv: y must be channels-last");
  const TensorRef res = tensor_ref(program, residual, "residual");
  if (res.present()) {
    require_view(res, s.n, s.p, s.q, s.k, "residual");
    require(res.view.sc == 1, "conv: the residual must be channels-last");
  }
  a.epilogue = Epilogue::of(act_of(act), param, param2, res);
  require(a.epilogue.post == Act::none || a.kernels->act[static_cast<int>(a.epilogue.post)], "no such activation");
  a.weight = float_data(weight, s.k * s.cg() * s.r * s.s, "weight");
  require(a.weight != nullptr, "conv: weight is needed");
  a.bias = float_data(bias, s.k, "bias");
  a.scale = float_data(scale, s.c, "scale");
  a.shift = float_data(shift, s.c, "shift");
  require(!a.scale == !a.shift, "conv: scale and shift come together");
  a.prologue = Epilogue::of(act_of(prologue), 0, 0, TensorRef());
  require(a.prologue.post == Act::none, "conv: the prologue must be a clamp");
  require(a.scale || prologue.empty(), "conv: a prologue needs scale and shift");
  // Asks the selector, so that a plan that cannot serve the shape is refused in one place.
  ConvQuery query{s, a.kernels, algo_name(a.plan.algo)};
  query.x_channels_last = a.x.view.sc == 1;
  query.scaled = a.scale != nullptr;
  conv_algos(query);
  std::unique_ptr<Op> op;
  {
    py::gil_scoped_release release;
    op = make_conv(a);
  }
  program.add(std::move(op));
}

// A stage of a fused block: {"shape", "plan", "act", "param"} and its weights.
FusedStage parse_stage(const Program& program, const py::dict& d, ConvAlgo algo, const py::object& weight,
                       const py::object& bias) {
  FusedStage f;
  f.kernels = program.kernels();
  f.threads = program.threads();
  f.shape = parse_shape(d["shape"].cast<py::dict>());
  f.plan = parse_plan(d["plan"].cast<py::dict>(), f.shape, f.kernels, false);
  f.epilogue = Epilogue::of(act_of(d["act"].cast<std::string>()), d["param"].cast<float>(), 0, TensorRef());
  f.weight = float_data(weight, f.shape.k * f.shape.cg() * f.shape.r * f.shape.s, "weight");
  f.bias = float_data(bias, f.shape.k, "bias");
  require(f.weight != nullptr, "fused block: weight is needed");
  require(f.plan.algo == algo, "fused block: 1x1, depthwise and 1x1 convolutions are wanted, in this order");
  if (algo == ConvAlgo::pointwise)
    require(f.shape.pointwise() && f.shape.groups == 1 && f.shape.stride_h == 1 && f.shape.stride_w == 1,
            "fused block: a 1x1 convolution with a stride or groups");
  return f;
}

void add_fused_block(Program& program, const py::object& x, const py::object& y, const py::dict& expand,
                     const py::dict& depthwise, const py::object& project, const py::object& expand_weight,
                     const py::object& expand_bias, const py::object& depthwise_weight,
                     const py::object& depthwise_bias, const py::object& project_weight, const py::object& project_bias,
                     const py::object& residual) {
  FusedArgs a;
  a.expand = parse_stage(program, expand, ConvAlgo::pointwise, expand_weight, expand_bias);
  a.depthwise = parse_stage(program, depthwise, ConvAlgo::depthwise, depthwise_weight, depthwise_bias);
  a.project.present = !project.is_none();
  if (a.project.present)
    a.project = parse_stage(program, project.cast<py::dict>(), ConvAlgo::pointwise, project_weight, project_bias);
  a.x = tensor_ref(program, x, "x");
  a.y = tensor_ref(program, y, "y");
  a.residual = tensor_ref(program, residual, "residual");
  const ConvShape &e = a.expand.shape, &d = a.depthwise.shape;
  const ConvShape& last = a.project.present ? a.project.shape : d;
  require(d.groups == d.c && d.k == d.c && d.dil_h == 1 && d.dil_w == 1 && d.r * d.s <= kMaxTaps,
          "fused block: not a depthwise convolution that can be fused");
  require(
      d.r >= d.stride_h && d.s >= d.stride_w && std::max(d.pad_t, d.pad_b) < d.r && std::max(d.pad_l, d.pad_r) < d.s,
      "fused block: stride and padding must be less than the filter");
  require(e.n == d.n && e.k == d.c && e.h == d.h && e.w == d.w, "fused block: depthwise does not follow expand");
  if (a.project.present)
    require(last.n == d.n && last.c == d.k && last.h == d.p && last.w == d.q,
            "fused block: project does not follow depthwise");
  require(a.x.present() && a.y.present(), "fused block: x and y are needed");
  require_view(a.x, e.n, e.h, e.w, e.c, "x");
  require_view(a.y, last.n, last.p, last.q, last.k, "y");
  if (a.residual.present()) require_view(a.residual, last.n, last.p, last.q, last.k, "residual");
  for (const TensorRef* t : {&a.x, &a.y, &a.residual})
    require(!t->present() || t->view.sc == 1, "fused block: tensors must be channels-last");
  std::unique_ptr<Op> op;
  {
    py::gil_scoped_release release;
    op = make_fused_block(a);
  }
  program.add(std::move(op));
}

}  // namespace

Act act_of(const std::string& name) {
  static const char* const names[] = {"",     "relu",      "relu6",       "leaky_relu", "sigmoid", "tanh",
                                      "silu", "hardswish", "hardsigmoid", "gelu",       "clip"};
  for (int i = 0; i < static_cast<int>(Act::count); ++i)
    if (name == names[i]) return static_cast<Act>(i);
  throw std::invalid_argument("unknown activation '" + name + "'");
}

ConvQuery query(const std::string& isa, const py::dict& shape, const std::string& algo, bool strict, bool channels_last,
                int64_t x_px, bool flat, bool scaled, const py::dict& costs) {
  ConvQuery q{parse_shape(shape), table_for(resolve_isa(isa), false), algo, strict, channels_last, x_px, flat, scaled};
  for (const auto& item : costs) {
    const std::string name = item.first.cast<std::string>();
    double MachineCosts::* value = nullptr;
    for (const NamedCost& named : named_costs())
      if (name == named.name) value = named.value;
    require(value != nullptr, "conv_select: no such cost");
    q.costs.*value = item.second.cast<double>();
    require(std::isfinite(q.costs.*value) && q.costs.*value > 0, "conv_select: a cost must be positive");
  }
  return q;
}

void bind_conv(py::module_& m, py::class_<Program>& program) {
  m.def(
      "conv_select",
      [](const std::string& isa, const py::dict& shape, const std::string& algo, bool strict, bool channels_last,
         int64_t x_px, bool flat, bool scaled, const py::dict& costs) {
        return plan_dict(conv_select(query(isa, shape, algo, strict, channels_last, x_px, flat, scaled, costs)));
      },
      py::arg("isa"), py::arg("shape"), py::arg("algo"), py::arg("strict"), py::arg("channels_last"), py::arg("x_px"),
      py::arg("flat"), py::arg("scaled") = false, py::arg("costs") = py::dict(),
      "The plan that conv_select makes for a convolution; ValueError where `algo` cannot serve it. `costs` replaces "
      "some of conv_costs().");
  m.def(
      "conv_candidates",
      [](const std::string& isa, const py::dict& shape, const std::string& algo, bool strict, bool channels_last,
         int64_t x_px, bool flat, bool scaled, const py::dict& costs) {
        py::list plans;
        for (const ConvPlan& plan :
             conv_candidates(query(isa, shape, algo, strict, channels_last, x_px, flat, scaled, costs)))
          plans.append(plan_dict(plan));
        return plans;
      },
      py::arg("isa"), py::arg("shape"), py::arg("algo"), py::arg("strict"), py::arg("channels_last"), py::arg("x_px"),
      py::arg("flat"), py::arg("scaled") = false, py::arg("costs") = py::dict(),
      "The plans worth measuring for a convolution, conv_select's own first.");
  m.def(
      "conv_costs",
      [] {
        py::dict costs;
        for (const NamedCost& named : named_costs()) costs[named.name] = MachineCosts().*named.value;
        return costs;
      },
      "The machine constants that conv_select estimates with.");
  program.def("add_conv", &add_conv, py::arg("x"), py::arg("y"), py::arg("shape"), py::arg("plan"), py::arg("weight"),
              py::arg("bias") = py::none(), py::arg("residual") = py::none(), py::arg("act") = "",
              py::arg("param") = 0.0f, py::arg("param2") = 0.0f, py::arg("scale") = py::none(),
              py::arg("shift") = py::none(), py::arg("prologue") = "");
  program.def("add_fused_block", &add_fused_block, py::arg("x"), py::arg("y"), py::arg("expand"), py::arg("depthwise"),
              py::arg("project"), py::arg("expand_weight"), py::arg("expand_bias"), py::arg("depthwise_weight"),
              py::arg("depthwise_bias"), py::arg("project_weight") = py::none(), py::arg("project_bias") = py::none(),
              py::arg("residual") = py::none());
}

}  // namespace cnnkern
