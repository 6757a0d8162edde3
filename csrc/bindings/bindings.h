// What the binding files share: how Python names a tensor of a program, and how sizes are checked on the way in.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "../program/program.h"

namespace cnnkern {

namespace py = pybind11;
using FloatArray = py::array_t<float, py::array::c_style>;

// Python passes a tensor as None or (slot, offset, (n, h, w, c), (sn, sh, sw, sc)[, image]), all in floats.
TensorRef tensor_ref(const Program& program, const py::object& tensor, const char* what);

// A tensor of any rank, (slot, offset, sizes, strides[, image]): at most kMaxRank axes, sizes below 2^31, at most 2^44
// elements.
NdRef nd_ref(const Program& program, const py::object& tensor, const char* what);

// The same before it is known where it lies: slot and reach are not checked.
NdRef nd_view(const py::object& tensor, const char* what);

// An optional float32 C-contiguous array with exactly `floats` values.
const float* float_data(const py::object& array, int64_t floats, const char* what);

// "" (none), "relu", "leaky_relu", ...; std::invalid_argument for other names.
Act act_of(const std::string& name);

void bind_machine(py::module_& m);                     // ISA, caches, peaks
void bind_program(py::module_& m);                     // Program
void bind_conv(py::module_& m, py::class_<Program>& program);  // add_conv, conv_select and its costs
void bind_ops(py::class_<Program>& program);           // add_pool, add_eltwise, ...
void bind_moves(py::class_<Program>& program);         // add_moves, add_resample: any rank
void bind_math(py::class_<Program>& program);          // add_unary, add_reduce, add_matmul, ...
void bind_ukernels(py::module_& m);                    // raw leaves, for tests and benchmarks

}  // namespace cnnkern
