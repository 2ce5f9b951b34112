#include "warp_cpu.h"

#include <algorithm>
#include <cstring>

#include "rows_cpu.h"

namespace rcn {
namespace {

// Values of one channel at the eight corners of the cell around each sample of a block.
template <typename Real>
struct Corners {
  alignas(64) Real value[8][kBlock];  // corner 4 d + 2 h + w

  // `image` points to the channel of the item's first voxel.
  template <Padding padding, typename Index>
  void read(const Geometry& geometry, const Block<Real, Index>& block, int count,
            const Real* image) {
    if (padding == Padding::kBorder && geometry.channels == 1 && geometry.image[2] > 1) {
      read_pairs(block, count, image);
    } else {
      read_singly<padding>(block, count, image);
    }
  }

  Cell<Real> cell(int i) const {
    return {{{{value[0][i], value[1][i]}, {value[2][i], value[3][i]}},
             {{value[4][i], value[5][i]}, {value[6][i], value[7][i]}}}};
  }

 private:
  // Reading, and zeroing what lies outside the volume, are separate loops: otherwise compilers
  // do not vectorise them.
  template <Padding padding, typename Index>
  void read_singly(const Block<Real, Index>& block, int count, const Real* image) {
    for (int corner = 0; corner < 8; ++corner) {
      const Index* d = corner & 4 ? block.upper[0] : block.lower[0];
      const Index* h = corner & 2 ? block.upper[1] : block.lower[1];
      const Index* w = corner & 1 ? block.upper[2] : block.lower[2];
      Real* values = value[corner];
      for (int i = 0; i < count; ++i) {
        const Index offset = d[i] + h[i] + w[i];
        values[i] = image[padding == Padding::kBorder ? offset : std::max<Index>(offset, 0)];
      }
      if (padding == Padding::kBorder) continue;
      for (int i = 0; i < count; ++i) {
        values[i] = d[i] + h[i] + w[i] < 0 ? Real(0) : values[i];
      }
    }
  }

  // If both neighbours along W are adjacent and inside the volume, one read of two values takes
  // half the time of two reads.
  template <typename Index>
  void read_pairs(const Block<Real, Index>& block, int count, const Real* image) {
    for (int pair = 0; pair < 4; ++pair) {
      const Index* d = pair & 2 ? block.upper[0] : block.lower[0];
      const Index* h = pair & 1 ? block.upper[1] : block.lower[1];
      Index offset[kBlock];
      for (int i = 0; i < count; ++i) offset[i] = d[i] + h[i] + block.lower[2][i];
      Real both[2 * kBlock];
      for (int i = 0; i < count; ++i)
        std::memcpy(both + 2 * i, image + offset[i], 2 * sizeof(Real));
      Real *lower = value[2 * pair], *upper = value[2 * pair + 1];
      for (int i = 0; i < count; ++i) {
        lower[i] = both[2 * i];
        upper[i] = both[2 * i + 1];
      }
    }
  }
};

template <Padding padding, typename Real, typename Index>
void warp_row(const Geometry& geometry, const Row& row, const Real* image, const Real* flow,
              bool add_flow, Real* out) {
  const int channels = static_cast<int>(geometry.channels);
  image += row.item * geometry.image_voxels() * channels;
  for_each_block(geometry, [&](int64_t x, int count) {
    const Real* displacement = flow + 3 * (row.first + x);
    Real* target = out + channels * (row.first + x);
    Block<Real, Index> block;
    locate<padding>(block, geometry, row, x, count, displacement);
    for (int c = 0; c < channels; ++c) {
      Corners<Real> corners;
      corners.template read<padding>(geometry, block, count, image + c);
      const auto sample = [&](int i) {
        return corners.cell(i).sample(block.weight[0][i], block.weight[1][i],
                                      block.weight[2][i]);
      };
      if (channels == 1) {  // contiguous, so that whole vectors are written
        for (int i = 0; i < count; ++i) target[i] = sample(i);
      } else {
        for (int i = 0; i < count; ++i) target[channels * i + c] = sample(i);
      }
    }
    if (add_flow) {
      for (int i = 0; i < 3 * count; ++i) target[i] += displacement[i];
    }
  });
}

template <Padding padding, typename Real, typename Index>
void flow_gradient_row(const Geometry& geometry, const Row& row, const Real* image,
                       const Real* flow, const Real* upstream, bool add_flow, Real* gradient) {
  const int channels = static_cast<int>(geometry.channels);
  image += row.item * geometry.image_voxels() * channels;
  for_each_block(geometry, [&](int64_t x, int count) {
    const Real* arriving = upstream + channels * (row.first + x);
    Real* target = gradient + 3 * (row.first + x);
    Block<Real, Index> block;
    locate<padding>(block, geometry, row, x, count, flow + 3 * (row.first + x));
    alignas(64) Real sum[3][kBlock] = {};
    for (int c = 0; c < channels; ++c) {
      Corners<Real> corners;
      corners.template read<padding>(geometry, block, count, image + c);
      for (int i = 0; i < count; ++i) {
        const Real d = block.weight[0][i], h = block.weight[1][i], w = block.weight[2][i];
        const Cell<Real> cell = corners.cell(i);
        const Real arrived = arriving[channels * i + c];
        sum[0][i] += arrived * cell.slope_d(h, w);
        sum[1][i] += arrived * cell.slope_h(d, w);
        sum[2][i] += arrived * cell.slope_w(d, h);
      }
    }
    for (int i = 0; i < count; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        target[3 * i + axis] = block.inside[axis][i] * sum[axis][i];
      }
    }
    if (add_flow) {
      for (int i = 0; i < 3 * count; ++i) target[i] += arriving[i];
    }
  });
}

}  // namespace

template <typename Real>
void warp(const Geometry& geometry, Padding padding, const Real* image, const Real* flow,
          bool add_flow, Real* out, const Workers& workers) {
  with_instance(geometry, padding, [&](auto padding_constant, auto index) {
    const int64_t cost = geometry.output[2] * (2 + 2 * geometry.channels);
    workers.parallel_for(rows(geometry), cost, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        warp_row<padding_constant.value, Real, decltype(index)>(geometry, Row(geometry, row),
                                                                image, flow, add_flow, out);
      }
    });
  });
}

template <typename Real>
void warp_flow_gradient(const Geometry& geometry, Padding padding, const Real* image,
                        const Real* flow, const Real* upstream, bool add_flow, Real* gradient,
                        const Workers& workers) {
  with_instance(geometry, padding, [&](auto padding_constant, auto index) {
    const int64_t cost = geometry.output[2] * (2 + 3 * geometry.channels);
    workers.parallel_for(rows(geometry), cost, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        flow_gradient_row<padding_constant.value, Real, decltype(index)>(
            geometry, Row(geometry, row), image, flow, upstream, add_flow, gradient);
      }
    });
  });
}

template void warp(const Geometry&, Padding, const float*, const float*, bool, float*,
                   const Workers&);
template void warp(const Geometry&, Padding, const double*, const double*, bool, double*,
                   const Workers&);
template void warp_flow_gradient(const Geometry&, Padding, const float*, const float*,
                                 const float*, bool, float*, const Workers&);
template void warp_flow_gradient(const Geometry&, Padding, const double*, const double*,
                                 const double*, bool, double*, const Workers&);

}  // namespace rcn
