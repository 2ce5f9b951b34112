// The warp on NVIDIA GPUs behind a C interface without TensorFlow. The same file is a part of
// the op library and, built alone, a shared library that any program can load.
//
// Pointers are device memory, dense: image [B, D, H, W, C] of `type`, flow
// [B, D', H', W', 3] float (double for RCN_DOUBLE images). Work is queued on `stream`, a
// cudaStream_t. Functions return 0 or an error code for `rcn_cuda_error`.

#ifndef CUSTOM_OPS_CC_WARP_CUDA_H_
#define CUSTOM_OPS_CC_WARP_CUDA_H_

#include <cstdint>

#include "trilinear.h"

extern "C" {

enum RcnType { RCN_FLOAT = 0, RCN_HALF = 1, RCN_BFLOAT16 = 2, RCN_DOUBLE = 3 };

// out(x) = image(x + flow(x)), plus flow(x) if `add_flow` is set (three channels).
int rcn_cuda_warp(const rcn::Geometry* geometry, int padding, int type, const void* image,
                  const void* flow, int add_flow, void* out, void* stream);

int rcn_cuda_warp_flow_gradient(const rcn::Geometry* geometry, int padding, int type,
                                const void* image, const void* flow, const void* upstream,
                                int add_flow, void* gradient, void* stream);

// `scratch` is device memory of rcn_cuda_scratch_bytes(...) bytes, which may be 0. With
// `deterministic` the sums do not depend on the order in which threads arrive; a NaN or
// infinity among the inputs then makes the whole gradient NaN.
int rcn_cuda_warp_image_gradient(const rcn::Geometry* geometry, int padding, int type,
                                 const void* flow, const void* upstream, int deterministic,
                                 void* scratch, void* gradient, void* stream);

int64_t rcn_cuda_scratch_bytes(const rcn::Geometry* geometry, int type, int deterministic);

const char* rcn_cuda_error(int code);
}

#endif  // CUSTOM_OPS_CC_WARP_CUDA_H_
