// The conversions of __half without its rounding; see cuda_runtime.h.

#pragma once

struct __half {
  float value;
  __half() = default;
  explicit __half(float number) : value(number) {}
  operator float() const { return value; }
};
