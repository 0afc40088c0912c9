/* The C interface of compiled graphs (C99). An artifact exports one versioned descriptor,
 * NAME_descriptor_v1, and the functions below under the prefix NAME_ (gcomp --name, default
 * gcomp_model); everything else in it is hidden, so several artifacts can be linked or loaded into
 * one process. Loading: dlopen, dlsym(handle, "NAME_descriptor_v1"), then call through
 * descriptor->functions. Linking: GCOMP_DECLARE(NAME) declares the prefixed functions.
 *
 * Threads: a context serves one run at a time (a second one at the same time gets
 * GCOMP_ERROR_BUSY); different contexts may run at the same time. Nothing is global but mapped
 * weights, shared by the contexts of an artifact.
 *
 * Structs begin with their size and only grow: set struct_size to sizeof of the struct you compiled
 * against.
 */
/* NOLINTBEGIN(readability-identifier-naming): names as C writes them */
#ifndef GCOMP_RUNTIME_H_
#define GCOMP_RUNTIME_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GCOMP_ABI_VERSION 1u
#define GCOMP_MAGIC 0x31304d4f43474347ull /* in memory: "GCGCOM01" */

typedef enum gcomp_status {
  GCOMP_OK = 0,
  GCOMP_ERROR_NULL = 1,   /* a pointer that is needed is null */
  GCOMP_ERROR_STRUCT = 2, /* struct_size too small, or a field out of range */
  GCOMP_ERROR_COUNT = 3,  /* wrong number of inputs or outputs, or no such state */
  GCOMP_ERROR_DTYPE = 4,  /* wrong dtype */
  GCOMP_ERROR_DEVICE = 5, /* memory of a device that the context does not use, or no such device */
  GCOMP_ERROR_RANK = 6,   /* wrong rank */
  GCOMP_ERROR_SHAPE = 7,  /* an extent is negative, overflows, or differs from the declared one */
  GCOMP_ERROR_SYMBOL = 8, /* extents of inputs contradict each other (two values for one symbol) */
  GCOMP_ERROR_STRIDES =
      9, /* strides that do not fit the dtype, or outputs that overlap themselves */
  GCOMP_ERROR_ALIGNMENT = 10, /* data not aligned to its element */
  GCOMP_ERROR_CAPACITY = 11,  /* fewer bytes than the extents need */
  GCOMP_ERROR_ALIAS = 12,     /* an output or donated input shares memory with another tensor */
  GCOMP_ERROR_CHECK = 13,     /* a check in the graph failed; the message is the graph's own */
  GCOMP_ERROR_MEMORY = 14,    /* out of memory */
  GCOMP_ERROR_CPU = 15,       /* this CPU lacks instructions the artifact was compiled for */
  GCOMP_ERROR_WEIGHTS = 16,   /* the file holding the weights is gone, changed or unreadable */
  GCOMP_ERROR_BUSY = 17,      /* the context is in use by another thread */
  GCOMP_ERROR_ABI = 18,       /* the caller and the artifact speak different versions */
  GCOMP_ERROR_PLAN = 19,      /* the artifact is damaged */
  GCOMP_ERROR_STATE = 20,     /* a state has no value yet */
  GCOMP_ERROR_CUDA = 21       /* the GPU or its driver failed; the message has its error's name */
} gcomp_status;

/* DLPack's numbers: DLDataTypeCode and DLDeviceType. */
enum { GCOMP_INT = 0, GCOMP_UINT = 1, GCOMP_FLOAT = 2, GCOMP_BFLOAT = 4, GCOMP_BOOL = 6 };
enum { GCOMP_CPU = 1, GCOMP_CUDA = 2 };

typedef struct gcomp_dtype { /* as DLDataType */
  uint8_t code;
  uint8_t bits;
  uint16_t lanes; /* 1 */
} gcomp_dtype;

/* A tensor in the caller's memory.
 *  Inputs are only read, but for donated ones (see gcomp_value_info), which a run may overwrite. Strides
 * other than row-major cost a copy.
 *  In artifacts with code for a GPU both may lie in memory of the GPU that the context uses; then nothing is
 * copied to the host. Strides of such memory must be row-major, or the copy goes through the host.
 *  Outputs: `extents` (room for `rank` numbers; rank must be the declared one) is written by the
 * run. With data null the run sets data to memory of the context (on the device that device_type asks for), row-major and valid until the
 * context's next run or end; otherwise `capacity` bytes at data must do. A dtype of bits 0 is
 * filled in. */
typedef struct gcomp_tensor {
  uint64_t struct_size;
  void* data;
  gcomp_dtype dtype;
  int32_t device_type; /* GCOMP_CPU, GCOMP_CUDA */
  int32_t device_id;   /* 0, or the GPU's number */
  int32_t rank;
  int64_t* extents;
  const int64_t* strides; /* in bytes; null: row-major */
  uint64_t capacity;      /* bytes from data on; inputs: 0 means "enough" */
} gcomp_tensor;

enum { GCOMP_DONATED = 1 /* inputs: a run may overwrite the memory given */ };

/* What describe tells of one input, output or state. */
typedef struct gcomp_value_info {
  const char* name;
  gcomp_dtype dtype;
  int32_t rank;
  const int64_t* extents;  /* -1: not known before the run */
  const char* const* dims; /* the same as text: "3", "batch", "2*n + 1" */
  uint32_t flags;
  uint32_t reserved;
} gcomp_value_info;

typedef struct gcomp_signature {
  uint64_t struct_size;
  const char* name; /* of the artifact: --name */
  uint32_t num_inputs;
  uint32_t num_outputs;
  const gcomp_value_info* inputs; /* arrays of value_info_size bytes each element */
  const gcomp_value_info* outputs;
  uint64_t value_info_size;
  const gcomp_value_info* states; /* what a context keeps between runs; no arguments of a run */
  uint32_t num_states;
  uint32_t reserved;
} gcomp_signature;

typedef struct gcomp_options {
  uint64_t struct_size;
  /* Threads a run may use, the caller included. 0: GCOMP_NUM_THREADS from the environment, else one
   * for each CPU the process may use. Threads are started by the first run that can use them. */
  uint32_t threads;
  uint32_t reserved;
  /* Memory, or null for the C library's. `allocate` returns at least `bytes`, aligned to
   * `alignment`, or null. */
  void* allocator_data;
  void* (*allocate)(void* allocator_data, size_t bytes, size_t alignment);
  void (*deallocate)(void* allocator_data, void* memory);
  /* The host's own thread pool, or null. It must call task(task_data, i) once for each i in [0,
   * num_tasks), in any order and on any threads, and return when all have returned. `threads` then
   * bounds num_tasks only. */
  void* pool_data;
  void (*parallel_for)(void* pool_data, int64_t num_tasks, void (*task)(void* task_data, int64_t i),
                       void* task_data);
  /* Where create writes its message when it fails (cut to message_bytes, zero-terminated), or null.
   */
  char* message;
  uint64_t message_bytes;
  /* For profilers, or null: called on the thread that runs, before each kernel with its number in the
   * description's list and after it with GCOMP_NO_KERNEL. */
  void* trace_data;
  void (*trace)(void* trace_data, uint32_t kernel);
  /* Artifacts with code for a GPU. device_type 0: what GCOMP_DEVICE in the environment says (cpu, cuda, cuda:N), else
   * the first GPU that can run the code, else the CPU; `message` then tells why although create succeeds.
   * GCOMP_CPU: the CPU. GCOMP_CUDA: the GPU device_id, or an error. */
  int32_t device_type;
  int32_t device_id;
  /* A stream (CUstream) of the GPU's primary context for all work of the context, or null for one of its own. A
   * run then returns before its work is done where no output goes to the host and no check is made on the GPU. */
  void* cuda_stream;
} gcomp_options;

#define GCOMP_NO_KERNEL UINT32_MAX

typedef struct gcomp_context gcomp_context;
typedef struct gcomp_descriptor gcomp_descriptor;

typedef struct gcomp_functions {
  uint64_t struct_size;
  const gcomp_signature* (*describe)(const gcomp_descriptor* descriptor);
  /* options may be null. On error *context is null and options->message tells why. */
  gcomp_status (*create)(const gcomp_descriptor* descriptor, const gcomp_options* options,
                         gcomp_context** context);
  void (*destroy)(gcomp_context* context); /* null is fine */
  /* inputs and outputs are arrays whose elements lie inputs[0].struct_size bytes apart. After an
   * error the contents of the outputs are unspecified, and the context stays usable. */
  gcomp_status (*run)(gcomp_context* context, const gcomp_tensor* inputs, uint32_t num_inputs,
                      gcomp_tensor* outputs, uint32_t num_outputs);
  /* The message of the context's last failed call, "" if there is none; valid until its next call.
   */
  const char* (*last_error)(const gcomp_context* context);
  const char* (*status_name)(gcomp_status status); /* "GCOMP_ERROR_SHAPE" */
  /* States, by their number in the signature. Each context has its own; it begins with the initial
   * values of the artifact. A run reads the values before it and replaces them only if it succeeds. A
   * state keeps its dtype and extents, but one whose extents are symbols may be set with others.
   * get_state: as an output of a run: with data null it lends memory of the context (to be read until
   * the next run, set_state or reset_states begins; a run refuses it), else it copies. set_state copies `value`.
   * reset_states: all have their initial values again, and those without one none. */
  gcomp_status (*get_state)(gcomp_context* context, uint32_t state, gcomp_tensor* value);
  gcomp_status (*set_state)(gcomp_context* context, uint32_t state, const gcomp_tensor* value);
  gcomp_status (*reset_states)(gcomp_context* context);
  /* Where the context runs: GCOMP_CPU or GCOMP_CUDA; *device_id (may be null) gets the GPU's number. */
  int32_t (*device)(const gcomp_context* context, int32_t* device_id);
} gcomp_functions;

struct gcomp_descriptor {
  uint64_t struct_size;
  uint64_t magic; /* GCOMP_MAGIC */
  uint32_t abi_version;
  uint32_t reserved;
  const gcomp_functions* functions;
  const char* json; /* the description: signature, options, versions, kernels; json_bytes long and
                       zero-terminated */
  uint64_t json_bytes;
  const void* internal; /* the runtime's own */
};

/* The prefixed functions of a linked artifact. */
#define GCOMP_DECLARE(NAME)                                                                        \
  extern const gcomp_descriptor NAME##_descriptor_v1;                                              \
  const gcomp_signature* NAME##_describe(void);                                                    \
  gcomp_status NAME##_create(const gcomp_options* options, gcomp_context** context);               \
  void NAME##_destroy(gcomp_context* context);                                                     \
  gcomp_status NAME##_run(gcomp_context* context, const gcomp_tensor* inputs, uint32_t num_inputs, \
                          gcomp_tensor* outputs, uint32_t num_outputs);                            \
  const char* NAME##_last_error(const gcomp_context* context);                                     \
  gcomp_status NAME##_get_state(gcomp_context* context, uint32_t state, gcomp_tensor* value);      \
  gcomp_status NAME##_set_state(gcomp_context* context, uint32_t state,                            \
                                const gcomp_tensor* value);                                        \
  gcomp_status NAME##_reset_states(gcomp_context* context)

#ifdef __cplusplus
}
#endif
#endif
/* NOLINTEND(readability-identifier-naming) */
