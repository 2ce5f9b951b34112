// Calls the CPU kernels on TensorFlow's thread pool. Images of 16 bits are first converted to
// float, in which the kernels compute.

#ifndef CUSTOM_OPS_CC_LAUNCH_CPU_H_
#define CUSTOM_OPS_CC_LAUNCH_CPU_H_

#include "messages.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "warp_cpu.h"

namespace rcn {

using CpuDevice = Eigen::ThreadPoolDevice;

inline Shape sizes(const tensorflow::TensorShape& shape) {
  const auto dims = shape.dim_sizes();
  return Shape(dims.begin(), dims.end());
}

inline Workers workers_of(tensorflow::OpKernelContext* context) {
  const auto* pool = context->device()->tensorflow_cpu_worker_threads();
  return {pool->num_threads, [pool](int64_t total, int64_t cost, const Work& work) {
            pool->workers->ParallelFor(total, cost, work);
          }};
}

// `tensor` as a tensor of type Real: itself, or a converted copy.
template <typename T, typename Real>
absl::Status widened(tensorflow::OpKernelContext* context, const tensorflow::Tensor& tensor,
                     tensorflow::Tensor* wide) {
  if constexpr (std::is_same_v<T, Real>) {
    *wide = tensor;
  } else {
    TF_RETURN_IF_ERROR(
        context->allocate_temp(tensorflow::DataTypeToEnum<Real>::value, tensor.shape(), wide));
    wide->flat<Real>().device(context->eigen_cpu_device()) =
        tensor.flat<T>().template cast<Real>();
  }
  return absl::OkStatus();
}

// Runs compute(pointer to Real) and stores its result as type T.
template <typename T, typename Real, typename Compute>
absl::Status narrowed(tensorflow::OpKernelContext* context, tensorflow::Tensor* result,
                      const Compute& compute) {
  if constexpr (std::is_same_v<T, Real>) {
    compute(result->flat<Real>().data());
  } else {
    tensorflow::Tensor wide;
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DataTypeToEnum<Real>::value,
                                              result->shape(), &wide));
    compute(wide.flat<Real>().data());
    result->flat<T>().device(context->eigen_cpu_device()) =
        wide.flat<Real>().template cast<T>();
  }
  return absl::OkStatus();
}

template <typename Device, typename T, typename Real>
struct Launch;

template <typename T, typename Real>
struct Launch<CpuDevice, T, Real> {
  using Context = tensorflow::OpKernelContext;
  using Tensor = tensorflow::Tensor;

  static absl::Status forward(Context* context, const Geometry& geometry, Padding padding,
                              const Tensor& image, const Tensor& flow, bool add_flow,
                              Tensor* out) {
    Tensor wide;
    TF_RETURN_IF_ERROR((widened<T, Real>(context, image, &wide)));
    return narrowed<T, Real>(context, out, [&](Real* result) {
      warp(geometry, padding, wide.flat<Real>().data(), flow.flat<Real>().data(), add_flow,
           result, workers_of(context));
    });
  }

  static absl::Status flow_gradient(Context* context, const Geometry& geometry, Padding padding,
                                    const Tensor& image, const Tensor& flow,
                                    const Tensor& upstream, bool add_flow, Tensor* gradient) {
    Tensor wide, arriving;
    TF_RETURN_IF_ERROR((widened<T, Real>(context, image, &wide)));
    TF_RETURN_IF_ERROR((widened<T, Real>(context, upstream, &arriving)));
    warp_flow_gradient(geometry, padding, wide.flat<Real>().data(), flow.flat<Real>().data(),
                       arriving.flat<Real>().data(), add_flow, gradient->flat<Real>().data(),
                       workers_of(context));
    return absl::OkStatus();
  }

  static absl::Status image_gradient(Context* context, const Geometry& geometry,
                                     Padding padding, const Tensor& flow,
                                     const Tensor& upstream, Tensor* gradient) {
    Tensor arriving;
    TF_RETURN_IF_ERROR((widened<T, Real>(context, upstream, &arriving)));
    return narrowed<T, Real>(context, gradient, [&](Real* result) {
      warp_image_gradient(geometry, padding, flow.flat<Real>().data(),
                          arriving.flat<Real>().data(), result, workers_of(context));
    });
  }
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LAUNCH_CPU_H_
