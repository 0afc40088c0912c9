// Kernels for the tests of the runtime on the fake driver, with the interface of emulated ones: the parameter is
// the buffers' addresses, the scalars, the number of iterations.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace {

double* doubles(uint64_t word) { return reinterpret_cast<double*>(word); }

void scale(const uint64_t* w) {  // x, y; factor
  double factor;
  std::memcpy(&factor, &w[2], sizeof factor);
  for (uint64_t i = 0; i < w[3]; ++i) doubles(w[1])[i] = doubles(w[0])[i] * factor;
}

void add(const uint64_t* w) {  // x, y, z
  for (uint64_t i = 0; i < w[3]; ++i) doubles(w[2])[i] = doubles(w[0])[i] + doubles(w[1])[i];
}

void checked_sqrt(const uint64_t* w) {  // x, y, status: 0 negative, 1 not a number
  auto* const status = reinterpret_cast<int64_t*>(w[2]);
  for (uint64_t i = 0; i < w[3]; ++i) {
    const double x = doubles(w[0])[i];
    doubles(w[1])[i] = std::sqrt(x);
    if (x < 0) *status = 0;
    if (std::isnan(x) && *status > 1) *status = 1;
  }
}

void count(const uint64_t* w) {  // x, number of x that are not 0; n
  int64_t n = 0;
  for (uint64_t i = 0; i < w[2]; ++i) n += doubles(w[0])[i] != 0 ? 1 : 0;
  *reinterpret_cast<int64_t*>(w[1]) = n;
}

void positive(const uint64_t* w) {  // x, bools
  for (uint64_t i = 0; i < w[2]; ++i) {
    reinterpret_cast<uint8_t*>(w[1])[i] = doubles(w[0])[i] > 0 ? 1 : 0;
  }
}

void multiply(const uint64_t* w) {  // a, b, bias, y; columns, depth; elements of y
  const uint64_t columns = w[4], depth = w[5];
  for (uint64_t i = 0; i < w[6]; ++i) {
    double sum = doubles(w[2])[i % columns];
    for (uint64_t k = 0; k < depth; ++k) {
      sum += doubles(w[0])[i / columns * depth + k] * doubles(w[1])[k * columns + i % columns];
    }
    doubles(w[3])[i] = sum;
  }
}

}  // namespace

extern "C" int gcomp_emulate(const char* kernel, uint32_t grid, uint32_t block, uint32_t,
                             const uint64_t* words) {
  constexpr struct {
    std::string_view name;
    void (*function)(const uint64_t*);
  } kKernels[] = {{"d_scale", scale}, {"d_add", add},           {"d_checked_sqrt", checked_sqrt},
                  {"d_count", count}, {"d_positive", positive}, {"d_multiply", multiply}};
  if (grid == 0 || block == 0) return 1;
  for (const auto& k : kKernels) {
    if (k.name != kernel) continue;
    k.function(words);
    return 0;
  }
  return 1;
}
