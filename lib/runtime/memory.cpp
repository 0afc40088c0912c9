// The default allocator and growing blocks.

#include <stdlib.h>
#include <sys/mman.h>

#include "context.h"

namespace gcomp::rt {
namespace {

// Large blocks are arenas, touched all over in every run: huge pages spare them most of their TLB misses.
constexpr size_t kHugePage = 2 << 20, kHugeFrom = 2 * kHugePage;

void* default_allocate(void*, size_t bytes, size_t alignment) {
  const bool huge = bytes >= kHugeFrom;
  if (huge) alignment = kHugePage;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = aligned_alloc(alignment, bytes);
  if (huge && memory != nullptr) madvise(memory, bytes, MADV_HUGEPAGE);  // only a hint
  return memory;
}

void default_deallocate(void*, void* memory) { free(memory); }

}  // namespace

Allocator make_allocator(const gcomp_options& options) {
  if (options.allocate == nullptr) return {nullptr, default_allocate, default_deallocate};
  return {options.allocator_data, options.allocate, options.deallocate};
}

bool Block::ensure(const Allocator& allocator, uint64_t wanted, uint64_t keep_bytes) {
  if (data != nullptr && wanted <= bytes) return true;
  if (keep_bytes == 0) {  // nothing to keep: free first, so that both never coexist
    allocator.put(data);
    *this = {};
  }
  void* const fresh = allocator.get(wanted);
  if (fresh == nullptr) return false;
  if (keep_bytes != 0 && data != nullptr)
    memcpy(fresh, data, keep_bytes < bytes ? keep_bytes : bytes);
  allocator.put(data);
  data = fresh;
  bytes = wanted;
  return true;
}

}  // namespace gcomp::rt
