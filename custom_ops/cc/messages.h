// Checks of shapes, with the same messages as the Python checks (`sampling.py`). Sizes that are
// not known, as in a traced function, are -1 and fit any size.

#ifndef CUSTOM_OPS_CC_MESSAGES_H_
#define CUSTOM_OPS_CC_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rcn {

using Shape = std::vector<int64_t>;

// "(2, None, 8, 8, 3)"
inline std::string text(const Shape& shape) {
  std::string result = "(";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    result += axis ? ", " : "";
    result += shape[axis] < 0 ? "None" : std::to_string(shape[axis]);
  }
  return result + (shape.size() == 1 ? ",)" : ")");
}

inline bool fits(int64_t size, int64_t wanted) {
  return size < 0 || wanted < 0 || size == wanted;
}

inline bool fits(const Shape& shape, const Shape& wanted) {
  bool result = shape.size() == wanted.size();
  for (size_t axis = 0; result && axis < shape.size(); ++axis) {
    result = fits(shape[axis], wanted[axis]);
  }
  return result;
}

inline Shape with_channels(Shape shape, int64_t channels) {
  shape[4] = channels;
  return shape;
}

inline absl::Status mismatch(const std::string& name, const Shape& wanted,
                             const std::string& other, const Shape& got) {
  return absl::InvalidArgumentError("`" + name + "` must have shape " + text(wanted) +
                                    " to match `" + other + "`; got " + text(got) + ".");
}

// Whether an image [B, D, H, W, C] and a flow [B, D', H', W', 3] go together.
inline absl::Status check_warp(const Shape& image, const Shape& flow) {
  if (image.size() != 5) {
    return absl::InvalidArgumentError("`image` must have shape [B, D, H, W, C]; got " +
                                      text(image) + ".");
  }
  if (flow.size() != 5 || !fits(flow[4], 3) || !fits(flow[0], image[0])) {
    return mismatch("flow", with_channels(image, 3), "image", flow);
  }
  return absl::OkStatus();
}

// Whether two flows can be composed: one grid, three channels.
inline absl::Status check_compose(const Shape& previous, const Shape& update) {
  if (!fits(update, previous)) return mismatch("update", previous, "previous", update);
  if (update.size() != 5 || !fits(update[4], 3) || !fits(previous[4], 3)) {
    return absl::InvalidArgumentError("`update` must have shape [B, D, H, W, 3]; got " +
                                      text(update) + ".");
  }
  return absl::OkStatus();
}

// Whether the upstream gradient has the shape of the warped image.
inline absl::Status check_upstream(const Shape& image, const Shape& flow,
                                   const Shape& upstream) {
  const Shape wanted = with_channels(flow, image[4]);
  return fits(upstream, wanted) ? absl::OkStatus()
                                : mismatch("upstream", wanted, "flow", upstream);
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_MESSAGES_H_
