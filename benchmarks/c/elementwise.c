/* The yardstick for w2_elementwise.py: y = exp(-(x - mu)^2 / (2 s^2)) sin(3x) / (1 + x^2) and dy/dx. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include "lanes.h"
#include <numpy/arrayobject.h>

static void compute(const double *restrict x, npy_intp n, double mu, double s, double *restrict y,
                    double *restrict dy) {
    double inverse = 1 / (s * s);
#pragma omp simd
    for (npy_intp i = 0; i < n; i++) {
        double v = x[i], u = v - mu, d = 1 / (1 + v * v), e = lane_exp(-0.5 * u * u * inverse) * d, sine, cosine;
        lane_sincos(3 * v, &sine, &cosine);
        y[i] = e * sine;
        dy[i] = e * (3 * cosine - sine * (u * inverse + 2 * v * d));
    }
}

static double *elements(PyObject *array) { return PyArray_DATA((PyArrayObject *)array); }

/* (x, mu, s) -> (y, dy), or (x, mu, s, y, dy) into arrays that are there. */
static PyObject *value_and_derivative(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    PyArrayObject *x = (PyArrayObject *)arguments[0];
    if (count < 3 || !PyArray_CheckExact(arguments[0]) || PyArray_TYPE(x) != NPY_DOUBLE ||
        !PyArray_IS_C_CONTIGUOUS(x)) {
        PyErr_SetString(PyExc_TypeError, "a contiguous float64 array and two numbers are needed");
        return NULL;
    }
    npy_intp n = PyArray_SIZE(x);
    double mu = PyFloat_AsDouble(arguments[1]), s = PyFloat_AsDouble(arguments[2]);
    if (count == 5) {
        compute(PyArray_DATA(x), n, mu, s, elements(arguments[3]), elements(arguments[4]));
        Py_RETURN_NONE;
    }
    PyObject *y = PyArray_EMPTY(1, &n, NPY_DOUBLE, 0), *dy = PyArray_EMPTY(1, &n, NPY_DOUBLE, 0);
    if (y == NULL || dy == NULL) return NULL;
    compute(PyArray_DATA(x), n, mu, s, elements(y), elements(dy));
    return Py_BuildValue("NN", y, dy);
}

static PyMethodDef methods[] = {
    {"value_and_derivative", (PyCFunction)(void (*)(void))value_and_derivative, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "elementwise", NULL, -1, methods};
PyMODINIT_FUNC PyInit_elementwise(void) {
    import_array();
    return PyModule_Create(&module);
}
