/* The yardstick for w5_leapfrog.py: final energy of an anharmonic oscillator and its gradient by (k, l, q0), by an
   adjoint that stores the positions, and by three tangents. */
#define STEPS 1000
#define DT 0.01

/* q' = p, p' = -(k q + l q^3) from p = 0, kick-drift-kick; out: E, dE/dk, dE/dl, dE/dq0 */
void leapfrog_reverse(const double *parameters, double *out) {
    const double k = parameters[0], l = parameters[1], h = DT, half = 0.5 * DT;
    double q = parameters[2], p = 0, positions[STEPS + 1];
    positions[0] = q;
    for (int i = 0; i < STEPS; i++) {
        p -= half * q * (k + l * q * q);
        q += h * p;
        p -= half * q * (k + l * q * q);
        positions[i + 1] = q;
    }
    const double s = q * q;
    out[0] = 0.5 * p * p + 0.5 * k * s + 0.25 * l * s * s;
    double bk = 0.5 * s, bl = 0.25 * s * s, bq = q * (k + l * s), bp = p;
    for (int i = STEPS - 1; i >= 0; i--) {
        const double q1 = positions[i + 1], s1 = q1 * q1, q0 = positions[i], s0 = q0 * q0;
        bk -= half * q1 * bp;
        bl -= half * q1 * s1 * bp;
        bq -= half * (k + 3 * l * s1) * bp;
        bp += h * bq;
        bk -= half * q0 * bp;
        bl -= half * q0 * s0 * bp;
        bq -= half * (k + 3 * l * s0) * bp;
    }
    out[1] = bk;
    out[2] = bl;
    out[3] = bq;
}

void leapfrog_forward(const double *parameters, double *out) {
    const double k = parameters[0], l = parameters[1], h = DT, half = 0.5 * DT;
    double q = parameters[2], p = 0, dq[3] = {0, 0, 1}, dp[3] = {0, 0, 0};
    for (int i = 0; i < STEPS; i++) {
        for (int kick = 0; kick < 2; kick++) {
            const double s = q * q, slope = half * (k + 3 * l * s);
            dp[0] -= slope * dq[0] + half * q;
            dp[1] -= slope * dq[1] + half * q * s;
            dp[2] -= slope * dq[2];
            p -= half * q * (k + l * s);
            if (kick == 0) {
                q += h * p;
                for (int j = 0; j < 3; j++) dq[j] += h * dp[j];
            }
        }
    }
    const double s = q * q, force = q * (k + l * s);
    out[0] = 0.5 * p * p + 0.5 * k * s + 0.25 * l * s * s;
    for (int j = 0; j < 3; j++) out[1 + j] = p * dp[j] + force * dq[j];
    out[1] += 0.5 * s;
    out[2] += 0.25 * s * s;
}

void leapfrog_value(const double *parameters, double *out) {
    const double k = parameters[0], l = parameters[1], h = DT, half = 0.5 * DT;
    double q = parameters[2], p = 0;
    for (int i = 0; i < STEPS; i++) {
        p -= half * q * (k + l * q * q);
        q += h * p;
        p -= half * q * (k + l * q * q);
    }
    const double s = q * q;
    out[0] = 0.5 * p * p + 0.5 * k * s + 0.25 * l * s * s;
}
