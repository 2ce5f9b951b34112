// A vector of 64 bytes as the compilers' extension, which every instruction set can run.

#ifndef CUSTOM_OPS_CC_LANES_H_
#define CUSTOM_OPS_CC_LANES_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace rcn {

template <typename Real>
struct Lanes {
  static constexpr int64_t kCount = 64 / sizeof(Real);
  using Integer = std::conditional_t<sizeof(Real) == 4, int32_t, int64_t>;
  typedef Real Vector __attribute__((vector_size(64)));
  typedef Integer Bits __attribute__((vector_size(64)));

  static Vector load(const Real* from) {
    Vector result;
    std::memcpy(&result, from, sizeof result);
    return result;
  }
  static void store(Vector value, Real* to) { std::memcpy(to, &value, sizeof value); }

  // All bits of a number but its sign.
  static constexpr Integer kMagnitude =
      sizeof(Real) == 4 ? Integer(0x7fffffff) : Integer(INT64_MAX);

  static Vector magnitude(Vector value) { return (Vector)((Bits)value & kMagnitude); }

  // `value` times the sign of `other`, 0 where that is 0.
  static Vector with_sign_of(Vector other, Vector value) {
    const Bits sign = (Bits)other & ~kMagnitude;
    return (Vector)(((Bits)value ^ sign) & (Bits)(other != Vector{}));
  }

  static int64_t rounded_up(int64_t count) { return (count + kCount - 1) / kCount * kCount; }
};

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LANES_H_
