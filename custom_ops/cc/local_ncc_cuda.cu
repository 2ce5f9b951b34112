// Local NCC in CUDA: one thread per voxel and channel, one kernel per axis. Sums over a box are
// sums along W, then H, then D, each over the window anew, so that nothing drifts:
//
//   products, summed along W -> H -> D and the terms A, B, C -> W -> H -> D and the gradient
//
// Between kernels the sums lie in scratch memory, [kSlots][B, D, H, W, C] in two buffers. Sums
// over the whole volume are folded in a fixed order.

#include "cuda_launch.h"
#include "local_ncc_cuda.h"
#include "warp_cuda.h"

namespace rcn {
namespace {

constexpr int kSlots = 6;      // f, w, f^2, w^2, f w, m; then A, B, C, B, C and r
constexpr int kParts = 4096;   // sums side by side of the first fold, and of
constexpr int kFewParts = 64;  // the second; the third leaves one
constexpr int kTotals = 3;     // f, w and m

// Where an element of [B, D, H, W, C] lies.
struct Place {
  int64_t item, position[3], channel;

  __device__ Place(const NccCall& call, int64_t element) {
    channel = element % call.channels;
    element /= call.channels;
    for (int axis = 2; axis >= 0; --axis) {
      position[axis] = element % call.shape[axis];
      element /= call.shape[axis];
    }
    item = element;
  }
};

// The voxels of the box around a place along one axis, as distances in elements.
struct Reach {
  int64_t begin, end, stride;

  __device__ Reach(const NccCall& call, const Place& place, int axis) {
    const int64_t reach = call.reach(axis), at = place.position[axis];
    begin = at < reach ? -at : -reach;
    const int64_t after = call.shape[axis] - 1 - at;
    end = (after < reach ? after : reach) + 1;
    stride = call.channels;
    for (int k = 2; k > axis; --k) stride *= call.shape[k];
  }
};

template <typename Real>
__device__ Real sum_along(const Reach& reach, const Real* __restrict__ values) {
  Real sum = 0;
  for (int64_t k = reach.begin; k < reach.end; ++k) sum += values[k * reach.stride];
  return sum;
}

// Weight of an element: its mask where that is positive; 1 without a mask.
template <typename Real>
__device__ Real weight_of(const NccCall& call, const Real* __restrict__ mask, int64_t element) {
  if (mask == nullptr) return Real(1);
  const Real weight = mask[element / call.channels];
  return weight > 0 ? weight : Real(0);
}

// Totals of one image [f, w, m] of an item and channel as sums; the mean of `which`.
template <typename Real>
__device__ Real mean_of(const double* __restrict__ totals, int64_t image, int which) {
  const double weight = totals[image * kTotals + 2];
  return static_cast<Real>(weight > 0 ? totals[image * kTotals + which] / weight : 0.0);
}

// --- kernels -------------------------------------------------------------------------

// parts[image][total][part]: sums over every kParts-th voxel of an item's channel.
template <typename Real>
__global__ void total_kernel(NccCall call, int64_t units, const Real* __restrict__ fixed,
                             const Real* __restrict__ warped, const Real* __restrict__ mask,
                             double* __restrict__ parts) {
  for (int64_t unit = first_unit<int64_t>(); unit < units; unit += unit_step<int64_t>()) {
    const int64_t image = unit / kParts, part = unit % kParts;
    const int64_t item = image / call.channels, channel = image % call.channels;
    double sums[kTotals] = {};
    for (int64_t v = part; v < call.voxels(); v += kParts) {
      const int64_t element = (item * call.voxels() + v) * call.channels + channel;
      const double weight = weight_of(call, mask, element);
      sums[0] += weight > 0 ? weight * fixed[element] : 0.0;
      sums[1] += weight > 0 ? weight * warped[element] : 0.0;
      sums[2] += weight;
    }
    for (int k = 0; k < kTotals; ++k) parts[(image * kTotals + k) * kParts + part] = sums[k];
  }
}

// result[row][part]: sums over every few-th of `many` values [row][many].
template <typename Real>
__global__ void fold_kernel(int64_t units, const Real* __restrict__ values, int64_t many,
                            int64_t few, double* __restrict__ result) {
  for (int64_t unit = first_unit<int64_t>(); unit < units; unit += unit_step<int64_t>()) {
    const int64_t row = unit / few;
    double sum = 0;
    for (int64_t k = unit % few; k < many; k += few) sum += values[row * many + k];
    result[unit] = sum;
  }
}

template <typename Real>
__global__ void product_kernel(NccCall call, int64_t elements, const Real* __restrict__ fixed,
                               const Real* __restrict__ warped, const Real* __restrict__ mask,
                               const double* __restrict__ totals, Real* __restrict__ sums) {
  for (int64_t e = first_unit<int64_t>(); e < elements; e += unit_step<int64_t>()) {
    const Place place(call, e);
    const Reach reach(call, place, 2);
    const int64_t image = place.item * call.channels + place.channel;
    const Real mean_f = mean_of<Real>(totals, image, 0),
               mean_w = mean_of<Real>(totals, image, 1);
    Real box[kSlots] = {};
    for (int64_t k = reach.begin; k < reach.end; ++k) {
      const int64_t at = e + k * reach.stride;
      const Real weight = weight_of(call, mask, at);
      if (!(weight > 0)) continue;
      const Real f = fixed[at] - mean_f, w = warped[at] - mean_w;
      box[0] += weight * f;
      box[1] += weight * w;
      box[2] += weight * f * f;
      box[3] += weight * w * w;
      box[4] += weight * f * w;
      box[5] += weight;
    }
    for (int k = 0; k < kSlots; ++k) sums[k * elements + e] = box[k];
  }
}

template <typename Real>
__global__ void axis_kernel(NccCall call, int64_t elements, int axis, int slots,
                            const Real* __restrict__ values, Real* __restrict__ sums) {
  for (int64_t e = first_unit<int64_t>(); e < elements; e += unit_step<int64_t>()) {
    const Reach reach(call, Place(call, e), axis);
    for (int k = 0; k < slots; ++k) {
      sums[k * elements + e] = sum_along(reach, values + k * elements + e);
    }
  }
}

template <bool squared, typename Real>
__global__ void term_kernel(NccCall call, int64_t elements, const Real* __restrict__ mask,
                            const Real* __restrict__ values, Real* __restrict__ out) {
  for (int64_t e = first_unit<int64_t>(); e < elements; e += unit_step<int64_t>()) {
    const Reach reach(call, Place(call, e), 0);
    Real box[kSlots];
    for (int k = 0; k < kSlots; ++k) box[k] = sum_along(reach, values + k * elements + e);
    const Real weight = weight_of(call, mask, e);
    const Real share = weight > 0 ? 1 / box[5] : Real(0);
    const NccSums<Real> sums = {box[0], box[1], box[2], box[3], box[4]};
    const auto terms = ncc_terms<squared>(sums, share, weight, static_cast<Real>(call.floor));
    out[e] = terms.cross;
    out[elements + e] = terms.warped_slope;
    out[2 * elements + e] = terms.warped_rest;
    out[3 * elements + e] = terms.fixed_slope;
    out[4 * elements + e] = terms.fixed_rest;
    out[5 * elements + e] = terms.ratio;
  }
}

// -1 / sum of an item's weights over all channels.
__device__ double scale_of(const NccCall& call, const double* __restrict__ totals,
                           int64_t item) {
  double weight = 0;
  for (int64_t c = 0; c < call.channels; ++c) {
    weight += totals[(item * call.channels + c) * kTotals + 2];
  }
  return weight > 0 ? -1 / weight : 0.0;
}

template <typename Real>
__global__ void value_kernel(NccCall call, int64_t batch, const double* __restrict__ totals,
                             const double* __restrict__ ratios, Real* __restrict__ values) {
  for (int64_t item = first_unit<int64_t>(); item < batch; item += unit_step<int64_t>()) {
    const double scale = scale_of(call, totals, item);
    values[item] = static_cast<Real>(scale < 0 ? 1 + scale * ratios[item] : 1.0);
  }
}

template <typename Real>
__global__ void gradient_kernel(NccCall call, int64_t elements, const Real* __restrict__ fixed,
                                const Real* __restrict__ warped, const Real* __restrict__ mask,
                                const double* __restrict__ totals,
                                const Real* __restrict__ terms,
                                Real* __restrict__ warped_gradient,
                                Real* __restrict__ fixed_gradient) {
  for (int64_t e = first_unit<int64_t>(); e < elements; e += unit_step<int64_t>()) {
    const Place place(call, e);
    const Reach reach(call, place, 0);
    const int64_t image = place.item * call.channels + place.channel;
    const Real weight = weight_of(call, mask, e);
    const Real f = fixed[e] - mean_of<Real>(totals, image, 0);
    const Real w = warped[e] - mean_of<Real>(totals, image, 1);
    const Real scale = weight * static_cast<Real>(scale_of(call, totals, place.item));
    const bool counts = weight > 0;
    const Real cross = sum_along(reach, terms + e);
    const Real slope = sum_along(reach, terms + elements + e);
    const Real rest = sum_along(reach, terms + 2 * elements + e);
    warped_gradient[e] = counts ? scale * (cross * f + slope * w + rest) : Real(0);
    if (fixed_gradient == nullptr) continue;
    const Real fixed_slope = sum_along(reach, terms + 3 * elements + e);
    const Real fixed_rest = sum_along(reach, terms + 4 * elements + e);
    fixed_gradient[e] = counts ? scale * (cross * w + fixed_slope * f + fixed_rest) : Real(0);
  }
}

// --- launches ------------------------------------------------------------------------

int64_t image_count(const NccCall& call) { return call.batch * call.channels; }
int64_t element_count(const NccCall& call) { return image_count(call) * call.voxels(); }

// Doubles of scratch memory: totals, ratios, and the parts of the folds.
int64_t total_doubles(const NccCall& call) {
  return image_count(call) * kTotals * (1 + kParts + kFewParts) + call.batch;
}

// Queues result[row] = sum of values [rows][many], in three folds with room for the parts.
template <typename Real>
cudaError_t fold(const Real* values, int64_t rows, int64_t many, double* parts, double* few,
                 double* result, cudaStream_t stream) {
  cudaError_t error = launch(fold_kernel<Real>, rows * kParts, stream, rows * kParts, values,
                             many, kParts, parts);
  if (error != cudaSuccess) return error;
  error = launch(fold_kernel<double>, rows * kFewParts, stream, rows * kFewParts, parts, kParts,
                 kFewParts, few);
  if (error != cudaSuccess) return error;
  return launch(fold_kernel<double>, rows, stream, rows, few, kFewParts, 1, result);
}

template <typename Real>
cudaError_t local_ncc(const NccCall& call, NccGradients gradients, const Real* fixed,
                      const Real* warped, const Real* mask, void* scratch, Real* values,
                      Real* warped_gradient, Real* fixed_gradient, cudaStream_t stream) {
  const int64_t elements = element_count(call), rows = image_count(call) * kTotals;
  double* totals = static_cast<double*>(scratch);
  double *ratios = totals + rows, *parts = ratios + call.batch, *few = parts + rows * kParts;
  Real* first = reinterpret_cast<Real*>(few + rows * kFewParts);
  Real* second = first + kSlots * elements;
  cudaError_t error = launch(total_kernel<Real>, image_count(call) * kParts, stream, call,
                             image_count(call) * kParts, fixed, warped, mask, parts);
  if (error != cudaSuccess) return error;
  error = launch(fold_kernel<double>, rows * kFewParts, stream, rows * kFewParts, parts, kParts,
                 kFewParts, few);
  if (error != cudaSuccess) return error;
  error = launch(fold_kernel<double>, rows, stream, rows, few, kFewParts, 1, totals);
  if (error != cudaSuccess) return error;

  error = launch(product_kernel<Real>, elements, stream, call, elements, fixed, warped, mask,
                 totals, first);
  if (error != cudaSuccess) return error;
  error = launch(axis_kernel<Real>, elements, stream, call, elements, 1, kSlots, first, second);
  if (error != cudaSuccess) return error;
  error = launch(call.squared ? term_kernel<true, Real> : term_kernel<false, Real>, elements,
                 stream, call, elements, mask, second, first);
  if (error != cudaSuccess) return error;
  const Real* ratio = first + (kSlots - 1) * elements;
  error = fold(ratio, call.batch, elements / call.batch, parts, few, ratios, stream);
  if (error != cudaSuccess) return error;
  error =
      launch(value_kernel<Real>, call.batch, stream, call, call.batch, totals, ratios, values);
  if (error != cudaSuccess || gradients == NccGradients::kNone) return error;

  const bool both = gradients == NccGradients::kBoth;
  const int terms = both ? 5 : 3;
  error = launch(axis_kernel<Real>, elements, stream, call, elements, 2, terms, first, second);
  if (error != cudaSuccess) return error;
  error = launch(axis_kernel<Real>, elements, stream, call, elements, 1, terms, second, first);
  if (error != cudaSuccess) return error;
  return launch(gradient_kernel<Real>, elements, stream, call, elements, fixed, warped, mask,
                totals, first, warped_gradient, both ? fixed_gradient : nullptr);
}

}  // namespace
}  // namespace rcn

extern "C" int rcn_cuda_local_ncc(const rcn::NccCall* call, int gradients, int type,
                                  const void* fixed, const void* warped, const void* mask,
                                  void* scratch, void* values, void* warped_gradient,
                                  void* fixed_gradient, void* stream) {
  const auto run = [&](auto real) {
    using Real = decltype(real);
    return rcn::local_ncc(
        *call, static_cast<rcn::NccGradients>(gradients), static_cast<const Real*>(fixed),
        static_cast<const Real*>(warped), static_cast<const Real*>(mask), scratch,
        static_cast<Real*>(values), static_cast<Real*>(warped_gradient),
        static_cast<Real*>(fixed_gradient), static_cast<cudaStream_t>(stream));
  };
  if (type == RCN_FLOAT) return run(float{});
  return type == RCN_DOUBLE ? run(double{}) : cudaErrorInvalidValue;
}

extern "C" int64_t rcn_cuda_local_ncc_scratch_bytes(const rcn::NccCall* call, int type) {
  const int64_t size = type == RCN_DOUBLE ? sizeof(double) : sizeof(float);
  return rcn::total_doubles(*call) * static_cast<int64_t>(sizeof(double)) +
         2 * rcn::kSlots * rcn::element_count(*call) * size;
}
