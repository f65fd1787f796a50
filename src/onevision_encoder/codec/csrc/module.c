/* The extension module onevision_encoder.codec._blockcoder: buffers in, buffers filled. */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include "bc.h"

static const char *const NAMES[] = {
#define P(name, value, low, high) #name,
#include "bc_parameters.h"
#undef P
};
static const int32_t RANGE[][2] = {
#define P(name, value, low, high) {low, high},
#include "bc_parameters.h"
#undef P
};
enum { PARAMETERS = sizeof NAMES / sizeof *NAMES };

/* Takes (name -> int) over the defaults. Returns 0, or -1 with an exception set. */
static int read_parameters(PyObject *given, bc_parameters *p) {
    int32_t *values = (int32_t *)p;
    *p = BC_DEFAULTS;
    if (given == Py_None) return 0;
    if (!PyDict_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "parameters is a dict or None");
        return -1;
    }
    Py_ssize_t known = 0;
    for (int i = 0; i < PARAMETERS; i++) {
        PyObject *value = PyDict_GetItemString(given, NAMES[i]);
        if (!value) continue;
        long number = PyLong_AsLong(value);
        if (number == -1 && PyErr_Occurred()) return -1;
        if (number < RANGE[i][0] || number > RANGE[i][1]) {
            PyErr_Format(PyExc_ValueError, "constant %s=%ld is outside %d to %d", NAMES[i], number, (int)RANGE[i][0],
                         (int)RANGE[i][1]);
            return -1;
        }
        values[i] = (int32_t)number, known++;
    }
    if (known != PyDict_Size(given)) {
        PyErr_SetString(PyExc_ValueError, "unknown constant");
        return -1;
    }
    return 0;
}

static int has_size(const Py_buffer *b, Py_ssize_t wanted, const char *name) {
    if (b->len == wanted) return 1;
    PyErr_Format(PyExc_ValueError, "%s holds %zd bytes, not %zd", name, b->len, wanted);
    return 0;
}

static PyObject *code_clip(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer luma, bits, residual, motion, intra, cut;
    int T, H, W, scalar;
    PyObject *given, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*(iii)w*w*w*w*w*Oi:code_clip", &luma, &T, &H, &W, &bits, &residual, &motion, &intra, &cut,
                          &given, &scalar))
        return NULL;
    bc_parameters p;
    const Py_ssize_t cells = (Py_ssize_t)T * (((Py_ssize_t)H + 7) / 8) * (((Py_ssize_t)W + 7) / 8);
    if (T < 1 || H < 1 || W < 1 || H > 16384 || W > 16384)
        PyErr_SetString(PyExc_ValueError, "T, H and W are at least 1, H and W at most 16384");
    else if (!read_parameters(given, &p) && has_size(&luma, (Py_ssize_t)T * H * W, "luma") &&
             has_size(&bits, 4 * cells, "bits") && has_size(&residual, 4 * cells, "residual") &&
             has_size(&motion, 8 * cells, "motion") && has_size(&intra, cells, "intra") && has_size(&cut, T, "cut")) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = bc_code_clip(luma.buf, T, H, W, &p, scalar, bits.buf, residual.buf, motion.buf, intra.buf, cut.buf);
        Py_END_ALLOW_THREADS
        result = status ? PyErr_NoMemory() : Py_NewRef(Py_None);
    }
    Py_buffer *all[] = {&luma, &bits, &residual, &motion, &intra, &cut};
    for (int i = 0; i < 6; i++) PyBuffer_Release(all[i]);
    return result;
}

/* For tests: one 8 x 8 block of int16 through the forward or inverse transform. */
static PyObject *transform(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer in, out;
    int inverse, scalar;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*w*ii:transform", &in, &out, &inverse, &scalar)) return NULL;
    if (has_size(&in, 128, "in") && has_size(&out, 128, "out")) {
        const bc_kernels *k = bc_kernels_for(scalar);
        (inverse ? k->inverse : k->forward)(out.buf, in.buf);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&in);
    PyBuffer_Release(&out);
    return result;
}

static PyObject *constants(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    PyObject *result = PyDict_New();
    const int32_t *values = (const int32_t *)&BC_DEFAULTS;
    for (int i = 0; result && i < PARAMETERS; i++) {
        PyObject *value = PyLong_FromLong(values[i]);
        if (!value || PyDict_SetItemString(result, NAMES[i], value)) Py_CLEAR(result);
        Py_XDECREF(value);
    }
    return result;
}

static PyObject *simd(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyBool_FromLong(bc_simd());
}

static PyMethodDef METHODS[] = {
    {"code_clip", code_clip, METH_VARARGS,
     "code_clip(luma, (T, H, W), bits, residual, motion, intra, cut, parameters, scalar): fills the five buffers."},
    {"transform", transform, METH_VARARGS, "transform(block, out, inverse, scalar): 64 int16 each, for tests."},
    {"constants", constants, METH_NOARGS, "The coder's constants by name."},
    {"simd", simd, METH_NOARGS, "Whether this build has vector kernels besides the scalar ones."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_blockcoder", "The block coder's C core.", 0, METHODS,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__blockcoder(void) { return PyModuleDef_Init(&MODULE); }
