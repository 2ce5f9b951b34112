// CUDA kernels: one thread per output voxel in a grid-stride loop over the batch; voxel.h has
// the arithmetic. Neighbouring threads process neighbouring voxels along W, so that for a
// smooth flow the reads of a group of threads fall into few cache lines.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "cuda_launch.h"
#include "voxel.h"
#include "warp_cuda.h"

namespace rcn {
namespace {

// Below this many elements 32-bit indices suffice, with room for the sums of `absent` offsets
// and for the last step of a grid-stride loop.
constexpr int64_t kNarrow = int64_t{1} << 29;

// --- kernels -------------------------------------------------------------------------

template <Padding padding, int kChannels, typename T, typename Real, typename Index>
__global__ void warp_kernel(Geometry geometry, Index voxels, const T* __restrict__ image,
                            const Real* __restrict__ flow, bool add_flow, T* __restrict__ out) {
  for (Index v = first_unit<Index>(); v < voxels; v += unit_step<Index>()) {
    warp_voxel<padding, kChannels>(geometry, image, flow, add_flow, out, v);
  }
}

template <Padding padding, int kChannels, typename T, typename Real, typename Index>
__global__ void flow_gradient_kernel(Geometry geometry, Index voxels,
                                     const T* __restrict__ image, const Real* __restrict__ flow,
                                     const T* __restrict__ upstream, bool add_flow,
                                     Real* __restrict__ gradient) {
  for (Index v = first_unit<Index>(); v < voxels; v += unit_step<Index>()) {
    flow_gradient_voxel<padding, kChannels>(geometry, image, flow, upstream, add_flow, gradient,
                                            v);
  }
}

// Sums in floating point: fast, but in the order in which the threads arrive.
template <typename Real>
struct AtomicSum {
  Real* sums;

  template <typename Index>
  __device__ void operator()(Index offset, Real value) const {
    atomicAdd(sums + offset, value);
  }
};

// Sums as 64-bit integers, which do not depend on the order. The scale is a power of two that
// is chosen from the largest upstream value so that no sum can overflow.
struct FixedPointSum {
  unsigned long long* sums;
  double scale;

  template <typename Index, typename Real>
  __device__ void operator()(Index offset, Real value) const {
    const long long rounded = __double2ll_rn(static_cast<double>(value) * scale);
    atomicAdd(sums + offset, static_cast<unsigned long long>(rounded));
  }
};

// Scale for FixedPointSum. A voxel gathers at most `voxels` values, each at most `largest`,
// so that its sum stays below 2^62.
__device__ double fixed_point_scale(unsigned long long largest_bits, int64_t voxels) {
  const double largest = __longlong_as_double(static_cast<long long>(largest_bits));
  if (!(largest > 0) || isinf(largest)) return 0;
  const double exponent = 61.0 - ceil(log2(static_cast<double>(voxels))) - ilogb(largest);
  return exp2(fmin(exponent, 1000.0));
}

template <Padding padding, int kChannels, typename T, typename Real, typename Index>
__global__ void image_gradient_kernel(Geometry geometry, Index voxels,
                                      const Real* __restrict__ flow,
                                      const T* __restrict__ upstream, Real* sums) {
  for (Index v = first_unit<Index>(); v < voxels; v += unit_step<Index>()) {
    image_gradient_voxel<padding, kChannels>(geometry, flow, upstream, v,
                                             AtomicSum<Real>{sums});
  }
}

template <Padding padding, int kChannels, typename T, typename Real, typename Index>
__global__ void fixed_point_kernel(Geometry geometry, Index voxels,
                                   const Real* __restrict__ flow,
                                   const T* __restrict__ upstream, unsigned long long* sums,
                                   const unsigned long long* largest) {
  const FixedPointSum add{sums, fixed_point_scale(*largest, geometry.output_voxels())};
  if (add.scale == 0) return;  // all values are zero, or some are not finite
  for (Index v = first_unit<Index>(); v < voxels; v += unit_step<Index>()) {
    image_gradient_voxel<padding, kChannels>(geometry, flow, upstream, v, add);
  }
}

// Largest magnitude as the bits of a double, which are ordered like the numbers. Values that
// are not finite count as infinite.
template <typename T>
__global__ void largest_kernel(const T* __restrict__ values, int64_t count,
                               bool only_if_not_finite, unsigned long long* largest) {
  double found = 0;
  for (int64_t i = first_unit<int64_t>(); i < count; i += unit_step<int64_t>()) {
    using Wide = std::conditional_t<std::is_same<T, double>::value, double, float>;
    const double size = fabs(static_cast<double>(static_cast<Wide>(values[i])));
    if (!isfinite(size)) found = INFINITY;
    if (!only_if_not_finite && size > found) found = size;
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    found = fmax(found, __shfl_down_sync(0xffffffffu, found, lanes));
  }
  if (threadIdx.x % 32 == 0 && found > 0) {
    atomicMax(largest, static_cast<unsigned long long>(__double_as_longlong(found)));
  }
}

template <typename T>
__global__ void narrow_kernel(const float* __restrict__ sums, int64_t count,
                              T* __restrict__ gradient) {
  for (int64_t i = first_unit<int64_t>(); i < count; i += unit_step<int64_t>()) {
    gradient[i] = static_cast<T>(sums[i]);
  }
}

template <typename T, typename Real>
__global__ void from_fixed_point_kernel(const unsigned long long* __restrict__ sums,
                                        const unsigned long long* largest, int64_t voxels,
                                        int64_t count, T* __restrict__ gradient) {
  const double scale = fixed_point_scale(*largest, voxels);
  const double empty = *largest == 0 ? 0.0 : NAN;
  for (int64_t i = first_unit<int64_t>(); i < count; i += unit_step<int64_t>()) {
    const double sum = static_cast<double>(static_cast<long long>(sums[i]));
    gradient[i] = static_cast<T>(static_cast<Real>(scale == 0 ? empty : sum / scale));
  }
}

// --- launches ------------------------------------------------------------------------

// The run-time arguments of a call as types and constants.
template <Padding kPadding, int kChannelCount, typename TypeT, typename RealT, typename IndexT>
struct Instance {
  static constexpr Padding padding = kPadding;
  static constexpr int channels = kChannelCount;
  using T = TypeT;
  using Real = RealT;
  using Index = IndexT;
};

int64_t batch_voxels(const Geometry& geometry) {
  return geometry.batch * geometry.output_voxels();
}

int64_t image_elements(const Geometry& geometry) {
  return geometry.batch * geometry.image_voxels() * geometry.channels;
}

bool is_narrow(const Geometry& geometry) {
  const int64_t values = geometry.channels > 3 ? geometry.channels : 3;
  return image_elements(geometry) < kNarrow && batch_voxels(geometry) * values < kNarrow;
}

// Images and flows of one and three channels, as in this project, have specialised kernels;
// large volumes, doubles and other numbers of channels share the general one.
template <Padding padding, typename T, typename Real, typename Run>
cudaError_t with_sizes(const Geometry& geometry, const Run& run) {
  if (is_narrow(geometry) && !std::is_same<T, double>::value) {
    if (geometry.channels == 1) return run(Instance<padding, 1, T, Real, int32_t>{});
    if (geometry.channels == 3) return run(Instance<padding, 3, T, Real, int32_t>{});
  }
  return run(Instance<padding, 0, T, Real, int64_t>{});
}

template <Padding padding, typename Run>
cudaError_t with_type(const Geometry& geometry, int type, const Run& run) {
  switch (type) {
    case RCN_FLOAT:
      return with_sizes<padding, float, float>(geometry, run);
    case RCN_HALF:
      return with_sizes<padding, __half, float>(geometry, run);
    case RCN_BFLOAT16:
      return with_sizes<padding, __nv_bfloat16, float>(geometry, run);
    case RCN_DOUBLE:
      return with_sizes<padding, double, double>(geometry, run);
    default:
      return cudaErrorInvalidValue;
  }
}

// Calls run(Instance) with the instance for the arguments.
template <typename Run>
cudaError_t dispatch(const Geometry& geometry, int padding, int type, const Run& run) {
  if (padding == static_cast<int>(Padding::kBorder)) {
    return with_type<Padding::kBorder>(geometry, type, run);
  }
  return with_type<Padding::kZeros>(geometry, type, run);
}

bool widens(int type) { return type == RCN_HALF || type == RCN_BFLOAT16; }

template <typename Instance>
cudaError_t add_atomically(Instance, const Geometry& geometry, const void* flow,
                           const void* upstream, void* scratch, void* gradient,
                           cudaStream_t stream) {
  using T = typename Instance::T;
  using Real = typename Instance::Real;
  using Index = typename Instance::Index;
  constexpr bool direct = std::is_same<T, Real>::value;
  const int64_t elements = image_elements(geometry), voxels = batch_voxels(geometry);
  Real* sums = static_cast<Real*>(direct ? gradient : scratch);
  cudaError_t error = cudaMemsetAsync(sums, 0, elements * sizeof(Real), stream);
  if (error != cudaSuccess) return error;
  error = launch(image_gradient_kernel<Instance::padding, Instance::channels, T, Real, Index>,
                 voxels, stream, geometry, static_cast<Index>(voxels),
                 static_cast<const Real*>(flow), static_cast<const T*>(upstream), sums);
  if constexpr (!direct) {
    if (error != cudaSuccess) return error;
    error =
        launch(narrow_kernel<T>, elements, stream, sums, elements, static_cast<T*>(gradient));
  }
  return error;
}

template <typename Instance>
cudaError_t add_in_fixed_point(Instance, const Geometry& geometry, const void* flow,
                               const void* upstream, void* scratch, void* gradient,
                               cudaStream_t stream) {
  using T = typename Instance::T;
  using Real = typename Instance::Real;
  using Index = typename Instance::Index;
  const int64_t elements = image_elements(geometry), voxels = batch_voxels(geometry);
  auto* largest = static_cast<unsigned long long*>(scratch);
  auto* sums = largest + 1;
  const auto* displacement = static_cast<const Real*>(flow);
  const auto* arriving = static_cast<const T*>(upstream);
  cudaError_t error = cudaMemsetAsync(scratch, 0, (elements + 1) * sizeof(*sums), stream);
  if (error != cudaSuccess) return error;
  error = launch(largest_kernel<T>, voxels * geometry.channels, stream, arriving,
                 voxels * geometry.channels, false, largest);
  if (error != cudaSuccess) return error;
  error =
      launch(largest_kernel<Real>, 3 * voxels, stream, displacement, 3 * voxels, true, largest);
  if (error != cudaSuccess) return error;
  error = launch(fixed_point_kernel<Instance::padding, Instance::channels, T, Real, Index>,
                 voxels, stream, geometry, static_cast<Index>(voxels), displacement, arriving,
                 sums, largest);
  if (error != cudaSuccess) return error;
  return launch(from_fixed_point_kernel<T, Real>, elements, stream, sums, largest,
                geometry.output_voxels(), elements, static_cast<T*>(gradient));
}

}  // namespace
}  // namespace rcn

using rcn::Geometry;

extern "C" int rcn_cuda_warp(const Geometry* geometry, int padding, int type, const void* image,
                             const void* flow, int add_flow, void* out, void* stream) {
  return rcn::dispatch(*geometry, padding, type, [&](auto instance) {
    using I = decltype(instance);
    using T = typename I::T;
    using Real = typename I::Real;
    using Index = typename I::Index;
    const int64_t voxels = rcn::batch_voxels(*geometry);
    return rcn::launch(rcn::warp_kernel<I::padding, I::channels, T, Real, Index>, voxels,
                       static_cast<cudaStream_t>(stream), *geometry, static_cast<Index>(voxels),
                       static_cast<const T*>(image), static_cast<const Real*>(flow),
                       add_flow != 0, static_cast<T*>(out));
  });
}

extern "C" int rcn_cuda_warp_flow_gradient(const Geometry* geometry, int padding, int type,
                                           const void* image, const void* flow,
                                           const void* upstream, int add_flow, void* gradient,
                                           void* stream) {
  return rcn::dispatch(*geometry, padding, type, [&](auto instance) {
    using I = decltype(instance);
    using T = typename I::T;
    using Real = typename I::Real;
    using Index = typename I::Index;
    const int64_t voxels = rcn::batch_voxels(*geometry);
    return rcn::launch(rcn::flow_gradient_kernel<I::padding, I::channels, T, Real, Index>,
                       voxels, static_cast<cudaStream_t>(stream), *geometry,
                       static_cast<Index>(voxels), static_cast<const T*>(image),
                       static_cast<const Real*>(flow), static_cast<const T*>(upstream),
                       add_flow != 0, static_cast<Real*>(gradient));
  });
}

extern "C" int rcn_cuda_warp_image_gradient(const Geometry* geometry, int padding, int type,
                                            const void* flow, const void* upstream,
                                            int deterministic, void* scratch, void* gradient,
                                            void* stream) {
  return rcn::dispatch(*geometry, padding, type, [&](auto instance) {
    const auto queue = static_cast<cudaStream_t>(stream);
    if (deterministic) {
      return rcn::add_in_fixed_point(instance, *geometry, flow, upstream, scratch, gradient,
                                     queue);
    }
    return rcn::add_atomically(instance, *geometry, flow, upstream, scratch, gradient, queue);
  });
}

extern "C" int64_t rcn_cuda_scratch_bytes(const Geometry* geometry, int type,
                                          int deterministic) {
  const int64_t elements = rcn::image_elements(*geometry);
  if (deterministic) return (elements + 1) * static_cast<int64_t>(sizeof(int64_t));
  return rcn::widens(type) ? elements * static_cast<int64_t>(sizeof(float)) : 0;
}

extern "C" const char* rcn_cuda_error(int code) {
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}
