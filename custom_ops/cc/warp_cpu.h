// The warp on the CPU. It does not include TensorFlow's headers, so that it can be tested
// alone.
//
// `Real` is float or double, the type of the images, the flow and the arithmetic. Arrays
// are dense: image [B, D, H, W, C], flow [B, D', H', W', 3], results [B, D', H', W', C].
// Results do not depend on how `parallel_for` divides the work, not even in the last bit.

#ifndef CUSTOM_OPS_CC_WARP_CPU_H_
#define CUSTOM_OPS_CC_WARP_CPU_H_

#include <cstdint>
#include <functional>

#include "trilinear.h"

namespace rcn {

// Calls work(begin, end) for ranges that cover [0, total) once, possibly on several threads.
// `cost` is roughly the number of nanoseconds per unit.
using Work = std::function<void(int64_t begin, int64_t end)>;
struct Workers {
  int threads;
  std::function<void(int64_t total, int64_t cost, const Work& work)> parallel_for;
};

// out(x) = image(x + flow(x)). With `add_flow` (three channels) flow(x) is added, which
// composes the flow `image` with the update `flow`.
template <typename Real>
void warp(const Geometry& geometry, Padding padding, const Real* image, const Real* flow,
          bool add_flow, Real* out, const Workers& workers);

// Gradient of sum(upstream * warp(image, flow)) by the flow, shaped like the flow.
template <typename Real>
void warp_flow_gradient(const Geometry& geometry, Padding padding, const Real* image,
                        const Real* flow, const Real* upstream, bool add_flow, Real* gradient,
                        const Workers& workers);

// Gradient by the image, shaped like the image. Each of its voxels sums its contributions in
// the order of the output's voxels.
template <typename Real>
void warp_image_gradient(const Geometry& geometry, Padding padding, const Real* flow,
                         const Real* upstream, Real* gradient, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_WARP_CPU_H_
