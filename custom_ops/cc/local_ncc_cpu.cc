// Local NCC by sliding sums. A unit of work is a slab of planes of a tile of rows:
//
//   images -> sums along z -> along y -> along x -> terms A, B, C  (`Windows`)
//          terms of the last planes -> sums along z -> y -> x -> gradient  (`Gathering`)
//
// The sums along z and y slide: what enters the window is added, what leaves it subtracted.
// Along x they are added up anew. Only the sums along z (one plane) and the terms (as many
// planes as the window is deep) are kept, so that images are read and gradients written once,
// but for the slab's borders, which two slabs compute.
//
// Sums are double: they neither drift nor lose a small variance beside a large mean. They
// start anew every kAnchor planes, counted from the volume's first one, and at every tile.
// So neither the slabs nor the threads change a bit of the result.

#include "local_ncc_cpu.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace rcn {
namespace {

constexpr int64_t kAnchor = 8;             // planes between two fresh starts of the sums along z
constexpr int64_t kTileElements = 1 << 15;  // of a plane of sums, to stay in the cache

// Range of planes or rows, end excluded.
struct Range {
  int64_t begin, end;

  Range widened(int64_t by, int64_t size) const {
    return {std::max<int64_t>(begin - by, 0), std::min(end + by, size)};
  }
  int64_t size() const { return end - begin; }
  bool holds(int64_t k) const { return k >= begin && k < end; }
};

// One sample [D, H, W C], its channels' means repeated along a row, and a call's constants.
template <typename Real>
struct Sample {
  const NccCall& call;
  const Real *fixed, *warped, *mask;  // mask [D, H, W] or null
  const double *fixed_mean, *warped_mean;
  double scale;  // of the gradients: -1 / sum of the weights
  Real *warped_gradient, *fixed_gradient;

  int64_t row() const { return call.shape[2] * call.channels; }
  int64_t first(int64_t z, int64_t y) const { return (z * call.shape[1] + y) * row(); }
};

std::unique_ptr<double[]> room(int64_t count) {
  return std::unique_ptr<double[]>(new double[count]);
}

// The mask of a row, once per channel; what is not positive, NaN included, counts as zero.
template <typename Real>
void mask_row(const Sample<Real>& sample, int64_t z, int64_t y, double* __restrict weights) {
  const int64_t width = sample.call.shape[2], channels = sample.call.channels;
  const Real* mask = sample.mask + (z * sample.call.shape[1] + y) * width;
  for (int64_t x = 0; x < width; ++x) {
    const double weight = mask[x] > 0 ? static_cast<double>(mask[x]) : 0.0;
    for (int64_t c = 0; c < channels; ++c) weights[x * channels + c] = weight;
  }
}

// --- sums over rows ------------------------------------------------------------------

// Adds `sign` times the products of one row of the images to sums[k][row].
template <typename Real>
void add_products(const Sample<Real>& sample, int64_t z, int64_t y, double sign,
                  const double* __restrict weights, double* sums) {
  const int64_t row = sample.row(), first = sample.first(z, y);
  const Real* __restrict fixed = sample.fixed + first;
  const Real* __restrict warped = sample.warped + first;
  const double* __restrict fixed_mean = sample.fixed_mean;
  const double* __restrict warped_mean = sample.warped_mean;
  double *__restrict f = sums, *__restrict w = f + row, *__restrict ff = w + row;
  double *__restrict ww = ff + row, *__restrict fw = ww + row;
  if (weights == nullptr) {
    for (int64_t i = 0; i < row; ++i) {
      const double a = fixed[i] - fixed_mean[i], b = warped[i] - warped_mean[i];
      const double signed_a = sign * a, signed_b = sign * b;
      f[i] += signed_a;
      w[i] += signed_b;
      ff[i] += signed_a * a;
      ww[i] += signed_b * b;
      fw[i] += signed_a * b;
    }
    return;
  }
  double* __restrict m = fw + row;
  for (int64_t i = 0; i < row; ++i) {
    const double weight = weights[i];
    const double a = weight > 0 ? fixed[i] - fixed_mean[i] : 0.0;
    const double b = weight > 0 ? warped[i] - warped_mean[i] : 0.0;
    const double signed_a = sign * weight * a, signed_b = sign * weight * b;
    f[i] += signed_a;
    w[i] += signed_b;
    ff[i] += signed_a * a;
    ww[i] += signed_b * b;
    fw[i] += signed_a * b;
    m[i] += sign * weight;
  }
}

// The same for a row that enters and one that leaves, without a mask.
template <typename Real>
void slide_products(const Sample<Real>& sample, int64_t entering, int64_t leaving, int64_t y,
                    double* sums) {
  const int64_t row = sample.row();
  const int64_t in = sample.first(entering, y), out = sample.first(leaving, y);
  const Real *__restrict fixed_in = sample.fixed + in, *__restrict warped_in = sample.warped + in;
  const Real* __restrict fixed_out = sample.fixed + out;
  const Real* __restrict warped_out = sample.warped + out;
  const double* __restrict fixed_mean = sample.fixed_mean;
  const double* __restrict warped_mean = sample.warped_mean;
  double *__restrict f = sums, *__restrict w = f + row, *__restrict ff = w + row;
  double *__restrict ww = ff + row, *__restrict fw = ww + row;
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
// count + (window - 1) step elements, from sums over 2, 4, 8, ... of them.
class AlongRow {
 public:
  AlongRow(int64_t count, int64_t window, int64_t step)
      : count_(count), window_(window), step_(step), spare_(room(2 * length(1))) {}

  int64_t length(int64_t power) const { return count_ + (window_ - power) * step_; }
  int64_t margin() const { return window_ / 2 * step_; }

  void operator()(const double* in, double* out) const {
    const double* sums = in;
    int64_t start = 0;
    for (int64_t power = 1;; power *= 2) {
      if (window_ & power) {
        const double* from = sums + start * step_;
        if (start == 0) {
          std::copy(from, from + count_, out);
        } else {
          add_row(from, count_, out);
        }
        start += power;
      }
      if (2 * power > window_) return;
      double* next = spare_.get() + (sums == spare_.get() ? length(1) : 0);
      pair_sums(sums, sums + power * step_, length(2 * power), next);
      sums = next;
    }
  }

 private:
  static void pair_sums(const double* __restrict lower, const double* __restrict upper,
                        int64_t count, double* __restrict sums) {
    for (int64_t i = 0; i < count; ++i) sums[i] = lower[i] + upper[i];
  }

  const int64_t count_, window_, step_;
  const std::unique_ptr<double[]> spare_;
};

// Sums over boxes of `kinds` quantities of which a plane of sums along z exists: rows slide
// along y, and each row is then summed along x.
class InPlane {
 public:
  InPlane(const NccCall& call, int kinds)
      : kinds_(kinds), row_(call.shape[2] * call.channels), reach_(call.reach(1)),
        along_row_(row_, 2 * call.reach(2) + 1, call.channels),
        sliding_(room(kinds * along_row_.length(1))), sums_(room(kinds * row_)) {}

  // Calls bring_up(y) -> sums along z [kinds][row] of every row of `rows` in turn, then
  // use(y, box sums [kinds][row]) for each row of `wanted`. Rows of `rows` stay where they are.
  template <typename BringUp, typename Use>
  void operator()(const Range& rows, const Range& wanted, const BringUp& bring_up,
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

// --- one slab ------------------------------------------------------------------------

// Terms of windows, plane by plane in ascending order.
template <typename Real>
class Windows {
 public:
  Windows(const Sample<Real>& sample, int terms, const Range& rows)
      : sample_(sample), terms_(terms), kinds_(sample.mask ? 6 : 5), row_(sample.row()),
        reach_(sample.call.reach(0)), rows_(rows.widened(sample.call.reach(1), height())),
        wanted_(rows), in_plane_(sample.call, kinds_),
        along_z_(room(rows_.size() * kinds_ * row_)), weights_(room(row_)), ratios_(room(row_)),
        shares_(room(row_)) {
    for (int64_t i = 0; i < row_; ++i) {
      shares_[i] = 1.0 / inside(i / sample.call.channels, 2);
    }
  }

  // Plane z's terms [rows][terms][row] and the sum of its ratios over the rows `counted`.
  double operator()(int64_t z, const Range& counted, Real* terms) {
    // From the last fresh start on, which is in no plane before the one that was asked for last.
    for (int64_t k = z < at_ || at_ < 0 ? z / kAnchor * kAnchor : at_ + 1; k < z; ++k) {
      for (int64_t y = rows_.begin; y < rows_.end; ++y) bring_up(k, y);
    }
    at_ = z;
    std::fill(ratios_.get(), ratios_.get() + row_, 0.0);
    in_plane_(
        rows_, wanted_, [&](int64_t y) { return bring_up(z, y); },
        [&](int64_t y, const double* sums) {
          Real* out = terms + (y - wanted_.begin) * terms_ * row_;
          if (sample_.call.squared) {
            write_terms<true>(z, y, sums, counted.holds(y), out);
          } else {
            write_terms<false>(z, y, sums, counted.holds(y), out);
          }
        });
    double sum = 0;
    for (int64_t i = 0; i < row_; ++i) sum += ratios_[i];
    return sum;
  }

 private:
  int64_t height() const { return sample_.call.shape[1]; }
  int64_t depth() const { return sample_.call.shape[0]; }

  // Voxels of the box around position k of an axis that lie inside the volume.
  double inside(int64_t k, int axis) const {
    const int64_t reach = sample_.call.reach(axis);
    return Range{k, k + 1}.widened(reach, sample_.call.shape[axis]).size();
  }

  // Sums along z at (z, y), from those at (z - 1, y) or anew.
  const double* bring_up(int64_t z, int64_t y) {
    double* sums = along_z_.get() + (y - rows_.begin) * kinds_ * row_;
    if (z % kAnchor == 0) {
      const Range planes = Range{z, z + 1}.widened(reach_, depth());
      std::fill(sums, sums + kinds_ * row_, 0.0);
      for (int64_t k = planes.begin; k < planes.end; ++k) add(k, y, 1.0, sums);
      return sums;
    }
    const int64_t entering = z + reach_, leaving = z - reach_ - 1;
    if (entering < depth() && leaving >= 0 && !sample_.mask) {
      slide_products(sample_, entering, leaving, y, sums);
      return sums;
    }
    if (entering < depth()) add(entering, y, 1.0, sums);
    if (leaving >= 0) add(leaving, y, -1.0, sums);
    return sums;
  }

  void add(int64_t z, int64_t y, double sign, double* sums) {
    if (sample_.mask) mask_row(sample_, z, y, weights_.get());
    add_products(sample_, z, y, sign, sample_.mask ? weights_.get() : nullptr, sums);
  }

  template <bool squared>
  void write_terms(int64_t z, int64_t y, const double* sums, bool counts, Real* out) {
    if (sample_.mask) {
      mask_row(sample_, z, y, weights_.get());
      const double *weights = weights_.get(), *weight_sums = sums + 5 * row_;
      write_row<squared>(
          sums, counts, out, [=](int64_t i) { return weights[i] > 0 ? 1 / weight_sums[i] : 0.0; },
          [=](int64_t i) { return weights[i]; });
    } else {
      const double share = 1.0 / (inside(z, 0) * inside(y, 1));
      const double* shares = shares_.get();
      write_row<squared>(
          sums, counts, out, [=](int64_t i) { return share * shares[i]; },
          [](int64_t) { return 1.0; });
    }
  }

  template <bool squared, typename Share, typename Weight>
  void write_row(const double* sums, bool counts, Real* out, const Share& share,
                 const Weight& weight) {
    const double floor = sample_.call.floor, counted = counts ? 1.0 : 0.0;
    const double *__restrict f = sums, *__restrict w = f + row_, *__restrict ff = w + row_;
    const double *__restrict ww = ff + row_, *__restrict fw = ww + row_;
    double* __restrict ratios = ratios_.get();
    Real *__restrict cross = out, *__restrict slope = out + row_, *__restrict rest = slope + row_;
    Real *__restrict fixed_slope = rest + row_, *__restrict fixed_rest = fixed_slope + row_;
    const auto at = [&](int64_t i) {
      const NccSums<double> box = {f[i], w[i], ff[i], ww[i], fw[i]};
      const auto terms = ncc_terms<squared>(box, share(i), weight(i), floor);
      ratios[i] += counted * terms.ratio;
      return terms;
    };
    if (terms_ == 0) {
      for (int64_t i = 0; i < row_; ++i) at(i);
      return;
    }
    if (terms_ == 3) {
      for (int64_t i = 0; i < row_; ++i) {
        const auto terms = at(i);
        cross[i] = static_cast<Real>(terms.cross);
        slope[i] = static_cast<Real>(terms.warped_slope);
        rest[i] = static_cast<Real>(terms.warped_rest);
      }
      return;
    }
    for (int64_t i = 0; i < row_; ++i) {
      const auto terms = at(i);
      cross[i] = static_cast<Real>(terms.cross);
      slope[i] = static_cast<Real>(terms.warped_slope);
      rest[i] = static_cast<Real>(terms.warped_rest);
      fixed_slope[i] = static_cast<Real>(terms.fixed_slope);
      fixed_rest[i] = static_cast<Real>(terms.fixed_rest);
    }
  }

  const Sample<Real>& sample_;
  const int terms_, kinds_;
  const int64_t row_, reach_;
  const Range rows_, wanted_;
  InPlane in_plane_;
  const std::unique_ptr<double[]> along_z_, weights_, ratios_, shares_;
  int64_t at_ = -1;  // plane of `along_z_`
};

// The gradients of a plane from the box sums of the terms.
template <typename Real>
class Gathering {
 public:
  // `rows` are those of the terms.
  Gathering(const Sample<Real>& sample, int terms, const Range& rows, const Range& wanted)
      : sample_(sample), terms_(terms), row_(sample.row()), reach_(sample.call.reach(0)),
        rows_(rows), wanted_(wanted), slots_(std::min(2 * reach_ + 2, sample.call.shape[0])),
        plane_(rows.size() * terms * row_), in_plane_(sample.call, terms),
        ring_(new Real[slots_ * plane_]), along_z_(room(plane_)), weights_(room(row_)) {}

  // Where the terms of plane z belong.
  Real* slot(int64_t z) { return ring_.get() + z % slots_ * plane_; }

  // Writes plane z; the slots have the terms of the planes around it, and z follows the
  // last plane or is a fresh start.
  void operator()(int64_t z) {
    in_plane_(
        rows_, wanted_, [&](int64_t y) { return bring_up(z, y); },
        [&](int64_t y, const double* sums) { write(z, y, sums); });
  }

 private:
  const double* bring_up(int64_t z, int64_t y) {
    const int64_t first = (y - rows_.begin) * terms_ * row_, count = terms_ * row_;
    const int64_t depth = sample_.call.shape[0];
    double* sums = along_z_.get() + first;
    if (z % kAnchor == 0) {
      const Range planes = Range{z, z + 1}.widened(reach_, depth);
      std::fill(sums, sums + count, 0.0);
      for (int64_t k = planes.begin; k < planes.end; ++k) add_row(slot(k) + first, count, sums);
      return sums;
    }
    const int64_t entering = z + reach_, leaving = z - reach_ - 1;
    if (entering < depth && leaving >= 0) {
      slide_row(slot(entering) + first, slot(leaving) + first, count, sums);
    } else if (entering < depth) {
      add_row(slot(entering) + first, count, sums);
    } else if (leaving >= 0) {
      subtract_row(slot(leaving) + first, count, sums);
    }
    return sums;
  }

  void write(int64_t z, int64_t y, const double* sums) {
    const double *cross = sums, *slope = sums + row_, *rest = sums + 2 * row_;
    const int64_t first = sample_.first(z, y);
    if (sample_.mask) mask_row(sample_, z, y, weights_.get());
    write_row(sample_.fixed, sample_.fixed_mean, sample_.warped, sample_.warped_mean, first, cross,
              slope, rest, sample_.warped_gradient);
    if (terms_ > 3) {
      write_row(sample_.warped, sample_.warped_mean, sample_.fixed, sample_.fixed_mean, first,
                cross, slope + 2 * row_, rest + 2 * row_, sample_.fixed_gradient);
    }
  }

  // scale m (A other + B own + C)
  void write_row(const Real* other_image, const double* __restrict other_mean,
                 const Real* own_image, const double* __restrict own_mean, int64_t first,
                 const double* __restrict cross, const double* __restrict slope,
                 const double* __restrict rest, Real* gradient) const {
    const Real *__restrict other = other_image + first, *__restrict own = own_image + first;
    Real* __restrict out = gradient + first;
    const double scale = sample_.scale;
    const auto at = [&](int64_t i) {
      return scale * (cross[i] * (other[i] - other_mean[i]) + slope[i] * (own[i] - own_mean[i]) +
                      rest[i]);
    };
    if (!sample_.mask) {
      for (int64_t i = 0; i < row_; ++i) out[i] = static_cast<Real>(at(i));
      return;
    }
    const double* __restrict weights = weights_.get();
    for (int64_t i = 0; i < row_; ++i) {
      out[i] = static_cast<Real>(weights[i] > 0 ? weights[i] * at(i) : 0.0);
    }
  }

  const Sample<Real>& sample_;
  const int terms_;
  const int64_t row_, reach_;
  const Range rows_, wanted_;
  const int64_t slots_, plane_;
  InPlane in_plane_;
  const std::unique_ptr<Real[]> ring_;
  const std::unique_ptr<double[]> along_z_, weights_;
};

// Gradients of the planes and rows of one unit of work, and the sum of the ratios of each of
// its planes: ratio_sums[z].
template <typename Real>
void run_unit(const Sample<Real>& sample, int terms, const Range& planes, const Range& rows,
              double* ratio_sums) {
  const int64_t depth = sample.call.shape[0];
  if (terms == 0) {
    Windows<Real> windows(sample, terms, rows);
    for (int64_t z = planes.begin; z < planes.end; ++z) {
      ratio_sums[z] = windows(z, rows, nullptr);
    }
    return;
  }
  const Range around = rows.widened(sample.call.reach(1), sample.call.shape[1]);
  Windows<Real> windows(sample, terms, around);
  Gathering<Real> gathering(sample, terms, around, rows);
  int64_t next = std::max<int64_t>(planes.begin - sample.call.reach(0), 0);
  for (int64_t z = planes.begin; z < planes.end; ++z) {
    for (; next < std::min(z + sample.call.reach(0) + 1, depth); ++next) {
      const double sum = windows(next, rows, gathering.slot(next));
      if (planes.holds(next)) ratio_sums[next] = sum;
    }
    gathering(z);
  }
}

// --- whole volumes -------------------------------------------------------------------

// Sums of a plane per channel: [2][C] of the images, weighted by the mask, then the mask's.
template <typename Real>
void sum_plane(const NccCall& call, const Real* fixed, const Real* warped, const Real* mask,
               int64_t plane, double* sums) {
  const int64_t width = call.shape[2], channels = call.channels, row = width * channels;
  const auto columns = room(2 * row);
  double *__restrict f = columns.get(), *__restrict w = f + row;
  std::fill(f, f + 2 * row, 0.0);
  double weight_sum = 0;
  for (int64_t y = 0; y < call.shape[1]; ++y) {
    const int64_t first = (plane * call.shape[1] + y) * row;
    const Real *__restrict a = fixed + first, *__restrict b = warped + first;
    if (!mask) {
      for (int64_t i = 0; i < row; ++i) {
        f[i] += a[i];
        w[i] += b[i];
      }
      continue;
    }
    for (int64_t x = 0; x < width; ++x) {
      const double weight = mask[first / channels + x];
      if (!(weight > 0)) continue;
      weight_sum += weight;
      for (int64_t i = x * channels; i < (x + 1) * channels; ++i) {
        f[i] += weight * a[i];
        w[i] += weight * b[i];
      }
    }
  }
  std::fill(sums, sums + 2 * channels + 1, 0.0);
  for (int64_t i = 0; i < row; ++i) {
    sums[i % channels] += f[i];
    sums[channels + i % channels] += w[i];
  }
  sums[2 * channels] = mask ? weight_sum : static_cast<double>(width * call.shape[1]);
}

// Means of both images [B][2][W C] and the sums of the weights [B].
struct Means {
  std::vector<double> along_row, weights;

  template <typename Real>
  Means(const NccCall& call, const Real* fixed, const Real* warped, const Real* mask,
        const Workers& workers) {
    const int64_t depth = call.shape[0], channels = call.channels, kinds = 2 * channels + 1;
    const int64_t row = call.shape[2] * channels;
    std::vector<double> of_planes(call.batch * depth * kinds);
    workers.parallel_for(
        call.batch * depth, call.shape[1] * row / 2 + 1, [&](int64_t begin, int64_t end) {
          for (int64_t plane = begin; plane < end; ++plane) {
            sum_plane(call, fixed, warped, mask, plane, &of_planes[plane * kinds]);
          }
        });
    for (int64_t item = 0; item < call.batch; ++item) {
      std::vector<double> sums(kinds);
      for (int64_t z = 0; z < depth; ++z) {
        for (int64_t k = 0; k < kinds; ++k) sums[k] += of_planes[(item * depth + z) * kinds + k];
      }
      const double weight = sums[2 * channels];
      weights.push_back(weight);
      for (int64_t i = 0; i < 2 * row; ++i) {
        const double sum = sums[i / row * channels + i % channels];
        along_row.push_back(weight > 0 ? sum / weight : 0.0);
      }
    }
  }
};

// Rows of a tile: chosen by the shape alone, since sums start anew with each tile.
int64_t tile_rows(const NccCall& call) {
  const int64_t row = call.shape[2] * call.channels;
  return std::max(std::max<int64_t>(kTileElements / row, 1), 8 * call.reach(1));
}

}  // namespace

template <typename Real>
void local_ncc(const NccCall& call, NccGradients gradients, const Real* fixed,
               const Real* warped, const Real* mask, Real* values, Real* warped_gradient,
               Real* fixed_gradient, const Workers& workers) {
  const int64_t depth = call.shape[0], height = call.shape[1];
  const int64_t row = call.shape[2] * call.channels, item_size = depth * height * row;
  const int terms = gradients == NccGradients::kNone     ? 0
                    : gradients == NccGradients::kWarped ? 3
                                                         : 5;
  const Means means(call, fixed, warped, mask, workers);
  const int64_t tiles = (height + tile_rows(call) - 1) / tile_rows(call);
  const int64_t blocks = (depth + kAnchor - 1) / kAnchor;
  const int64_t parts = call.batch * tiles;
  const int64_t slabs = std::clamp<int64_t>((workers.threads + parts - 1) / parts, 1, blocks);
  std::vector<double> ratio_sums(parts * depth);
  const int64_t cost = item_size / (tiles * slabs) * 16 + 1;
  workers.parallel_for(parts * slabs, cost, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t part = unit / slabs, slab = unit % slabs;
      const int64_t item = part / tiles, tile = part % tiles;
      const double* mean = &means.along_row[2 * item * row];
      const double weight = means.weights[item] * call.channels;
      const int64_t first = item * item_size;
      const Sample<Real> sample = {
          call,
          fixed + first,
          warped + first,
          mask ? mask + first / call.channels : nullptr,
          mean,
          mean + row,
          weight > 0 ? -1 / weight : 0.0,
          terms > 0 ? warped_gradient + first : nullptr,
          terms > 3 ? fixed_gradient + first : nullptr,
      };
      const Range planes = {blocks * slab / slabs * kAnchor,
                            std::min(blocks * (slab + 1) / slabs * kAnchor, depth)};
      const Range rows = {height * tile / tiles, height * (tile + 1) / tiles};
      run_unit(sample, terms, planes, rows, &ratio_sums[part * depth]);
    }
  });
  for (int64_t item = 0; item < call.batch; ++item) {
    const int64_t per_item = tiles * depth;
    double sum = 0;
    for (int64_t k = 0; k < per_item; ++k) sum += ratio_sums[item * per_item + k];
    const double weight = means.weights[item] * call.channels;
    values[item] = static_cast<Real>(weight > 0 ? 1 - sum / weight : 1.0);
  }
}

template void local_ncc(const NccCall&, NccGradients, const float*, const float*, const float*,
                        float*, float*, float*, const Workers&);
template void local_ncc(const NccCall&, NccGradients, const double*, const double*,
                        const double*, double*, double*, double*, const Workers&);

}  // namespace rcn
