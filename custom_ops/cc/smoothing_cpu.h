// Smoothing of a field by a symmetric kernel along each axis, on the CPU. Includes nothing of
// TensorFlow; `Real` is float or double.

#ifndef CUSTOM_OPS_CC_SMOOTHING_CPU_H_
#define CUSTOM_OPS_CC_SMOOTHING_CPU_H_

#include <array>
#include <vector>

#include "differences_cpu.h"

namespace rcn {

// Half of a symmetric kernel: the weight at distance 0, 1, ...
using HalfKernel = std::vector<double>;

// result(x) = sum_k w_k field(x + k) along the depth, height and width in turn; outside the
// volume the border voxel counts. The same bits for any number of threads.
template <typename Real>
void smooth(const Field& shape, const std::array<HalfKernel, 3>& kernels, const Real* field,
            Real* result, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_SMOOTHING_CPU_H_
