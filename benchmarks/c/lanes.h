/* exp, log, sin and cos for double, short enough that the compiler inlines and vectorises them in place.
   1-2 ulp; no special cases: arguments must be finite and moderate, and positive for the logarithm.
   Compile without -fassociative-math, so that (x + SHIFT) - SHIFT rounds to an integer. */
#ifndef LANES_H
#define LANES_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define SHIFT 6755399441055744.0 /* 1.5 * 2^52 */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10

INLINE int64_t bits(double value) { int64_t result; memcpy(&result, &value, 8); return result; }
INLINE double from_bits(int64_t value) { double result; memcpy(&result, &value, 8); return result; }

/* exp(x) = 2^n exp(r), |r| <= log(2)/2, Taylor to r^12 in Estrin form. */
INLINE double lane_exp(double x) {
    double shifted = x * 1.4426950408889634 + SHIFT, n = shifted - SHIFT;
    double r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x));
    double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    double p01 = 1.0 + r, p23 = fma(r, 1.0 / 6, 0.5), p45 = fma(r, 1.0 / 120, 1.0 / 24);
    double p67 = fma(r, 1.0 / 5040, 1.0 / 720), p89 = fma(r, 1.0 / 362880, 1.0 / 40320);
    double p1011 = fma(r, 1.0 / 39916800, 1.0 / 3628800);
    double low = fma(r2, p23, p01), middle = fma(r2, p67, p45);
    double high = fma(r4, 1.0 / 479001600, fma(r2, p1011, p89));
    double p = fma(r8, high, fma(r4, middle, low));
    return from_bits(bits(p) + (int64_t)((uint64_t)bits(shifted) << 52));
}

/* log(x) = k log(2) + log(m), m in [sqrt(1/2), sqrt(2)); the polynomial of fdlibm. */
INLINE double lane_log(double x) {
    int64_t raw = bits(x), k = (raw - 0x3fe6a09e667f3bcdL) >> 52;
    double f = from_bits(raw - (int64_t)((uint64_t)k << 52)) - 1.0;
    double s = f / (2.0 + f), z = s * s, w = z * z, h = 0.5 * f * f, exponent = (double)k;
    double even = w * fma(w, fma(w, 1.531383769920937332e-01, 2.222219843214978396e-01),
                          3.999999999940941908e-01);
    double odd = z * fma(w, fma(w, fma(w, 1.479819860511658591e-01, 1.818357216161805012e-01),
                                2.857142874366239149e-01), 6.666666666666735130e-01);
    double r = even + odd;
    return fma(exponent, LN2_HIGH, f - (h - fma(s, h + r, exponent * LN2_LOW)));
}

/* sin(x) and cos(x): x = q pi/2 + r in two words, polynomials of fdlibm on |r| <= pi/4. */
INLINE void lane_sincos(double x, double *sine, double *cosine) {
    double shifted = x * 0.63661977236758134 + SHIFT, n = shifted - SHIFT;
    int64_t q = bits(shifted);
    double r = fma(n, -6.07710050650619224932e-11, fma(n, -1.57079632673412561417, x)), z = r * r;
    double s = fma(z, 1.58962301576546568060e-10, -2.50507477628578072866e-8);
    s = fma(z, fma(z, s, 2.75573136213857245213e-6), -1.98412698295895385996e-4);
    s = fma(z * r, fma(z, fma(z, s, 8.33333333332211858878e-3), -1.66666666666666307295e-1), r);
    double c = fma(z, -1.13585365213876817300e-11, 2.08757008419747316778e-9);
    c = fma(z, fma(z, c, -2.75573141792967388112e-7), 2.48015872888517045348e-5);
    c = fma(z * z, fma(z, fma(z, c, -1.38888888888730564116e-3), 4.16666666666665929218e-2), fma(z, -0.5, 1.0));
    int64_t swap = -(q & 1), a = bits(s), b = bits(c), both = (a ^ b) & swap;
    *sine = from_bits((a ^ both) ^ (int64_t)((uint64_t)(q & 2) << 62));
    *cosine = from_bits((b ^ both) ^ (int64_t)((uint64_t)((q + 1) & 2) << 62));
}
#endif
