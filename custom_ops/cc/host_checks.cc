// C interface for tests and benchmarks without TensorFlow. It runs the CPU kernels, and in a
// loop on the host what a CUDA thread does for its voxel.

#include <cstdint>
#include <thread>
#include <vector>

#include "cost_volume_cpu.h"
#include "local_ncc_cpu.h"
#include "voxel.h"
#include "warp_cpu.h"

namespace {

using rcn::Geometry;
using rcn::Padding;
using rcn::Workers;

Workers workers(int threads) {
  return {threads, [threads](int64_t total, int64_t, const rcn::Work& work) {
            std::vector<std::thread> running;
            for (int k = 0; k < threads; ++k) {
              running.emplace_back(work, total * k / threads, total * (k + 1) / threads);
            }
            for (auto& thread : running) thread.join();
          }};
}

// Calls visit(padding constant, index of every output voxel).
template <typename Visit>
void for_each_voxel(const Geometry& geometry, int padding, const Visit& visit) {
  const int64_t voxels = geometry.batch * geometry.output_voxels();
  for (int64_t voxel = 0; voxel < voxels; ++voxel) {
    if (padding == static_cast<int>(Padding::kBorder)) {
      visit(std::integral_constant<Padding, Padding::kBorder>{}, voxel);
    } else {
      visit(std::integral_constant<Padding, Padding::kZeros>{}, voxel);
    }
  }
}

}  // namespace

#define RCN_HOST_CHECKS(SUFFIX, REAL)                                                          \
  extern "C" void rcn_cpu_warp_##SUFFIX(const Geometry* geometry, int padding, int threads,    \
                                        const REAL* image, const REAL* flow, int add_flow,     \
                                        REAL* out) {                                           \
    rcn::warp(*geometry, static_cast<Padding>(padding), image, flow, add_flow != 0, out,       \
              workers(threads));                                                               \
  }                                                                                            \
  extern "C" void rcn_cpu_flow_gradient_##SUFFIX(                                              \
      const Geometry* geometry, int padding, int threads, const REAL* image, const REAL* flow, \
      const REAL* upstream, int add_flow, REAL* gradient) {                                    \
    rcn::warp_flow_gradient(*geometry, static_cast<Padding>(padding), image, flow, upstream,   \
                            add_flow != 0, gradient, workers(threads));                        \
  }                                                                                            \
  extern "C" void rcn_cpu_image_gradient_##SUFFIX(const Geometry* geometry, int padding,       \
                                                  int threads, const REAL* flow,               \
                                                  const REAL* upstream, REAL* gradient) {      \
    rcn::warp_image_gradient(*geometry, static_cast<Padding>(padding), flow, upstream,         \
                             gradient, workers(threads));                                      \
  }                                                                                            \
  extern "C" void rcn_voxel_warp_##SUFFIX(const Geometry* geometry, int padding, int,          \
                                          const REAL* image, const REAL* flow, int add_flow,   \
                                          REAL* out) {                                         \
    for_each_voxel(*geometry, padding, [&](auto constant, int64_t voxel) {                     \
      rcn::warp_voxel<constant.value, 0>(*geometry, image, flow, add_flow != 0, out, voxel);   \
    });                                                                                        \
  }                                                                                            \
  extern "C" void rcn_voxel_flow_gradient_##SUFFIX(                                            \
      const Geometry* geometry, int padding, int, const REAL* image, const REAL* flow,         \
      const REAL* upstream, int add_flow, REAL* gradient) {                                    \
    for_each_voxel(*geometry, padding, [&](auto constant, int64_t voxel) {                     \
      rcn::flow_gradient_voxel<constant.value, 0>(*geometry, image, flow, upstream,            \
                                                  add_flow != 0, gradient, voxel);             \
    });                                                                                        \
  }                                                                                            \
  extern "C" void rcn_voxel_image_gradient_##SUFFIX(const Geometry* geometry, int padding,     \
                                                    int, const REAL* flow,                     \
                                                    const REAL* upstream, REAL* gradient) {    \
    const int64_t elements = geometry->batch * geometry->image_voxels() * geometry->channels;  \
    for (int64_t i = 0; i < elements; ++i) gradient[i] = 0;                                    \
    for_each_voxel(*geometry, padding, [&](auto constant, int64_t voxel) {                     \
      rcn::image_gradient_voxel<constant.value, 0>(                                            \
          *geometry, flow, upstream, voxel,                                                    \
          [&](int64_t offset, REAL value) { gradient[offset] += value; });                     \
    });                                                                                        \
  }                                                                                            \
  extern "C" void rcn_cpu_local_ncc_##SUFFIX(                                                  \
      const rcn::NccCall* call, int gradients, int threads, const REAL* fixed,                 \
      const REAL* warped, const REAL* mask, REAL* values, REAL* warped_gradient,               \
      REAL* fixed_gradient) {                                                                  \
    rcn::local_ncc(*call, static_cast<rcn::NccGradients>(gradients), fixed, warped, mask,      \
                   values, warped_gradient, fixed_gradient, workers(threads));                 \
  }

RCN_HOST_CHECKS(float, float)
RCN_HOST_CHECKS(double, double)

#define RCN_COST_CHECKS(SUFFIX, T)                                                             \
  extern "C" void rcn_cpu_cost_volume_##SUFFIX(const rcn::CostCall* call, int threads,         \
                                               const T* fixed, const T* moving, T* costs) {    \
    rcn::cost_volume(*call, fixed, moving, costs, workers(threads));                           \
  }                                                                                            \
  extern "C" void rcn_cpu_cost_volume_gradient_##SUFFIX(                                       \
      const rcn::CostCall* call, int threads, const T* fixed, const T* moving,                 \
      const T* upstream, T* fixed_gradient, T* moving_gradient) {                              \
    rcn::cost_volume_gradient(*call, fixed, moving, upstream, fixed_gradient, moving_gradient, \
                              workers(threads));                                               \
  }

RCN_COST_CHECKS(float, float)
RCN_COST_CHECKS(double, double)
RCN_COST_CHECKS(bfloat16, rcn::Bfloat16)
