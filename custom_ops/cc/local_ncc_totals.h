// What local_ncc_cpu.cc must know of whole volumes before it looks at windows.

#ifndef CUSTOM_OPS_CC_LOCAL_NCC_TOTALS_H_
#define CUSTOM_OPS_CC_LOCAL_NCC_TOTALS_H_

#include <algorithm>
#include <memory>
#include <vector>

#include "local_ncc_rows.h"
#include "warp_cpu.h"

namespace rcn {

// The mask, once per channel; what is not positive, NaN included, becomes zero.
template <typename Real>
void fill_weights(const Real* mask, int64_t voxels, int64_t channels, Real* weights) {
  for (int64_t x = 0; x < voxels; ++x) {
    const Real weight = mask[x] > 0 ? mask[x] : Real(0);
    if (channels == 1) {
      weights[x] = weight;
    } else {
      std::fill(weights + x * channels, weights + (x + 1) * channels, weight);
    }
  }
}

// Sums of a plane per channel, [3][C]: of both images, weighted, and of the weights.
template <typename Real>
void sum_plane(const NccCall& call, const Real* fixed, const Real* warped, const Real* weights,
               double* sums) {
  const int64_t channels = call.channels, row = call.shape[2] * channels;
  const auto columns = room(3 * row);
  double* __restrict f = columns.get(), * __restrict w = f + row, * __restrict m = w + row;
  std::fill(f, f + 3 * row, 0.0);
  for (int64_t y = 0; y < call.shape[1]; ++y) {
    const Real* __restrict a = fixed + y * row, * __restrict b = warped + y * row;
    if (weights == nullptr) {
      for (int64_t i = 0; i < row; ++i) {
        f[i] += a[i];
        w[i] += b[i];
        m[i] += 1;
      }
      continue;
    }
    const Real* __restrict c = weights + y * row;
    for (int64_t i = 0; i < row; ++i) {
      const double weight = c[i];
      f[i] += weight > 0 ? weight * a[i] : 0.0;
      w[i] += weight > 0 ? weight * b[i] : 0.0;
      m[i] += weight;
    }
  }
  std::fill(sums, sums + 3 * channels, 0.0);
  for (int64_t i = 0; i < 3 * row; ++i) sums[i / row * channels + i % channels] += columns[i];
}

// Weights of all voxels, their sums, and the means of both images.
template <typename Real>
struct Totals {
  std::unique_ptr<Real[]> weights;   // [B, D, H, W C]; null without a mask
  std::vector<double> means;         // of both images, [B][2][W C]
  std::vector<double> total_weight;  // of all voxels and channels, [B]

  Totals(const NccCall& call, const Real* fixed, const Real* warped, const Real* mask,
         const Workers& workers)
      : means(call.batch * 2 * call.shape[2] * call.channels), total_weight(call.batch) {
    const int64_t depth = call.shape[0], channels = call.channels;
    const int64_t row = call.shape[2] * channels, plane = call.shape[1] * row;
    if (mask) weights.reset(new Real[call.batch * depth * plane]);
    std::vector<double> of_planes(call.batch * depth * 3 * channels);
    workers.parallel_for(call.batch * depth, plane / 2 + 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        Real* weight = mask ? weights.get() + k * plane : nullptr;
        if (mask) fill_weights(mask + k * plane / channels, plane / channels, channels, weight);
        sum_plane(call, fixed + k * plane, warped + k * plane, weight,
                  &of_planes[k * 3 * channels]);
      }
    });
    for (int64_t item = 0; item < call.batch; ++item) {
      std::vector<double> sums(3 * channels);
      for (int64_t k = 0; k < depth * 3 * channels; ++k) {
        sums[k % (3 * channels)] += of_planes[item * depth * 3 * channels + k];
      }
      for (int64_t c = 0; c < channels; ++c) total_weight[item] += sums[2 * channels + c];
      for (int64_t i = 0; i < 2 * row; ++i) {
        const double weight = sums[2 * channels + i % channels];
        means[2 * item * row + i] =
            weight > 0 ? sums[i / row * channels + i % channels] / weight : 0.0;
      }
    }
  }
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LOCAL_NCC_TOTALS_H_
