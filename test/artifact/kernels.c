/* Hand-written kernels for the tests of runtime and linker; compiled by the system's compiler, at test time only. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define KERNEL(name)                                                       \
  void name(void* const* b, const int64_t* s, int64_t begin, int64_t end); \
  void name(void* const* b, const int64_t* s, int64_t begin, int64_t end)

static double as_double(int64_t bits) {
  double d;
  memcpy(&d, &bits, sizeof d);
  return d;
}

/* b: x, y; s: scale: y = x * scale */
KERNEL(k_scale) {
  const double* x = b[0];
  double* y = b[1];
  for (int64_t i = begin; i < end; ++i) y[i] = x[i] * as_double(s[0]);
}

/* b: x, y, z: z = x + y */
KERNEL(k_add) {
  const double *x = b[0], *y = b[1];
  double* z = b[2];
  (void)s;
  for (int64_t i = begin; i < end; ++i) z[i] = x[i] + y[i];
}

/* b: x, y: y = sin(x), from libm */
KERNEL(k_sin) {
  const double* x = b[0];
  double* y = b[1];
  (void)s;
  for (int64_t i = begin; i < end; ++i) y[i] = sin(x[i]);
}

/* b: x, y; s: n: y[0] = sum of x */
KERNEL(k_sum) {
  const double* x = b[0];
  double* y = b[1];
  (void)begin, (void)end;
  double sum = 0;
  for (int64_t i = 0; i < s[0]; ++i) sum += x[i];
  y[0] = sum;
}

/* b: x, count; s: n: count[0] = number of x that are not 0 */
KERNEL(k_count) {
  const double* x = b[0];
  int64_t n = 0;
  (void)begin, (void)end;
  for (int64_t i = 0; i < s[0]; ++i) n += x[i] != 0;
  *(int64_t*)b[1] = n;
}

/* b: x, indices; s: n: their indices */
KERNEL(k_nonzero) {
  const double* x = b[0];
  int64_t* to = b[1];
  (void)begin, (void)end;
  for (int64_t i = 0; i < s[0]; ++i) {
    if (x[i] != 0) *to++ = i;
  }
}

/* b: x, y, status: y = sqrt(x), codes 0 for negative, 1 for NaN */
KERNEL(k_checked_sqrt) {
  const double* x = b[0];
  double* y = b[1];
  int64_t* status = b[2];
  (void)s;
  for (int64_t i = begin; i < end; ++i) {
    y[i] = sqrt(x[i]);
    if (x[i] < 0) *status = 0;
    if (x[i] != x[i] && *status > 1) *status = 1;
  }
}

/* b: x, bools: x > 0 */
KERNEL(k_positive) {
  const double* x = b[0];
  unsigned char* y = b[1];
  (void)s;
  for (int64_t i = begin; i < end; ++i) y[i] = x[i] > 0;
}

/* b: half precision x, float y: through a compiler-rt helper on this CPU level */
KERNEL(k_from_half) {
  const _Float16* x = b[0];
  float* y = b[1];
  (void)s;
  for (int64_t i = begin; i < end; ++i) y[i] = (float)x[i];
}

/* b: y; s: i: y[i] = i * i */
KERNEL(k_square_at) {
  (void)begin, (void)end;
  ((double*)b[0])[s[0]] = (double)(s[0] * s[0]);
}
