// Linear sampling of one vector of a field [D, H, W, 3], and of its derivatives, in double.
//
// A vector and one lane more fill a SIMD register, so the three components are computed at
// once.

#ifndef CUSTOM_OPS_CC_VECTOR_SAMPLE_H_
#define CUSTOM_OPS_CC_VECTOR_SAMPLE_H_

#include <cstdint>
#include <cstring>

#include "affine_rows.h"

namespace rcn {

typedef double Four __attribute__((vector_size(32)));
typedef float FourFloats __attribute__((vector_size(16)));

// Value and derivatives along d, h and w at one place; a derivative is 0 where the index is
// clamped to the border.
struct VectorSample {
  Four value;
  Four slope[3];
};

class VectorField {
 public:
  VectorField(const Volume& volume, const float* vectors)
      : volume_(volume), vectors_(vectors), elements_(3 * volume.voxels()) {
    stride_[2] = 3;
    stride_[1] = stride_[2] * volume.size[2];
    stride_[0] = stride_[1] * volume.size[1];
  }

  // The field at a continuous index; outside, that of the nearest border voxel. A NaN in the
  // index gives NaN.
  VectorSample at(const double index[3]) const {
    int64_t lower = 0, step[3];
    double weight[3], moves[3];
    for (int k = 0; k < 3; ++k) {
      const double last = static_cast<double>(volume_.size[k] - 1);
      double position = index[k] < 0 ? 0 : index[k];
      position = position > last ? last : position;
      int64_t cell = position >= 0 ? static_cast<int64_t>(position) : 0;  // 0 for NaN
      const int64_t highest = volume_.size[k] > 1 ? volume_.size[k] - 2 : 0;
      cell = cell > highest ? highest : cell;
      weight[k] = position - static_cast<double>(cell);
      moves[k] = index[k] < 0 || index[k] > last ? 0 : 1;
      step[k] = volume_.size[k] > 1 ? stride_[k] : 0;
      lower += cell * stride_[k];
    }
    // Four floats are read at once; only the last voxel has no fourth one after it.
    const bool safe = lower + step[0] + step[1] + step[2] + 4 <= elements_;
    Four corner[2][2][2];
    for (int d = 0; d < 2; ++d) {
      for (int h = 0; h < 2; ++h) {
        for (int w = 0; w < 2; ++w) {
          const float* from = vectors_ + lower + d * step[0] + h * step[1] + w * step[2];
          corner[d][h][w] = safe ? four(from) : three(from);
        }
      }
    }
    Four along_w[2][2], along_h[2], slope_w[2], slope_h[2];
    for (int d = 0; d < 2; ++d) {
      Four difference[2];
      for (int h = 0; h < 2; ++h) {
        difference[h] = corner[d][h][1] - corner[d][h][0];
        along_w[d][h] = corner[d][h][0] + weight[2] * difference[h];
      }
      slope_w[d] = difference[0] + weight[1] * (difference[1] - difference[0]);
      slope_h[d] = along_w[d][1] - along_w[d][0];
      along_h[d] = along_w[d][0] + weight[1] * slope_h[d];
    }
    VectorSample result;
    const Four slope_d = along_h[1] - along_h[0];
    result.value = along_h[0] + weight[0] * slope_d;
    result.slope[0] = moves[0] * slope_d;
    result.slope[1] = moves[1] * (slope_h[0] + weight[0] * (slope_h[1] - slope_h[0]));
    result.slope[2] = moves[2] * (slope_w[0] + weight[0] * (slope_w[1] - slope_w[0]));
    return result;
  }

 private:
  static Four four(const float* from) {
    FourFloats read;
    std::memcpy(&read, from, sizeof(read));
    return __builtin_convertvector(read, Four);
  }
  static Four three(const float* from) { return Four{from[0], from[1], from[2], 0}; }

  const Volume volume_;
  const float* vectors_;
  const int64_t elements_;
  int64_t stride_[3];
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_VECTOR_SAMPLE_H_
