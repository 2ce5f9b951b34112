// Cost volume and its gradients on the CPU. Includes nothing of TensorFlow. `T`, the type of
// all arrays, is float, double or Bfloat16, which is computed in float.

#ifndef CUSTOM_OPS_CC_COST_VOLUME_CPU_H_
#define CUSTOM_OPS_CC_COST_VOLUME_CPU_H_

#include "cost_volume.h"
#include "warp_cpu.h"

namespace rcn {

// costs [B, D, H, W, offsets]. The same bits for any number of threads. Besides the result it
// needs a copy of `moving`, and about two megabytes for each thread.
template <typename T>
void cost_volume(const CostCall& call, const T* fixed, const T* moving, T* costs,
                 const Workers& workers);

// Gradients of sum(upstream * costs) by the features; either may be null. With a box mean they
// need memory for a float copy of `upstream`.
template <typename T>
void cost_volume_gradient(const CostCall& call, const T* fixed, const T* moving,
                          const T* upstream, T* fixed_gradient, T* moving_gradient,
                          const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_COST_VOLUME_CPU_H_
