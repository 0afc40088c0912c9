/* The fast way to call an artifact: the base class of the models that gcomp.load returns where this
 * extension could be built. It does what Model.__call__ of _runtime.py does through ctypes, in a fifth
 * of the time. What is unusual (mixed arguments, other dtypes and layouts, wrong shapes, failed runs)
 * is left to methods of that class, so that conversions and messages are written once. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>
#include <stdbool.h>
#include <string.h>

#include "gcomp/runtime.h"

_Static_assert(sizeof(npy_intp) == sizeof(int64_t), "extents are handed over as they are");

/* An input or output: what the artifact's signature says of it. */
typedef struct Value {
  PyArray_Descr* dtype;
  PyObject* name;
  gcomp_dtype code;
  int rank;
  const int64_t* extents; /* -1: not known before the run */
  bool is_known;          /* every extent is */
  bool is_donated;        /* a run may overwrite its memory */
} Value;

/* A context and the structs of its calls: used by one call at a time. */
typedef struct Frame {
  struct Frame* next;
  gcomp_context* context;
  gcomp_tensor* inputs;
  gcomp_tensor* outputs;
} Frame;

/* clang-format off */
typedef struct Caller {
  PyObject_HEAD
  const gcomp_functions* functions; /* null before _bind */
  uint32_t num_inputs;
  uint32_t num_outputs;
  Value* values; /* inputs, then outputs */
  Frame* idle;   /* in no call; guarded by the interpreter's lock */
  PyThread_type_lock turn; /* of models with states, which have one context; else null */
} Caller;
/* clang-format on */

static const Value* outputs_of(const Caller* self) { return self->values + self->num_inputs; }

/* ---- frames ---- */

static Frame* new_frame(Caller* self) {
  const size_t num_values = (size_t)self->num_inputs + self->num_outputs;
  size_t num_extents = 0;
  for (size_t i = 0; i < num_values; ++i) num_extents += (size_t)self->values[i].rank;
  /* One tensor more: a run reads the first one's struct_size even if there are none. */
  const size_t tensor_bytes = (num_values + 1) * sizeof(gcomp_tensor);
  Frame* frame = PyMem_Calloc(1, sizeof *frame + tensor_bytes + num_extents * sizeof(int64_t));
  if (frame == NULL) return (Frame*)PyErr_NoMemory();
  gcomp_tensor* tensors = (gcomp_tensor*)(frame + 1);
  int64_t* extents = (int64_t*)(tensors + num_values + 1);
  tensors[num_values].struct_size = sizeof *tensors;
  for (size_t i = 0; i < num_values; ++i) {
    const Value* value = &self->values[i];
    tensors[i] = (gcomp_tensor){.struct_size = sizeof *tensors,
                                .dtype = value->code,
                                .device_type = GCOMP_CPU,
                                .rank = value->rank,
                                .extents = extents};
    for (int axis = 0; axis < value->rank; ++axis) *extents++ = value->extents[axis];
  }
  frame->inputs = tensors;
  frame->outputs = tensors + self->num_inputs;
  PyObject* address = PyObject_CallMethod((PyObject*)self, "_create", NULL);
  if (address != NULL) frame->context = PyLong_AsVoidPtr(address);
  Py_XDECREF(address);
  if (PyErr_Occurred()) {
    PyMem_Free(frame);
    return NULL;
  }
  return frame;
}

static Frame* take_frame(Caller* self) {
  Frame* frame = self->idle;
  if (frame == NULL) return new_frame(self);
  self->idle = frame->next;
  return frame;
}

static void give_frame(Caller* self, Frame* frame) {
  frame->next = self->idle;
  self->idle = frame;
}

/* Frees the frames; their contexts are the class's, who made them. */
static void free_frames(Caller* self) {
  while (self->idle != NULL) {
    Frame* frame = self->idle;
    self->idle = frame->next;
    PyMem_Free(frame);
  }
}

/* ---- arguments ---- */

/* One argument for each input, as a new list or tuple. */
static PyObject* arrange(Caller* self, PyObject* args, PyObject* named) {
  const Py_ssize_t num_named = named == NULL ? 0 : PyDict_GET_SIZE(named);
  if (num_named == 0 && PyTuple_GET_SIZE(args) == self->num_inputs) return Py_NewRef(args);
  if (num_named == self->num_inputs && PyTuple_GET_SIZE(args) == 0) {
    PyObject* row = PyTuple_New(num_named);
    for (Py_ssize_t i = 0; row != NULL && i < num_named; ++i) {
      PyObject* value = PyDict_GetItemWithError(named, self->values[i].name);
      if (value == NULL)
        Py_CLEAR(row);
      else
        PyTuple_SET_ITEM(row, i, Py_NewRef(value));
    }
    if (row != NULL || PyErr_Occurred()) return row;
  }
  PyObject* none = num_named == 0 ? PyDict_New() : Py_NewRef(named);
  if (none == NULL) return NULL;
  PyObject* row = PyObject_CallMethod((PyObject*)self, "_arrange", "OO", args, none);
  Py_DECREF(none);
  return row;
}

/* An array whose elements can be read where they are. */
static bool is_plain(const Value* want, PyObject* value) {
  if (!PyArray_CheckExact(value)) return false;
  PyArrayObject* array = (PyArrayObject*)value;
  if (want->is_donated && !PyArray_ISWRITEABLE(array)) return false;
  return PyArray_DESCR(array) == want->dtype && PyArray_ISCARRAY_RO(array);
}

static bool has_shape(const Value* want, PyArrayObject* array) {
  if (PyArray_NDIM(array) != want->rank) return false;
  for (int axis = 0; axis < want->rank; ++axis)
    if (want->extents[axis] >= 0 && want->extents[axis] != PyArray_DIM(array, axis)) return false;
  return true;
}

/* Lets the frame's inputs be `*row`, which is replaced where arguments had to be converted, so that it
 * keeps what the run reads. */
static int set_inputs(Caller* self, Frame* frame, PyObject** row) {
  for (uint32_t i = 0; i < self->num_inputs; ++i) {
    const Value* want = &self->values[i];
    PyObject* value = PySequence_Fast_GET_ITEM(*row, i);
    if (!is_plain(want, value)) {
      PyObject* converted = PyObject_CallMethod((PyObject*)self, "_convert", "IO", i, value);
      if (converted == NULL) return -1;
      Py_SETREF(*row, PySequence_List(*row));
      if (*row == NULL || PyList_SetItem(*row, i, converted) < 0) return -1;
      value = converted;
    }
    PyArrayObject* array = (PyArrayObject*)value;
    if (!has_shape(want, array)) {
      PyObject* none = PyObject_CallMethod((PyObject*)self, "_check_shape", "IO", i, array);
      Py_XDECREF(none);
      if (none != NULL) PyErr_SetString(PyExc_SystemError, "gcomp: two checks of a shape differ");
      return -1;
    }
    gcomp_tensor* t = &frame->inputs[i];
    t->data = PyArray_DATA(array);
    memcpy(t->extents, PyArray_DIMS(array), (size_t)want->rank * sizeof *t->extents);
  }
  return 0;
}

/* ---- results ---- */

static PyObject* new_array(const Value* value, const int64_t* extents) {
  Py_INCREF(value->dtype); /* taken by what follows */
  return PyArray_NewFromDescr(&PyArray_Type, value->dtype, value->rank, (const npy_intp*)extents,
                              NULL, NULL, 0, NULL);
}

/* A list of the results. Those whose extents are known are new arrays, to be written by the run; the
 * others' places are empty. */
static PyObject* prepare_results(Caller* self, Frame* frame) {
  PyObject* results = PyList_New(self->num_outputs);
  for (uint32_t i = 0; results != NULL && i < self->num_outputs; ++i) {
    const Value* value = &outputs_of(self)[i];
    gcomp_tensor* t = &frame->outputs[i];
    t->data = NULL;
    t->capacity = 0;
    if (!value->is_known) continue;
    PyObject* array = new_array(value, value->extents);
    if (array == NULL) {
      Py_CLEAR(results);
      break;
    }
    PyList_SET_ITEM(results, i, array);
    t->data = PyArray_DATA((PyArrayObject*)array);
    t->capacity = (uint64_t)PyArray_NBYTES((PyArrayObject*)array);
  }
  return results;
}

/* Copies the results whose extents the run decided out of the context's memory. */
static int fetch_results(Caller* self, Frame* frame, PyObject* results) {
  for (uint32_t i = 0; i < self->num_outputs; ++i) {
    const Value* value = &outputs_of(self)[i];
    if (value->is_known) continue;
    const gcomp_tensor* t = &frame->outputs[i];
    PyObject* array = new_array(value, t->extents);
    if (array == NULL) return -1;
    PyList_SET_ITEM(results, i, array);
    const npy_intp bytes = PyArray_NBYTES((PyArrayObject*)array);
    if (bytes > 0) memcpy(PyArray_DATA((PyArrayObject*)array), t->data, (size_t)bytes);
  }
  return 0;
}

/* ---- the call ---- */

static void take_turn(Caller* self) {
  if (self->turn == NULL || PyThread_acquire_lock(self->turn, NOWAIT_LOCK)) return;
  Py_BEGIN_ALLOW_THREADS;
  PyThread_acquire_lock(self->turn, WAIT_LOCK);
  Py_END_ALLOW_THREADS;
}

static void give_turn(Caller* self) {
  if (self->turn != NULL) PyThread_release_lock(self->turn);
}

static PyObject* run(Caller* self, Frame* frame, PyObject** row) {
  if (set_inputs(self, frame, row) < 0) return NULL;
  PyObject* results = prepare_results(self, frame);
  if (results == NULL) return NULL;
  gcomp_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = self->functions->run(frame->context, frame->inputs, self->num_inputs, frame->outputs,
                                self->num_outputs);
  Py_END_ALLOW_THREADS;
  if (status != GCOMP_OK) {
    PyObject* none = PyObject_CallMethod((PyObject*)self, "_fail", "Ni",
                                         PyLong_FromVoidPtr(frame->context), (int)status);
    Py_XDECREF(none);
    Py_CLEAR(results);
    if (none != NULL) PyErr_Format(PyExc_SystemError, "gcomp: a run failed with %d", (int)status);
  } else if (fetch_results(self, frame, results) < 0) {
    Py_CLEAR(results);
  }
  return results;
}

static PyObject* call(Caller* self, PyObject* args, PyObject* named) {
  if (self->functions == NULL) {
    PyErr_SetString(PyExc_RuntimeError, "this model was not made by gcomp.load");
    return NULL;
  }
  PyObject* row = arrange(self, args, named);
  if (row == NULL) return NULL;
  PyObject* results = NULL;
  take_turn(self);
  Frame* frame = take_frame(self);
  if (frame != NULL) {
    results = run(self, frame, &row);
    give_frame(self, frame);
  }
  give_turn(self);
  Py_XDECREF(row);
  return results;
}

/* ---- the class ---- */

static int set_values(Value* values, const char* infos, uint64_t info_bytes, PyObject* dtypes) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(dtypes); ++i) {
    const gcomp_value_info* info = (const gcomp_value_info*)(infos + info_bytes * (uint64_t)i);
    Value* value = &values[i];
    if (!PyArray_DescrCheck(PyList_GET_ITEM(dtypes, i))) {
      PyErr_SetString(PyExc_TypeError, "_bind wants dtypes");
      return -1;
    }
    value->dtype = (PyArray_Descr*)Py_NewRef(PyList_GET_ITEM(dtypes, i));
    value->name = PyUnicode_InternFromString(info->name);
    if (value->name == NULL) return -1;
    value->code = info->dtype;
    value->rank = info->rank;
    value->extents = info->extents;
    value->is_donated = info_bytes >= sizeof *info && (info->flags & GCOMP_DONATED) != 0;
    value->is_known = true;
    for (int axis = 0; axis < info->rank; ++axis) value->is_known &= info->extents[axis] >= 0;
  }
  return 0;
}

PyDoc_STRVAR(
    bind_doc,
    "_bind(descriptor, inputs, outputs): calls go to the artifact at this address; the dtypes "
    "of its inputs and outputs.");
static PyObject* bind(Caller* self, PyObject* args) {
  unsigned long long address;
  PyObject *inputs, *outputs;
  if (!PyArg_ParseTuple(args, "KO!O!", &address, &PyList_Type, &inputs, &PyList_Type, &outputs))
    return NULL;
  const gcomp_descriptor* descriptor = (const gcomp_descriptor*)(uintptr_t)address;
  const gcomp_signature* signature = descriptor->functions->describe(descriptor);
  if (self->values != NULL || PyList_GET_SIZE(inputs) != signature->num_inputs ||
      PyList_GET_SIZE(outputs) != signature->num_outputs) {
    PyErr_SetString(PyExc_ValueError, "_bind wants one dtype a value, once");
    return NULL;
  }
  self->num_inputs = signature->num_inputs;
  self->num_outputs = signature->num_outputs;
  self->values =
      PyMem_Calloc((size_t)self->num_inputs + self->num_outputs + 1, sizeof *self->values);
  if (self->values == NULL) return PyErr_NoMemory();
  if (signature->struct_size >= sizeof *signature && signature->num_states != 0) {
    self->turn = PyThread_allocate_lock();
    if (self->turn == NULL) return PyErr_NoMemory();
  }
  const uint64_t bytes = signature->value_info_size;
  if (set_values(self->values, (const char*)signature->inputs, bytes, inputs) < 0 ||
      set_values(self->values + self->num_inputs, (const char*)signature->outputs, bytes, outputs) <
          0)
    return NULL;
  Frame* frame = new_frame(self);
  if (frame == NULL) return NULL;
  give_frame(self, frame);
  self->functions = descriptor->functions;
  Py_RETURN_NONE;
}

PyDoc_STRVAR(forget_doc, "_forget(): the next calls make contexts of their own.");
static PyObject* forget(Caller* self, PyObject* unused) {
  (void)unused;
  free_frames(self);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(enter_doc, "_enter(): waits until no call uses the context of a model with states.");
static PyObject* enter(Caller* self, PyObject* unused) {
  (void)unused;
  take_turn(self);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(leave_doc, "_leave(): calls go on.");
static PyObject* leave(Caller* self, PyObject* unused) {
  (void)unused;
  give_turn(self);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(new_turn_doc,
             "_new_turn(): forgets who holds the context: no thread of this process.");
static PyObject* new_turn(Caller* self, PyObject* unused) {
  (void)unused;
  if (self->turn == NULL) Py_RETURN_NONE;
  self->turn = PyThread_allocate_lock(); /* the old one may be held, then it cannot be freed */
  if (self->turn == NULL) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

static void dealloc(Caller* self) {
  free_frames(self);
  for (size_t i = 0; self->values != NULL && i < (size_t)self->num_inputs + self->num_outputs;
       ++i) {
    Py_XDECREF(self->values[i].dtype);
    Py_XDECREF(self->values[i].name);
  }
  PyMem_Free(self->values);
  if (self->turn != NULL) PyThread_free_lock(self->turn);
  Py_TYPE(self)->tp_free((PyObject*)self);
}

static PyMethodDef methods[] = {
    {"_bind", (PyCFunction)bind, METH_VARARGS, bind_doc},
    {"_forget", (PyCFunction)forget, METH_NOARGS, forget_doc},
    {"_enter", (PyCFunction)enter, METH_NOARGS, enter_doc},
    {"_leave", (PyCFunction)leave, METH_NOARGS, leave_doc},
    {"_new_turn", (PyCFunction)new_turn, METH_NOARGS, new_turn_doc},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject caller_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "gcomp._call.Caller",
    .tp_doc = PyDoc_STR("Calls an artifact. Its subclass has _create, _arrange, _convert, "
                        "_check_shape and _fail."),
    .tp_basicsize = sizeof(Caller),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)dealloc,
    .tp_call = (ternaryfunc)call,
    .tp_methods = methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "gcomp._call", .m_size = -1};

PyMODINIT_FUNC PyInit__call(void) {
  import_array();
  PyObject* result = PyModule_Create(&module);
  if (result == NULL) return NULL;
  if (PyModule_AddType(result, &caller_type) < 0) Py_CLEAR(result);
  return result;
}
