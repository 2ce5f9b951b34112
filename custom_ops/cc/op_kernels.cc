// OpKernels: they check shapes at run time, allocate results and call the device's kernels.

#define EIGEN_USE_THREADS
#ifdef RCN_CUDA
#define EIGEN_USE_GPU
#endif

#include <string>

#include "differences_cpu.h"
#include "launch_cpu.h"
#ifdef RCN_CUDA
#include "launch_cuda.h"
#endif
#include "messages.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace rcn {
namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::DEVICE_GPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Geometry of a call whose shapes are known to fit.
absl::Status measure(const Shape& image, const Shape& flow, Geometry* geometry) {
  geometry->batch = image[0];
  geometry->channels = image[4];
  for (int axis = 0; axis < 3; ++axis) {
    geometry->image[axis] = image[axis + 1];
    geometry->output[axis] = flow[axis + 1];
  }
  if (geometry->image_voxels() == 0 && geometry->output_voxels() > 0) {
    return absl::InvalidArgumentError("`image` has no voxel to look up; its shape is " +
                                      text(image) + ".");
  }
  return absl::OkStatus();
}

// Base of the kernels below: the padding, and whether the flow is added (composition).
class WarpKernel : public OpKernel {
 public:
  explicit WarpKernel(OpKernelConstruction* context)
      : OpKernel(context), composes_(!context->HasAttr("padding")) {
    std::string padding = "border";
    if (!composes_) OP_REQUIRES_OK(context, context->GetAttr("padding", &padding));
    padding_ = padding == "zeros" ? Padding::kZeros : Padding::kBorder;
  }

 protected:
  absl::Status check(const Shape& image, const Shape& flow, Geometry* geometry) const {
    TF_RETURN_IF_ERROR(composes_ ? check_compose(image, flow) : check_warp(image, flow));
    return measure(image, flow, geometry);
  }

  const bool composes_;
  Padding padding_;
};

template <typename Device, typename T, typename Real>
class Forward : public WarpKernel {
 public:
  using WarpKernel::WarpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &flow = context->input(1);
    Geometry geometry;
    OP_REQUIRES_OK(context, check(sizes(image.shape()), sizes(flow.shape()), &geometry));
    TensorShape shape = flow.shape();
    shape.set_dim(4, geometry.channels);
    Tensor* out = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &out));
    if (out->NumElements() == 0) return;
    OP_REQUIRES_OK(context, (Launch<Device, T, Real>::forward(context, geometry, padding_,
                                                              image, flow, composes_, out)));
  }
};

template <typename Device, typename T, typename Real>
class FlowGradient : public WarpKernel {
 public:
  using WarpKernel::WarpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &flow = context->input(1);
    const Tensor& upstream = context->input(2);
    Geometry geometry;
    OP_REQUIRES_OK(context, check(sizes(image.shape()), sizes(flow.shape()), &geometry));
    OP_REQUIRES_OK(context, check_upstream(sizes(image.shape()), sizes(flow.shape()),
                                           sizes(upstream.shape())));
    Tensor* gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, flow.shape(), &gradient));
    if (gradient->NumElements() == 0) return;
    OP_REQUIRES_OK(
        context, (Launch<Device, T, Real>::flow_gradient(context, geometry, padding_, image,
                                                         flow, upstream, composes_, gradient)));
  }
};

template <typename Device, typename T, typename Real>
class ImageGradient : public WarpKernel {
 public:
  using WarpKernel::WarpKernel;

  void Compute(OpKernelContext* context) override {
    const auto image_sizes = context->input(0).flat<int32_t>();
    const Tensor &flow = context->input(1), &upstream = context->input(2);
    TensorShape image;
    Geometry geometry;
    OP_REQUIRES_OK(context, tensorflow::TensorShapeUtils::MakeShape(
                                image_sizes.data(), image_sizes.size(), &image));
    OP_REQUIRES_OK(context, check(sizes(image), sizes(flow.shape()), &geometry));
    OP_REQUIRES_OK(context,
                   check_upstream(sizes(image), sizes(flow.shape()), sizes(upstream.shape())));
    Tensor* gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, image, &gradient));
    if (gradient->NumElements() == 0) return;
    OP_REQUIRES_OK(context, (Launch<Device, T, Real>::image_gradient(
                                context, geometry, padding_, flow, upstream, gradient)));
  }
};

// Extent of a field [B, D, H, W, C].
absl::Status extent(const TensorShape& shape, Field* field) {
  if (shape.dims() != 5) {
    return absl::InvalidArgumentError("`field` must have shape [B, D, H, W, C]; got " +
                                      text(sizes(shape)) + ".");
  }
  *field = {shape.dim_size(0), shape.dim_size(1), shape.dim_size(2),
            shape.dim_size(3) * shape.dim_size(4), shape.dim_size(4)};
  return absl::OkStatus();
}

// Only for the CPU; on a GPU TensorFlow's own ops are fast.
template <typename Real>
class SquaredDifferences : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor& field = context->input(0);
    Field shape;
    OP_REQUIRES_OK(context, extent(field.shape(), &shape));
    Tensor* sums = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({shape.batch}), &sums));
    squared_differences(shape, field.flat<Real>().data(), sums->flat<Real>().data(),
                        workers_of(context));
  }
};

template <typename Real>
class SquaredDifferencesGradient : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor &field = context->input(0), &upstream = context->input(1);
    Field shape;
    OP_REQUIRES_OK(context, extent(field.shape(), &shape));
    if (!fits(sizes(upstream.shape()), {shape.batch})) {
      OP_REQUIRES_OK(context,
                     mismatch("upstream", {shape.batch}, "field", sizes(upstream.shape())));
    }
    Tensor* gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, field.shape(), &gradient));
    squared_differences_gradient(shape, field.flat<Real>().data(), upstream.flat<Real>().data(),
                                 gradient->flat<Real>().data(), workers_of(context));
  }
};

#define REGISTER_DIFFERENCES(T)                                                    \
  REGISTER_KERNEL_BUILDER(                                                         \
      Name("RcnSquaredDifferences").Device(DEVICE_CPU).TypeConstraint<T>("T"),     \
      SquaredDifferences<T>);                                                      \
  REGISTER_KERNEL_BUILDER(                                                         \
      Name("RcnSquaredDifferencesGrad").Device(DEVICE_CPU).TypeConstraint<T>("T"), \
      SquaredDifferencesGradient<T>)

#define REGISTER_WARP(KIND, D, T, Real)                                                  \
  REGISTER_KERNEL_BUILDER(                                                               \
      Name("RcnWarp").Device(KIND).TypeConstraint<T>("T").TypeConstraint<Real>("Tflow"), \
      Forward<D, T, Real>);                                                              \
  REGISTER_KERNEL_BUILDER(Name("RcnWarpFlowGrad")                                        \
                              .Device(KIND)                                              \
                              .TypeConstraint<T>("T")                                    \
                              .TypeConstraint<Real>("Tflow"),                            \
                          FlowGradient<D, T, Real>);                                     \
  REGISTER_KERNEL_BUILDER(Name("RcnWarpImageGrad")                                       \
                              .Device(KIND)                                              \
                              .HostMemory("image_shape")                                 \
                              .TypeConstraint<T>("T")                                    \
                              .TypeConstraint<Real>("Tflow"),                            \
                          ImageGradient<D, T, Real>)

#define REGISTER_COMPOSE(KIND, D, T)                                                        \
  REGISTER_KERNEL_BUILDER(Name("RcnCompose").Device(KIND).TypeConstraint<T>("T"),           \
                          Forward<D, T, T>);                                                \
  REGISTER_KERNEL_BUILDER(Name("RcnComposeUpdateGrad").Device(KIND).TypeConstraint<T>("T"), \
                          FlowGradient<D, T, T>)

#define REGISTER_DEVICE(KIND, D)                  \
  REGISTER_WARP(KIND, D, Eigen::half, float);     \
  REGISTER_WARP(KIND, D, Eigen::bfloat16, float); \
  REGISTER_WARP(KIND, D, float, float);           \
  REGISTER_WARP(KIND, D, double, double);         \
  REGISTER_COMPOSE(KIND, D, float);               \
  REGISTER_COMPOSE(KIND, D, double)

REGISTER_DEVICE(DEVICE_CPU, CpuDevice);
REGISTER_DIFFERENCES(float);
REGISTER_DIFFERENCES(double);
#ifdef RCN_CUDA
REGISTER_DEVICE(DEVICE_GPU, GpuDevice);
#endif

}  // namespace
}  // namespace rcn
