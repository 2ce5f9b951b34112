// Scans and flows looked up on the grids of other scans, on the CPU. Includes nothing of
// TensorFlow. Positions and weights are double, whatever the scan's type, without a copy of it.

#ifndef CUSTOM_OPS_CC_RESAMPLING_CPU_H_
#define CUSTOM_OPS_CC_RESAMPLING_CPU_H_

#include "affine_rows.h"
#include "warp_cpu.h"

namespace rcn {

// What a voxel gets from the eight around its position: their linear interpolation, the nearest
// one, or the value that has the largest weight among them (the smallest such value on a tie).
enum class Lookup { kLinear, kNearest, kVote };

struct Resampling {
  Volume image, grid;
  Affine to_image;  // voxel of the grid -> index in the image, without the displacement
  Affine to_index;  // mm -> voxels of the image (vectors, so without the last column)
  Lookup lookup;
  bool fills;  // whether `outside` is the value beyond the image, instead of its border's
  double outside;
};

// result(x) = image(to_image x + to_index displacement(x)); without a displacement if that is
// null. Integers are rounded to the nearest, halves to even ones.
template <typename T>
void resample(const Resampling& call, const T* image, const float* displacement, T* result,
              const Workers& workers);

struct FlowLookup {
  Volume flow, grid;
  Affine to_flow;  // voxel of the grid -> index in the flow
  Affine vector;   // flow (vectors) -> result
  Affine affine;   // voxel of the grid -> what is added to the result
};

// result(x) = affine x + vector flow(to_flow x), [D, H, W, 3]; outside, the flow's border
// counts.
template <typename Real>
void look_up_flow(const FlowLookup& call, const float* flow, Real* result,
                  const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_RESAMPLING_CPU_H_
