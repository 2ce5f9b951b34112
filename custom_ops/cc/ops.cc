// Schemas of the ops and the shapes that they infer and reject.

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Rejects an image or flow of the wrong rank and a flow that does not fit the image.
absl::Status check(InferenceContext* c, int image_input, int flow_input) {
  ShapeHandle image, flow;
  DimensionHandle unused;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(image_input), 5, &image));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(flow_input), 5, &flow));
  TF_RETURN_IF_ERROR(c->WithValue(c->Dim(flow, 4), 3, &unused));
  return c->Merge(c->Dim(image, 0), c->Dim(flow, 0), &unused);
}

// [B, D', H', W', C] for an image [B, D, H, W, C] and a flow [B, D', H', W', 3].
absl::Status warped_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(check(c, 0, 1));
  ShapeHandle out;
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(1), 4, c->Dim(c->input(0), 4), &out));
  c->set_output(0, out);
  return absl::OkStatus();
}

// The shape of the flow, which the flow to be looked up must have too.
absl::Status composed_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(check(c, 0, 1));
  ShapeHandle out;
  TF_RETURN_IF_ERROR(c->Merge(c->input(0), c->input(1), &out));
  c->set_output(0, out);
  return absl::OkStatus();
}

// The shape of the flow, input 1, whose gradient it is.
absl::Status flow_gradient_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(check(c, 0, 1));
  TF_RETURN_IF_ERROR(check(c, 2, 1));
  c->set_output(0, c->input(1));
  return absl::OkStatus();
}

// The shape that input 0 holds.
absl::Status image_gradient_shape(InferenceContext* c) {
  ShapeHandle out;
  TF_RETURN_IF_ERROR(check(c, 2, 1));
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(0, &out));
  TF_RETURN_IF_ERROR(c->WithRank(out, 5, &out));
  c->set_output(0, out);
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
