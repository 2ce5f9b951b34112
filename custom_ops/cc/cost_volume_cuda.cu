// Cost volume in CUDA: one thread per cost, neighbouring threads for the offsets of one voxel,
// whose features they share in the cache. With a box mean the raw costs of some planes lie in
// scratch memory, from which a second kernel takes the means. The gradients have one thread per
// voxel and channel, which gathers over the offsets in a fixed order.

#include <cuda_bf16.h>

#include <type_traits>

#include "cost_volume_cuda.h"
#include "cuda_launch.h"
#include "warp_cuda.h"

namespace rcn {
namespace {

constexpr int64_t kScratchCosts = int64_t{1}
                                  << 26;  // raw costs at a time, if planes are smaller

template <typename T>
using RealOf = std::conditional_t<std::is_same<T, double>::value, double, float>;

// Planes [first, last) of an item.
struct Planes {
  int64_t item, first, last;
};

struct Position {
  int64_t axis[3];

  __device__ Position(const CostCall& call, int64_t voxel) {
    for (int k = 2; k >= 0; --k) {
      axis[k] = voxel % call.shape[k];
      voxel /= call.shape[k];
    }
  }
};

// Offset of the result's channel `k` along each axis.
struct Offset {
  int64_t axis[3];

  __device__ Offset(const CostCall& call, int64_t k) {
    for (int i = 0; i < 3; ++i) {
      axis[i] = k % call.side(i) - call.radius[i];
      k /= call.side(i);
    }
  }
};

// Voxel of position + sign * offset within its item; -1 outside the volume.
__device__ int64_t shifted(const CostCall& call, const Position& position, const Offset& offset,
                           int sign) {
  int64_t voxel = 0;
  for (int k = 0; k < 3; ++k) {
    const int64_t at = position.axis[k] + sign * offset.axis[k];
    if (at < 0 || at >= call.shape[k]) return -1;
    voxel = voxel * call.shape[k] + at;
  }
  return voxel;
}

// s, the sign of f - m, times g.
template <typename Real>
__device__ Real with_sign_of(Real difference, Real g) {
  return difference > 0 ? g : (difference < 0 ? -g : Real(0));
}

// --- kernels -------------------------------------------------------------------------

// out[plane - first][y][x][offset] for the planes [first, last).
template <bool correlation, typename T, typename Out>
__global__ void raw_kernel(CostCall call, Planes planes, int64_t units,
                           const T* __restrict__ fixed, const T* __restrict__ moving,
                           Out* __restrict__ out) {
  using Real = RealOf<T>;
  const int64_t start = planes.first * call.shape[1] * call.shape[2];
  const int64_t item = planes.item * call.voxels();
  for (int64_t unit = first_unit<int64_t>(); unit < units; unit += unit_step<int64_t>()) {
    const int64_t voxel = start + unit / call.offsets();
    const Offset offset(call, unit % call.offsets());
    const int64_t other = shifted(call, Position(call, voxel), offset, 1);
    const T* f = fixed + (item + voxel) * call.channels;
    const T* m = other < 0 ? nullptr : moving + (item + other) * call.channels;
    Real sum = 0;
    for (int64_t c = 0; c < call.channels; ++c) {
      const Real a = static_cast<Real>(f[c]), b = m ? static_cast<Real>(m[c]) : Real(0);
      const Real difference = a - b;
      sum += correlation ? a * b : (difference < 0 ? -difference : difference);
    }
    out[unit] = static_cast<Out>(sum);
  }
}

// Means of the planes [first, last) of values that begin with plane `stored`.
template <typename In, typename Out>
__global__ void mean_kernel(CostCall call, Planes planes, int64_t stored, int64_t units,
                            const In* __restrict__ values, Out* __restrict__ out) {
  using Real = RealOf<In>;
  const int64_t offsets = call.offsets(), plane = call.shape[1] * call.shape[2];
  for (int64_t unit = first_unit<int64_t>(); unit < units; unit += unit_step<int64_t>()) {
    const int64_t voxel = planes.first * plane + unit / offsets;
    const Position place(call, voxel);
    int64_t least[3], most[3];
    for (int k = 0; k < 3; ++k) {
      least[k] = place.axis[k] < call.reach(k) ? 0 : -call.reach(k);
      most[k] = place.axis[k] + call.reach(k) >= call.shape[k] ? 0 : call.reach(k);
    }
    Real sum = 0;
    for (int64_t d = least[0]; d <= most[0]; ++d) {
      for (int64_t h = least[1]; h <= most[1]; ++h) {
        for (int64_t w = least[2]; w <= most[2]; ++w) {
          const int64_t at = voxel - stored * plane + d * plane + h * call.shape[2] + w;
          sum += static_cast<Real>(values[at * offsets + unit % offsets]);
        }
      }
    }
    out[unit] = static_cast<Out>(sum * static_cast<Real>(call.share()));
  }
}

// The gradient by the fixed features, sign 1, or by the moving ones, sign -1: `own` are the
// features that it belongs to, `other` those of the other image, `slopes` the gradient by the
// raw costs.
template <bool correlation, int sign, typename T, typename S>
__global__ void gradient_kernel(CostCall call, int64_t units, const T* __restrict__ own,
                                const T* __restrict__ other, const S* __restrict__ slopes,
                                T* __restrict__ gradient) {
  using Real = RealOf<T>;
  for (int64_t unit = first_unit<int64_t>(); unit < units; unit += unit_step<int64_t>()) {
    const int64_t voxel = unit / call.channels, channel = unit % call.channels;
    const int64_t item = voxel / call.voxels() * call.voxels();
    const Position place(call, voxel - item);
    const Real value = static_cast<Real>(own[unit]);
    Real sum = 0;
    for (int64_t k = 0; k < call.offsets(); ++k) {
      const int64_t there = shifted(call, place, Offset(call, k), sign);
      if (there < 0 && (sign < 0 || correlation)) continue;
      const int64_t fixed_voxel = sign > 0 ? voxel : item + there;
      const Real g = static_cast<Real>(slopes[fixed_voxel * call.offsets() + k]);
      const Real b = there < 0
                         ? Real(0)
                         : static_cast<Real>(other[(item + there) * call.channels + channel]);
      sum += correlation ? g * b : with_sign_of(value - b, g);
    }
    gradient[unit] = static_cast<T>(sum);
  }
}

// --- launches ------------------------------------------------------------------------

int64_t plane_costs(const CostCall& call) {
  return call.shape[1] * call.shape[2] * call.offsets();
}

// Planes whose means are computed at a time; two more fit into the scratch memory.
int64_t planes_at_once(const CostCall& call) {
  const int64_t fit = kScratchCosts / plane_costs(call);
  return fit < 1 ? 1 : (fit < call.shape[0] ? fit : call.shape[0]);
}

template <bool correlation, typename T>
cudaError_t cost_volume(const CostCall& call, const T* fixed, const T* moving, void* scratch,
                        T* costs, cudaStream_t stream) {
  using Real = RealOf<T>;
  const int64_t depth = call.shape[0], row = plane_costs(call);
  const int64_t step = call.box ? planes_at_once(call) : depth;
  Real* raw = static_cast<Real*>(scratch);
  for (int64_t item = 0; item < call.batch; ++item) {
    for (int64_t first = 0; first < depth; first += step) {
      const int64_t last = first + step < depth ? first + step : depth;
      const Planes planes = {item, first, last};
      T* out = costs + (item * depth + first) * row;
      const int64_t units = (last - first) * row;
      cudaError_t error;
      if (!call.box) {
        error = launch(raw_kernel<correlation, T, T>, units, stream, call, planes, units, fixed,
                       moving, out);
      } else {
        const int64_t reach = call.reach(0);
        const Planes wide = {item, first < reach ? 0 : first - reach,
                             last + reach > depth ? depth : last + reach};
        const int64_t more = (wide.last - wide.first) * row;
        error = launch(raw_kernel<correlation, T, Real>, more, stream, call, wide, more, fixed,
                       moving, raw);
        if (error != cudaSuccess) return error;
        error = launch(mean_kernel<Real, T>, units, stream, call, planes, wide.first, units,
                       static_cast<const Real*>(raw), out);
      }
      if (error != cudaSuccess) return error;
    }
  }
  return cudaSuccess;
}

template <bool correlation, typename T, typename S>
cudaError_t gradients(const CostCall& call, const T* fixed, const T* moving, const S* slopes,
                      T* by_fixed, T* by_moving, cudaStream_t stream) {
  const int64_t units = call.batch * call.voxels() * call.channels;
  cudaError_t error = cudaSuccess;
  if (by_fixed) {
    error = launch(gradient_kernel<correlation, 1, T, S>, units, stream, call, units, fixed,
                   moving, slopes, by_fixed);
  }
  if (error != cudaSuccess || !by_moving) return error;
  return launch(gradient_kernel<correlation, -1, T, S>, units, stream, call, units, moving,
                fixed, slopes, by_moving);
}

template <bool correlation, typename T>
cudaError_t all_gradients(const CostCall& call, const T* fixed, const T* moving,
                          const T* upstream, void* scratch, T* by_fixed, T* by_moving,
                          cudaStream_t stream) {
  using Real = RealOf<T>;
  if (!call.box) {
    return gradients<correlation>(call, fixed, moving, upstream, by_fixed, by_moving, stream);
  }
  Real* slopes = static_cast<Real*>(scratch);
  const int64_t units = call.shape[0] * plane_costs(call);
  for (int64_t item = 0; item < call.batch; ++item) {
    const cudaError_t error =
        launch(mean_kernel<T, Real>, units, stream, call, Planes{item, 0, call.shape[0]},
               int64_t{0}, units, upstream + item * units, slopes + item * units);
    if (error != cudaSuccess) return error;
  }
  return gradients<correlation>(call, fixed, moving, static_cast<const Real*>(slopes), by_fixed,
                                by_moving, stream);
}

// Calls run(kind, value of the type) with the call's kind as a constant.
template <typename Run>
int dispatch(const CostCall& call, int type, const Run& run) {
  const auto of_type = [&](auto kind) -> int {
    if (type == RCN_FLOAT) return run(kind, float{});
    if (type == RCN_BFLOAT16) return run(kind, __nv_bfloat16{});
    return type == RCN_DOUBLE ? run(kind, double{}) : cudaErrorInvalidValue;
  };
  return call.correlation ? of_type(std::true_type{}) : of_type(std::false_type{});
}

}  // namespace
}  // namespace rcn

extern "C" int rcn_cuda_cost_volume(const rcn::CostCall* call, int type, const void* fixed,
                                    const void* moving, void* scratch, void* costs,
                                    void* stream) {
  return rcn::dispatch(*call, type, [&](auto kind, auto value) -> int {
    using T = decltype(value);
    return rcn::cost_volume<kind.value>(
        *call, static_cast<const T*>(fixed), static_cast<const T*>(moving), scratch,
        static_cast<T*>(costs), static_cast<cudaStream_t>(stream));
  });
}

extern "C" int rcn_cuda_cost_volume_gradient(const rcn::CostCall* call, int type,
                                             const void* fixed, const void* moving,
                                             const void* upstream, void* scratch,
                                             void* fixed_gradient, void* moving_gradient,
                                             void* stream) {
  return rcn::dispatch(*call, type, [&](auto kind, auto value) -> int {
    using T = decltype(value);
    return rcn::all_gradients<kind.value>(
        *call, static_cast<const T*>(fixed), static_cast<const T*>(moving),
        static_cast<const T*>(upstream), scratch, static_cast<T*>(fixed_gradient),
        static_cast<T*>(moving_gradient), static_cast<cudaStream_t>(stream));
  });
}

extern "C" int64_t rcn_cuda_cost_volume_scratch_bytes(const rcn::CostCall* call, int type,
                                                      int gradient) {
  if (!call->box) return 0;
  const int64_t size = type == RCN_DOUBLE ? sizeof(double) : sizeof(float);
  const int64_t planes =
      gradient ? call->batch * call->shape[0] : rcn::planes_at_once(*call) + 2;
  return planes * rcn::plane_costs(*call) * size;
}
