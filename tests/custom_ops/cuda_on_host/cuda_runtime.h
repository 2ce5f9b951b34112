// The part of CUDA that `warp_cuda.cu` uses, on the host with a single thread, whose
// grid-stride loops then cover all voxels. It cannot show races, launch limits and memory
// errors.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __restrict__

struct Dim {
  unsigned x;
};
static const Dim blockIdx{0}, threadIdx{0}, gridDim{1}, blockDim{1};

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };

inline cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t) {
  std::memset(target, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "invalid argument"; }

template <typename T>
T atomicAdd(T* target, T value) {
  const T before = *target;
  *target += value;
  return before;
}
inline unsigned long long atomicMax(unsigned long long* target, unsigned long long value) {
  const unsigned long long before = *target;
  *target = std::max(before, value);
  return before;
}
inline double __shfl_down_sync(unsigned, double value, int) { return value; }
inline long long __double2ll_rn(double value) { return std::llrint(value); }
inline double __longlong_as_double(long long bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline long long __double_as_longlong(double value) {
  long long bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
using std::isfinite;
using std::isinf;

// Replaces kernel<<<...>>>: calls the kernel at once.
template <typename Kernel>
Kernel emulate(Kernel kernel) {
  return kernel;
}
