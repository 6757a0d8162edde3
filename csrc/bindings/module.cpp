#include "bindings.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "cnnkern's native core: programs of convolution kernels, and what this machine is.";
  cnnkern::bind_machine(m);
  cnnkern::bind_program(m);
  cnnkern::bind_ukernels(m);
}
