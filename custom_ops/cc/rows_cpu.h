// Processes rows of voxels along W' in blocks that fit into the first-level cache. The sampling
// positions of a block are computed first, in loops that compilers vectorise.

#ifndef CUSTOM_OPS_CC_ROWS_CPU_H_
#define CUSTOM_OPS_CC_ROWS_CPU_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "trilinear.h"

namespace rcn {

constexpr int kBlock = 64;

// Volumes of fewer elements are indexed with 32 bits, so that vectors hold twice as many
// indices. The limit leaves room for the sums of three `absent` offsets.
constexpr int64_t kNarrow = int64_t{1} << 29;

// The `taps` of up to kBlock voxels, per axis.
template <typename Real, typename Index>
struct Block {
  alignas(64) Index lower[3][kBlock];
  alignas(64) Index upper[3][kBlock];
  alignas(64) Real weight[3][kBlock];
  alignas(64) Real inside[3][kBlock];
};

// One row of the output.
struct Row {
  int64_t item, z, y;
  int64_t first;  // index of its first voxel in the whole batch

  Row(const Geometry& geometry, int64_t index) {
    const int64_t* shape = geometry.output;
    first = index * shape[2];
    y = index % shape[1];
    z = index / shape[1] % shape[0];
    item = index / (shape[1] * shape[0]);
  }
};

inline int64_t rows(const Geometry& geometry) {
  return geometry.batch * geometry.output[0] * geometry.output[1];
}

// Taps along one axis for the voxels x .. x + count of a row; `component` is their flow along
// that axis.
template <Padding padding, typename Real, typename Index>
void locate_on_axis(Block<Real, Index>& block, int axis, const Geometry& geometry,
                    const Row& row, int64_t x, int count, const Real* component) {
  const int64_t* shape = geometry.image;
  const int64_t strides[3] = {shape[1] * shape[2] * geometry.channels,
                              shape[2] * geometry.channels, geometry.channels};
  const Index size = static_cast<Index>(shape[axis]);
  const Index stride = static_cast<Index>(strides[axis]);
  const Index elements = static_cast<Index>(shape[0] * strides[0]);
  const int64_t starts[3] = {row.z, row.y, x};
  const Real start = static_cast<Real>(starts[axis]);
  const Real step = axis == 2 ? Real(1) : Real(0);
  for (int i = 0; i < count; ++i) {
    const Real coordinate = start + step * static_cast<Real>(i) + component[i];
    const auto found = taps<padding, Real, Index>(coordinate, size, stride, elements);
    block.lower[axis][i] = found.lower;
    block.upper[axis][i] = found.upper;
    block.weight[axis][i] = found.weight;
    block.inside[axis][i] = found.inside;
  }
}

// Taps along all axes; `flow` points to the flow of voxel x.
template <Padding padding, typename Real, typename Index>
void locate(Block<Real, Index>& block, const Geometry& geometry, const Row& row, int64_t x,
            int count, const Real* flow) {
  // While this block is processed, the flow of the block after the next is fetched from memory.
  for (int k = 0; k < 3 * kBlock; k += 64 / sizeof(Real)) {
    __builtin_prefetch(flow + 6 * kBlock + k);
  }
  alignas(64) Real component[3][kBlock];
  for (int i = 0; i < count; ++i) {  // one loop, so that it reads whole vectors of the flow
    component[0][i] = flow[3 * i];
    component[1][i] = flow[3 * i + 1];
    component[2][i] = flow[3 * i + 2];
  }
  for (int axis = 0; axis < 3; ++axis) {
    locate_on_axis<padding>(block, axis, geometry, row, x, count, component[axis]);
  }
}

// Calls visit(x, count) for the blocks of one row.
template <typename Visit>
void for_each_block(const Geometry& geometry, const Visit& visit) {
  for (int64_t x = 0; x < geometry.output[2]; x += kBlock) {
    visit(x, static_cast<int>(std::min<int64_t>(kBlock, geometry.output[2] - x)));
  }
}

// Calls run(padding constant, value of the narrowest sufficient index type): turns the padding
// and the size, known at run time, into constants and types.
template <typename Run>
void with_instance(const Geometry& geometry, Padding padding, const Run& run) {
  const bool narrow = geometry.image_voxels() * geometry.channels < kNarrow;
  const auto with_index = [&](auto padding_constant) {
    if (narrow) {
      run(padding_constant, int32_t{});
    } else {
      run(padding_constant, int64_t{});
    }
  };
  if (padding == Padding::kBorder) {
    with_index(std::integral_constant<Padding, Padding::kBorder>{});
  } else {
    with_index(std::integral_constant<Padding, Padding::kZeros>{});
  }
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_ROWS_CPU_H_
