// RcnLocalNcc, TensorFlow's side of the local NCC: schema, shapes and kernels.

#define EIGEN_USE_THREADS
#ifdef RCN_CUDA
#define EIGEN_USE_GPU
#endif

#include <string>

#include "launch_cpu.h"
#include "local_ncc_cpu.h"
#ifdef RCN_CUDA
#include "launch_cuda.h"
#include "local_ncc_cuda.h"
#endif
#include "messages.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace rcn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Sizes that are not known, of an unknown rank too, are left out.
Shape known_sizes(InferenceContext* c, ShapeHandle handle, const Shape& otherwise) {
  if (!c->RankKnown(handle)) return otherwise;
  Shape shape;
  for (int axis = 0; axis < c->Rank(handle); ++axis) {
    shape.push_back(c->Value(c->Dim(handle, axis)));
  }
  return shape;
}

absl::Status check(const Shape& fixed, const Shape& warped, const Shape& mask) {
  if (fixed.size() != 5) {
    return absl::InvalidArgumentError("`fixed` must have shape [B, D, H, W, C]; got " +
                                      text(fixed) + ".");
  }
  if (!fits(warped, fixed)) return mismatch("warped", fixed, "fixed", warped);
  const Shape wanted = with_channels(fixed, 1);
  return fits(mask, wanted) ? absl::OkStatus() : mismatch("mask", wanted, "fixed", mask);
}

absl::Status infer_shapes(InferenceContext* c) {
  std::string gradients;
  TF_RETURN_IF_ERROR(c->GetAttr("gradients", &gradients));
  const Shape unknown(5, -1);
  const Shape fixed = known_sizes(c, c->input(1), unknown);
  const Shape mask = c->num_inputs() > 3 ? known_sizes(c, c->input(3), unknown) : unknown;
  TF_RETURN_IF_ERROR(check(fixed, known_sizes(c, c->input(2), unknown), mask));
  ShapeHandle image;
  TF_RETURN_IF_ERROR(c->Merge(c->input(1), c->input(2), &image));
  TF_RETURN_IF_ERROR(c->WithRank(image, 5, &image));
  c->set_output(0, c->Vector(c->Dim(image, 0)));
  c->set_output(1, gradients == "none" ? c->Vector(int64_t{0}) : image);
  c->set_output(2, gradients == "both" ? image : c->Vector(int64_t{0}));
  return absl::OkStatus();
}

template <typename Device, typename Real>
struct RunLocalNcc;

template <typename Real>
const Real* elements(const Tensor* tensor) {
  return tensor ? tensor->flat<Real>().data() : nullptr;
}

template <typename Real>
Real* elements(Tensor* tensor) {
  return tensor ? tensor->flat<Real>().data() : nullptr;
}

template <typename Real>
struct RunLocalNcc<CpuDevice, Real> {
  static absl::Status run(OpKernelContext* context, const NccCall& call, NccGradients gradients,
                          const Tensor* fixed, const Tensor* warped, const Tensor* mask,
                          Tensor* values, Tensor* warped_gradient, Tensor* fixed_gradient) {
    local_ncc(call, gradients, elements<Real>(fixed), elements<Real>(warped),
              elements<Real>(mask), elements<Real>(values), elements<Real>(warped_gradient),
              elements<Real>(fixed_gradient), workers_of(context));
    return absl::OkStatus();
  }
};

#ifdef RCN_CUDA
template <typename Real>
struct RunLocalNcc<GpuDevice, Real> {
  static absl::Status run(OpKernelContext* context, const NccCall& call, NccGradients gradients,
                          const Tensor* fixed, const Tensor* warped, const Tensor* mask,
                          Tensor* values, Tensor* warped_gradient, Tensor* fixed_gradient) {
    Tensor scratch;
    TF_RETURN_IF_ERROR(context->allocate_temp(
        tensorflow::DT_INT8, {rcn_cuda_local_ncc_scratch_bytes(&call, type_code<Real>())},
        &scratch));
    return status_of(
        "local NCC",
        rcn_cuda_local_ncc(&call, static_cast<int>(gradients), type_code<Real>(),
                           elements<Real>(fixed), elements<Real>(warped), elements<Real>(mask),
                           scratch.data(), elements<Real>(values),
                           elements<Real>(warped_gradient), elements<Real>(fixed_gradient),
                           context->eigen_device<GpuDevice>().stream()));
  }
};
#endif

template <typename Device, typename Real>
class LocalNcc : public OpKernel {
 public:
  explicit LocalNcc(OpKernelConstruction* context) : OpKernel(context) {
    std::string gradients;
    OP_REQUIRES_OK(context, context->GetAttr("window", &window_));
    OP_REQUIRES_OK(context, context->GetAttr("squared", &squared_));
    OP_REQUIRES_OK(context, context->GetAttr("gradients", &gradients));
    OP_REQUIRES(context, window_ > 0 && window_ % 2 == 1,
                absl::InvalidArgumentError("the window of the local NCC must be odd and "
                                           "positive; got " +
                                           std::to_string(window_) + "."));
    most_ = gradients == "both"   ? NccGradients::kBoth
            : gradients == "none" ? NccGradients::kNone
                                  : NccGradients::kWarped;
  }

  void Compute(OpKernelContext* context) override {
    OpInputList masks;
    OP_REQUIRES_OK(context, context->input_list("mask", &masks));
    const Tensor &floor = context->input(0), &fixed = context->input(1);
    const Tensor& warped = context->input(2);
    const Tensor* mask = masks.size() > 0 ? &masks[0] : nullptr;
    const Shape shape = sizes(fixed.shape());
    const Shape mask_shape = mask ? sizes(mask->shape()) : Shape(5, -1);
    OP_REQUIRES_OK(context, check(shape, sizes(warped.shape()), mask_shape));
    const NccCall call = {shape[0], {shape[1], shape[2], shape[3]}, shape[4], window_,
                          squared_, floor.scalar<double>()()};
    OP_REQUIRES(
        context, call.voxels() * call.channels > 0 || call.batch == 0,
        absl::InvalidArgumentError("`fixed` has no voxel; its shape is " + text(shape) + "."));

    const NccGradients gradients = wanted(context);
    const TensorShape nothing({0});
    Tensor *values = nullptr, *by_warped = nullptr, *by_fixed = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({call.batch}), &values));
    OP_REQUIRES_OK(context, context->allocate_output(
                                1, gradients == NccGradients::kNone ? nothing : fixed.shape(),
                                &by_warped));
    OP_REQUIRES_OK(
        context, context->allocate_output(
                     2, gradients == NccGradients::kBoth ? fixed.shape() : nothing, &by_fixed));
    if (call.batch == 0) return;
    OP_REQUIRES_OK(context,
                   (RunLocalNcc<Device, Real>::run(context, call, gradients, &fixed, &warped,
                                                   mask, values, by_warped, by_fixed)));
  }

 private:
  // In a graph, gradients that nobody reads are not computed.
  NccGradients wanted(OpKernelContext* context) const {
    if (most_ == NccGradients::kBoth && context->output_required(2)) return most_;
    const bool needed = most_ != NccGradients::kNone && context->output_required(1);
    return needed ? NccGradients::kWarped : NccGradients::kNone;
  }

  int64_t window_;
  bool squared_;
  NccGradients most_;
};

}  // namespace
}  // namespace rcn

REGISTER_OP("RcnLocalNcc")
    .Input("variance_floor: double")
    .Input("fixed: T")
    .Input("warped: T")
    .Input("mask: masks * T")
    .Output("values: T")
    .Output("warped_gradient: T")
    .Output("fixed_gradient: T")
    .Attr("T: {float, double}")
    .Attr("masks: int >= 0")
    .Attr("window: int = 9")
    .Attr("squared: bool = true")
    .Attr("gradients: {'none', 'warped', 'both'} = 'warped'")
    .SetShapeFn(rcn::infer_shapes)
    .Doc("1 - mean local correlation per sample and its gradients; see custom_ops.local_ncc.");

#define REGISTER_LOCAL_NCC(KIND, D, T)                      \
  REGISTER_KERNEL_BUILDER(Name("RcnLocalNcc")               \
                              .Device(tensorflow::KIND)     \
                              .HostMemory("variance_floor") \
                              .TypeConstraint<T>("T"),      \
                          rcn::LocalNcc<D, T>)

REGISTER_LOCAL_NCC(DEVICE_CPU, rcn::CpuDevice, float);
REGISTER_LOCAL_NCC(DEVICE_CPU, rcn::CpuDevice, double);
#ifdef RCN_CUDA
REGISTER_LOCAL_NCC(DEVICE_GPU, rcn::GpuDevice, float);
REGISTER_LOCAL_NCC(DEVICE_GPU, rcn::GpuDevice, double);
#endif
