// Local normalised cross-correlation (NCC) of two images at one voxel: the arithmetic that the
// CPU and the CUDA kernels share.
//
// Around every voxel x lies a box of `window` voxels per axis. With means over the voxels of
// the box that are inside the volume, weighted by the mask m where there is one,
//
//     c = mean(f w) - mean(f) mean(w),  v_f = max(mean(f^2) - mean(f)^2, 0) + floor, v_w alike,
//     r(x) = c^2 / (v_f v_w)  or  c / sqrt(v_f v_w),   value = 1 - sum_x m r / sum_x m.
//
// The gradient of sum_x m r by w(y) gathers from the windows that hold y:
//
//     m(y) sum_{x: y in box(x)} (A f(y) + B w(y) + C),  A = m r_c / n,  B = 2 m r_vw / n,
//     C = -(A mean(f) + B mean(w)),
//
// where r_c and r_vw are r's derivatives by c and v_w, and n is the box's number of voxels or
// sum of the mask. So it is made of box sums of A, B and C.

#ifndef CUSTOM_OPS_CC_LOCAL_NCC_H_
#define CUSTOM_OPS_CC_LOCAL_NCC_H_

#include <cmath>
#include <cstdint>

#include "trilinear.h"

namespace rcn {

// One call: images [B, D, H, W, C], of which each channel counts as a separate image, a mask
// [B, D, H, W, 1] or none.
struct NccCall {
  int64_t batch;
  int64_t shape[3];  // D, H, W
  int64_t channels;
  int64_t window;  // odd
  int64_t squared;
  double floor;

  RCN_HOST_DEVICE int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }

  // Voxels of the box on either side along an axis; beyond the volume's size it adds nothing.
  RCN_HOST_DEVICE int64_t reach(int axis) const {
    const int64_t half = window / 2, most = shape[axis] - 1;
    return half < most ? half : most;
  }
};

// Which gradients a call computes.
enum class NccGradients : int { kNone = 0, kWarped = 1, kBoth = 2 };

// Sums over a box, each weighted by the mask.
template <typename Real>
struct NccSums {
  Real fixed, warped, fixed_fixed, warped_warped, fixed_warped;
};

// A, and B and C of either gradient; r with its weight.
template <typename Real>
struct NccTerms {
  Real ratio, cross;
  Real warped_slope, warped_rest;
  Real fixed_slope, fixed_rest;
};

// `share` is 1 / n and `weight` the mask at x; both are 0 where the mask is.
template <bool squared, typename Real>
RCN_HOST_DEVICE NccTerms<Real> ncc_terms(const NccSums<Real>& sums, Real share, Real weight,
                                         Real floor) {
  const Real fixed = sums.fixed * share, warped = sums.warped * share;
  const Real covariance = sums.fixed_warped * share - fixed * warped;
  const Real fixed_spread = sums.fixed_fixed * share - fixed * fixed;
  const Real warped_spread = sums.warped_warped * share - warped * warped;
  const Real fixed_variance = (fixed_spread > 0 ? fixed_spread : Real(0)) + floor;
  const Real warped_variance = (warped_spread > 0 ? warped_spread : Real(0)) + floor;
  const Real inverse = Real(1) / (fixed_variance * warped_variance);
  const Real root = squared ? inverse : std::sqrt(inverse);
  const Real scaled = weight * root * (squared ? covariance : Real(1));

  NccTerms<Real> terms;
  terms.ratio = scaled * covariance;
  terms.cross = (squared ? Real(2) : Real(1)) * scaled * share;
  const Real both = -(squared ? Real(2) : Real(1)) * terms.ratio * inverse * share;
  terms.warped_slope = warped_spread > 0 ? both * fixed_variance : Real(0);
  terms.fixed_slope = fixed_spread > 0 ? both * warped_variance : Real(0);
  terms.warped_rest = -(terms.cross * fixed + terms.warped_slope * warped);
  terms.fixed_rest = -(terms.cross * warped + terms.fixed_slope * fixed);
  return terms;
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LOCAL_NCC_H_
