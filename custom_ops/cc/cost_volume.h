// Cost volume: how well the features of every voxel match those of the voxels around it. What
// the CPU and the CUDA kernels share.
//
// For the offsets o in {-r..r} along every axis, with zeros outside the moving volume,
//
//     raw_o(x) = sum_c |F_c(x) - M_c(x + o)|   or   sum_c F_c(x) M_c(x + o),
//
// and with `box` its mean over the 3 x 3 x 3 voxels around x, of which those outside count as
// zero. Result k of a voxel belongs to the offset o with
//
//     k = ((o_w + r) (2 r + 1) + (o_h + r)) (2 r + 1) + (o_d + r):
//
// the first axis is the fastest. The mean is its own adjoint, so that with the upstream
// gradient G and its box mean g the gradients are sums that gather, in a fixed order:
//
//     dF_c(x) = sum_o g_o(x) s,   dM_c(y) = -sum_o g_o(y - o) s,   s = sign(F_c - M_c)
//     dF_c(x) = sum_o g_o(x) M_c(x + o),   dM_c(y) = sum_o g_o(y - o) F_c(y - o).

#ifndef CUSTOM_OPS_CC_COST_VOLUME_H_
#define CUSTOM_OPS_CC_COST_VOLUME_H_

#include <cstdint>
#include <cstring>

#include "trilinear.h"

namespace rcn {

// One call: features [B, D, H, W, C]. An axis with radius 0, the depth of a plane, has no
// offsets and takes no part in the mean.
struct CostCall {
  int64_t batch;
  int64_t shape[3];  // D, H, W
  int64_t channels;
  int64_t radius[3];
  int64_t correlation;
  int64_t box;

  RCN_HOST_DEVICE int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }

  // Offsets along one axis, and in all.
  RCN_HOST_DEVICE int64_t side(int axis) const { return 2 * radius[axis] + 1; }
  RCN_HOST_DEVICE int64_t offsets() const { return side(0) * side(1) * side(2); }

  // Voxels on either side that the mean covers along an axis.
  RCN_HOST_DEVICE int64_t reach(int axis) const { return box && radius[axis] > 0 ? 1 : 0; }

  // One over the number of voxels of a mean.
  RCN_HOST_DEVICE double share() const {
    double voxels = 1;
    for (int axis = 0; axis < 3; ++axis) voxels *= 2 * reach(axis) + 1;
    return 1 / voxels;
  }
};

// The upper half of a float, in which the CPU's kernels read and write bfloat16.
struct Bfloat16 {
  uint16_t bits;
};

inline float widen(Bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
inline float widen(float value) { return value; }
inline double widen(double value) { return value; }

inline void narrow(float value, Bfloat16* result) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const bool nan = value != value;  // rounding could turn it into an infinity
  result->bits = nan ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline void narrow(float value, float* result) { *result = value; }
inline void narrow(double value, double* result) { *result = value; }

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_COST_VOLUME_H_
