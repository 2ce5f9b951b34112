// Inverse of a displacement field at the voxels of a grid, on the CPU. Includes nothing of
// TensorFlow.

#ifndef CUSTOM_OPS_CC_INVERSION_CPU_H_
#define CUSTOM_OPS_CC_INVERSION_CPU_H_

#include "affine_rows.h"
#include "warp_cpu.h"

namespace rcn {

// A field d in mm moves the point p to p + d(p). Wanted is u with y + u + d(y + u) = y for the
// points y of a grid.
struct Inversion {
  Volume field, grid;
  Affine to_field;   // voxel of the grid -> index in the field
  Affine to_index;   // mm -> voxels of the field (vectors, so without the last column)
  Affine start;      // voxel of the grid -> first guess of u, mm
  double along[3];   // from one voxel of the grid to the next of its row, mm
  double tolerance;  // error in mm at which a voxel is solved
};

// Newton's method for every voxel. `inverse` [D, H, W, 3] holds u rounded to float, and `error`
// [D, H, W] how far y + u + d(y + u) is from y with u as it is written, in mm. `inside` says
// where y + u lies within the field's voxels. The same bits for any number of threads.
void invert(const Inversion& call, const float* vectors, float* inverse, float* error,
            bool* inside, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_INVERSION_CPU_H_
