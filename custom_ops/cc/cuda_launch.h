// How all CUDA kernels here are launched: blocks of kThreads in a grid-stride loop over units.

#ifndef CUSTOM_OPS_CC_CUDA_LAUNCH_H_
#define CUSTOM_OPS_CC_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace rcn {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 16;

inline int blocks_for(int64_t units) {
  const int64_t blocks = (units + kThreads - 1) / kThreads;
  return static_cast<int>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

template <typename Index>
__device__ Index first_unit() {
  return static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
}

template <typename Index>
__device__ Index unit_step() {
  return static_cast<Index>(gridDim.x) * blockDim.x;
}

// Queues kernel<<<...>>>(arguments...) for `units` units of work; 0 units queue nothing.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t units, cudaStream_t stream,
                   Arguments... arguments) {
  if (units == 0) return cudaSuccess;
  kernel<<<blocks_for(units), kThreads, 0, stream>>>(static_cast<Parameters>(arguments)...);
  return cudaGetLastError();
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_CUDA_LAUNCH_H_
