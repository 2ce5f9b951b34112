// Sums over rows, planes and boxes of one sample, for local_ncc_cpu.cc. All sums are double.

#ifndef CUSTOM_OPS_CC_LOCAL_NCC_ROWS_H_
#define CUSTOM_OPS_CC_LOCAL_NCC_ROWS_H_

#include <algorithm>
#include <memory>
#include <vector>

#include "local_ncc.h"

namespace rcn {

// Span of planes or rows, end excluded.
struct Span {
  int64_t begin, end;

  Span widened(int64_t by, int64_t size) const {
    return {std::max<int64_t>(begin - by, 0), std::min(end + by, size)};
  }
  int64_t size() const { return end - begin; }
  bool holds(int64_t k) const { return k >= begin && k < end; }
};

// One sample [D, H, W C], its channels' means repeated along a row, and a call's constants.
template <typename Real>
struct Sample {
  const NccCall& call;
  const Real *fixed, *warped, *weights;  // weights [D, H, W C] or null: the mask, not negative
  const double *fixed_mean, *warped_mean;
  double scale;  // of the gradients: -1 / sum of the weights
  Real *warped_gradient, *fixed_gradient;

  int64_t row() const { return call.shape[2] * call.channels; }
  int64_t first(int64_t z, int64_t y) const { return (z * call.shape[1] + y) * row(); }
};

inline std::unique_ptr<double[]> room(int64_t count) {
  return std::unique_ptr<double[]>(new double[count]);
}

// The loops below take every array as an argument of its own: only then do compilers believe
// that none overlaps another, and vectorise.

// Adds `sign` times the products of a row of the images to the five sums.
template <typename Real>
void add_products(int64_t row, double sign, const Real* __restrict fixed,
                  const double* __restrict fixed_mean, const Real* __restrict warped,
                  const double* __restrict warped_mean, double* __restrict f,
                  double* __restrict w, double* __restrict ff, double* __restrict ww,
                  double* __restrict fw) {
  for (int64_t i = 0; i < row; ++i) {
    const double a = fixed[i] - fixed_mean[i], b = warped[i] - warped_mean[i];
    const double signed_a = sign * a, signed_b = sign * b;
    f[i] += signed_a;
    w[i] += signed_b;
    ff[i] += signed_a * a;
    ww[i] += signed_b * b;
    fw[i] += signed_a * b;
  }
}

// The same weighted, and the sum of the weights. A voxel without weight may hold NaN.
template <typename Real>
void add_weighted_products(int64_t row, double sign, const Real* __restrict weights,
                           const Real* __restrict fixed, const double* __restrict fixed_mean,
                           const Real* __restrict warped, const double* __restrict warped_mean,
                           double* __restrict f, double* __restrict w, double* __restrict ff,
                           double* __restrict ww, double* __restrict fw, double* __restrict m) {
  for (int64_t i = 0; i < row; ++i) {
    const double weight = weights[i];
    const double known_a = fixed[i] - fixed_mean[i], known_b = warped[i] - warped_mean[i];
    const double a = weight > 0 ? known_a : 0.0, b = weight > 0 ? known_b : 0.0;
    const double signed_a = sign * weight * a, signed_b = sign * weight * b;
    f[i] += signed_a;
    w[i] += signed_b;
    ff[i] += signed_a * a;
    ww[i] += signed_b * b;
    fw[i] += signed_a * b;
    m[i] += sign * weight;
  }
}

// For a row that enters and one that leaves.
template <typename Real>
void slide_products(int64_t row, const Real* __restrict fixed_in,
                    const Real* __restrict fixed_out, const double* __restrict fixed_mean,
                    const Real* __restrict warped_in, const Real* __restrict warped_out,
                    const double* __restrict warped_mean, double* __restrict f,
                    double* __restrict w, double* __restrict ff, double* __restrict ww,
                    double* __restrict fw) {
  for (int64_t i = 0; i < row; ++i) {
    const double a = fixed_in[i] - fixed_mean[i], b = warped_in[i] - warped_mean[i];
    const double c = fixed_out[i] - fixed_mean[i], d = warped_out[i] - warped_mean[i];
    f[i] += a - c;
    w[i] += b - d;
    ff[i] += a * a - c * c;
    ww[i] += b * b - d * d;
    fw[i] += a * b - c * d;
  }
}

// Adds `sign` times the products of row (z, y) to sums [kinds][row].
template <typename Real>
void add_plane(const Sample<Real>& sample, int64_t z, int64_t y, double sign, double* f) {
  const int64_t row = sample.row(), first = sample.first(z, y);
  const Real *fixed = sample.fixed + first, *warped = sample.warped + first;
  double *w = f + row, *ff = w + row, *ww = ff + row, *fw = ww + row, *m = fw + row;
  if (sample.weights) {
    add_weighted_products(row, sign, sample.weights + first, fixed, sample.fixed_mean, warped,
                          sample.warped_mean, f, w, ff, ww, fw, m);
  } else {
    add_products(row, sign, fixed, sample.fixed_mean, warped, sample.warped_mean, f, w, ff, ww,
                 fw);
  }
}

// Adds the products of row (entering, y) and subtracts those of (leaving, y).
template <typename Real>
void slide_planes(const Sample<Real>& sample, int64_t entering, int64_t leaving, int64_t y,
                  double* f) {
  if (sample.weights) {
    add_plane(sample, entering, y, 1.0, f);
    add_plane(sample, leaving, y, -1.0, f);
    return;
  }
  const int64_t row = sample.row();
  const int64_t in = sample.first(entering, y), out = sample.first(leaving, y);
  slide_products(row, sample.fixed + in, sample.fixed + out, sample.fixed_mean,
                 sample.warped + in, sample.warped + out, sample.warped_mean, f, f + row,
                 f + 2 * row, f + 3 * row, f + 4 * row);
}

inline void add_three(const double* __restrict a, const double* __restrict b,
                      const double* __restrict c, int64_t count, double* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] = a[i] + b[i] + c[i];
}

template <typename Value>
void add_row(const Value* __restrict from, int64_t count, double* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += from[i];
}

template <typename Value>
void subtract_row(const Value* __restrict from, int64_t count, double* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] -= from[i];
}

template <typename Value>
void slide_row(const Value* __restrict in, const Value* __restrict out, int64_t count,
               double* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) {
    sums[i] += static_cast<double>(in[i]) - static_cast<double>(out[i]);
  }
}

// Sums along x of `window` elements that are `step` apart: of `in`, which has
// count + (window - 1) step elements, from sums over 3, 9, 27, ... of them.
class AlongRow {
 public:
  AlongRow(int64_t count, int64_t window, int64_t step)
      : count_(count), window_(window), step_(step), spare_(room(2 * length(1))) {}

  int64_t length(int64_t summed) const { return count_ + (window_ - summed) * step_; }
  int64_t margin() const { return window_ / 2 * step_; }

  void operator()(const double* in, double* out) const {
    const double* sums = in;  // of `power` elements
    int64_t start = 0;        // elements of the window that `out` has
    for (int64_t power = 1;; power *= 3) {
      for (int64_t digit = window_ / power % 3; digit > 0; --digit, start += power) {
        const double* from = sums + start * step_;
        if (start == 0) {
          std::copy(from, from + count_, out);
        } else {
          add_row(from, count_, out);
        }
      }
      if (3 * power > window_) return;
      const int64_t apart = power * step_;
      const bool last = 3 * power == window_;
      double* next = last ? out : spare_.get() + (sums == spare_.get() ? length(1) : 0);
      add_three(sums, sums + apart, sums + 2 * apart, length(3 * power), next);
      if (last) return;
      sums = next;
    }
  }

 private:
  const int64_t count_, window_, step_;
  const std::unique_ptr<double[]> spare_;
};

// Sums over boxes of `kinds` quantities of which a plane of sums along z exists: rows slide
// along y, and each row is then summed along x.
class InPlane {
 public:
  InPlane(const NccCall& call, int kinds)
      : kinds_(kinds),
        row_(call.shape[2] * call.channels),
        reach_(call.reach(1)),
        along_row_(row_, 2 * call.reach(2) + 1, call.channels),
        sliding_(room(kinds * along_row_.length(1))),
        sums_(room(kinds * row_)) {}

  // Calls bring_up(y) -> sums along z [kinds][row] of every row of `rows` in turn, then
  // use(y, box sums [kinds][row]) for each row of `wanted`. Rows of `rows` stay where they are.
  template <typename BringUp, typename Use>
  void operator()(const Span& rows, const Span& wanted, const BringUp& bring_up,
                  const Use& use) {
    const int64_t length = along_row_.length(1), margin = along_row_.margin();
    std::fill(sliding_.get(), sliding_.get() + kinds_ * length, 0.0);
    std::vector<const double*> held(rows.size());
    int64_t next = rows.begin, oldest = rows.begin;
    for (int64_t y = wanted.begin; y < wanted.end; ++y) {
      while (next < std::min(y + reach_ + 1, rows.end)) {
        const double* entering = held[next - rows.begin] = bring_up(next);
        const bool leaves = oldest < y - reach_;
        const double* leaving = held[oldest - rows.begin];
        for (int k = 0; k < kinds_; ++k) {
          double* sums = sliding_.get() + k * length + margin;
          if (leaves) {
            slide_row(entering + k * row_, leaving + k * row_, row_, sums);
          } else {
            add_row(entering + k * row_, row_, sums);
          }
        }
        oldest += leaves;
        ++next;
      }
      for (; oldest < y - reach_; ++oldest) {
        for (int k = 0; k < kinds_; ++k) {
          subtract_row(held[oldest - rows.begin] + k * row_, row_,
                       sliding_.get() + k * length + margin);
        }
      }
      for (int k = 0; k < kinds_; ++k) {
        along_row_(sliding_.get() + k * length, sums_.get() + k * row_);
      }
      use(y, sums_.get());
    }
    for (; next < rows.end; ++next) bring_up(next);
  }

 private:
  const int kinds_;
  const int64_t row_, reach_;
  const AlongRow along_row_;
  const std::unique_ptr<double[]> sliding_, sums_;
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LOCAL_NCC_ROWS_H_
