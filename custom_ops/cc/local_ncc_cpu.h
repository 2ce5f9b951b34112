// Local NCC on the CPU: values and gradients in one pass. Includes nothing of TensorFlow;
// `Real`, the type of the images and gradients, is float or double, all sums are double.

#ifndef CUSTOM_OPS_CC_LOCAL_NCC_CPU_H_
#define CUSTOM_OPS_CC_LOCAL_NCC_CPU_H_

#include "local_ncc.h"
#include "warp_cpu.h"

namespace rcn {

// values[b] = 1 - mean of the local correlations of sample b, and its gradients by the two
// images, which are shaped like them; a gradient that is not computed may be null, `mask` is
// null where there is none. The same bits for any number of threads.
template <typename Real>
void local_ncc(const NccCall& call, NccGradients gradients, const Real* fixed,
               const Real* warped, const Real* mask, Real* values, Real* warped_gradient,
               Real* fixed_gradient, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LOCAL_NCC_CPU_H_
