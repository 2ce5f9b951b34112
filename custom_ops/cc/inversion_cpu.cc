// A row of voxels is the unit of work. Each voxel starts with a Newton step from the solution
// of the voxel before it, which is as good as a step of its own where the field is smooth.

#include "inversion_cpu.h"

#include <cmath>
#include <limits>

#include "vector_sample.h"

namespace rcn {
namespace {

constexpr int kSteps = 40;             // of Newton's method, at most, from one start
constexpr double kShortest = 1e-3;     // fraction of a step at which a voxel counts as stuck
constexpr double kSingular = 1e-3;     // determinant below which a derivative is not inverted
constexpr int64_t kNanoseconds = 150;  // per voxel, about

// The point y + u of a voxel: what is known of the map there.
struct Place {
  double moved[3];     // u, mm, each the value of a float
  double index[3];     // of y + u in the field
  Four error;          // y - T(y + u), mm
  Four derivative[3];  // of T, by x, y and z
  double size;         // of the error, mm
};

double length(const Four& v) { return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]); }

Four cross(const Four& a, const Four& b) {
  return Four{a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
              0};
}

double dot(const Four& a, const Four& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// J^-1 v, or v itself where J turns space inside out and does not help.
Four solved(const Four derivative[3], const Four& v) {
  const Four normal = cross(derivative[1], derivative[2]);
  const double determinant = dot(derivative[0], normal);
  if (!(determinant > kSingular)) return v;
  const Four other = cross(v, derivative[0]);
  return Four{dot(v, normal), -dot(derivative[2], other), dot(derivative[1], other), 0} /
         determinant;
}

class Row {
 public:
  Row(const Inversion& call, const VectorField& field) : call_(call), field_(field) {}

  void run(int64_t row, float* inverse, float* error, bool* inside) {
    const int64_t d = row / call_.grid.size[1], h = row % call_.grid.size[1];
    double first[3], step[3], guess[3], change[3];
    call_.to_field.row(d, h, first, step);
    call_.start.row(d, h, guess, change);
    const Four ahead = {call_.along[0], call_.along[1], call_.along[2], 0};
    Place before;
    bool known = false;
    for (int64_t w = 0; w < call_.grid.size[2]; ++w) {
      double base[3], far[3];
      for (int k = 0; k < 3; ++k) {
        base[k] = first[k] + static_cast<double>(w) * step[k];
        far[k] = guess[k] + static_cast<double>(w) * change[k];
      }
      Place found;
      if (known) {
        const Four onward = solved(before.derivative, before.error + ahead) - ahead;
        double near[3];
        for (int k = 0; k < 3; ++k) near[k] = before.moved[k] + onward[k];
        found = solve(base, near);
      }
      if (!known || found.size > limit(found)) {
        const Place other = solve(base, far);
        if (!known || !(found.size <= other.size)) found = other;
      }
      for (int k = 0; k < 3; ++k) inverse[3 * w + k] = static_cast<float>(found.moved[k]);
      error[w] = static_cast<float>(found.size);
      inside[w] = within(call_.field, found.index);
      before = found;
      known = found.size <= limit(found);
    }
  }

 private:
  // Error at which a place counts as solved; u has no more digits than a float.
  double limit(const Place& place) const {
    const double* u = place.moved;
    const double digits = std::fabs(u[0]) + std::fabs(u[1]) + std::fabs(u[2]);
    return call_.tolerance + std::numeric_limits<float>::epsilon() * digits;
  }

  Place at(const double base[3], const double moved[3]) const {
    Place place;
    for (int k = 0; k < 3; ++k) {
      place.moved[k] = static_cast<double>(static_cast<float>(moved[k]));
    }
    const double* u = place.moved;
    for (int k = 0; k < 3; ++k) {
      const double* to = call_.to_index.at[k];
      place.index[k] = base[k] + to[0] * u[0] + to[1] * u[1] + to[2] * u[2];
    }
    const VectorSample sample = field_.at(place.index);
    place.error = -(Four{u[0], u[1], u[2], 0} + sample.value);
    place.size = length(place.error);
    for (int k = 0; k < 3; ++k) {
      const double unit[3] = {k == 0 ? 1.0 : 0.0, k == 1 ? 1.0 : 0.0, k == 2 ? 1.0 : 0.0};
      place.derivative[k] =
          Four{unit[0], unit[1], unit[2], 0} + call_.to_index.at[0][k] * sample.slope[0] +
          call_.to_index.at[1][k] * sample.slope[1] + call_.to_index.at[2][k] * sample.slope[2];
    }
    return place;
  }

  // The best place that Newton's method reaches; a step that would not help is halved.
  Place solve(const double base[3], const double start[3]) const {
    Place here = at(base, start);
    double step = 1;
    Four direction = solved(here.derivative, here.error);
    for (int number = 0; number < kSteps && here.size > limit(here); ++number) {
      double trial[3];
      for (int k = 0; k < 3; ++k) trial[k] = here.moved[k] + step * direction[k];
      const Place there = at(base, trial);
      if (there.size < here.size) {
        here = there;
        direction = solved(here.derivative, here.error);
        step = step < 0.5 ? 2 * step : 1;
      } else {
        step /= 2;
        if (step < kShortest) break;
      }
    }
    return here;
  }

  const Inversion& call_;
  const VectorField& field_;
};

}  // namespace

void invert(const Inversion& call, const float* vectors, float* inverse, float* error,
            bool* inside, const Workers& workers) {
  const VectorField field(call.field, vectors);
  const int64_t width = call.grid.size[2];
  workers.parallel_for(call.grid.rows(), kNanoseconds * width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row * width;
      Row(call, field).run(row, inverse + 3 * first, error + first, inside + first);
    }
  });
}

}  // namespace rcn
