// Squared differences between neighbours on the CPU, for the smoothness of flows. It does not
// include TensorFlow's headers; `Real` is float or double.

#ifndef CUSTOM_OPS_CC_DIFFERENCES_CPU_H_
#define CUSTOM_OPS_CC_DIFFERENCES_CPU_H_

#include "warp_cpu.h"

namespace rcn {

// A dense field [B, D, H, W, C].
struct Field {
  int64_t batch, depth, height;
  int64_t row;       // number of elements of a row, W C
  int64_t channels;  // distance between neighbours of a row, in elements

  int64_t plane() const { return height * row; }
};

// sums[b]: sum of the squared differences of all neighbours along the three axes. The result
// has the same bits for any number of threads.
template <typename Real>
void squared_differences(const Field& shape, const Real* field, Real* sums,
                         const Workers& workers);

// Gradient of sum(upstream * sums) by the field.
template <typename Real>
void squared_differences_gradient(const Field& shape, const Real* field, const Real* upstream,
                                  Real* gradient, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_DIFFERENCES_CPU_H_
