// Schemas of the ops, with their shape inference and checks.

#include "messages.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using rcn::Shape;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Shape of an input; returns false if not even the rank is known.
bool known(InferenceContext* c, ShapeHandle handle, Shape* shape) {
  if (!c->RankKnown(handle)) return false;
  for (int axis = 0; axis < c->Rank(handle); ++axis) {
    shape->push_back(c->Value(c->Dim(handle, axis)));
  }
  return true;
}

// [B, D', H', W', C] for an image [B, D, H, W, C] and a flow [B, D', H', W', 3].
absl::Status warped_shape(InferenceContext* c) {
  Shape image, flow;
  c->set_output(0, c->UnknownShapeOfRank(5));
  if (!known(c, c->input(0), &image) || !known(c, c->input(1), &flow)) return absl::OkStatus();
  TF_RETURN_IF_ERROR(rcn::check_warp(image, flow));
  ShapeHandle out;
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(1), 4, c->Dim(c->input(0), 4), &out));
  c->set_output(0, out);
  return absl::OkStatus();
}

// The shape that both flows share.
absl::Status composed_shape(InferenceContext* c) {
  Shape previous, update;
  ShapeHandle out;
  if (known(c, c->input(0), &previous) && known(c, c->input(1), &update)) {
    TF_RETURN_IF_ERROR(rcn::check_compose(previous, update));
  }
  TF_RETURN_IF_ERROR(c->Merge(c->input(0), c->input(1), &out));
  c->set_output(0, out);
  return absl::OkStatus();
}

// The shape of the flow, which is input 1.
absl::Status flow_gradient_shape(InferenceContext* c) {
  Shape image, flow, upstream;
  c->set_output(0, c->input(1));
  if (!known(c, c->input(0), &image) || !known(c, c->input(1), &flow) ||
      !known(c, c->input(2), &upstream)) {
    return absl::OkStatus();
  }
  TF_RETURN_IF_ERROR(rcn::check_warp(image, flow));
  return rcn::check_upstream(image, flow, upstream);
}

// The shape that is the value of input 0.
absl::Status image_gradient_shape(InferenceContext* c) {
  ShapeHandle out;
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(0, &out));
  c->set_output(0, out);
  Shape image, flow, upstream;
  if (!known(c, out, &image) || !known(c, c->input(1), &flow) ||
      !known(c, c->input(2), &upstream)) {
    return absl::OkStatus();
  }
  TF_RETURN_IF_ERROR(rcn::check_warp(image, flow));
  return rcn::check_upstream(image, flow, upstream);
}

// [B] for a field [B, D, H, W, C].
absl::Status sums_shape(InferenceContext* c) {
  ShapeHandle field;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 5, &field));
  c->set_output(0, c->Vector(c->Dim(field, 0)));
  return absl::OkStatus();
}

// The shape of the field, input 0; the upstream gradient has one value per sample.
absl::Status sums_gradient_shape(InferenceContext* c) {
  ShapeHandle field, upstream;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 5, &field));
  TF_RETURN_IF_ERROR(c->Merge(c->input(1), c->Vector(c->Dim(field, 0)), &upstream));
  c->set_output(0, field);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("RcnWarp")
    .Input("image: T")
    .Input("flow: Tflow")
    .Output("warped: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tflow: {float, double}")
    .Attr("padding: {'border', 'zeros'} = 'border'")
    .SetShapeFn(warped_shape)
    .Doc("image(x + flow(x)), trilinear; shapes as in custom_ops.warp.");

REGISTER_OP("RcnWarpFlowGrad")
    .Input("image: T")
    .Input("flow: Tflow")
    .Input("upstream: T")
    .Output("gradient: Tflow")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tflow: {float, double}")
    .Attr("padding: {'border', 'zeros'} = 'border'")
    .SetShapeFn(flow_gradient_shape)
    .Doc("Gradient of RcnWarp by the flow.");

REGISTER_OP("RcnWarpImageGrad")
    .Input("image_shape: int32")
    .Input("flow: Tflow")
    .Input("upstream: T")
    .Output("gradient: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tflow: {float, double}")
    .Attr("padding: {'border', 'zeros'} = 'border'")
    .SetShapeFn(image_gradient_shape)
    .Doc("Gradient of RcnWarp by the image, and of RcnCompose by `previous`.");

REGISTER_OP("RcnCompose")
    .Input("previous: T")
    .Input("update: T")
    .Output("composed: T")
    .Attr("T: {float, double}")
    .SetShapeFn(composed_shape)
    .Doc("update(x) + previous(x + update(x)), previous clamped to its border.");

REGISTER_OP("RcnComposeUpdateGrad")
    .Input("previous: T")
    .Input("update: T")
    .Input("upstream: T")
    .Output("gradient: T")
    .Attr("T: {float, double}")
    .SetShapeFn(flow_gradient_shape)
    .Doc("Gradient of RcnCompose by `update`.");

REGISTER_OP("RcnSquaredDifferences")
    .Input("field: T")
    .Output("sums: T")
    .Attr("T: {float, double}")
    .SetShapeFn(sums_shape)
    .Doc("Sums [B] of the squared differences of neighbours along the three axes.");

REGISTER_OP("RcnSquaredDifferencesGrad")
    .Input("field: T")
    .Input("upstream: T")
    .Output("gradient: T")
    .Attr("T: {float, double}")
    .SetShapeFn(sums_gradient_shape)
    .Doc("Gradient of RcnSquaredDifferences.");
