// RcnCostVolume and its gradient, TensorFlow's side: schemas, shapes and kernels.

#define EIGEN_USE_THREADS
#ifdef RCN_CUDA
#define EIGEN_USE_GPU
#endif

#include <string>
#include <type_traits>

#include "cost_volume_cpu.h"
#include "large_pages.h"
#include "launch_cpu.h"
#ifdef RCN_CUDA
#include "cost_volume_cuda.h"
#include "launch_cuda.h"
#endif
#include "messages.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace rcn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// The attributes that both ops have.
struct Settings {
  int64_t radius = 0;
  bool planar = false, correlation = false, box = false;

  template <typename Context>
  absl::Status read(Context* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("radius", &radius));
    TF_RETURN_IF_ERROR(context->GetAttr("planar", &planar));
    TF_RETURN_IF_ERROR(context->GetAttr("correlation", &correlation));
    TF_RETURN_IF_ERROR(context->GetAttr("box_mean", &box));
    return radius > 0 ? absl::OkStatus()
                      : absl::InvalidArgumentError("`radius` must be at least 1; got " +
                                                   std::to_string(radius) + ".");
  }

  int64_t offsets() const {
    const int64_t side = 2 * radius + 1;
    return (planar ? 1 : side) * side * side;
  }

  CostCall call(const Shape& shape) const {
    return {shape[0],    {shape[1], shape[2], shape[3]},
            shape[4],    {planar ? 0 : radius, radius, radius},
            correlation, box};
  }
};

absl::Status check(const Shape& fixed, const Shape& moving) {
  if (fixed.size() != 5) {
    return absl::InvalidArgumentError("`fixed` must have shape [B, D, H, W, C]; got " +
                                      text(fixed) + ".");
  }
  return fits(moving, fixed) ? absl::OkStatus() : mismatch("moving", fixed, "fixed", moving);
}

absl::Status merged(InferenceContext* c, ShapeHandle* features) {
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 5, features));
  return c->Merge(*features, c->input(1), features);
}

absl::Status costs_shape(InferenceContext* c) {
  Settings settings;
  ShapeHandle features;
  TF_RETURN_IF_ERROR(settings.read(c));
  TF_RETURN_IF_ERROR(merged(c, &features));
  const DimensionHandle offsets = c->MakeDim(settings.offsets());
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 4, offsets, &features));
  c->set_output(0, features);
  return absl::OkStatus();
}

absl::Status gradients_shape(InferenceContext* c) {
  std::string gradients;
  ShapeHandle features;
  TF_RETURN_IF_ERROR(c->GetAttr("gradients", &gradients));
  TF_RETURN_IF_ERROR(merged(c, &features));
  c->set_output(0, gradients == "moving" ? c->Vector(int64_t{0}) : features);
  c->set_output(1, gradients == "fixed" ? c->Vector(int64_t{0}) : features);
  return absl::OkStatus();
}

// Eigen's type of 16 bits as the kernels' own.
template <typename T>
using KernelType = std::conditional_t<std::is_same_v<T, Eigen::bfloat16>, Bfloat16, T>;

template <typename T>
const KernelType<T>* elements(const Tensor& tensor) {
  return reinterpret_cast<const KernelType<T>*>(tensor.flat<T>().data());
}

template <typename T>
KernelType<T>* elements(Tensor* tensor) {
  return tensor ? reinterpret_cast<KernelType<T>*>(tensor->flat<T>().data()) : nullptr;
}

template <typename Device, typename T>
struct RunCostVolume;

template <typename T>
struct RunCostVolume<CpuDevice, T> {
  static absl::Status forward(OpKernelContext* context, const CostCall& call,
                              const Tensor& fixed, const Tensor& moving, Tensor* costs) {
    prefer_large_pages(costs->data(), costs->TotalBytes());
    cost_volume(call, elements<T>(fixed), elements<T>(moving), elements<T>(costs),
                workers_of(context));
    return absl::OkStatus();
  }

  static absl::Status backward(OpKernelContext* context, const CostCall& call,
                               const Tensor& fixed, const Tensor& moving,
                               const Tensor& upstream, Tensor* by_fixed, Tensor* by_moving) {
    cost_volume_gradient(call, elements<T>(fixed), elements<T>(moving), elements<T>(upstream),
                         elements<T>(by_fixed), elements<T>(by_moving), workers_of(context));
    return absl::OkStatus();
  }
};

#ifdef RCN_CUDA
template <typename T>
struct RunCostVolume<GpuDevice, T> {
  static absl::Status scratch(OpKernelContext* context, const CostCall& call, int gradient,
                              Tensor* memory) {
    const int64_t bytes = rcn_cuda_cost_volume_scratch_bytes(&call, type_code<T>(), gradient);
    return context->allocate_temp(tensorflow::DT_INT8, TensorShape({bytes}), memory);
  }

  static absl::Status forward(OpKernelContext* context, const CostCall& call,
                              const Tensor& fixed, const Tensor& moving, Tensor* costs) {
    Tensor memory;
    TF_RETURN_IF_ERROR(scratch(context, call, 0, &memory));
    return status_of(
        "cost volume",
        rcn_cuda_cost_volume(&call, type_code<T>(), fixed.data(), moving.data(), memory.data(),
                             costs->data(), context->eigen_device<GpuDevice>().stream()));
  }

  static absl::Status backward(OpKernelContext* context, const CostCall& call,
                               const Tensor& fixed, const Tensor& moving,
                               const Tensor& upstream, Tensor* by_fixed, Tensor* by_moving) {
    Tensor memory;
    TF_RETURN_IF_ERROR(scratch(context, call, 1, &memory));
    return status_of(
        "gradient of the cost volume",
        rcn_cuda_cost_volume_gradient(
            &call, type_code<T>(), fixed.data(), moving.data(), upstream.data(), memory.data(),
            by_fixed ? by_fixed->data() : nullptr, by_moving ? by_moving->data() : nullptr,
            context->eigen_device<GpuDevice>().stream()));
  }
};
#endif

template <typename Device, typename T>
class CostVolume : public OpKernel {
 public:
  explicit CostVolume(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, settings_.read(context));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &fixed = context->input(0), &moving = context->input(1);
    const Shape shape = sizes(fixed.shape());
    OP_REQUIRES_OK(context, check(shape, sizes(moving.shape())));
    TensorShape out = fixed.shape();
    out.set_dim(4, settings_.offsets());
    Tensor* costs = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, out, &costs));
    if (costs->NumElements() == 0) return;
    OP_REQUIRES_OK(context, (RunCostVolume<Device, T>::forward(context, settings_.call(shape),
                                                               fixed, moving, costs)));
  }

 private:
  Settings settings_;
};

template <typename Device, typename T>
class CostVolumeGrad : public OpKernel {
 public:
  explicit CostVolumeGrad(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, settings_.read(context));
    OP_REQUIRES_OK(context, context->GetAttr("gradients", &gradients_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &fixed = context->input(0), &moving = context->input(1);
    const Tensor& upstream = context->input(2);
    const Shape shape = sizes(fixed.shape());
    OP_REQUIRES_OK(context, check(shape, sizes(moving.shape())));
    const Shape wanted = with_channels(shape, settings_.offsets());
    const Shape got = sizes(upstream.shape());
    OP_REQUIRES(context, fits(got, wanted), mismatch("upstream", wanted, "fixed", got));
    Tensor *by_fixed = nullptr, *by_moving = nullptr;
    OP_REQUIRES_OK(context, make(context, 0, "moving", fixed.shape(), &by_fixed));
    OP_REQUIRES_OK(context, make(context, 1, "fixed", fixed.shape(), &by_moving));
    if (fixed.NumElements() == 0) return;
    OP_REQUIRES_OK(context,
                   (RunCostVolume<Device, T>::backward(context, settings_.call(shape), fixed,
                                                       moving, upstream, by_fixed, by_moving)));
  }

 private:
  // Output `index`, which is empty, and then null, where only the other one is asked for.
  absl::Status make(OpKernelContext* context, int index, const char* other,
                    const TensorShape& shape, Tensor** result) const {
    const bool empty = gradients_ == other;
    const TensorShape made = empty ? TensorShape({0}) : shape;
    TF_RETURN_IF_ERROR(context->allocate_output(index, made, result));
    if (empty) *result = nullptr;
    return absl::OkStatus();
  }

  Settings settings_;
  std::string gradients_;
};

}  // namespace
}  // namespace rcn

REGISTER_OP("RcnCostVolume")
    .Input("fixed: T")
    .Input("moving: T")
    .Output("costs: T")
    .Attr("T: {bfloat16, float, double}")
    .Attr("radius: int")
    .Attr("planar: bool = false")
    .Attr("correlation: bool = false")
    .Attr("box_mean: bool = true")
    .SetShapeFn(rcn::costs_shape)
    .Doc("Costs [B, D, H, W, offsets] of features; see custom_ops.cost_volume.");

REGISTER_OP("RcnCostVolumeGrad")
    .Input("fixed: T")
    .Input("moving: T")
    .Input("upstream: T")
    .Output("fixed_gradient: T")
    .Output("moving_gradient: T")
    .Attr("T: {bfloat16, float, double}")
    .Attr("radius: int")
    .Attr("planar: bool = false")
    .Attr("correlation: bool = false")
    .Attr("box_mean: bool = true")
    .Attr("gradients: {'fixed', 'moving', 'both'} = 'both'")
    .SetShapeFn(rcn::gradients_shape)
    .Doc("Gradients of RcnCostVolume; one that is not asked for is empty.");

#define REGISTER_COST_VOLUME(KIND, D, T)                                         \
  REGISTER_KERNEL_BUILDER(                                                       \
      Name("RcnCostVolume").Device(tensorflow::KIND).TypeConstraint<T>("T"),     \
      rcn::CostVolume<D, T>);                                                    \
  REGISTER_KERNEL_BUILDER(                                                       \
      Name("RcnCostVolumeGrad").Device(tensorflow::KIND).TypeConstraint<T>("T"), \
      rcn::CostVolumeGrad<D, T>)

REGISTER_COST_VOLUME(DEVICE_CPU, rcn::CpuDevice, Eigen::bfloat16);
REGISTER_COST_VOLUME(DEVICE_CPU, rcn::CpuDevice, float);
REGISTER_COST_VOLUME(DEVICE_CPU, rcn::CpuDevice, double);
#ifdef RCN_CUDA
REGISTER_COST_VOLUME(DEVICE_GPU, rcn::GpuDevice, Eigen::bfloat16);
REGISTER_COST_VOLUME(DEVICE_GPU, rcn::GpuDevice, float);
REGISTER_COST_VOLUME(DEVICE_GPU, rcn::GpuDevice, double);
#endif
