// Large arrays on large pages. The arrays of a graph of a million nodes are read in no order; with pages of 4 KB a fifth
// of the time of `gcomp opt` goes into finding and faulting them in (measured on graphs of a million nodes).

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GCOMP_ALLOCATOR_IS_REPLACED
#endif
#endif

#if !defined(GCOMP_ALLOCATOR_IS_REPLACED) && !defined(__SANITIZE_ADDRESS__)

namespace {

constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kLarge = 2 * kLargePage;  // smaller ones would waste too much of their pages

void* allocate(size_t size) {
  if (size < kLarge) return std::malloc(size == 0 ? 1 : size);
  if (size > SIZE_MAX - kLargePage) return nullptr;
  const size_t whole = (size + kLargePage - 1) / kLargePage * kLargePage;
  void* p = std::aligned_alloc(kLargePage, whole);
  if (p != nullptr) ::madvise(p, whole, MADV_HUGEPAGE);  // advice: that it fails does not matter
  return p;
}

}  // namespace

void* operator new(size_t size) {
  for (;;) {
    if (void* p = allocate(size)) return p;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

#endif
