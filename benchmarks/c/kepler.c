/* The yardstick for w7_kepler.py: E - e sin E = M by Newton's method from E = M until |step| <= 1e-12, with dE/dM and
   dE/de. Blocks of 32 points, all of which go on until the last of them is done. */
#include "lanes.h"

#define BLOCK 32
#define MOST 64
#define TOLERANCE 1e-12

/* One step for all points of a block; the largest of the steps. */
INLINE double newton(int n, const double *restrict mean, double e, double *restrict x) {
    double largest = 0;
#pragma omp simd reduction(max : largest)
    for (int i = 0; i < n; i++) {
        double s, c;
        lane_sincos(x[i], &s, &c);
        const double step = (x[i] - e * s - mean[i]) / (1 - e * c), size = fabs(step);
        x[i] -= step;
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* The derivatives by the implicit function theorem. */
void kepler_implicit(const double *restrict mean, long n, double e, double *restrict value, double *restrict by_mean,
                     double *restrict by_e) {
    for (long first = 0; first < n; first += BLOCK) {
        const int count = n - first < BLOCK ? (int)(n - first) : BLOCK;
        double x[BLOCK];
        for (int i = 0; i < count; i++) x[i] = mean[first + i];
        int step = 0;
        while (newton(count, mean + first, e, x) > TOLERANCE && ++step < MOST) {}
#pragma omp simd
        for (int i = 0; i < count; i++) {
            double s, c;
            lane_sincos(x[i], &s, &c);
            const double g = 1 / (1 - e * c);
            value[first + i] = x[i], by_mean[first + i] = g, by_e[first + i] = s * g;
        }
    }
}

/* Tangents along the loop. */
void kepler_forward(const double *restrict mean, long n, double e, double *restrict value, double *restrict by_mean,
                    double *restrict by_e) {
    for (long first = 0; first < n; first += BLOCK) {
        const int count = n - first < BLOCK ? (int)(n - first) : BLOCK;
        double x[BLOCK], xm[BLOCK], xe[BLOCK], running[BLOCK], any;
        for (int i = 0; i < count; i++) x[i] = mean[first + i], xm[i] = 1, xe[i] = 0, running[i] = 1;
        int step = 0;
        do {
            any = 0;
#pragma omp simd reduction(max : any)
            for (int i = 0; i < count; i++) {
                double s, c;
                lane_sincos(x[i], &s, &c);
                const double slope = 1 - e * c, g = 1 / slope, d = (x[i] - e * s - mean[first + i]) * g, on = running[i];
                const double dm = (xm[i] * slope - 1 - d * (e * s * xm[i])) * g;
                const double de = (xe[i] * slope - s - d * (e * s * xe[i] - c)) * g;
                x[i] = on > 0 ? x[i] - d : x[i];
                xm[i] = on > 0 ? xm[i] - dm : xm[i];
                xe[i] = on > 0 ? xe[i] - de : xe[i];
                running[i] = on > 0 && fabs(d) > TOLERANCE ? 1.0 : 0.0;
                any = running[i] > any ? running[i] : any;
            }
        } while (any > 0 && ++step < MOST);
        for (int i = 0; i < count; i++) value[first + i] = x[i], by_mean[first + i] = xm[i], by_e[first + i] = xe[i];
    }
}

/* Cotangents against the loop, whose states each block keeps. */
void kepler_reverse(const double *restrict mean, long n, double e, double *restrict value, double *restrict by_mean,
                    double *restrict by_e) {
    double states[MOST][BLOCK], on[MOST][BLOCK];
    for (long first = 0; first < n; first += BLOCK) {
        const int count = n - first < BLOCK ? (int)(n - first) : BLOCK;
        double x[BLOCK], running[BLOCK], bx[BLOCK], bm[BLOCK], be[BLOCK], any;
        for (int i = 0; i < count; i++) x[i] = mean[first + i], running[i] = 1;
        int step = 0;
        do {
            any = 0;
#pragma omp simd reduction(max : any)
            for (int i = 0; i < count; i++) {
                states[step][i] = x[i], on[step][i] = running[i];
                double s, c;
                lane_sincos(x[i], &s, &c);
                const double d = (x[i] - e * s - mean[first + i]) / (1 - e * c), now = running[i];
                x[i] = now > 0 ? x[i] - d : x[i];
                running[i] = now > 0 && fabs(d) > TOLERANCE ? 1.0 : 0.0;
                any = running[i] > any ? running[i] : any;
            }
        } while (++step < MOST && any > 0);
        for (int i = 0; i < count; i++) value[first + i] = x[i], bx[i] = 1, bm[i] = 0, be[i] = 0;
        while (step-- > 0) {
#pragma omp simd
            for (int i = 0; i < count; i++) {
                double s, c;
                lane_sincos(states[step][i], &s, &c);
                const double g = 1 / (1 - e * c), d = (states[step][i] - e * s - mean[first + i]) * g;
                const double now = on[step][i], br = -bx[i] * g, bg = -br * d;
                const double nx = bx[i] + br * (1 - e * c) + bg * (e * s), nm = bm[i] - br, ne = be[i] - br * s - bg * c;
                bx[i] = now > 0 ? nx : bx[i], bm[i] = now > 0 ? nm : bm[i], be[i] = now > 0 ? ne : be[i];
            }
        }
        for (int i = 0; i < count; i++) by_mean[first + i] = bm[i] + bx[i], by_e[first + i] = be[i];
    }
}
