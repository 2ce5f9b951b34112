// Gradient by the image: the transpose of the forward pass scatters where that gathers.
//
// Any output voxels may contribute to one image voxel. To avoid locks, the image is cut into
// slabs of planes. Each slab is summed by one thread, which goes through the output and adds
// what falls into its planes. A first pass records which planes every row of the output
// reaches, so that a slab visits few rows in vain. Every image voxel sums in the output's
// order, however the slabs are cut, so the result does not depend on the number of threads.

#include <algorithm>
#include <vector>

#include "rows_cpu.h"
#include "warp_cpu.h"

namespace rcn {
namespace {

constexpr int kSlabsPerThread = 4;  // balances slabs with unequal numbers of contributions

// Range of element offsets; the end is excluded.
struct Range {
  int64_t begin, end;

  bool meets(const Range& other) const { return begin < other.end && other.begin < end; }
};

// Offsets of the planes that a row of the output touches.
template <Padding padding, typename Real, typename Index>
Range reach_of_row(const Geometry& geometry, const Row& row, const Real* flow) {
  Range reach = {INT64_MAX, INT64_MIN};
  for_each_block(geometry, [&](int64_t x, int count) {
    Block<Real, Index> block;
    alignas(64) Real component[kBlock];
    for (int i = 0; i < count; ++i) component[i] = flow[3 * (row.first + x + i)];
    locate_on_axis<padding>(block, 0, geometry, row, x, count, component);
    for (int i = 0; i < count; ++i) {
      const int64_t lower = block.lower[0][i], upper = block.upper[0][i];
      reach.begin = std::min(reach.begin, lower);
      reach.end = std::max(reach.end, std::max(lower, upper) + 1);
    }
  });
  return reach;
}

// Where the voxels of a block add their upstream gradient, and with which weights.
template <typename Real, typename Index>
struct Targets {
  alignas(64) Index offset[8][kBlock];  // negative: beyond the volume or the slab
  alignas(64) Real weight[8][kBlock];   // corner 4 d + 2 h + w

  Targets(const Block<Real, Index>& block, int count, const Range& slab) {
    const auto begin = static_cast<Index>(slab.begin), end = static_cast<Index>(slab.end);
    for (int corner = 0; corner < 8; ++corner) {
      const bool up[3] = {(corner & 4) != 0, (corner & 2) != 0, (corner & 1) != 0};
      const Index* d = up[0] ? block.upper[0] : block.lower[0];
      const Index* h = up[1] ? block.upper[1] : block.lower[1];
      const Index* w = up[2] ? block.upper[2] : block.lower[2];
      for (int i = 0; i < count; ++i) {
        const Index sum = d[i] + h[i] + w[i];
        offset[corner][i] = d[i] >= begin && d[i] < end ? sum : Index(-1);
      }
      for (int i = 0; i < count; ++i) {
        const Real wd = block.weight[0][i], wh = block.weight[1][i], ww = block.weight[2][i];
        weight[corner][i] =
            (up[0] ? wd : 1 - wd) * (up[1] ? wh : 1 - wh) * (up[2] ? ww : 1 - ww);
      }
    }
  }
};

// Adds one row's contributions to the planes of `slab`. kChannels is 0 if the number of
// channels is known only at run time.
template <int kChannels, Padding padding, typename Real, typename Index>
void scatter_row(const Geometry& geometry, const Row& row, const Range& slab, const Real* flow,
                 const Real* upstream, Real* __restrict gradient) {
  const int channels = kChannels ? kChannels : static_cast<int>(geometry.channels);
  for_each_block(geometry, [&](int64_t x, int count) {
    Block<Real, Index> block;
    locate<padding>(block, geometry, row, x, count, flow + 3 * (row.first + x));
    const Targets<Real, Index> targets(block, count, slab);
    const Real* sent = upstream + channels * (row.first + x);
    for (int i = 0; i < count; ++i, sent += channels) {
      for (int corner = 0; corner < 8; ++corner) {
        const Index offset = targets.offset[corner][i];
        if (offset < 0) continue;
        const Real weight = targets.weight[corner][i];
        for (int c = 0; c < channels; ++c) gradient[offset + c] += weight * sent[c];
      }
    }
  });
}

template <Padding padding, typename Real, typename Index>
void scatter_row(const Geometry& geometry, const Row& row, const Range& slab, const Real* flow,
                 const Real* upstream, Real* gradient) {
  const auto scatter = geometry.channels == 1   ? scatter_row<1, padding, Real, Index>
                       : geometry.channels == 3 ? scatter_row<3, padding, Real, Index>
                                                : scatter_row<0, padding, Real, Index>;
  scatter(geometry, row, slab, flow, upstream, gradient);
}

}  // namespace

template <typename Real>
void warp_image_gradient(const Geometry& geometry, Padding padding, const Real* flow,
                         const Real* upstream, Real* gradient, const Workers& workers) {
  with_instance(geometry, padding, [&](auto padding_constant, auto index) {
    constexpr Padding kPadding = padding_constant.value;
    using Index = decltype(index);
    const int64_t all_rows = rows(geometry);
    std::vector<Range> reach(all_rows);
    workers.parallel_for(all_rows, geometry.output[2], [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        reach[row] = reach_of_row<kPadding, Real, Index>(geometry, Row(geometry, row), flow);
      }
    });

    const int64_t planes = geometry.image[0];
    const int64_t plane = geometry.image[1] * geometry.image[2] * geometry.channels;
    const int64_t slabs = std::min<int64_t>(planes, kSlabsPerThread * workers.threads);
    const int64_t rows_per_item = geometry.output[0] * geometry.output[1];
    const int64_t cost = (plane * planes / slabs + 1) * 8;
    workers.parallel_for(geometry.batch * slabs, cost, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t item = unit / slabs, number = unit % slabs;
        const Range slab = {planes * number / slabs * plane,
                            planes * (number + 1) / slabs * plane};
        Real* target = gradient + item * planes * plane;
        std::fill(target + slab.begin, target + slab.end, Real(0));
        for (int64_t k = item * rows_per_item; k < (item + 1) * rows_per_item; ++k) {
          if (!slab.meets(reach[k])) continue;
          scatter_row<kPadding, Real, Index>(geometry, Row(geometry, k), slab, flow, upstream,
                                             target);
        }
      }
    });
  });
}

template void warp_image_gradient(const Geometry&, Padding, const float*, const float*, float*,
                                  const Workers&);
template void warp_image_gradient(const Geometry&, Padding, const double*, const double*,
                                  double*, const Workers&);

}  // namespace rcn
