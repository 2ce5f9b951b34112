// Trilinear sampling of one voxel: the arithmetic that the CPU and the CUDA kernels share.
//
// A flow gives each output voxel x a position x + flow(x) in the image. Along every axis
// the position lies between two neighbours; the values of the eight voxels around it are
// interpolated linearly along W, then H, then D (VTN, section III.A).

#ifndef CUSTOM_OPS_CC_TRILINEAR_H_
#define CUSTOM_OPS_CC_TRILINEAR_H_

#include <cstdint>

#ifdef __CUDACC__
#define RCN_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define RCN_HOST_DEVICE inline
#endif

namespace rcn {

// Values outside the volume: that of the nearest border voxel, or zero.
enum class Padding : int { kBorder = 0, kZeros = 1 };

// Sizes of one call. The output has the flow's grid, which need not be the image's.
struct Geometry {
  int64_t batch;
  int64_t image[3];   // D, H, W
  int64_t output[3];  // D', H', W'
  int64_t channels;

  RCN_HOST_DEVICE int64_t image_voxels() const { return image[0] * image[1] * image[2]; }
  RCN_HOST_DEVICE int64_t output_voxels() const { return output[0] * output[1] * output[2]; }
};

// The two neighbours of a position along one axis. `lower` and `upper` are element offsets in
// the image. A neighbour outside the volume, which counts as zero, has the offset `absent`: it
// is so negative that its sum with the offsets along other axes stays negative.
template <typename Real, typename Index>
struct Taps {
  Index lower, upper;
  Real weight;  // weight of `upper`; `lower` has 1 - weight
  Real inside;  // derivative of the position by the coordinate: 0 where it is clamped, else 1
};

// `elements` is the number of elements in one volume, `stride` the distance of neighbours along
// the axis. A NaN looks up the first voxels with weight NaN, so that the result is NaN.
template <Padding padding, typename Real, typename Index>
RCN_HOST_DEVICE Taps<Real, Index> taps(Real coordinate, Index size, Index stride,
                                       Index elements) {
  constexpr bool border = padding == Padding::kBorder;
  const Real first = border ? Real(0) : Real(-1);
  const Real last = static_cast<Real>(border ? size - 1 : size);
  Real position = coordinate < first ? first : coordinate;
  position = position > last ? last : position;
  const Real defined = position >= first ? position : first;

  // Rounding towards zero is rounding down, since the operand is not negative.
  Index index = static_cast<Index>(defined - first) - (border ? 0 : 1);
  Index highest = border ? size - 2 : size - 1;
  highest = highest < 0 ? 0 : highest;
  index = index > highest ? highest : index;

  Taps<Real, Index> result;
  result.weight = position - static_cast<Real>(index);
  result.inside = coordinate < first || coordinate > last ? Real(0) : Real(1);
  result.lower = index * stride;
  result.upper = result.lower + stride;
  if (border) {
    result.upper = size > 1 ? result.upper : result.lower;
  } else {
    const Index absent = -elements;
    result.lower = index < 0 ? absent : result.lower;
    result.upper = index + 1 >= size ? absent : result.upper;
  }
  return result;
}

template <typename Real>
RCN_HOST_DEVICE Real lerp(Real lower, Real upper, Real weight) {
  return lower + weight * (upper - lower);
}

// The eight values of a cell, indexed by the neighbour along D, H and W.
template <typename Real>
struct Cell {
  Real value[2][2][2];

  RCN_HOST_DEVICE Real sample(Real d, Real h, Real w) const {
    return lerp(along_hw(0, h, w), along_hw(1, h, w), d);
  }

  // Derivatives of `sample` by the three weights.
  RCN_HOST_DEVICE Real slope_d(Real h, Real w) const {
    return along_hw(1, h, w) - along_hw(0, h, w);
  }
  RCN_HOST_DEVICE Real slope_h(Real d, Real w) const {
    return lerp(along_w(0, 1, w) - along_w(0, 0, w), along_w(1, 1, w) - along_w(1, 0, w), d);
  }
  RCN_HOST_DEVICE Real slope_w(Real d, Real h) const {
    return lerp(lerp(step(0, 0), step(0, 1), h), lerp(step(1, 0), step(1, 1), h), d);
  }

 private:
  RCN_HOST_DEVICE Real step(int d, int h) const { return value[d][h][1] - value[d][h][0]; }
  RCN_HOST_DEVICE Real along_w(int d, int h, Real w) const {
    return lerp(value[d][h][0], value[d][h][1], w);
  }
  RCN_HOST_DEVICE Real along_hw(int d, Real h, Real w) const {
    return lerp(along_w(d, 0, w), along_w(d, 1, w), h);
  }
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_TRILINEAR_H_
