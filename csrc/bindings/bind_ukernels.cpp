// Raw leaves, for tests and benchmarks of single tiles.
#include "../core/arch.h"
#include "../ukernels/tables.h"
#include "bindings.h"

namespace cnnkern {
namespace {

// y (px, valid) = clamp(bias + sum over k of x[px][k] * w[k][:valid]) by one conv tile; w is (klen, ob*16).
FloatArray conv_tile(const std::string& isa, int ob, int px, const FloatArray& x, const FloatArray& w, int64_t valid) {
  const KernelTable* kernels = table_for(resolve_isa(isa), false);
  if (ob < 1 || ob > kMaxOb || px < 1 || px > kMaxPx || !kernels->conv[ob][px])
    throw std::invalid_argument("no such tile on " + std::string(kernels->isa));
  if (x.ndim() != 2 || x.shape(0) != px) throw std::invalid_argument("x: want (px, klen)");
  if (w.ndim() != 2 || w.shape(0) != x.shape(1) || w.shape(1) != ob * kBlock)
    throw std::invalid_argument("w: want (klen, ob*16)");
  if (valid <= (ob - 1) * kBlock || valid > ob * kBlock) throw std::invalid_argument("valid: out of range");
  FloatArray y({static_cast<int64_t>(px), valid});
  const float* rows[1] = {x.data()};
  ConvTile t = {};
  t.rows = rows;
  t.nrows = 1;
  t.klen = x.shape(1);
  t.x_px = x.shape(1);
  t.w = w.data();
  t.prefetch = w.data();
  t.y = y.mutable_data();
  t.y_px = valid;
  t.valid = valid;
  kernels->conv[ob][px](&t);
  return y;
}

py::list conv_tiles(const std::string& isa) {
  const KernelTable* kernels = table_for(resolve_isa(isa), false);
  py::list tiles;
  for (int ob = 1; ob <= kMaxOb; ++ob)
    for (int px = 1; px <= kMaxPx; ++px)
      if (kernels->conv[ob][px]) tiles.append(py::make_tuple(ob, px));
  return tiles;
}

}  // namespace

void bind_ukernels(py::module_& m) {
  py::module_ u = m.def_submodule("ukernels", "Single leaves, for tests and benchmarks.");
  u.def("conv_tiles", &conv_tiles, py::arg("isa"), "The (blocks, pixels) of every conv tile of an instruction set.");
  u.def("conv_tile", &conv_tile, py::arg("isa"), py::arg("ob"), py::arg("px"), py::arg("x").noconvert(),
        py::arg("w").noconvert(), py::arg("valid"));
  u.def("width", [](const std::string& isa) { return table_for(resolve_isa(isa), false)->width; }, py::arg("isa"));
}

}  // namespace cnnkern
