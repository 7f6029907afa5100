/* The yardstick for w6_closedform.py, an extension module: the position of a robot arm with seven joints, its
   Jacobian and Hessian by cross products of joint axes; the gradient of the spherical harmonics by recursions. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include "lanes.h"
#include <numpy/arrayobject.h>

#define JOINTS 7
#define DEGREE 12
#define HARMONICS ((DEGREE + 1) * (DEGREE + 1))

static double links[JOINTS][3];                   /* translations after each joint */
static double norms[DEGREE + 1][DEGREE + 1];

/* Axes z_i and origins o_i of the joints, and the position of the end. */
typedef struct { double axis[JOINTS][3], origin[JOINTS][3], end[3]; } Chain;

INLINE void turn(double r[3][3], int joint, double c, double s) {
    for (int k = 0; k < 3; k++) {
        double x = r[k][0], y = r[k][1], z = r[k][2];
        if (joint % 2 == 0) { r[k][0] = x * c + y * s; r[k][1] = y * c - x * s; } /* about z */
        else { r[k][0] = x * c - z * s; r[k][2] = x * s + z * c; }                /* about y */
    }
}

INLINE void advance(Chain *chain, double r[3][3], int i, double c, double s) {
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++) {
        chain->axis[i][k] = r[k][i % 2 ? 1 : 2];
        chain->origin[i][k] = chain->end[k];
    }
    turn(r, i, c, s);
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++)
        chain->end[k] += r[k][0] * links[i][0] + r[k][1] * links[i][1] + r[k][2] * links[i][2];
}

INLINE void cross(const double *a, const double *b, double *out, long step) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[step] = a[2] * b[0] - a[0] * b[2];
    out[2 * step] = a[0] * b[1] - a[1] * b[0];
}

static void jacobian(const double *q, double *j, Chain *chain) {
    double r[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    memset(chain->end, 0, sizeof chain->end);
#pragma GCC unroll 7
    for (int i = 0; i < JOINTS; i++) advance(chain, r, i, cos(q[i]), sin(q[i]));
#pragma GCC unroll 7
    for (int i = 0; i < JOINTS; i++) {
        double lever[3] = {chain->end[0] - chain->origin[i][0], chain->end[1] - chain->origin[i][1],
                           chain->end[2] - chain->origin[i][2]};
        cross(chain->axis[i], lever, j + i, JOINTS);
    }
}

static void hessian(const Chain *chain, const double *j, double *h) {
    for (int b = 0; b < JOINTS; b++)
        for (int a = 0; a <= b; a++) {
            double column[3] = {j[b], j[JOINTS + b], j[2 * JOINTS + b]}, out[3];
            cross(chain->axis[a], column, out, 1);
            for (int k = 0; k < 3; k++) h[(k * JOINTS + a) * JOINTS + b] = h[(k * JOINTS + b) * JOINTS + a] = out[k];
        }
}

/* q[7][n] -> j[21][n], eight points a step. */
static void jacobians(const double *restrict q, double *restrict j, long n) {
#pragma omp simd
    for (long e = 0; e < n; e++) {
        Chain chain;
        double r[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) chain.end[k] = 0;
#pragma GCC unroll 7
        for (int i = 0; i < JOINTS; i++) {
            double s, c;
            lane_sincos(q[i * n + e], &s, &c);
            advance(&chain, r, i, c, s);
        }
#pragma GCC unroll 7
        for (int i = 0; i < JOINTS; i++) {
            double lever[3] = {chain.end[0] - chain.origin[i][0], chain.end[1] - chain.origin[i][1],
                               chain.end[2] - chain.origin[i][2]};
            cross(chain.axis[i], lever, j + i * n + e, JOINTS * n);
        }
    }
}

/* g[169][3] */
static void harmonics(double x, double y, double z, double *g) {
    double c[DEGREE + 1], s[DEGREE + 1], diagonal = 1;
    c[0] = 1;
    s[0] = 0;
    for (int m = 1; m <= DEGREE; m++) {
        c[m] = x * c[m - 1] - y * s[m - 1];
        s[m] = x * s[m - 1] + y * c[m - 1];
    }
    for (int m = 0; m <= DEGREE; m++) {
        double p[DEGREE + 1], d[DEGREE + 1];
        if (m) diagonal *= 1 - 2 * m;
        p[m] = diagonal;
        d[m] = 0;
        if (m < DEGREE) {
            p[m + 1] = (2 * m + 1) * z * diagonal;
            d[m + 1] = (2 * m + 1) * diagonal;
        }
        for (int l = m + 2; l <= DEGREE; l++) {
            double f = 1.0 / (l - m), a = (2 * l - 1) * f, b = (l + m - 1) * f;
            p[l] = a * z * p[l - 1] - b * p[l - 2];
            d[l] = a * (p[l - 1] + z * d[l - 1]) - b * d[l - 2];
        }
        double dc = m ? m * c[m - 1] : 0, ds = m ? m * s[m - 1] : 0;
        for (int l = m; l <= DEGREE; l++) {
            double value = norms[l][m] * p[l], slope = norms[l][m] * d[l], *out = g + 3 * (l * l + l + m);
            out[0] = value * dc;
            out[1] = -value * ds;
            out[2] = slope * c[m];
            if (m) {
                out = g + 3 * (l * l + l - m);
                out[0] = value * ds;
                out[1] = value * dc;
                out[2] = slope * s[m];
            }
        }
    }
}

static const double *numbers(PyObject *argument, npy_intp least) {
    PyArrayObject *array = (PyArrayObject *)argument;
    if (!PyArray_CheckExact(argument) || PyArray_TYPE(array) != NPY_DOUBLE || !PyArray_IS_C_CONTIGUOUS(array) ||
        PyArray_SIZE(array) < least) {
        PyErr_SetString(PyExc_TypeError, "a contiguous float64 array is needed");
        return NULL;
    }
    return PyArray_DATA(array);
}

static PyObject *set_links(PyObject *self, PyObject *argument) {
    const double *values = numbers(argument, 3 * JOINTS);
    if (values == NULL) return NULL;
    memcpy(links, values, sizeof links);
    Py_RETURN_NONE;
}

static PyObject *arm_jacobian(PyObject *self, PyObject *argument) {
    npy_intp shape[2] = {3, JOINTS};
    const double *q = numbers(argument, JOINTS);
    PyObject *result = q ? PyArray_EMPTY(2, shape, NPY_DOUBLE, 0) : NULL;
    Chain chain;
    if (result) jacobian(q, PyArray_DATA((PyArrayObject *)result), &chain);
    return result;
}

static PyObject *arm_hessian(PyObject *self, PyObject *argument) {
    npy_intp shape[3] = {3, JOINTS, JOINTS};
    const double *q = numbers(argument, JOINTS);
    PyObject *result = q ? PyArray_EMPTY(3, shape, NPY_DOUBLE, 0) : NULL;
    Chain chain;
    double j[3 * JOINTS];
    if (result) {
        jacobian(q, j, &chain);
        hessian(&chain, j, PyArray_DATA((PyArrayObject *)result));
    }
    return result;
}

static PyObject *arm_jacobians(PyObject *self, PyObject *argument) {
    const double *q = numbers(argument, JOINTS);
    if (q == NULL) return NULL;
    npy_intp n = PyArray_SIZE((PyArrayObject *)argument) / JOINTS, shape[3] = {3, JOINTS, n};
    PyObject *result = PyArray_EMPTY(3, shape, NPY_DOUBLE, 0);
    if (result) jacobians(q, PyArray_DATA((PyArrayObject *)result), n);
    return result;
}

static PyObject *harmonics_gradient(PyObject *self, PyObject *argument) {
    npy_intp shape[2] = {HARMONICS, 3};
    const double *v = numbers(argument, 3);
    PyObject *result = v ? PyArray_EMPTY(2, shape, NPY_DOUBLE, 0) : NULL;
    if (result) harmonics(v[0], v[1], v[2], PyArray_DATA((PyArrayObject *)result));
    return result;
}

static PyMethodDef methods[] = {{"set_links", set_links, METH_O, NULL},
                                {"arm_jacobian", arm_jacobian, METH_O, NULL},
                                {"arm_hessian", arm_hessian, METH_O, NULL},
                                {"arm_jacobians", arm_jacobians, METH_O, NULL},
                                {"harmonics_gradient", harmonics_gradient, METH_O, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "closedform", NULL, -1, methods};
PyMODINIT_FUNC PyInit_closedform(void) {
    import_array();
    for (int l = 0; l <= DEGREE; l++)
        for (int m = 0; m <= l; m++) {
            double f = (2 * l + 1) / (2 * 3.141592653589793);
            for (int k = l - m + 1; k <= l + m; k++) f /= k;
            norms[l][m] = sqrt(m ? f : f / 2);
        }
    return PyModule_Create(&module);
}
