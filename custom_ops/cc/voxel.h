// Computes one voxel of the output, as each thread of a CUDA kernel does. It is also plain C++,
// so that the tests can run it on machines without a GPU.
//
// `T` is the type of the image, `Real` that of the flow and the arithmetic. kChannels is 0 if
// the number of channels is known only at run time.

#ifndef CUSTOM_OPS_CC_VOXEL_H_
#define CUSTOM_OPS_CC_VOXEL_H_

#include "trilinear.h"

namespace rcn {

// Where one output voxel samples the image. `voxel` is its index in the whole batch.
template <Padding padding, typename Real, typename Index>
struct Sample {
  Taps<Real, Index> d, h, w;
  Index item;  // offset of the batch item's first element in the image

  RCN_HOST_DEVICE Sample(const Geometry& geometry, const Real* flow, Index voxel) {
    const Index depth = static_cast<Index>(geometry.image[0]);
    const Index height = static_cast<Index>(geometry.image[1]);
    const Index width = static_cast<Index>(geometry.image[2]);
    const Index channels = static_cast<Index>(geometry.channels);
    const Index elements = depth * height * width * channels;
    const Index out_height = static_cast<Index>(geometry.output[1]);
    const Index out_width = static_cast<Index>(geometry.output[2]);
    const Index row = voxel / out_width, plane = row / out_height;
    const Index number = plane / static_cast<Index>(geometry.output[0]);
    const Real x = static_cast<Real>(voxel - row * out_width);
    const Real y = static_cast<Real>(row - plane * out_height);
    const Real z = static_cast<Real>(plane - number * static_cast<Index>(geometry.output[0]));
    const Real* displacement = flow + 3 * voxel;
    d = taps<padding, Real, Index>(z + displacement[0], depth, height * width * channels,
                                   elements);
    h = taps<padding, Real, Index>(y + displacement[1], height, width * channels, elements);
    w = taps<padding, Real, Index>(x + displacement[2], width, channels, elements);
    item = number * elements;
  }

  RCN_HOST_DEVICE Index offset(int up_d, int up_h, int up_w) const {
    return (up_d ? d.upper : d.lower) + (up_h ? h.upper : h.lower) + (up_w ? w.upper : w.lower);
  }

  RCN_HOST_DEVICE Real weight(int up_d, int up_h, int up_w) const {
    return (up_d ? d.weight : 1 - d.weight) * (up_h ? h.weight : 1 - h.weight) *
           (up_w ? w.weight : 1 - w.weight);
  }

  // Values around the sample; `image` points to the channel of the batch's first voxel.
  template <typename T>
  RCN_HOST_DEVICE Cell<Real> cell(const T* image) const {
    Cell<Real> result;
    for (int corner = 0; corner < 8; ++corner) {
      const int a = corner >> 2, b = corner >> 1 & 1, c = corner & 1;
      const Index found = offset(a, b, c);
      const bool exists = padding == Padding::kBorder || found >= 0;
      result.value[a][b][c] =
          exists ? static_cast<Real>(image[item + found]) : static_cast<Real>(0);
    }
    return result;
  }
};

// out(x) = image(x + flow(x)), plus flow(x) if `add_flow` is true.
template <Padding padding, int kChannels, typename T, typename Real, typename Index>
RCN_HOST_DEVICE void warp_voxel(const Geometry& geometry, const T* image, const Real* flow,
                                bool add_flow, T* out, Index voxel) {
  const Index channels = kChannels ? kChannels : static_cast<Index>(geometry.channels);
  const Sample<padding, Real, Index> sample(geometry, flow, voxel);
  for (Index c = 0; c < channels; ++c) {
    Real value =
        sample.cell(image + c).sample(sample.d.weight, sample.h.weight, sample.w.weight);
    if (add_flow) value += flow[3 * voxel + c];
    out[channels * voxel + c] = static_cast<T>(value);
  }
}

// Gradient by the flow at this voxel.
template <Padding padding, int kChannels, typename T, typename Real, typename Index>
RCN_HOST_DEVICE void flow_gradient_voxel(const Geometry& geometry, const T* image,
                                         const Real* flow, const T* upstream, bool add_flow,
                                         Real* gradient, Index voxel) {
  const Index channels = kChannels ? kChannels : static_cast<Index>(geometry.channels);
  const Sample<padding, Real, Index> sample(geometry, flow, voxel);
  const Real d = sample.d.weight, h = sample.h.weight, w = sample.w.weight;
  Real sum[3] = {0, 0, 0};
  for (Index c = 0; c < channels; ++c) {
    const Cell<Real> cell = sample.cell(image + c);
    const Real arrived = static_cast<Real>(upstream[channels * voxel + c]);
    sum[0] += arrived * cell.slope_d(h, w);
    sum[1] += arrived * cell.slope_h(d, w);
    sum[2] += arrived * cell.slope_w(d, h);
  }
  const Real inside[3] = {sample.d.inside, sample.h.inside, sample.w.inside};
  for (int axis = 0; axis < 3; ++axis) {
    Real value = inside[axis] * sum[axis];
    if (add_flow) value += static_cast<Real>(upstream[3 * voxel + axis]);
    gradient[3 * voxel + axis] = value;
  }
}

// Calls add(offset, value) for all contributions of the voxel to the gradient by the image.
template <Padding padding, int kChannels, typename T, typename Real, typename Index,
          typename Add>
RCN_HOST_DEVICE void image_gradient_voxel(const Geometry& geometry, const Real* flow,
                                          const T* upstream, Index voxel, const Add& add) {
  const Index channels = kChannels ? kChannels : static_cast<Index>(geometry.channels);
  const Sample<padding, Real, Index> sample(geometry, flow, voxel);
  for (int corner = 0; corner < 8; ++corner) {
    const int a = corner >> 2, b = corner >> 1 & 1, c = corner & 1;
    const Index offset = sample.offset(a, b, c);
    if (padding == Padding::kZeros && offset < 0) continue;
    const Real weight = sample.weight(a, b, c);
    for (Index channel = 0; channel < channels; ++channel) {
      add(sample.item + offset + channel,
          weight * static_cast<Real>(upstream[channels * voxel + channel]));
    }
  }
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_VOXEL_H_
