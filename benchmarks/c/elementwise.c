/* The yardstick for w2_elementwise.py: y = exp(-(x - mu)^2 / (2 s^2)) sin(3x) / (1 + x^2) and dy/dx. */
#include "lanes.h"

void value_and_derivative(const double *restrict x, long n, double mu, double s, double *restrict y,
                          double *restrict dy) {
    double inverse = 1 / (s * s);
#pragma omp simd
    for (long i = 0; i < n; i++) {
        double v = x[i], u = v - mu, d = 1 / (1 + v * v), e = lane_exp(-0.5 * u * u * inverse) * d, sine, cosine;
        lane_sincos(3 * v, &sine, &cosine);
        y[i] = e * sine;
        dy[i] = e * (3 * cosine - sine * (u * inverse + 2 * v * d));
    }
}
