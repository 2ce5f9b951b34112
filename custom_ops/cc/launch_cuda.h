// Calls the CUDA kernels on the stream of a TensorFlow device. EIGEN_USE_GPU must be defined
// before the first header of Eigen.

#ifndef CUSTOM_OPS_CC_LAUNCH_CUDA_H_
#define CUSTOM_OPS_CC_LAUNCH_CUDA_H_

#include "launch_cpu.h"
#include "tensorflow/core/util/determinism.h"
#include "warp_cuda.h"

namespace rcn {

using GpuDevice = Eigen::GpuDevice;

template <typename T>
constexpr int type_code() {
  if (std::is_same_v<T, Eigen::half>) return RCN_HALF;
  if (std::is_same_v<T, Eigen::bfloat16>) return RCN_BFLOAT16;
  return std::is_same_v<T, double> ? RCN_DOUBLE : RCN_FLOAT;
}

inline absl::Status status_of(const char* op, int code) {
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(std::string(op) + ": CUDA error " + rcn_cuda_error(code));
}

template <typename T, typename Real>
struct Launch<GpuDevice, T, Real> {
  using Context = tensorflow::OpKernelContext;
  using Tensor = tensorflow::Tensor;

  static void* stream(Context* context) { return context->eigen_device<GpuDevice>().stream(); }

  static absl::Status forward(Context* context, const Geometry& geometry, Padding padding,
                              const Tensor& image, const Tensor& flow, bool add_flow,
                              Tensor* out) {
    return status_of("warp", rcn_cuda_warp(&geometry, static_cast<int>(padding), type_code<T>(),
                                           image.data(), flow.data(), add_flow, out->data(),
                                           stream(context)));
  }

  static absl::Status flow_gradient(Context* context, const Geometry& geometry, Padding padding,
                                    const Tensor& image, const Tensor& flow,
                                    const Tensor& upstream, bool add_flow, Tensor* gradient) {
    return status_of(
        "flow gradient of warp",
        rcn_cuda_warp_flow_gradient(&geometry, static_cast<int>(padding), type_code<T>(),
                                    image.data(), flow.data(), upstream.data(), add_flow,
                                    gradient->data(), stream(context)));
  }

  static absl::Status image_gradient(Context* context, const Geometry& geometry,
                                     Padding padding, const Tensor& flow,
                                     const Tensor& upstream, Tensor* gradient) {
    const bool deterministic = tensorflow::OpDeterminismRequired();
    Tensor scratch;
    TF_RETURN_IF_ERROR(context->allocate_temp(
        tensorflow::DT_INT8, {rcn_cuda_scratch_bytes(&geometry, type_code<T>(), deterministic)},
        &scratch));
    return status_of(
        "image gradient of warp",
        rcn_cuda_warp_image_gradient(&geometry, static_cast<int>(padding), type_code<T>(),
                                     flow.data(), upstream.data(), deterministic,
                                     scratch.data(), gradient->data(), stream(context)));
  }
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LAUNCH_CUDA_H_
