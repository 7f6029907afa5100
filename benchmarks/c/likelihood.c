/* The yardstick for w3_likelihood.py: what a patient person writes by hand.

   p(x) = f G(x) + (1-f) B(x) on [0, 10]; G a Gaussian (mu, sigma), B an exponential (tau), both normalised on the
   interval. Results are of the negative log-likelihood; parameters in the order f, tau, mu, sigma. */
#include "lanes.h"

/* All that does not depend on the event. */
typedef struct {
    double signal, background;           /* f * norm of G, (1-f) * norm of B */
    double inverse_sigma, inverse_tau;
    double a, c, a_mu, a_sigma, c_sigma; /* d log N/d mu, d log N/d sigma, and their derivatives */
    double d, d_tau;                     /* d log norm/d tau of the exponential, and its derivative */
} Invariants;

static double gauss(double t) { return exp(-0.5 * t * t) * 0.3989422804014327; }
static double gauss_cdf(double t) { return 0.5 * erfc(-t * 0.7071067811865476); }

static Invariants prepare(const double *p) {
    double f = p[0], tau = p[1], mu = p[2], sigma = p[3], s2 = sigma * sigma;
    double low = -mu / sigma, high = (10 - mu) / sigma, at_low = gauss(low), at_high = gauss(high);
    double n = gauss_cdf(high) - gauss_cdf(low);
    double first = high * at_high - low * at_low;
    double n_mu = -(at_high - at_low) / sigma, n_sigma = -first / sigma;
    double n_mu_mu = -first / s2;
    double n_mu_sigma = ((at_high - at_low) - (high * high * at_high - low * low * at_low)) / s2;
    double n_sigma_sigma =
        first / s2 + (high * (1 - high * high) * at_high - low * (1 - low * low) * at_low) / s2;
    double e = exp(-10 / tau), r = e / (1 - e), q = 10 / (tau * tau);
    Invariants k;
    k.inverse_sigma = 1 / sigma;
    k.inverse_tau = 1 / tau;
    k.signal = f * 0.3989422804014327 / (sigma * n);
    k.background = (1 - f) / (tau * (1 - e));
    k.a = n_mu / n;
    k.c = n_sigma / n;
    k.a_mu = n_mu_mu / n - k.a * k.a;
    k.a_sigma = n_mu_sigma / n - k.a * k.c;
    k.c_sigma = n_sigma_sigma / n - k.c * k.c;
    k.d = 1 / tau - q * r;
    k.d_tau = -1 / (tau * tau) + 20 / (tau * tau * tau) * r - q * q * r * (1 + r);
    return k;
}

/* From the sums over events to -log L and its gradient. */
static void finish(double *out, const double *p, const Invariants *k, double log_l, double g0, double g1,
                   double g2, double b0, double b1) {
    out[0] = -log_l;
    out[1] = -(g0 / p[0] - b0 / (1 - p[0]));
    out[2] = -(b1 * k->inverse_tau * k->inverse_tau - k->d * b0);
    out[3] = -(g1 * k->inverse_sigma - k->a * g0);
    out[4] = -((g2 - g0) * k->inverse_sigma - k->c * g0);
}

/* Value and gradient (5 numbers), directly: two exp, a log and a division for each event. */
void value_grad(const double *restrict x, long n, const double *p, double *out) {
    Invariants k = prepare(p);
    double log_l = 0, g0 = 0, g1 = 0, g2 = 0, b0 = 0, b1 = 0;
#pragma omp simd reduction(+ : log_l, g0, g1, g2, b0, b1)
    for (long i = 0; i < n; i++) {
        double z = (x[i] - p[2]) * k.inverse_sigma;
        double g = k.signal * lane_exp(-0.5 * z * z), b = k.background * lane_exp(-x[i] * k.inverse_tau);
        double q = g + b, r = 1 / q, wg = g * r, wb = b * r;
        log_l += lane_log(q);
        g0 += wg;
        g1 += wg * z;
        g2 += wg * z * z;
        b0 += wb;
        b1 += wb * x[i];
    }
    finish(out, p, &k, log_l, g0, g1, g2, b0, b1);
}

/* The same restructured: log p = log b + log(1 + g/b), one exp for each event, one log for eight. */
void value_grad_restructured(const double *restrict x, long n, const double *p, double *out) {
    Invariants k = prepare(p);
    double ratio = log(k.signal / k.background), log_l = 0, g0 = 0, g1 = 0, g2 = 0, b1 = 0, sum_x = 0;
    long blocks = n & ~511L;
    for (long j = 0; j < blocks; j += 512) {
        double product[64];
        for (int lane = 0; lane < 64; lane++) product[lane] = 1;
        for (int m = 0; m < 8; m++) {
#pragma omp simd reduction(+ : g0, g1, g2, sum_x, b1)
            for (int lane = 0; lane < 64; lane++) {
                double xi = x[j + m * 64 + lane], z = (xi - p[2]) * k.inverse_sigma;
                double w = lane_exp(ratio - 0.5 * z * z + xi * k.inverse_tau), q = 1 + w, wb = 1 / q;
                double wg = w * wb;
                product[lane] *= q;
                g0 += wg;
                g1 += wg * z;
                g2 += wg * z * z;
                sum_x += xi;
                b1 += wb * xi;
            }
        }
#pragma omp simd reduction(+ : log_l)
        for (int lane = 0; lane < 64; lane++) log_l += lane_log(product[lane]);
    }
    for (long i = blocks; i < n; i++) {
        double z = (x[i] - p[2]) * k.inverse_sigma;
        double w = lane_exp(ratio - 0.5 * z * z + x[i] * k.inverse_tau), q = 1 + w, wb = 1 / q, wg = w * wb;
        log_l += lane_log(q);
        g0 += wg;
        g1 += wg * z;
        g2 += wg * z * z;
        sum_x += x[i];
        b1 += wb * x[i];
    }
    log_l += n * log(k.background) - sum_x * k.inverse_tau;
    finish(out, p, &k, log_l, g0, g1, g2, n - g0, b1);
}

/* Value, gradient and Hessian (1 + 4 + 16 numbers) in one pass. */
void value_grad_hess(const double *restrict x, long n, const double *p, double *out) {
    Invariants k = prepare(p);
    double is = k.inverse_sigma, it = k.inverse_tau, jf = 1 / p[0], jb = 1 / (1 - p[0]);
    double log_l = 0, g0 = 0, g1 = 0, g2 = 0, b0 = 0, b1 = 0;
    double h00 = 0, h01 = 0, h02 = 0, h03 = 0, h11 = 0, h12 = 0, h13 = 0, h22 = 0, h23 = 0, h33 = 0;
#pragma omp simd reduction(+ : log_l, g0, g1, g2, b0, b1, h00, h01, h02, h03, h11, h12, h13, h22, h23, h33)
    for (long i = 0; i < n; i++) {
        double xi = x[i], z = (xi - p[2]) * is, z2 = z * z;
        double g = k.signal * lane_exp(-0.5 * z2), b = k.background * lane_exp(-xi * it);
        double q = g + b, r = 1 / q, wg = g * r, wb = b * r;
        double mu = z * is - k.a, sigma = (z2 - 1) * is - k.c, tau = xi * it * it - k.d;
        double u0 = wg * jf - wb * jb, u1 = wb * tau, u2 = wg * mu, u3 = wg * sigma;
        log_l += lane_log(q);
        g0 += wg;
        g1 += wg * z;
        g2 += wg * z2;
        b0 += wb;
        b1 += wb * xi;
        h00 -= u0 * u0;
        h01 -= jb * u1 + u0 * u1;
        h02 += jf * u2 - u0 * u2;
        h03 += jf * u3 - u0 * u3;
        h11 += wb * (tau * tau - 2 * xi * it * it * it - k.d_tau) - u1 * u1;
        h12 -= u1 * u2;
        h13 -= u1 * u3;
        h22 += wg * (mu * mu - is * is - k.a_mu) - u2 * u2;
        h23 += wg * (mu * sigma - 2 * z * is * is - k.a_sigma) - u2 * u3;
        h33 += wg * (sigma * sigma + (1 - 3 * z2) * is * is - k.c_sigma) - u3 * u3;
    }
    finish(out, p, &k, log_l, g0, g1, g2, b0, b1);
    double h[16] = {h00, h01, h02, h03, h01, h11, h12, h13, h02, h12, h22, h23, h03, h13, h23, h33};
    for (int i = 0; i < 16; i++) out[5 + i] = -h[i];
}
