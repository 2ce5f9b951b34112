// The cost volume, row by row of voxels along W:
//
//   features as rows of channels -> raw costs of a row, one vector per offset
//       -> sums of three along W -> along H -> along D -> the result, offset last
//
// A unit of work is a slab of planes of a tile of rows. It takes the offsets along W one after
// the other; so the sums of three planes, for all offsets along D and H, stay in the cache.
// Every sum is made anew from its three parts, in one order. So neither the units nor the
// threads change a bit of the result.

#include "cost_volume_cpu.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "lanes.h"

namespace rcn {
namespace {

constexpr int64_t kSlab = 16;            // planes
constexpr int64_t kTileBytes = 1 << 19;  // of the sums of three planes, to stay in the cache
constexpr int64_t kTogether = 4;         // offsets that share the fixed features in registers

template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, Bfloat16>, float, T>;

// The moving features, [B][D][H][C][width]: rows of W voxels with zeros on both sides.
template <typename Real>
struct ChannelRows {
  int64_t height, channels, width;
  std::unique_ptr<Real[]> values;

  int64_t size() const { return channels * width; }
  Real* row(int64_t plane, int64_t y) const {
    return values.get() + (plane * height + y) * size();
  }
};

// A row of voxels [W][C] as rows of channels [C][width], its first voxel at `margin`.
template <typename T, typename Real>
void turn_row(const T* features, int64_t voxels, int64_t channels, int64_t margin,
              int64_t width, Real* rows) {
  std::fill(rows, rows + channels * width, Real(0));
  for (int64_t x = 0; x < voxels; ++x) {
    for (int64_t c = 0; c < channels; ++c) {
      rows[c * width + margin + x] = widen(features[x * channels + c]);
    }
  }
}

// Raw costs of a row for kCount offsets: costs[k * stride + x].
template <bool correlation, int kCount, typename Real>
void raw_rows(const Real* fixed, const Real* const* moving, int64_t channels,
              int64_t fixed_width, int64_t moving_width, int64_t stride, Real* costs) {
  using L = Lanes<Real>;
  for (int64_t x = 0; x < fixed_width; x += L::kCount) {
    typename L::Vector sums[kCount] = {};
    for (int64_t c = 0; c < channels; ++c) {
      const auto f = L::load(fixed + c * fixed_width + x);
      for (int k = 0; k < kCount; ++k) {
        const auto m = L::load(moving[k] + c * moving_width + x);
        if constexpr (correlation) {
          sums[k] += f * m;
        } else {
          sums[k] += L::magnitude(f - m);
        }
      }
    }
    for (int k = 0; k < kCount; ++k) L::store(sums[k], costs + k * stride + x);
  }
}

// result[i] = (a[i] + b[i]) + c[i]
template <typename Real>
void add_three(const Real* a, const Real* b, const Real* c, int64_t count,
               Real* __restrict result) {
  for (int64_t i = 0; i < count; ++i) result[i] = (a[i] + b[i]) + c[i];
}

// What one thread needs to compute its units.
template <typename T>
class Unit {
 public:
  using Real = RealOf<T>;
  using L = Lanes<Real>;

  Unit(const CostCall& call, const T* fixed, const ChannelRows<Real>& moving, T* costs,
       int64_t tile)
      : call_(call),
        fixed_(fixed),
        moving_(moving),
        costs_(costs),
        width_(L::rounded_up(call.shape[2])),
        stride_(width_ + 2 * L::kCount),
        together_(call.side(0) * call.side(1)),
        row_(together_ * stride_),
        tile_(tile),
        turned_(call.channels * width_),
        absent_(moving.size()),
        zeros_(row_),
        raw_(row_),
        rows_(3 * row_),
        planes_(call.box ? 3 * tile * row_ : 0) {}

  // Bytes of the sums of three planes per row of a tile.
  static int64_t row_bytes(const CostCall& call) {
    const int64_t stride = L::rounded_up(call.shape[2]) + 2 * L::kCount;
    return 3 * call.side(0) * call.side(1) * stride * static_cast<int64_t>(sizeof(Real));
  }

  // The result in the planes [first, last) and rows [top, bottom) of an item.
  void operator()(int64_t item, int64_t first, int64_t last, int64_t top, int64_t bottom) {
    item_ = item, top_ = top, bottom_ = bottom;
    for (int64_t shift = 0; shift < call_.side(2); ++shift) {
      shift_ = shift;
      next_plane_ = std::max(first - call_.reach(0), int64_t{0});
      for (int64_t z = first; z < last; ++z) {
        if (call_.box) {
          write_means(z);
        } else {
          for (int64_t y = top; y < bottom; ++y) write_row(z, y, raw_row(z, y));
        }
      }
    }
  }

 private:
  // The raw costs of a row, [D and H offsets][stride], 0 just before and after its voxels.
  const Real* raw_row(int64_t z, int64_t y) {
    const int64_t voxels = call_.shape[2], channels = call_.channels;
    const int64_t first = ((item_ * call_.shape[0] + z) * call_.shape[1] + y) * voxels;
    turn_row(fixed_ + first * channels, voxels, channels, 0, width_, turned_.data());
    const Real* moving[kTogether];
    Real* costs = raw_.data() + L::kCount;
    for (int64_t k = 0; k < together_; k += kTogether) {
      const int64_t count = std::min(kTogether, together_ - k);
      for (int64_t i = 0; i < count; ++i) moving[i] = moving_row(z, y, k + i);
      run(count, moving, costs + k * stride_);
    }
    for (int64_t k = 0; k < together_; ++k) costs[k * stride_ + voxels] = 0;
    return costs;
  }

  // Row of the moving features at offset k along D and H; absent outside the volume.
  const Real* moving_row(int64_t z, int64_t y, int64_t k) const {
    z += k % call_.side(0) - call_.radius[0];
    y += k / call_.side(0) - call_.radius[1];
    const bool inside = z >= 0 && z < call_.shape[0] && y >= 0 && y < call_.shape[1];
    return (inside ? moving_.row(item_ * call_.shape[0] + z, y) : absent_.data()) + shift_;
  }

  void run(int64_t count, const Real* const* moving, Real* costs) const {
    if (call_.correlation) {
      run_kind<true>(count, moving, costs);
    } else {
      run_kind<false>(count, moving, costs);
    }
  }

  template <bool correlation>
  void run_kind(int64_t count, const Real* const* moving, Real* costs) const {
    const auto function = count == 4   ? raw_rows<correlation, 4, Real>
                          : count == 3 ? raw_rows<correlation, 3, Real>
                          : count == 2 ? raw_rows<correlation, 2, Real>
                                       : raw_rows<correlation, 1, Real>;
    function(turned_.data(), moving, call_.channels, width_, moving_.width, stride_, costs);
  }

  // Sums of three along W of a row's raw costs, in the slot of its number.
  void sum_row(int64_t z, int64_t y) {
    const Real* raw = raw_row(z, y);
    Real* sums = rows_.data() + y % 3 * row_ + L::kCount;
    for (int64_t k = 0; k < together_; ++k) {
      const Real* row = raw + k * stride_;
      add_three(row - 1, row, row + 1, width_, sums + k * stride_);
    }
  }

  // Sums along W and H of plane z, in the slot of its number.
  void sum_plane(int64_t z) {
    int64_t next = std::max(top_ - call_.reach(1), int64_t{0});
    for (int64_t y = top_; y < bottom_; ++y) {
      const int64_t needed = std::min(y + call_.reach(1), call_.shape[1] - 1);
      for (; next <= needed; ++next) sum_row(z, next);
      const auto at = [&](int64_t k) {
        return inside(k, 1) ? rows_.data() + k % 3 * row_ : zeros_.data();
      };
      add_three(at(y - 1), at(y), at(y + 1), row_, slot(z, y));
    }
  }

  void write_means(int64_t z) {
    const int64_t needed = std::min(z + call_.reach(0), call_.shape[0] - 1);
    for (; next_plane_ <= needed; ++next_plane_) sum_plane(next_plane_);
    const Real share = static_cast<Real>(call_.share());
    for (int64_t y = top_; y < bottom_; ++y) {
      const auto at = [&](int64_t k) {
        return inside(k, 0) && call_.reach(0) >= std::abs(k - z) ? slot(k, y) : zeros_.data();
      };
      const Real *before = at(z - 1), *here = at(z), *after = at(z + 1);
      for (int64_t i = 0; i < row_; ++i) {
        raw_[i] = share * ((before[i] + here[i]) + after[i]);
      }
      write_row(z, y, raw_.data() + L::kCount);
    }
  }

  // Costs [offsets][stride] of a row to their places [W][offsets].
  void write_row(int64_t z, int64_t y, const Real* costs) {
    const int64_t voxels = call_.shape[2], offsets = call_.offsets();
    const int64_t first = ((item_ * call_.shape[0] + z) * call_.shape[1] + y) * voxels;
    T* out = costs_ + first * offsets + shift_ * together_;
    for (int64_t x = 0; x < voxels; ++x) {
      for (int64_t k = 0; k < together_; ++k) {
        narrow(costs[k * stride_ + x], out + x * offsets + k);
      }
    }
  }

  bool inside(int64_t k, int axis) const { return k >= 0 && k < call_.shape[axis]; }

  Real* slot(int64_t z, int64_t y) {
    return planes_.data() + (z % 3 * tile_ + y - top_) * row_;
  }

  const CostCall& call_;
  const T* const fixed_;
  const ChannelRows<Real>& moving_;
  T* const costs_;
  const int64_t width_, stride_;  // of a row of voxels, in whole vectors; with zeros around it
  const int64_t together_, row_;  // offsets along D and H; their rows of one row of voxels
  const int64_t tile_;
  std::vector<Real> turned_;        // the fixed features of a row
  const std::vector<Real> absent_;  // moving features outside the volume
  std::vector<Real> zeros_;
  std::vector<Real> raw_, rows_, planes_;
  int64_t item_, top_, bottom_, shift_, next_plane_;
};

template <typename T>
ChannelRows<RealOf<T>> turned(const CostCall& call, const T* features, const Workers& workers) {
  using Real = RealOf<T>;
  const int64_t margin = call.radius[2], voxels = call.shape[2];
  const int64_t width = Lanes<Real>::rounded_up(voxels) + 2 * margin;
  const int64_t rows = call.batch * call.shape[0] * call.shape[1];
  ChannelRows<Real> result = {call.shape[1], call.channels, width,
                              std::unique_ptr<Real[]>(new Real[rows * call.channels * width])};
  workers.parallel_for(rows, 2 * result.size(), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      turn_row(features + row * voxels * call.channels, voxels, call.channels, margin, width,
               result.row(0, row));
    }
  });
  return result;
}

}  // namespace

template <typename T>
void cost_volume(const CostCall& call, const T* fixed, const T* moving, T* costs,
                 const Workers& workers) {
  const auto rows = turned(call, moving, workers);
  const int64_t depth = call.shape[0], height = call.shape[1];
  const int64_t fit = std::max(kTileBytes / Unit<T>::row_bytes(call), int64_t{4});
  const int64_t tile = std::min(fit, height), tiles = (height + tile - 1) / tile;
  int64_t slab = std::min(kSlab, depth);
  const auto units = [&] { return call.batch * ((depth + slab - 1) / slab) * tiles; };
  while (slab > 4 && units() < 4 * workers.threads) slab = (slab + 1) / 2;
  const int64_t slabs = (depth + slab - 1) / slab;
  const int64_t cost = slab * tile * call.shape[2] * call.offsets() * call.channels / 8;
  workers.parallel_for(units(), cost, [&](int64_t begin, int64_t end) {
    Unit<T> unit(call, fixed, rows, costs, tile);
    for (int64_t k = begin; k < end; ++k) {
      const int64_t top = k % tiles * tile, first = k / tiles % slabs * slab;
      unit(k / (tiles * slabs), first, std::min(first + slab, depth), top,
           std::min(top + tile, height));
    }
  });
}

template void cost_volume(const CostCall&, const Bfloat16*, const Bfloat16*, Bfloat16*,
                          const Workers&);
template void cost_volume(const CostCall&, const float*, const float*, float*, const Workers&);
template void cost_volume(const CostCall&, const double*, const double*, double*,
                          const Workers&);

}  // namespace rcn
