// The cost volume, row by row of voxels along W:
//
//   features as rows of channels -> raw costs of a row, one vector per offset
//       -> sums of three along W -> along H -> along D -> the result, offset last
//
// A unit of work is a slab of planes of a tile of rows. It takes some neighbouring offsets
// along W at once, which read the same rows of moving features, and after them the next ones;
// so what is kept of two planes, for all offsets along D and H, stays in the cache. Every sum
// is made of its three parts in one order. So neither the units nor the threads change a bit of
// the result.

#include "cost_volume_cpu.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "lanes.h"

namespace rcn {
namespace {

constexpr int64_t kSlab = 16;            // planes
constexpr int64_t kTileBytes = 1 << 20;  // of what is kept of two planes, to stay in the cache
constexpr int64_t kTogether = 4;         // offsets along W that share features in registers

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

// Sums of three in a row of arrays: of `next` and the two that came before it. What came before
// is kept as `one`, the last array, and `two`, the sum of the last two.
template <typename Real>
void slide(const Real* next, int64_t count, Real* __restrict one, Real* __restrict two,
           Real* __restrict sums) {
  using L = Lanes<Real>;
  for (int64_t i = 0; i < count; i += L::kCount) {
    const auto now = L::load(next + i), last = L::load(one + i);
    L::store(L::load(two + i) + now, sums + i);
    L::store(last + now, two + i);
    L::store(now, one + i);
  }
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
        around_(call.side(0) * call.side(1)),
        row_(shifts_together(call) * around_ * width_),
        turned_(call.channels * width_),
        absent_(moving.size()),
        raw_(kTogether * stride_),
        sums_(2 * kTogether * width_),
        totals_(row_),
        rows_(call.reach(1) ? 2 * row_ : 0),
        planes_(call.reach(0) ? 2 * tile * row_ : 0) {}

  // Offsets along W that are taken together: as equal parts of all as possible.
  static int64_t shifts_together(const CostCall& call) {
    const int64_t parts = (call.side(2) + kTogether - 1) / kTogether;
    return (call.side(2) + parts - 1) / parts;
  }

  // Bytes of what is kept of two planes per row of a tile.
  static int64_t row_bytes(const CostCall& call) {
    const int64_t width = L::rounded_up(call.shape[2]);
    return 2 * shifts_together(call) * call.side(0) * call.side(1) * width *
           static_cast<int64_t>(sizeof(Real));
  }

  // The result in the planes [first, last) and rows [top, bottom) of an item.
  void operator()(int64_t item, int64_t first, int64_t last, int64_t top, int64_t bottom) {
    item_ = item, first_ = first, top_ = top, bottom_ = bottom;
    const int64_t together = shifts_together(call_);
    for (shift_ = 0; shift_ < call_.side(2); shift_ += together) {
      shifts_ = std::min(together, call_.side(2) - shift_);
      std::fill(planes_.begin(), planes_.end(), Real(0));
      const int64_t reach = call_.reach(0);
      for (int64_t z = std::max(first - reach, int64_t{0}); z < last + reach; ++z) plane(z);
    }
  }

 private:
  // Takes a plane, which may lie just behind the volume, and writes the means of the one
  // before.
  void plane(int64_t z) {
    std::fill(rows_.begin(), rows_.end(), Real(0));
    const int64_t reach = call_.reach(1), out = z - call_.reach(0);
    for (int64_t y = std::max(top_ - reach, int64_t{0}); y < bottom_ + reach; ++y) {
      const bool present = z < call_.shape[0] && y < call_.shape[1];
      if (present) turn_fixed(z, y);
      for (int64_t k = 0; k < around_; ++k) offset(z, y, k, present);
      if (out >= first_ && y - reach >= top_) write_row(out, y - reach);
    }
  }

  void turn_fixed(int64_t z, int64_t y) {
    const int64_t voxels = call_.shape[2], channels = call_.channels;
    const int64_t first = ((item_ * call_.shape[0] + z) * call_.shape[1] + y) * voxels;
    turn_row(fixed_ + first * channels, voxels, channels, 0, width_, turned_.data());
  }

  // Takes a row at offset k along D and H, and the shifts along W together.
  void offset(int64_t z, int64_t y, int64_t k, bool present) {
    const int64_t count = shifts_ * width_, place = k * count;
    Real *sums = sums_.data(), *other = sums + kTogether * width_;
    if (present) {
      raw_rows_at(z, y, k);
      sum_along_row(sums);
    } else {
      std::fill(sums, sums + count, Real(0));
    }
    if (call_.reach(1)) {
      slide(sums, count, rows_.data() + place, rows_.data() + row_ + place, other);
      std::swap(sums, other);
    }
    y -= call_.reach(1);
    if (y < top_) return;
    if (call_.reach(0)) {
      Real* kept = planes_.data() + 2 * (y - top_) * row_ + place;
      slide(sums, count, kept, kept + row_, other);
      std::swap(sums, other);
    }
    if (z - call_.reach(0) < first_) return;
    const Real share = static_cast<Real>(call_.share());
    for (int64_t s = 0; s < shifts_; ++s) {
      Real* to = totals_.data() + (s * around_ + k) * width_;
      for (int64_t x = 0; x < width_; ++x) to[x] = share * sums[s * width_ + x];
    }
  }

  // Raw costs of a row for the shifts, 0 just before and after its voxels.
  void raw_rows_at(int64_t z, int64_t y, int64_t k) {
    const Real* moving[kTogether];
    for (int64_t s = 0; s < shifts_; ++s) moving[s] = moving_row(z, y, k) + shift_ + s;
    Real* costs = raw_.data() + L::kCount;
    if (call_.correlation) {
      run<true>(moving, costs);
    } else {
      run<false>(moving, costs);
    }
    for (int64_t s = 0; s < shifts_; ++s) costs[s * stride_ + call_.shape[2]] = 0;
  }

  // Row of the moving features at offset k along D and H; absent outside the volume.
  const Real* moving_row(int64_t z, int64_t y, int64_t k) const {
    z += k % call_.side(0) - call_.radius[0];
    y += k / call_.side(0) - call_.radius[1];
    const bool inside = z >= 0 && z < call_.shape[0] && y >= 0 && y < call_.shape[1];
    return inside ? moving_.row(item_ * call_.shape[0] + z, y) : absent_.data();
  }

  template <bool correlation>
  void run(const Real* const* moving, Real* costs) const {
    const auto function = shifts_ == 4   ? raw_rows<correlation, 4, Real>
                          : shifts_ == 3 ? raw_rows<correlation, 3, Real>
                          : shifts_ == 2 ? raw_rows<correlation, 2, Real>
                                         : raw_rows<correlation, 1, Real>;
    function(turned_.data(), moving, call_.channels, width_, moving_.width, stride_, costs);
  }

  // Sums of three along W of the raw costs, or these themselves.
  void sum_along_row(Real* sums) const {
    for (int64_t s = 0; s < shifts_; ++s) {
      const Real* raw = raw_.data() + L::kCount + s * stride_;
      Real* to = sums + s * width_;
      if (call_.box) {
        add_three(raw - 1, raw, raw + 1, width_, to);
      } else {
        std::copy(raw, raw + width_, to);
      }
    }
  }

  // Means [offsets][width] of a row to their places [W][offsets].
  void write_row(int64_t z, int64_t y) {
    const int64_t voxels = call_.shape[2], offsets = call_.offsets();
    const int64_t first = ((item_ * call_.shape[0] + z) * call_.shape[1] + y) * voxels;
    T* out = costs_ + first * offsets + shift_ * around_;
    const int64_t count = shifts_ * around_;
    for (int64_t x = 0; x < voxels; ++x) {
      for (int64_t k = 0; k < count; ++k) {
        narrow(totals_[k * width_ + x], out + x * offsets + k);
      }
    }
  }

  const CostCall& call_;
  const T* const fixed_;
  const ChannelRows<Real>& moving_;
  T* const costs_;
  const int64_t width_, stride_;  // of a row of voxels, in whole vectors; with zeros around it
  const int64_t around_, row_;    // offsets along D and H; what is kept of a row of voxels
  std::vector<Real> turned_;      // the fixed features of a row
  const std::vector<Real> absent_;  // moving features outside the volume
  std::vector<Real> raw_, sums_, totals_, rows_, planes_;
  int64_t item_, first_, top_, bottom_, shift_, shifts_;
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
