// Gradients of the cost volume. A voxel's channels are the lanes of a vector, and a row of
// voxels is the unit of work; every voxel gathers over the offsets in one order, so that the
// threads do not change a bit of the result.

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "cost_volume_cpu.h"
#include "lanes.h"
#include "large_pages.h"

namespace rcn {
namespace {

template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, Bfloat16>, float, T>;

// Features with zeros around the volume and behind the channels, which then fill vectors.
template <typename Real>
struct Padded {
  int64_t shape[3];
  int64_t margin[3];
  int64_t channels;
  std::unique_ptr<Real[]> values;

  // At a voxel of an item, which may lie in the margin.
  Real* at(int64_t item, int64_t z, int64_t y, int64_t x) const {
    const int64_t plane = item * shape[0] + z + margin[0];
    const int64_t row = plane * shape[1] + y + margin[1];
    return values.get() + (row * shape[2] + x + margin[2]) * channels;
  }
};

template <typename T>
Padded<RealOf<T>> padded(const CostCall& call, const T* features, const Workers& workers) {
  using Real = RealOf<T>;
  Padded<Real> result = {{}, {}, Lanes<Real>::rounded_up(call.channels), nullptr};
  int64_t elements = call.batch * result.channels;
  for (int axis = 0; axis < 3; ++axis) {
    result.margin[axis] = call.radius[axis];
    result.shape[axis] = call.shape[axis] + 2 * call.radius[axis];
    elements *= result.shape[axis];
  }
  result.values.reset(new Real[elements]());
  const int64_t height = call.shape[1], rows = call.batch * call.shape[0] * height;
  workers.parallel_for(
      rows, 2 * call.shape[2] * call.channels, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t plane = row / height;
          const T* from = features + row * call.shape[2] * call.channels;
          Real* to = result.at(plane / call.shape[0], plane % call.shape[0], row % height, 0);
          for (int64_t x = 0; x < call.shape[2]; ++x, to += result.channels) {
            for (int64_t c = 0; c < call.channels; ++c) to[c] = widen(*from++);
          }
        }
      });
  return result;
}

// The box mean of an upstream gradient [B, D, H, W, offsets].
template <typename T>
std::unique_ptr<RealOf<T>[]> box_mean(const CostCall& call, const T* upstream,
                                      const Workers& workers) {
  using Real = RealOf<T>;
  const int64_t depth = call.shape[0], height = call.shape[1], offsets = call.offsets();
  const int64_t size = call.shape[2] * offsets, rows = call.batch * depth * height;
  std::unique_ptr<Real[]> result(new Real[rows * size]);
  prefer_large_pages(result.get(), rows * size * sizeof(Real));
  workers.parallel_for(rows, 4 * size, [&](int64_t begin, int64_t end) {
    std::vector<Real> around(size + 2 * offsets);  // one voxel of zeros on both sides
    Real* sums = around.data() + offsets;
    const Real share = static_cast<Real>(call.share());
    for (int64_t row = begin; row < end; ++row) {
      const int64_t z = row / height % depth, y = row % height;
      std::fill(sums, sums + size, Real(0));
      for (int64_t dz = -call.reach(0); dz <= call.reach(0); ++dz) {
        for (int64_t dy = -call.reach(1); dy <= call.reach(1); ++dy) {
          if (z + dz < 0 || z + dz >= depth || y + dy < 0 || y + dy >= height) continue;
          const T* other = upstream + (row + dz * height + dy) * size;
          for (int64_t i = 0; i < size; ++i) sums[i] += widen(other[i]);
        }
      }
      Real* out = result.get() + row * size;
      for (int64_t i = 0; i < size; ++i) {
        out[i] = share * ((sums[i - offsets] + sums[i]) + sums[i + offsets]);
      }
    }
  });
  return result;
}

template <typename Real, typename T>
void write_channels(const typename Lanes<Real>::Vector& sums, int64_t first, int64_t channels,
                    T* out) {
  Real values[Lanes<Real>::kCount];
  Lanes<Real>::store(sums, values);
  const int64_t count = std::min(Lanes<Real>::kCount, channels - first);
  for (int64_t c = 0; c < count; ++c) narrow(values[c], out + first + c);
}

// Calls visit(item, z, y, x, voxel) for all voxels.
template <typename Visit>
void for_each_voxel(const CostCall& call, const Workers& workers, const Visit& visit) {
  const int64_t depth = call.shape[0], height = call.shape[1], width = call.shape[2];
  const int64_t cost = width * call.offsets() * (1 + call.channels / 4);
  workers.parallel_for(call.batch * depth * height, cost, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t plane = row / height;
      for (int64_t x = 0; x < width; ++x) {
        visit(plane / depth, plane % depth, row % height, x, row * width + x);
      }
    }
  });
}

// `slopes` is the gradient by the raw costs.
template <bool correlation, typename S, typename Real, typename T>
void fixed_gradient(const CostCall& call, const Padded<Real>& fixed, const Padded<Real>& moving,
                    const S* slopes, T* gradient, const Workers& workers) {
  using L = Lanes<Real>;
  for_each_voxel(call, workers, [&](int64_t item, int64_t z, int64_t y, int64_t x, int64_t v) {
    for (int64_t c = 0; c < fixed.channels; c += L::kCount) {
      const auto f = L::load(fixed.at(item, z, y, x) + c);
      typename L::Vector sums = {};
      const S* slope = slopes + v * call.offsets();
      for (int64_t w = -call.radius[2]; w <= call.radius[2]; ++w) {
        for (int64_t h = -call.radius[1]; h <= call.radius[1]; ++h) {
          for (int64_t d = -call.radius[0]; d <= call.radius[0]; ++d) {
            const auto m = L::load(moving.at(item, z + d, y + h, x + w) + c);
            const auto g = typename L::Vector{} + static_cast<Real>(widen(*slope++));
            sums += correlation ? g * m : L::with_sign_of(f - m, g);
          }
        }
      }
      write_channels<Real>(sums, c, call.channels, gradient + v * call.channels);
    }
  });
}

template <bool correlation, typename S, typename Real, typename T>
void moving_gradient(const CostCall& call, const Padded<Real>& fixed,
                     const Padded<Real>& moving, const S* slopes, T* gradient,
                     const Workers& workers) {
  using L = Lanes<Real>;
  const int64_t strides[3] = {call.shape[1] * call.shape[2], call.shape[2], 1};
  for_each_voxel(call, workers, [&](int64_t item, int64_t z, int64_t y, int64_t x, int64_t v) {
    const int64_t place[3] = {z, y, x};
    int64_t least[3], most[3];  // offsets whose fixed voxel lies inside
    for (int axis = 0; axis < 3; ++axis) {
      least[axis] = std::max(-call.radius[axis], place[axis] - call.shape[axis] + 1);
      most[axis] = std::min(call.radius[axis], place[axis]);
    }
    for (int64_t c = 0; c < fixed.channels; c += L::kCount) {
      const auto m = L::load(moving.at(item, z, y, x) + c);
      typename L::Vector sums = {};
      for (int64_t w = least[2]; w <= most[2]; ++w) {
        for (int64_t h = least[1]; h <= most[1]; ++h) {
          const int64_t k = ((w + call.radius[2]) * call.side(1) + h + call.radius[1]);
          for (int64_t d = least[0]; d <= most[0]; ++d) {
            const int64_t from = v - d * strides[0] - h * strides[1] - w;
            const int64_t offset = k * call.side(0) + d + call.radius[0];
            const auto f = L::load(fixed.at(item, z - d, y - h, x - w) + c);
            const auto slope = widen(slopes[from * call.offsets() + offset]);
            const auto g = typename L::Vector{} + static_cast<Real>(slope);
            sums += correlation ? g * f : L::with_sign_of(m - f, g);
          }
        }
      }
      write_channels<Real>(sums, c, call.channels, gradient + v * call.channels);
    }
  });
}

}  // namespace

template <typename T>
void cost_volume_gradient(const CostCall& call, const T* fixed, const T* moving,
                          const T* upstream, T* by_fixed, T* by_moving,
                          const Workers& workers) {
  const auto f = padded(call, fixed, workers), m = padded(call, moving, workers);
  const auto run = [&](auto kind, const auto* slopes) {
    if (by_fixed) fixed_gradient<kind.value>(call, f, m, slopes, by_fixed, workers);
    if (by_moving) moving_gradient<kind.value>(call, f, m, slopes, by_moving, workers);
  };
  const auto of_kind = [&](const auto* slopes) {
    if (call.correlation) {
      run(std::true_type{}, slopes);
    } else {
      run(std::false_type{}, slopes);
    }
  };
  if (call.box) {
    of_kind(box_mean(call, upstream, workers).get());
  } else {
    of_kind(upstream);
  }
}

template void cost_volume_gradient(const CostCall&, const Bfloat16*, const Bfloat16*,
                                   const Bfloat16*, Bfloat16*, Bfloat16*, const Workers&);
template void cost_volume_gradient(const CostCall&, const float*, const float*, const float*,
                                   float*, float*, const Workers&);
template void cost_volume_gradient(const CostCall&, const double*, const double*, const double*,
                                   double*, double*, const Workers&);

}  // namespace rcn
