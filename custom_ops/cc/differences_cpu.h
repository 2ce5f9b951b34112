// Squared differences between neighbours on the CPU: the smoothness of flows. Includes
// nothing of TensorFlow; `Real` is float or double.

#ifndef CUSTOM_OPS_CC_DIFFERENCES_CPU_H_
#define CUSTOM_OPS_CC_DIFFERENCES_CPU_H_

#include "warp_cpu.h"

namespace rcn {

// A dense field [B, D, H, W, C].
struct Field {
  int64_t batch, depth, height;
  int64_t row;       // elements of a row, W C
  int64_t channels;  // distance of neighbours in a row

  int64_t plane() const { return height * row; }
};

// sums[b]: over the three axes, of the squared differences of all neighbours. The same bits
// for any number of threads.
template <typename Real>
void squared_differences(const Field& shape, const Real* field, Real* sums,
                         const Workers& workers);

// Gradient of sum(upstream * sums) by the field.
template <typename Real>
void squared_differences_gradient(const Field& shape, const Real* field, const Real* upstream,
                                  Real* gradient, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_DIFFERENCES_CPU_H_
