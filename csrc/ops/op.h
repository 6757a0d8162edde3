// What a driver is: an Op, made once at plan time with its weights packed, run by a Team over resolved buffers.
#pragma once

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../core/arena.h"
#include "../core/shapes.h"
#include "../core/team.h"
#include "../core/tensor.h"
#include "../ukernels/kernel_table.h"

namespace cnnkern {

// A tensor of a program: a view whose data is an offset (in floats) into one of the program's slots.
struct TensorRef {
  int slot = -1;  // -1: absent
  int64_t offset = 0;
  TensorView view;
  int64_t image = 0;  // where the op runs once an image: floats from one image's tensor to the next's

  bool present() const { return slot >= 0; }
};

// The same of any rank.
struct NdRef {
  int slot = -1;
  int64_t offset = 0;
  NdView view;
  int64_t image = 0;
};

// What one run lends to an op.
struct RunContext {
  const KernelTable* kernels;
  float* const* slots;
  float* workspace;  // shared by the team; as large as the op asked for
  int64_t image = 0;

  TensorView operator()(const TensorRef& ref) const {
    TensorView v = ref.view;
    v.data = ref.present() ? slots[ref.slot] + ref.offset + image * ref.image : nullptr;
    return v;
  }

  float* operator()(const NdRef& ref) const { return slots[ref.slot] + ref.offset + image * ref.image; }
};

class Op {
 public:
  virtual ~Op() = default;
  // Every member of the team calls this; the op splits its work by rank and may use the team's barrier. The loop that
  // calls it has a barrier after every op.
  virtual void run(const RunContext& ctx, Team& team) const = 0;
  // Floats of scratch, for a team of that size.
  virtual int64_t workspace_floats(int /*threads*/) const { return 0; }
};

// What happens to a sum before it is stored: bias, residual, clamp; then, where an activation is no clamp, its leaf
// over the values just written, while they are in L1.
struct Epilogue {
  TensorRef residual;
  Act act = Act::none;
  float param = 0, param2 = 0;
  bool clamp = false;
  float lo = -std::numeric_limits<float>::infinity(), hi = std::numeric_limits<float>::infinity();
  Act post = Act::none;

  static Epilogue of(Act act, float param, float param2, const TensorRef& residual) {
    Epilogue e;
    e.residual = residual;
    e.act = act;
    e.param = param;
    e.param2 = param2;
    if (act == Act::relu || act == Act::relu6 || act == Act::clip) {
      e.clamp = true;
      e.lo = act == Act::clip ? param : 0;
      if (act == Act::relu6) e.hi = 6;
      if (act == Act::clip) e.hi = param2;
    } else {
      e.post = act;
    }
    return e;
  }

  void finish(const KernelTable* k, float* y, int64_t px, int64_t y_px, int64_t channels) const {
    if (post == Act::none) return;
    const ActRow rows{y, y, channels, param, param2, px, y_px, y_px};
    k->act[static_cast<int>(post)](&rows);
  }
};

// The decisions for a convolution, made by conv_select, printed with the plan and never changed afterwards.
enum class ConvAlgo : int { direct = 0, im2col, pointwise, depthwise, grouped, winograd };
constexpr int kConvAlgos = 6;
struct ConvPlan {
  ConvAlgo algo = ConvAlgo::direct;
  int64_t ob = 1;           // blocks of 16 output channels in a tile
  int64_t px = 1;           // longest tile in pixels
  int64_t merge = 1;        // groups computed as one, with zero weights between them
  int64_t band_rows = 1;    // output rows (of one image) packed and computed together, at most
  int64_t band_images = 1;  // whole images in a band, when band_rows is all of P
  int64_t scratch_px = 0;   // floats between pixels in the packed rows
  bool planar = false;      // direct: packed rows have one channel after the other, as the input has
  int64_t m = 0;            // Winograd: outputs per tile side
  int64_t tile_block = 0;   // Winograd: tiles transformed and multiplied together
  bool shared = false;      // direct, Winograd: one band or block at a time for the whole team, its products split
  double cycles = 0;        // what the selector expects of one core whose weights are at hand
  int64_t weight_bytes = 0; // packed weights that a run reads
  int64_t barriers = 0;     // at which the team meets within a run
  double uneven = 1;        // how much longer a team of two takes for it than half of one core's time
};

}  // namespace cnnkern
