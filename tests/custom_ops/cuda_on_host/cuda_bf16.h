// The conversions of __nv_bfloat16 without its rounding; see cuda_runtime.h.

#pragma once

struct __nv_bfloat16 {
  float value;
  __nv_bfloat16() = default;
  explicit __nv_bfloat16(float number) : value(number) {}
  operator float() const { return value; }
};
