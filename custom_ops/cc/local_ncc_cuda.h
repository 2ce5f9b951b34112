// Local NCC on NVIDIA GPUs behind a C interface without TensorFlow, as warp_cuda.h.

#ifndef CUSTOM_OPS_CC_LOCAL_NCC_CUDA_H_
#define CUSTOM_OPS_CC_LOCAL_NCC_CUDA_H_

#include "local_ncc.h"

extern "C" {

// Values [B] and gradients by the images, of which `gradients` (rcn::NccGradients) says how
// many; the others and `mask` may be null. `type` is RCN_FLOAT or RCN_DOUBLE, for all arrays.
// `scratch` is device memory of rcn_cuda_local_ncc_scratch_bytes(...). The same bits each time.
int rcn_cuda_local_ncc(const rcn::NccCall* call, int gradients, int type, const void* fixed,
                       const void* warped, const void* mask, void* scratch, void* values,
                       void* warped_gradient, void* fixed_gradient, void* stream);

int64_t rcn_cuda_local_ncc_scratch_bytes(const rcn::NccCall* call, int type);
}

#endif  // CUSTOM_OPS_CC_LOCAL_NCC_CUDA_H_
