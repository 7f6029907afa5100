/* The yardstick for w1_latency.py: an extension module, the fastest way from Python to C. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <math.h>
#include <numpy/arrayobject.h>

static PyObject *rosenbrock_grad(PyObject *self, PyObject *argument) {
    PyArrayObject *array = (PyArrayObject *)argument;
    if (!PyArray_CheckExact(argument) || PyArray_TYPE(array) != NPY_DOUBLE || !PyArray_IS_C_CONTIGUOUS(array)) {
        PyErr_SetString(PyExc_TypeError, "a contiguous float64 array is needed");
        return NULL;
    }
    npy_intp n = PyArray_SIZE(array);
    PyObject *result = PyArray_EMPTY(1, &n, NPY_DOUBLE, 0);
    if (result == NULL) return NULL;
    const double *x = PyArray_DATA(array);
    double *g = PyArray_DATA((PyArrayObject *)result);
    for (npy_intp i = 0; i < n; i++) g[i] = 0;
    for (npy_intp i = 0; i < n - 1; i++) {
        double t = x[i + 1] - x[i] * x[i];
        g[i] += -400.0 * x[i] * t - 2.0 * (1.0 - x[i]);
        g[i + 1] += 200.0 * t;
    }
    return result;
}

/* Derivative of exp(-x^2/2) sin(3x) / (1 + x^2). */
static PyObject *wave_derivative(PyObject *self, PyObject *argument) {
    double x = PyFloat_AsDouble(argument);
    if (x == -1.0 && PyErr_Occurred()) return NULL;
    double d = 1.0 / (1.0 + x * x), e = exp(-0.5 * x * x), s = sin(3 * x), c = cos(3 * x);
    return PyFloat_FromDouble(e * d * (3 * c - x * s - 2 * x * d * s));
}

static PyMethodDef methods[] = {{"rosenbrock_grad", rosenbrock_grad, METH_O, NULL},
                                {"wave_derivative", wave_derivative, METH_O, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "latency", NULL, -1, methods};
PyMODINIT_FUNC PyInit_latency(void) {
    import_array();
    return PyModule_Create(&module);
}
