/* A hand-made artifact for testing the Python loader without the compiler. Inputs: a float64[3],
 * b int32[N, 2], c float64[], flag bool[]. Outputs: sum float64[] = sum(a) + c, rows int32[N] = row sums of
 * b, big float64[64, 64] = c everywhere, twice float64[3] = 2 * a. Fails with a message if flag is set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gcomp/runtime.h"

struct gcomp_context {
  char message[256];
  int32_t* rows;
  unsigned threads;
};

static int live_contexts;
const void* fake_last_inputs[4];
int fake_live_contexts(void) { return live_contexts; }

#ifdef FAKE_SMALL /* all extents known, all outputs small: for measuring a call */
#define N_EXTENT 2
#define N_TEXT "2"
#define BIG 2
#define BIG_TEXT "2"
#else
#define N_EXTENT -1
#define N_TEXT "N"
#define BIG 64
#define BIG_TEXT "64"
#endif
static const int64_t k3[] = {3}, kN2[] = {N_EXTENT, 2}, kN[] = {N_EXTENT}, kBig[] = {BIG, BIG};
static const char *const d3[] = {"3"}, *const dN2[] = {N_TEXT, "2"}, *const dN[] = {N_TEXT},
                         *const dBig[] = {BIG_TEXT, BIG_TEXT};
static const gcomp_value_info inputs[] = {{"a", {GCOMP_FLOAT, 64, 1}, 1, k3, d3},
                                          {"b", {GCOMP_INT, 32, 1}, 2, kN2, dN2},
                                          {"c", {GCOMP_FLOAT, 64, 1}, 0, NULL, NULL},
                                          {"flag", {GCOMP_BOOL, 8, 1}, 0, NULL, NULL}};
static const gcomp_value_info outputs[] = {{"sum", {GCOMP_FLOAT, 64, 1}, 0, NULL, NULL},
                                           {"rows", {GCOMP_INT, 32, 1}, 1, kN, dN},
                                           {"big", {GCOMP_FLOAT, 64, 1}, 2, kBig, dBig},
                                           {"twice", {GCOMP_FLOAT, 64, 1}, 1, k3, d3}};
static const gcomp_signature signature = {sizeof(gcomp_signature), FAKE_NAME, 4, 4, inputs, outputs,
                                          sizeof(gcomp_value_info)};

static const gcomp_signature* describe(const gcomp_descriptor* d) { return &signature; }

static gcomp_status create(const gcomp_descriptor* d, const gcomp_options* o, gcomp_context** out) {
  *out = NULL;
  if (o != NULL && o->threads == 99) {
    snprintf(o->message, o->message_bytes, "99 threads are too many");
    return GCOMP_ERROR_MEMORY;
  }
  *out = calloc(1, sizeof **out);
  (*out)->threads = o ? o->threads : 0;
  ++live_contexts;
  return GCOMP_OK;
}

static void destroy(gcomp_context* c) {
  if (c == NULL) return;
  free(c->rows);
  free(c);
  --live_contexts;
}

static gcomp_status run(gcomp_context* c, const gcomp_tensor* in, uint32_t num_in,
                        gcomp_tensor* out, uint32_t num_out) {
  if (num_in != 4 || num_out != 4) return GCOMP_ERROR_COUNT;
  for (int i = 0; i < 4; ++i) fake_last_inputs[i] = in[i].data;
  const double* a = in[0].data;
  const int32_t* b = in[1].data;
  const double x = *(const double*)in[2].data;
  if (*(const char*)in[3].data) {
    snprintf(c->message, sizeof c->message, "flag is set");
    return GCOMP_ERROR_CHECK;
  }
  const int64_t n = in[1].extents[0];
  *(double*)out[0].data = a[0] + a[1] + a[2] + x;
  if (N_EXTENT < 0) {
    if (out[1].data != NULL) return GCOMP_ERROR_STRUCT; /* the loader leaves it to us */
    out[1].data = c->rows = realloc(c->rows, n ? n * sizeof *c->rows : 1);
  }
  for (int64_t i = 0; i < n; ++i) ((int32_t*)out[1].data)[i] = b[2 * i] + b[2 * i + 1];
  out[1].extents[0] = n;
  if (out[2].capacity < BIG * BIG * sizeof(double)) return GCOMP_ERROR_CAPACITY;
  for (int i = 0; i < BIG * BIG; ++i) ((double*)out[2].data)[i] = x;
  for (int i = 0; i < 3; ++i) ((double*)out[3].data)[i] = 2 * a[i];
  return GCOMP_OK;
}

static const char* last_error(const gcomp_context* c) { return c->message; }
static const char* status_name(gcomp_status s) {
  return s == GCOMP_ERROR_CHECK ? "GCOMP_ERROR_CHECK" : "GCOMP_ERROR";
}

static const gcomp_functions functions = {
    sizeof(gcomp_functions), describe, create, destroy, run, last_error, status_name};
static const char json[] = "{\"name\": \"fake\"}";
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
const gcomp_descriptor JOIN(FAKE_PREFIX, _descriptor_v1) = {
    sizeof(gcomp_descriptor), FAKE_MAGIC, FAKE_VERSION, 0, &functions, json, sizeof json - 1, NULL};
