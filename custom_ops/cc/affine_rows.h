// Rows of voxels of a scan, mapped by affine matrices. In scans' own grids positions are kept
// in double: a float has too few digits for the thousandth of a voxel at index 500.

#ifndef CUSTOM_OPS_CC_AFFINE_ROWS_H_
#define CUSTOM_OPS_CC_AFFINE_ROWS_H_

#include <cstdint>

namespace rcn {

// Sizes D, H, W of a volume.
struct Volume {
  int64_t size[3];

  int64_t rows() const { return size[0] * size[1]; }
  int64_t voxels() const { return rows() * size[2]; }
};

// A map of voxels (d, h, w, 1) or, with its first three columns, of vectors.
struct Affine {
  double at[3][4];

  // Image of voxel (d, h, 0), and its change from voxel to voxel along the row.
  void row(int64_t d, int64_t h, double start[3], double step[3]) const {
    for (int k = 0; k < 3; ++k) {
      start[k] =
          at[k][0] * static_cast<double>(d) + at[k][1] * static_cast<double>(h) + at[k][3];
      step[k] = at[k][2];
    }
  }
};

// Whether a continuous index lies within the voxels: ITK's rule, half a voxel beyond the
// centres.
inline bool within(const Volume& volume, const double index[3]) {
  bool result = true;
  for (int k = 0; k < 3; ++k) {
    result = result && index[k] >= -0.5 && index[k] < static_cast<double>(volume.size[k]) - 0.5;
  }
  return result;
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_AFFINE_ROWS_H_
