// TensorFlow's side of the work on scans' own grids: resampling, flows as displacements,
// inverse fields and folds. Volumes have no batch; matrices are [3, 4] double.

#define EIGEN_USE_THREADS

#include <string>

#include "inversion_cpu.h"
#include "launch_cpu.h"
#include "resampling_cpu.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "turned_cells_cpu.h"

namespace rcn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

absl::Status read_affine(const Tensor& tensor, const char* name, Affine* affine) {
  if (tensor.dims() != 2 || tensor.dim_size(0) != 3 || tensor.dim_size(1) != 4) {
    return absl::InvalidArgumentError("`" + std::string(name) +
                                      "` must have shape (3, 4); got " +
                                      text(sizes(tensor.shape())) + ".");
  }
  for (int k = 0; k < 12; ++k) affine->at[k / 4][k % 4] = tensor.flat<double>()(k);
  return absl::OkStatus();
}

// Sizes of a filled tensor [D, H, W] or, with `channels`, [D, H, W, 3].
absl::Status read_volume(const Tensor& tensor, const char* name, bool channels,
                         Volume* volume) {
  const bool good = tensor.dims() == (channels ? 4 : 3) && tensor.NumElements() > 0 &&
                    (!channels || tensor.dim_size(3) == 3);
  if (!good) {
    const std::string wanted = channels ? "[D, H, W, 3]" : "[D, H, W]";
    return absl::InvalidArgumentError("`" + std::string(name) + "` must have shape " + wanted +
                                      " and be filled; got " + text(sizes(tensor.shape())) +
                                      ".");
  }
  for (int k = 0; k < 3; ++k) volume->size[k] = tensor.dim_size(k);
  return absl::OkStatus();
}

// The three positive sizes that are the values of a tensor.
absl::Status read_grid(const Tensor& tensor, Volume* grid) {
  bool good = tensor.NumElements() == 3;
  for (int k = 0; good && k < 3; ++k) {
    grid->size[k] = tensor.flat<int64_t>()(k);
    good = grid->size[k] > 0;
  }
  return good ? absl::OkStatus()
              : absl::InvalidArgumentError("`shape` must be three positive sizes.");
}

TensorShape shape_of(const Volume& grid, bool channels) {
  TensorShape shape({grid.size[0], grid.size[1], grid.size[2]});
  if (channels) shape.AddDim(3);
  return shape;
}

template <typename T>
class Resample : public OpKernel {
 public:
  explicit Resample(OpKernelConstruction* context) : OpKernel(context) {
    std::string lookup;
    OP_REQUIRES_OK(context, context->GetAttr("lookup", &lookup));
    OP_REQUIRES_OK(context, context->GetAttr("fills", &fills_));
    lookup_ = lookup == "linear"    ? Lookup::kLinear
              : lookup == "nearest" ? Lookup::kNearest
                                    : Lookup::kVote;
  }

  void Compute(OpKernelContext* context) override {
    Resampling call = {};
    call.lookup = lookup_;
    call.fills = fills_;
    call.outside = context->input(5).flat<double>()(0);
    const Tensor &image = context->input(0), &displacement = context->input(1);
    OP_REQUIRES_OK(context, read_volume(image, "image", false, &call.image));
    OP_REQUIRES_OK(context, read_affine(context->input(2), "to_image", &call.to_image));
    OP_REQUIRES_OK(context, read_affine(context->input(3), "to_index", &call.to_index));
    OP_REQUIRES_OK(context, read_grid(context->input(4), &call.grid));
    const float* moved = nullptr;
    if (displacement.NumElements() > 0) {
      OP_REQUIRES(
          context, displacement.shape() == shape_of(call.grid, true),
          absl::InvalidArgumentError("`displacement` must have the shape of the grid."));
      moved = displacement.flat<float>().data();
    }
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape_of(call.grid, false), &result));
    resample<T>(call, image.flat<T>().data(), moved, result->flat<T>().data(),
                workers_of(context));
  }

 private:
  Lookup lookup_;
  bool fills_;
};

template <typename Real>
class LookUpFlow : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    FlowLookup call = {};
    const Tensor& flow = context->input(0);
    OP_REQUIRES_OK(context, read_volume(flow, "flow", true, &call.flow));
    OP_REQUIRES_OK(context, read_affine(context->input(1), "to_flow", &call.to_flow));
    OP_REQUIRES_OK(context, read_affine(context->input(2), "vector", &call.vector));
    OP_REQUIRES_OK(context, read_affine(context->input(3), "affine", &call.affine));
    OP_REQUIRES_OK(context, read_grid(context->input(4), &call.grid));
    Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape_of(call.grid, true), &result));
    look_up_flow<Real>(call, flow.flat<float>().data(), result->flat<Real>().data(),
                       workers_of(context));
  }
};

class InvertField : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    Inversion call = {};
    const Tensor &vectors = context->input(0), &along = context->input(4);
    OP_REQUIRES_OK(context, read_volume(vectors, "vectors", true, &call.field));
    OP_REQUIRES_OK(context, read_affine(context->input(1), "to_field", &call.to_field));
    OP_REQUIRES_OK(context, read_affine(context->input(2), "to_index", &call.to_index));
    OP_REQUIRES_OK(context, read_affine(context->input(3), "start", &call.start));
    OP_REQUIRES(context, along.NumElements() == 3,
                absl::InvalidArgumentError("`along` must have three values."));
    for (int k = 0; k < 3; ++k) call.along[k] = along.flat<double>()(k);
    call.tolerance = context->input(5).flat<double>()(0);
    OP_REQUIRES_OK(context, read_grid(context->input(6), &call.grid));
    Tensor *inverse = nullptr, *error = nullptr, *inside = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape_of(call.grid, true), &inverse));
    OP_REQUIRES_OK(context, context->allocate_output(1, shape_of(call.grid, false), &error));
    OP_REQUIRES_OK(context, context->allocate_output(2, shape_of(call.grid, false), &inside));
    invert(call, vectors.flat<float>().data(), inverse->flat<float>().data(),
           error->flat<float>().data(), inside->flat<bool>().data(), workers_of(context));
  }
};

class TurnedCells : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    Volume field, cells;
    Affine to_index;
    const Tensor& vectors = context->input(0);
    OP_REQUIRES_OK(context, read_volume(vectors, "vectors", true, &field));
    OP_REQUIRES_OK(context, read_affine(context->input(1), "to_index", &to_index));
    for (int k = 0; k < 3; ++k) cells.size[k] = field.size[k] - 1;
    Tensor* turned = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape_of(cells, false), &turned));
    turned_cells(field, to_index, vectors.flat<float>().data(), turned->flat<bool>().data(),
                 workers_of(context));
  }
};

// Ranks alone are inferred: these ops run eagerly.
template <int... kRanks>
absl::Status ranks(tensorflow::shape_inference::InferenceContext* c) {
  int output = 0;
  (c->set_output(output++, c->UnknownShapeOfRank(kRanks)), ...);
  return absl::OkStatus();
}

REGISTER_OP("RcnResample")
    .Input("image: T")
    .Input("displacement: float")
    .Input("to_image: double")
    .Input("to_index: double")
    .Input("shape: int64")
    .Input("outside: double")
    .Output("resampled: T")
    .Attr("T: {uint8, int8, uint16, int16, uint32, int32, float, double}")
    .Attr("lookup: {'linear', 'nearest', 'vote'} = 'linear'")
    .Attr("fills: bool = true")
    .SetShapeFn(ranks<3>)
    .Doc("image(to_image x + to_index displacement(x)) at the voxels x of a grid.");

REGISTER_OP("RcnLookUpFlow")
    .Input("flow: float")
    .Input("to_flow: double")
    .Input("vector: double")
    .Input("affine: double")
    .Input("shape: int64")
    .Output("found: T")
    .Attr("T: {float, double} = DT_FLOAT")
    .SetShapeFn(ranks<4>)
    .Doc("affine x + vector flow(to_flow x) at the voxels x of a grid.");

REGISTER_OP("RcnInvertField")
    .Input("vectors: float")
    .Input("to_field: double")
    .Input("to_index: double")
    .Input("start: double")
    .Input("along: double")
    .Input("tolerance: double")
    .Input("shape: int64")
    .Output("inverse: float")
    .Output("error: float")
    .Output("inside: bool")
    .SetShapeFn(ranks<4, 3, 3>)
    .Doc("Inverse of a displacement field at the voxels of a grid.");

REGISTER_OP("RcnTurnedCells")
    .Input("vectors: float")
    .Input("to_index: double")
    .Output("turned: bool")
    .SetShapeFn(ranks<3>)
    .Doc("Cells between the voxels of a displacement field that it turns inside out.");

#define REGISTER_RESAMPLE(T) \
  REGISTER_KERNEL_BUILDER(   \
      Name("RcnResample").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), Resample<T>)
REGISTER_RESAMPLE(uint8_t);
REGISTER_RESAMPLE(int8_t);
REGISTER_RESAMPLE(uint16_t);
REGISTER_RESAMPLE(int16_t);
REGISTER_RESAMPLE(uint32_t);
REGISTER_RESAMPLE(int32_t);
REGISTER_RESAMPLE(float);
REGISTER_RESAMPLE(double);
REGISTER_KERNEL_BUILDER(
    Name("RcnLookUpFlow").Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"),
    LookUpFlow<float>);
REGISTER_KERNEL_BUILDER(
    Name("RcnLookUpFlow").Device(tensorflow::DEVICE_CPU).TypeConstraint<double>("T"),
    LookUpFlow<double>);
REGISTER_KERNEL_BUILDER(Name("RcnInvertField").Device(tensorflow::DEVICE_CPU), InvertField);
REGISTER_KERNEL_BUILDER(Name("RcnTurnedCells").Device(tensorflow::DEVICE_CPU), TurnedCells);

}  // namespace
}  // namespace rcn
