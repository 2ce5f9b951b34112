// A row of voxels is the unit of work. Positions and weights of a block are computed in loops
// that compilers vectorise; the values are read in another.

#include "resampling_cpu.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "vector_sample.h"

namespace rcn {
namespace {

constexpr int kBlock = 64;
constexpr int64_t kNanoseconds = 20;  // per voxel, about
constexpr double kTie = 1e-9;         // sums of weights that differ by less are equal

// Positions of a block of voxels in the image.
struct Block {
  alignas(64) double index[3][kBlock];
  alignas(64) double weight[3][kBlock];  // of the upper neighbour
  alignas(64) int64_t lower[kBlock];     // offset of the lowest corner
  alignas(64) bool inside[kBlock];
};

class Positions {
 public:
  Positions(const Resampling& call, const float* displacement)
      : call_(call), displacement_(displacement) {
    stride_[2] = 1;
    stride_[1] = call.image.size[2];
    stride_[0] = call.image.size[1] * call.image.size[2];
  }

  // Step to the upper neighbour along an axis; an axis of one voxel has none.
  int64_t step(int axis) const { return call_.image.size[axis] > 1 ? stride_[axis] : 0; }

  void locate(int64_t row, int64_t w, int count, Block* block) const {
    double first[3], along[3];
    call_.to_image.row(row / call_.grid.size[1], row % call_.grid.size[1], first, along);
    const float* moved =
        displacement_ ? displacement_ + 3 * (row * call_.grid.size[2] + w) : nullptr;
    for (int k = 0; k < 3; ++k) {
      double* index = block->index[k];
      for (int i = 0; i < count; ++i) {
        index[i] = first[k] + along[k] * static_cast<double>(w + i);
      }
      if (moved == nullptr) continue;
      const double* to = call_.to_index.at[k];
      for (int i = 0; i < count; ++i) {
        const float* u = moved + 3 * i;
        index[i] += to[0] * u[0] + to[1] * u[1] + to[2] * u[2];
      }
    }
    std::fill(block->lower, block->lower + count, 0);
    std::fill(block->inside, block->inside + count, true);
    for (int k = 0; k < 3; ++k) weigh(k, count, block);
  }

 private:
  void weigh(int k, int count, Block* block) const {
    const double size = static_cast<double>(call_.image.size[k]), last = size - 1;
    const int32_t highest = static_cast<int32_t>(std::max<int64_t>(call_.image.size[k] - 2, 0));
    const bool rounds = call_.lookup == Lookup::kNearest;
    for (int i = 0; i < count; ++i) {
      const double index = block->index[k][i];
      block->inside[i] = block->inside[i] && index >= -0.5 && index < size - 0.5;
      double position = index < 0 ? 0 : index;
      position = position > last ? last : position;
      if (rounds) position = std::floor(position + 0.5);
      int32_t cell = static_cast<int32_t>(position >= 0 ? position : 0);  // 0 for NaN
      cell = cell > highest ? highest : cell;
      block->weight[k][i] = position - static_cast<double>(cell);
      block->lower[i] += cell * stride_[k];
    }
  }

  const Resampling& call_;
  const float* displacement_;
  int64_t stride_[3];
};

// The value of the largest sum of weights.
template <typename T>
T vote(const T corner[8], const double weight[8]) {
  double total[8], best = 0;
  for (int i = 0; i < 8; ++i) {
    total[i] = 0;
    for (int j = 0; j < 8; ++j) total[i] += corner[j] == corner[i] ? weight[j] : 0;
    best = std::max(best, total[i]);
  }
  bool any = false;
  T result = corner[0];
  for (int i = 0; i < 8; ++i) {
    if (total[i] < best - kTie || (any && corner[i] >= result)) continue;
    result = corner[i];
    any = true;
  }
  return result;
}

template <typename T>
T value(Lookup lookup, const T* from, const int64_t step[3], double d, double h, double w) {
  T corner[8];
  for (int c = 0; c < 8; ++c) {
    corner[c] = from[(c >> 2) * step[0] + (c >> 1 & 1) * step[1] + (c & 1) * step[2]];
  }
  if (lookup == Lookup::kNearest) return corner[(d > 0 ? 4 : 0) + (h > 0 ? 2 : 0) + (w > 0)];
  if (lookup == Lookup::kVote) {
    bool alike = true;
    for (int c = 1; c < 8; ++c) alike = alike && corner[c] == corner[0];
    if (alike) return corner[0];
    double weight[8];
    for (int c = 0; c < 8; ++c) {
      weight[c] = (c & 4 ? d : 1 - d) * (c & 2 ? h : 1 - h) * (c & 1 ? w : 1 - w);
    }
    return vote(corner, weight);
  }
  double wide[8], along_w[4], along_h[2];
  for (int c = 0; c < 8; ++c) wide[c] = static_cast<double>(corner[c]);
  for (int c = 0; c < 4; ++c) along_w[c] = lerp(wide[2 * c], wide[2 * c + 1], w);
  for (int c = 0; c < 2; ++c) along_h[c] = lerp(along_w[2 * c], along_w[2 * c + 1], h);
  const double result = lerp(along_h[0], along_h[1], d);
  return static_cast<T>(std::is_integral_v<T> ? std::nearbyint(result) : result);
}

}  // namespace

template <typename T>
void resample(const Resampling& call, const T* image, const float* displacement, T* result,
              const Workers& workers) {
  const Positions positions(call, displacement);
  const int64_t step[3] = {positions.step(0), positions.step(1), positions.step(2)};
  const int64_t width = call.grid.size[2];
  const T outside = static_cast<T>(call.fills ? call.outside : 0);
  workers.parallel_for(call.grid.rows(), kNanoseconds * width, [&](int64_t begin, int64_t end) {
    Block block;
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t w = 0; w < width; w += kBlock) {
        const int count = static_cast<int>(std::min<int64_t>(kBlock, width - w));
        positions.locate(row, w, count, &block);
        T* target = result + row * width + w;
        for (int i = 0; i < count; ++i) {
          if (call.fills && !block.inside[i]) {
            target[i] = outside;
          } else {
            target[i] = value(call.lookup, image + block.lower[i], step, block.weight[0][i],
                              block.weight[1][i], block.weight[2][i]);
          }
        }
      }
    }
  });
}

template <typename Real>
void look_up_flow(const FlowLookup& call, const float* flow, Real* result,
                  const Workers& workers) {
  const VectorField field(call.flow, flow);
  const int64_t width = call.grid.size[2];
  workers.parallel_for(
      call.grid.rows(), 2 * kNanoseconds * width, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t d = row / call.grid.size[1], h = row % call.grid.size[1];
          double index[3], step[3], added[3], change[3];
          call.to_flow.row(d, h, index, step);
          call.affine.row(d, h, added, change);
          for (int64_t w = 0; w < width; ++w) {
            double here[3];
            for (int k = 0; k < 3; ++k) here[k] = index[k] + static_cast<double>(w) * step[k];
            const Four found = field.at(here).value;
            Real* target = result + 3 * (row * width + w);
            for (int k = 0; k < 3; ++k) {
              const double* vector = call.vector.at[k];
              target[k] = static_cast<Real>(added[k] + static_cast<double>(w) * change[k] +
                                            vector[0] * found[0] + vector[1] * found[1] +
                                            vector[2] * found[2]);
            }
          }
        }
      });
}

#define RCN_RESAMPLE(T) \
  template void resample(const Resampling&, const T*, const float*, T*, const Workers&)
RCN_RESAMPLE(uint8_t);
RCN_RESAMPLE(int8_t);
RCN_RESAMPLE(uint16_t);
RCN_RESAMPLE(int16_t);
RCN_RESAMPLE(uint32_t);
RCN_RESAMPLE(int32_t);
RCN_RESAMPLE(float);
RCN_RESAMPLE(double);
template void look_up_flow(const FlowLookup&, const float*, float*, const Workers&);
template void look_up_flow(const FlowLookup&, const float*, double*, const Workers&);

}  // namespace rcn
