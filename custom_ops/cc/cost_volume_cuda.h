// Cost volume on NVIDIA GPUs behind a C interface without TensorFlow, as warp_cuda.h.

#ifndef CUSTOM_OPS_CC_COST_VOLUME_CUDA_H_
#define CUSTOM_OPS_CC_COST_VOLUME_CUDA_H_

#include "cost_volume.h"

extern "C" {

// costs [B, D, H, W, offsets]. `type` is RCN_FLOAT, RCN_BFLOAT16 or RCN_DOUBLE, for all arrays.
// `scratch` is device memory of rcn_cuda_cost_volume_scratch_bytes(...). The same bits each
// time.
int rcn_cuda_cost_volume(const rcn::CostCall* call, int type, const void* fixed,
                         const void* moving, void* scratch, void* costs, void* stream);

// Gradients by the features, either of which may be null.
int rcn_cuda_cost_volume_gradient(const rcn::CostCall* call, int type, const void* fixed,
                                  const void* moving, const void* upstream, void* scratch,
                                  void* fixed_gradient, void* moving_gradient, void* stream);

int64_t rcn_cuda_cost_volume_scratch_bytes(const rcn::CostCall* call, int type, int gradient);
}

#endif  // CUSTOM_OPS_CC_COST_VOLUME_CUDA_H_
