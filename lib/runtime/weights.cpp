// Constants appended to the artifact's file: found through the path the artifact was loaded from,
// mapped once and shared by its contexts. The path is made absolute when the artifact is loaded,
// for the working folder may change later.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "context.h"

namespace gcomp::rt {

void lock(uint32_t& word) {
  uint32_t expected = 0;
  if (__atomic_compare_exchange_n(&word, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    return;
  }
  while (__atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE) != 0) futex_wait(&word, 2);
}

void unlock(uint32_t& word) {
  if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2) futex_wake(&word, 1);
}

namespace {

bool holds_weights(int file, const ArtifactInfo& info) {
  struct stat status;
  WeightsHeader header;
  const off_t at = static_cast<off_t>(info.weights_offset - kWeightsPage);
  return fstat(file, &status) == 0 &&
         static_cast<uint64_t>(status.st_size) >= info.weights_offset + info.weights_bytes &&
         pread(file, &header, sizeof header, at) == static_cast<ssize_t>(sizeof header) &&
         header.magic == kWeightsMagic && header.bytes == info.weights_bytes &&
         memcmp(header.hash, info.weights_hash, sizeof header.hash) == 0;
}

gcomp_status map_locked(gcomp_context& c, WeightsState& state, const ArtifactInfo& info) {
  if (state.path[0] == 0) {
    return fail(c, GCOMP_ERROR_WEIGHTS, "the file of \"%s\" could not be found when it was loaded",
                info.name);
  }
  const int file = open(state.path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return fail(c, GCOMP_ERROR_WEIGHTS,
                "%.400s: the artifact's file, which holds its weights, cannot "
                "be opened (error %d)",
                state.path, errno);
  }
  if (!holds_weights(file, info)) {
    close(file);
    return fail(c, GCOMP_ERROR_WEIGHTS,
                "%.400s: the file no longer holds this artifact's weights (replaced or stripped?)",
                state.path);
  }
  void* const mapping = mmap(nullptr, info.weights_bytes, PROT_READ, MAP_PRIVATE, file,
                             static_cast<off_t>(info.weights_offset));
  close(file);
  if (mapping == MAP_FAILED) {
    return fail(c, GCOMP_ERROR_WEIGHTS, "%.400s: mapping the weights failed (error %d)", state.path,
                errno);
  }
  state.mapping = mapping;
  return GCOMP_OK;
}

}  // namespace

gcomp_status map_weights(gcomp_context& c) {
  WeightsState* const state = c.artifact->weights;
  if (state == nullptr) return GCOMP_OK;
  lock(state->lock);
  const gcomp_status status =
      state->references == 0 ? map_locked(c, *state, *c.artifact->info) : GCOMP_OK;
  if (status == GCOMP_OK) {
    ++state->references;
    c.weights = static_cast<const char*>(state->mapping);
  }
  unlock(state->lock);
  return status;
}

void unmap_weights(const ArtifactData& artifact) {
  WeightsState& state = *artifact.weights;
  lock(state.lock);
  if (--state.references == 0) {
    munmap(state.mapping, artifact.info->weights_bytes);
    state.mapping = nullptr;
  }
  unlock(state.lock);
}

}  // namespace gcomp::rt

// Run by the loader (init_array of artifacts with appended weights).
void gcomp_rt_remember_path(gcomp::rt::WeightsState* state) {
  Dl_info info;
  if (dladdr(state, &info) == 0 || info.dli_fname == nullptr) return;
  char* const path = realpath(info.dli_fname, nullptr);
  if (path == nullptr) return;
  if (strlen(path) < sizeof state->path) strcpy(state->path, path);
  free(path);
}
