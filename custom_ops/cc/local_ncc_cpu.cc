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
#include <type_traits>
#include <vector>

#include "local_ncc_rows.h"
#include "local_ncc_totals.h"

namespace rcn {
namespace {

constexpr int64_t kAnchor = 16;  // planes between two fresh starts of the sums along z
constexpr int64_t kTileElements = 1 << 15;  // of a plane of sums, to stay in the cache

// --- one slab ------------------------------------------------------------------------

// Terms [kTerms][row] of a row of windows from their sums; where they count, their ratios are
// added to `ratios`. 1 / n is share * shares[i].
template <bool squared, int kTerms, typename Real>
void term_row(const double* sums, int64_t row, double share, const double* __restrict shares,
              const Real* __restrict weights, double floor, bool counts,
              double* __restrict ratios, Real* out) {
  const double* __restrict f = sums, * __restrict w = f + row, * __restrict ff = w + row;
  const double* __restrict ww = ff + row, * __restrict fw = ww + row;
  const int64_t step = kTerms > 0 ? row : 0, more = kTerms > 3 ? row : 0;
  Real* __restrict cross = out;
  Real* __restrict slope = cross + step;
  Real* __restrict rest = slope + step;
  Real* __restrict fixed_slope = rest + more;
  Real* __restrict fixed_rest = fixed_slope + more;
  const double counted = counts ? 1.0 : 0.0;
  for (int64_t i = 0; i < row; ++i) {
    const NccSums<double> box = {f[i], w[i], ff[i], ww[i], fw[i]};
    const double weight = weights[i];
    const auto terms = ncc_terms<squared>(box, share * shares[i], weight, floor);
    ratios[i] += counted * terms.ratio;
    if constexpr (kTerms >= 3) {
      cross[i] = static_cast<Real>(terms.cross);
      slope[i] = static_cast<Real>(terms.warped_slope);
      rest[i] = static_cast<Real>(terms.warped_rest);
    }
    if constexpr (kTerms == 5) {
      fixed_slope[i] = static_cast<Real>(terms.fixed_slope);
      fixed_rest[i] = static_cast<Real>(terms.fixed_rest);
    }
  }
}

// Terms of the windows of one plane after the other, in ascending order.
template <typename Real>
class Windows {
 public:
  Windows(const Sample<Real>& sample, int terms, const Span& rows)
      : sample_(sample),
        terms_(terms),
        kinds_(sample.weights ? 6 : 5),
        row_(sample.row()),
        reach_(sample.call.reach(0)),
        rows_(rows.widened(sample.call.reach(1), height())),
        wanted_(rows),
        in_plane_(sample.call, kinds_),
        along_z_(room(rows_.size() * kinds_ * row_)),
        ratios_(room(row_)),
        shares_(room(row_)),
        ones_(row_, Real(1)) {
    for (int64_t i = 0; i < row_; ++i) {
      shares_[i] = 1.0 / inside(i / sample.call.channels, 2);
    }
  }

  // Plane z's terms [rows][terms][row] and the sum of its ratios over the rows `counted`.
  double operator()(int64_t z, const Span& counted, Real* terms) {
    // The first plane is reached from the last fresh start before it.
    for (int64_t k = at_ < 0 ? z / kAnchor * kAnchor : at_ + 1; k < z; ++k) {
      for (int64_t y = rows_.begin; y < rows_.end; ++y) bring_up(k, y);
    }
    at_ = z;
    std::fill(ratios_.get(), ratios_.get() + row_, 0.0);
    in_plane_(
        rows_, wanted_, [&](int64_t y) { return bring_up(z, y); },
        [&](int64_t y, const double* sums) {
          Real* out = terms + (y - wanted_.begin) * terms_ * row_;
          write_terms(z, y, sums, counted.holds(y), out);
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
    return Span{k, k + 1}.widened(reach, sample_.call.shape[axis]).size();
  }

  // Sums along z at (z, y), from those at (z - 1, y) or anew.
  const double* bring_up(int64_t z, int64_t y) {
    double* sums = along_z_.get() + (y - rows_.begin) * kinds_ * row_;
    if (z % kAnchor == 0) {
      const Span planes = Span{z, z + 1}.widened(reach_, depth());
      std::fill(sums, sums + kinds_ * row_, 0.0);
      for (int64_t k = planes.begin; k < planes.end; ++k) add_plane(sample_, k, y, 1.0, sums);
      return sums;
    }
    const int64_t entering = z + reach_, leaving = z - reach_ - 1;
    if (entering < depth() && leaving >= 0) {
      slide_planes(sample_, entering, leaving, y, sums);
    } else if (entering < depth()) {
      add_plane(sample_, entering, y, 1.0, sums);
    } else if (leaving >= 0) {
      add_plane(sample_, leaving, y, -1.0, sums);
    }
    return sums;
  }

  void write_terms(int64_t z, int64_t y, const double* sums, bool counts, Real* out) {
    const Real* weights = ones_.data();
    double share = 1;
    if (sample_.weights) {
      weights = sample_.weights + sample_.first(z, y);
      invert_weights(weights, sums + 5 * row_);
    } else {
      share = 1 / (inside(z, 0) * inside(y, 1));
    }
    const auto write = [&](auto squared) {
      const auto function = terms_ == 0   ? term_row<squared.value, 0, Real>
                            : terms_ == 3 ? term_row<squared.value, 3, Real>
                                          : term_row<squared.value, 5, Real>;
      function(sums, row_, share, shares_.get(), weights, sample_.call.floor, counts,
               ratios_.get(), out);
    };
    if (sample_.call.squared) {
      write(std::true_type{});
    } else {
      write(std::false_type{});
    }
  }

  // shares = 1 / sums of weights, where the weight is positive and so its sum is.
  void invert_weights(const Real* __restrict weights, const double* __restrict sums) {
    double* __restrict shares = shares_.get();
    for (int64_t i = 0; i < row_; ++i) shares[i] = weights[i] > 0 ? 1 / sums[i] : 0.0;
  }

  const Sample<Real>& sample_;
  const int terms_, kinds_;
  const int64_t row_, reach_;
  const Span rows_, wanted_;
  InPlane in_plane_;
  const std::unique_ptr<double[]> along_z_, ratios_, shares_;
  const std::vector<Real> ones_;
  int64_t at_ = -1;  // plane of `along_z_`
};

// scale m (A other + B own + C), without a mask where `weights` is null.
template <typename Real>
void gradient_row(int64_t row, double scale, const Real* __restrict other,
                  const double* __restrict other_mean, const Real* __restrict own,
                  const double* __restrict own_mean, const Real* __restrict weights,
                  const double* __restrict cross, const double* __restrict slope,
                  const double* __restrict rest, Real* __restrict gradient) {
  for (int64_t i = 0; i < row; ++i) {
    const double a = other[i] - other_mean[i], b = own[i] - own_mean[i];
    gradient[i] = static_cast<Real>(scale * (cross[i] * a + slope[i] * b + rest[i]));
  }
  if (weights == nullptr) return;
  for (int64_t i = 0; i < row; ++i) {
    gradient[i] = weights[i] > 0 ? weights[i] * gradient[i] : Real(0);
  }
}

// The gradients of a plane from the box sums of the terms.
template <typename Real>
class Gathering {
 public:
  // `rows` are those of the terms.
  Gathering(const Sample<Real>& sample, int terms, const Span& rows, const Span& wanted)
      : sample_(sample),
        terms_(terms),
        row_(sample.row()),
        reach_(sample.call.reach(0)),
        rows_(rows),
        wanted_(wanted),
        slots_(std::min(2 * reach_ + 2, sample.call.shape[0])),
        plane_(rows.size() * terms * row_),
        in_plane_(sample.call, terms),
        ring_(new Real[slots_ * plane_]),
        along_z_(room(plane_)) {}

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
      const Span planes = Span{z, z + 1}.widened(reach_, depth);
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
    const Real* weights = sample_.weights ? sample_.weights + first : nullptr;
    gradient_row(row_, sample_.scale, sample_.fixed + first, sample_.fixed_mean,
                 sample_.warped + first, sample_.warped_mean, weights, cross, slope, rest,
                 sample_.warped_gradient + first);
    if (terms_ > 3) {
      gradient_row(row_, sample_.scale, sample_.warped + first, sample_.warped_mean,
                   sample_.fixed + first, sample_.fixed_mean, weights, cross, slope + 2 * row_,
                   rest + 2 * row_, sample_.fixed_gradient + first);
    }
  }

  const Sample<Real>& sample_;
  const int terms_;
  const int64_t row_, reach_;
  const Span rows_, wanted_;
  const int64_t slots_, plane_;
  InPlane in_plane_;
  const std::unique_ptr<Real[]> ring_;
  const std::unique_ptr<double[]> along_z_;
};

// Gradients of the planes and rows of one unit of work, and the sum of the ratios of each of
// its planes: ratio_sums[z].
template <typename Real>
void run_unit(const Sample<Real>& sample, int terms, const Span& planes, const Span& rows,
              double* ratio_sums) {
  const int64_t depth = sample.call.shape[0];
  if (terms == 0) {
    Windows<Real> windows(sample, terms, rows);
    for (int64_t z = planes.begin; z < planes.end; ++z) {
      ratio_sums[z] = windows(z, rows, nullptr);
    }
    return;
  }
  const Span around = rows.widened(sample.call.reach(1), sample.call.shape[1]);
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
  const Totals<Real> totals(call, fixed, warped, mask, workers);
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
      const double* mean = &totals.means[2 * item * row];
      const double weight = totals.total_weight[item];
      const int64_t first = item * item_size;
      const Sample<Real> sample = {
          call,
          fixed + first,
          warped + first,
          mask ? totals.weights.get() + first : nullptr,
          mean,
          mean + row,
          weight > 0 ? -1 / weight : 0.0,
          terms > 0 ? warped_gradient + first : nullptr,
          terms > 3 ? fixed_gradient + first : nullptr,
      };
      const Span planes = {blocks * slab / slabs * kAnchor,
                           std::min(blocks * (slab + 1) / slabs * kAnchor, depth)};
      const Span rows = {height * tile / tiles, height * (tile + 1) / tiles};
      run_unit(sample, terms, planes, rows, &ratio_sums[part * depth]);
    }
  });
  for (int64_t item = 0; item < call.batch; ++item) {
    const int64_t per_item = tiles * depth;
    double sum = 0;
    for (int64_t k = 0; k < per_item; ++k) sum += ratio_sums[item * per_item + k];
    const double weight = totals.total_weight[item];
    values[item] = static_cast<Real>(weight > 0 ? 1 - sum / weight : 1.0);
  }
}

template void local_ncc(const NccCall&, NccGradients, const float*, const float*, const float*,
                        float*, float*, float*, const Workers&);
template void local_ncc(const NccCall&, NccGradients, const double*, const double*,
                        const double*, double*, double*, double*, const Workers&);

}  // namespace rcn
