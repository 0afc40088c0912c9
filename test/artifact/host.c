/* A plain C host: loads an artifact, describes it, runs it once on 1, 2, 3, ... and prints the outputs.
 *   cc -std=c99 -I include host.c -o host && ./host model.so [name]
 * Extents that are not fixed become 3; inputs and outputs are float64 (int64 outputs are printed too). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gcomp/runtime.h"

#define MAX_TENSORS 16
#define MAX_RANK 8

static int64_t extents_of[2 * MAX_TENSORS][MAX_RANK];

static gcomp_tensor make_tensor(const gcomp_value_info* info, int64_t* extents) {
  gcomp_tensor t;
  int d;
  memset(&t, 0, sizeof t);
  t.struct_size = sizeof t;
  t.dtype = info->dtype;
  t.device_type = GCOMP_CPU;
  t.rank = info->rank;
  t.extents = extents;
  for (d = 0; d < t.rank; ++d) extents[d] = info->extents[d] < 0 ? 3 : info->extents[d];
  return t;
}

static int64_t number_of_elements(const gcomp_tensor* t) {
  int64_t n = 1;
  int d;
  for (d = 0; d < t->rank; ++d) n *= t->extents[d];
  return n;
}

static int print_output(const char* name, const gcomp_tensor* t) {
  int64_t i;
  printf("%s =", name);
  for (i = 0; i < number_of_elements(t); ++i) {
    if (t->dtype.code == GCOMP_FLOAT) printf(" %g", ((const double*)t->data)[i]);
    if (t->dtype.code == GCOMP_INT) printf(" %lld", (long long)((const int64_t*)t->data)[i]);
  }
  printf("\n");
  return 0;
}

static int run(const gcomp_descriptor* descriptor) {
  const gcomp_functions* f = descriptor->functions;
  const gcomp_signature* s = f->describe(descriptor);
  gcomp_tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  gcomp_context* context;
  gcomp_options options;
  gcomp_status status;
  char message[256] = "";
  uint32_t i;
  if (s->num_inputs > MAX_TENSORS || s->num_outputs > MAX_TENSORS) return 2;
  for (i = 0; i < s->num_inputs; ++i) {
    double* data;
    int64_t k;
    inputs[i] = make_tensor(&s->inputs[i], extents_of[i]);
    data = malloc((size_t)number_of_elements(&inputs[i]) * sizeof *data + 1);
    for (k = 0; k < number_of_elements(&inputs[i]); ++k) data[k] = (double)(k + 1);
    inputs[i].data = data;
  }
  /* Null data: the context lends memory. */
  for (i = 0; i < s->num_outputs; ++i) {
    outputs[i] = make_tensor(&s->outputs[i], extents_of[MAX_TENSORS + i]);
  }
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.message = message;
  options.message_bytes = sizeof message;
  status = f->create(descriptor, &options, &context);
  if (status != GCOMP_OK) {
    printf("%s: %s\n", f->status_name(status), message);
    return (int)status;
  }
  status = f->run(context, inputs, s->num_inputs, outputs, s->num_outputs);
  if (status != GCOMP_OK) printf("%s: %s\n", f->status_name(status), f->last_error(context));
  for (i = 0; i < s->num_outputs && status == GCOMP_OK; ++i) {
    print_output(s->outputs[i].name, &outputs[i]);
  }
  f->destroy(context);
  for (i = 0; i < s->num_inputs; ++i) free(inputs[i].data);
  return (int)status;
}

#ifdef HOST_LINKED /* two artifacts linked into the program */

GCOMP_DECLARE(first);
GCOMP_DECLARE(second);

int main(void) {
  const int status = run(&first_descriptor_v1);
  if (strcmp(first_describe()->name, "first") != 0) return 90;
  return status != 0 ? status : run(&second_descriptor_v1);
}

#else

int main(int argc, char** argv) {
  char symbol[256];
  void* library;
  const gcomp_descriptor* descriptor;
  if (argc < 2) return 91;
  library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    printf("%s\n", dlerror());
    return 92;
  }
  snprintf(symbol, sizeof symbol, "%s_descriptor_v1", argc > 2 ? argv[2] : "gcomp_model");
  descriptor = dlsym(library, symbol);
  if (descriptor == NULL || descriptor->magic != GCOMP_MAGIC ||
      descriptor->abi_version != GCOMP_ABI_VERSION) {
    printf("%s: no artifact of this version\n", argv[1]);
    return 93;
  }
  return run(descriptor);
}

#endif
