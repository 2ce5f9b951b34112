// Large pages for results of many megabytes.

#ifndef CUSTOM_OPS_CC_LARGE_PAGES_H_
#define CUSTOM_OPS_CC_LARGE_PAGES_H_

#include <cstdint>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace rcn {

// Asks the system to back fresh memory by large pages, where it has them: at the first write to
// each of many small ones it would have to step in.
inline void prefer_large_pages(void* memory, int64_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t kPage = 1 << 21;
  const auto begin = reinterpret_cast<uintptr_t>(memory), end = begin + bytes;
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage, last = end / kPage * kPage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_LARGE_PAGES_H_
