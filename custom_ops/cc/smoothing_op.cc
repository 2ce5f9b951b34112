// RcnSmooth, TensorFlow's side of the smoothing: schema, shapes and kernels.

#define EIGEN_USE_THREADS

#include "launch_cpu.h"
#include "smoothing_cpu.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rcn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename Real>
class Smooth : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor& field = context->input(0);
    OP_REQUIRES(
        context, field.dims() == 5 && field.NumElements() > 0,
        absl::InvalidArgumentError("`field` must have shape [B, D, H, W, C] and be filled."));
    std::array<HalfKernel, 3> kernels;
    for (int axis = 0; axis < 3; ++axis) {
      const auto weights = context->input(1 + axis).flat<double>();
      kernels[axis].assign(weights.data(), weights.data() + weights.size());
      OP_REQUIRES(context, !kernels[axis].empty(),
                  absl::InvalidArgumentError("a kernel must have at least one weight."));
    }
    const int64_t channels = field.dim_size(4);
    const Field shape = {field.dim_size(0), field.dim_size(1), field.dim_size(2),
                         field.dim_size(3) * channels, channels};
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, field.shape(), &result));
    smooth(shape, kernels, field.flat<Real>().data(), result->flat<Real>().data(),
           workers_of(context));
  }
};

absl::Status same_shape(tensorflow::shape_inference::InferenceContext* c) {
  c->set_output(0, c->input(0));
  return absl::OkStatus();
}

REGISTER_OP("RcnSmooth")
    .Input("field: T")
    .Input("along_depth: double")
    .Input("along_height: double")
    .Input("along_width: double")
    .Output("smoothed: T")
    .Attr("T: {float, double}")
    .SetShapeFn(same_shape)
    .Doc("Field smoothed along each axis by a symmetric kernel, given by its half.");

REGISTER_KERNEL_BUILDER(
    Name("RcnSmooth").Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"), Smooth<float>);
REGISTER_KERNEL_BUILDER(
    Name("RcnSmooth").Device(tensorflow::DEVICE_CPU).TypeConstraint<double>("T"),
    Smooth<double>);

}  // namespace
}  // namespace rcn
