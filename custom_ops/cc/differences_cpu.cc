// Squared differences between neighbours, row by row; a plane is the unit of work.

#include "differences_cpu.h"

#include <algorithm>
#include <vector>

namespace rcn {
namespace {

constexpr int kLanes = 16;  // partial sums that a loop keeps in parallel, so that it vectorises

// Sum of (upper[i] - lower[i])^2.
template <typename Real>
double row_sum(const Real* lower, const Real* upper, int64_t count) {
  Real lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) {
      const Real difference = upper[i + k] - lower[i + k];
      lanes[k] += difference * difference;
    }
  }
  double sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += lanes[k];
  for (; i < count; ++i) {
    const double difference = upper[i] - lower[i];
    sum += difference * difference;
  }
  return sum;
}

// result[i] += factor (lower[i] - upper[i]).
template <typename Real>
void add_row(const Real* lower, const Real* upper, int64_t count, Real factor,
             Real* __restrict result) {
  for (int64_t i = 0; i < count; ++i) result[i] += factor * (lower[i] - upper[i]);
}

template <typename Visit>
void for_each_row_of_plane(const Field& shape, int64_t plane, const Visit& visit) {
  const int64_t z = plane % shape.depth;
  for (int64_t y = 0; y < shape.height; ++y) {
    visit(plane * shape.plane() + y * shape.row, z, y);
  }
}

}  // namespace

template <typename Real>
void squared_differences(const Field& shape, const Real* field, Real* sums,
                         const Workers& workers) {
  std::vector<double> of_plane(shape.batch * shape.depth);
  const int64_t along_row = shape.row - shape.channels;
  workers.parallel_for(of_plane.size(), shape.plane(), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      double sum = 0;
      for_each_row_of_plane(shape, plane, [&](int64_t first, int64_t z, int64_t y) {
        const Real* row = field + first;
        sum += row_sum(row, row + shape.channels, along_row);
        if (y + 1 < shape.height) sum += row_sum(row, row + shape.row, shape.row);
        if (z + 1 < shape.depth) sum += row_sum(row, row + shape.plane(), shape.row);
      });
      of_plane[plane] = sum;
    }
  });
  for (int64_t item = 0; item < shape.batch; ++item) {
    double sum = 0;
    for (int64_t z = 0; z < shape.depth; ++z) sum += of_plane[item * shape.depth + z];
    sums[item] = static_cast<Real>(sum);
  }
}

template <typename Real>
void squared_differences_gradient(const Field& shape, const Real* field, const Real* upstream,
                                  Real* gradient, const Workers& workers) {
  const int64_t along_row = shape.row - shape.channels;
  workers.parallel_for(
      shape.batch * shape.depth, 2 * shape.plane(), [&](int64_t begin, int64_t end) {
        for (int64_t plane = begin; plane < end; ++plane) {
          const Real factor = 2 * upstream[plane / shape.depth];
          for_each_row_of_plane(shape, plane, [&](int64_t first, int64_t z, int64_t y) {
            const Real* row = field + first;
            Real* out = gradient + first;
            std::fill(out, out + shape.row, Real(0));
            const auto add = [&](bool exists, int64_t step, int64_t start, int64_t count) {
              if (exists) add_row(row + start, row + start + step, count, factor, out + start);
            };
            add(true, shape.channels, 0, along_row);
            add(true, -shape.channels, shape.channels, along_row);
            add(y + 1 < shape.height, shape.row, 0, shape.row);
            add(y > 0, -shape.row, 0, shape.row);
            add(z + 1 < shape.depth, shape.plane(), 0, shape.row);
            add(z > 0, -shape.plane(), 0, shape.row);
          });
        }
      });
}

template void squared_differences(const Field&, const float*, float*, const Workers&);
template void squared_differences(const Field&, const double*, double*, const Workers&);
template void squared_differences_gradient(const Field&, const float*, const float*, float*,
                                           const Workers&);
template void squared_differences_gradient(const Field&, const double*, const double*, double*,
                                           const Workers&);

}  // namespace rcn
