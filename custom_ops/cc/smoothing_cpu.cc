// Two passes over memory: height and width plane by plane, in a buffer of one plane that stays
// in the cache, then the depth.

#include "smoothing_cpu.h"

#include <algorithm>

namespace rcn {
namespace {

// result[i] = sum_k kernel[k] (row_at(-k)[i] + row_at(k)[i]), the middle counted once.
template <typename Real, typename RowAt>
void add_rows(const HalfKernel& kernel, int64_t count, const RowAt& row_at,
              Real* __restrict result) {
  const Real* middle = row_at(0);
  const Real first = static_cast<Real>(kernel[0]);
  for (int64_t i = 0; i < count; ++i) result[i] = first * middle[i];
  for (int64_t k = 1; k < static_cast<int64_t>(kernel.size()); ++k) {
    const Real *before = row_at(-k), *after = row_at(k);
    const Real weight = static_cast<Real>(kernel[k]);
    for (int64_t i = 0; i < count; ++i) result[i] += weight * (before[i] + after[i]);
  }
}

// Smooths one row along itself; `wide` holds the row with its ends repeated on both sides.
template <typename Real>
void smooth_row(const HalfKernel& kernel, int64_t count, int64_t channels,
                std::vector<Real>* wide, Real* row) {
  const int64_t margin = (static_cast<int64_t>(kernel.size()) - 1) * channels;
  wide->resize(count + 2 * margin);
  Real* middle = wide->data() + margin;
  std::copy(row, row + count, middle);
  for (int64_t i = 0; i < margin; ++i) {
    middle[-margin + i] = row[i % channels];
    middle[count + i] = row[count - channels + i % channels];
  }
  add_rows(kernel, count, [&](int64_t k) { return middle + k * channels; }, row);
}

}  // namespace

template <typename Real>
void smooth(const Field& shape, const std::array<HalfKernel, 3>& kernels, const Real* field,
            Real* result, const Workers& workers) {
  std::vector<Real> in_planes(shape.batch * shape.depth * shape.plane());
  const auto last = [](int64_t k, int64_t size) {
    return std::min(std::max(k, int64_t{0}), size - 1);
  };
  workers.parallel_for(
      shape.batch * shape.depth, 16 * shape.plane(), [&](int64_t begin, int64_t end) {
        std::vector<Real> wide;
        for (int64_t plane = begin; plane < end; ++plane) {
          const Real* source = field + plane * shape.plane();
          Real* target = in_planes.data() + plane * shape.plane();
          for (int64_t y = 0; y < shape.height; ++y) {
            Real* row = target + y * shape.row;
            add_rows(
                kernels[1], shape.row,
                [&](int64_t k) { return source + last(y + k, shape.height) * shape.row; }, row);
            smooth_row(kernels[2], shape.row, shape.channels, &wide, row);
          }
        }
      });
  workers.parallel_for(shape.batch * shape.depth, 8 * shape.plane(),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t plane = begin; plane < end; ++plane) {
                           const int64_t z = plane % shape.depth, first = plane - z;
                           for (int64_t y = 0; y < shape.height; ++y) {
                             const auto row_at = [&](int64_t k) {
                               const int64_t other = first + last(z + k, shape.depth);
                               return in_planes.data() + other * shape.plane() + y * shape.row;
                             };
                             add_rows(kernels[0], shape.row, row_at,
                                      result + plane * shape.plane() + y * shape.row);
                           }
                         }
                       });
}

template void smooth(const Field&, const std::array<HalfKernel, 3>&, const float*, float*,
                     const Workers&);
template void smooth(const Field&, const std::array<HalfKernel, 3>&, const double*, double*,
                     const Workers&);

}  // namespace rcn
