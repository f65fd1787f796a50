/* Block kernels in plain C: SAD, Hadamard SATD, the 8 x 8 integer DCT. bc_kernels_sse2.c gives the same integers. */
#include "bc.h"

static int absolute(int v) { return v < 0 ? -v : v; }

static int sad(const uint8_t *a, int as, const uint8_t *b, int bs, int size) {
    int sum = 0;
    for (int y = 0; y < size; y++, a += as, b += bs)
        for (int x = 0; x < size; x++) sum += absolute(a[x] - b[x]);
    return sum;
}

static int sad16_c(const uint8_t *a, int as, const uint8_t *b, int bs) { return sad(a, as, b, bs, 16); }
static int sad8_c(const uint8_t *a, int as, const uint8_t *b, int bs) { return sad(a, as, b, bs, 8); }

static void butterflies(int16_t *v, int step) {
    for (int half = 4; half; half >>= 1)
        for (int i = 0; i < 8; i++)
            if (!(i & half)) {
                int s = v[i * step], t = v[(i + half) * step];
                v[i * step] = (int16_t)(s + t);
                v[(i + half) * step] = (int16_t)(s - t);
            }
}

/* A quarter of the sum of |8 x 8 Hadamard transform of a - b|. */
static int satd8_c(const uint8_t *a, int as, const uint8_t *b, int bs) {
    int16_t d[64];
    int sum = 0;
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++) d[8 * y + x] = (int16_t)(a[y * as + x] - b[y * bs + x]);
    for (int i = 0; i < 8; i++) butterflies(d + i, 8);
    for (int i = 0; i < 8; i++) butterflies(d + 8 * i, 1);
    for (int i = 0; i < 64; i++) sum += absolute(d[i]);
    return (sum + 2) >> 2;
}

/* 8 x 8 Hadamard transform, out[8 fx + fy]; returns the sum of its magnitudes. */
static int hadamard8_c(int16_t *out, const uint8_t *a, int as) {
    int16_t d[64];
    int sum = 0;
    for (int i = 0; i < 64; i++) d[i] = a[(i >> 3) * as + (i & 7)];
    for (int i = 0; i < 8; i++) butterflies(d + i, 8);
    for (int i = 0; i < 8; i++) butterflies(d + 8 * i, 1);
    for (int i = 0; i < 64; i++) {
        out[8 * (i & 7) + (i >> 3)] = d[i];
        sum += absolute(d[i]);
    }
    return sum;
}

/* Sum of |filter (1 -2 1; -2 4 -2; 1 -2 1)| over the 6 x 6 places inside 8 x 8 pixels. */
static int rough8_c(const uint8_t *s, int ss) {
    int sum = 0;
    for (int y = 0; y < 6; y++)
        for (int x = 0; x < 6; x++) {
            const uint8_t *a = s + y * ss + x, *b = a + ss, *c = b + ss;
            sum += absolute(a[0] - 2 * a[1] + a[2] - 2 * (b[0] - 2 * b[1] + b[2]) + c[0] - 2 * c[1] + c[2]);
        }
    return sum;
}

static int16_t saturate(int32_t v) { return (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v); }

/* out[j][k] = (sum_i in[i][j] m[k][i] + half) >> shift: transforms columns and transposes, so that two passes do both. */
static void pass_c(int16_t *out, const int16_t *in, int inverse, int shift) {
    for (int j = 0; j < 8; j++)
        for (int k = 0; k < 8; k++) {
            int32_t sum = 1 << (shift - 1);
            for (int i = 0; i < 8; i++) sum += in[8 * i + j] * (inverse ? BC_DCT[i][k] : BC_DCT[k][i]);
            out[8 * j + k] = saturate(sum >> shift);
        }
}

static void forward_c(int16_t *coefficients, const int16_t *residual) {
    int16_t half[64];
    pass_c(half, residual, 0, 2);
    pass_c(coefficients, half, 0, 9);
}

static void inverse_c(int16_t *residual, const int16_t *coefficients) {
    int16_t half[64];
    pass_c(half, coefficients, 1, 7);
    pass_c(residual, half, 1, 12);
}

static int sad_mean(const uint8_t *s, int ss, const uint8_t *a, const uint8_t *b, int stride, int size) {
    int sum = 0;
    for (int y = 0; y < size; y++, s += ss, a += stride, b += stride)
        for (int x = 0; x < size; x++) sum += absolute(s[x] - ((a[x] + b[x] + 1) >> 1));
    return sum;
}

static int sad_mean8_c(const uint8_t *s, int ss, const uint8_t *a, const uint8_t *b, int stride) {
    return sad_mean(s, ss, a, b, stride, 8);
}

static int sad_mean16_c(const uint8_t *s, int ss, const uint8_t *a, const uint8_t *b, int stride) {
    return sad_mean(s, ss, a, b, stride, 16);
}

static void mean(uint8_t *out, const uint8_t *a, const uint8_t *b, int stride, int size) {
    for (int y = 0; y < size; y++, out += size, a += stride, b += stride)
        for (int x = 0; x < size; x++) out[x] = (uint8_t)((a[x] + b[x] + 1) >> 1);
}

static void mean8_c(uint8_t *out, const uint8_t *a, const uint8_t *b, int stride) { mean(out, a, b, stride, 8); }
static void mean16_c(uint8_t *out, const uint8_t *a, const uint8_t *b, int stride) { mean(out, a, b, stride, 16); }

/* residual = source - prediction; returns its sum of squares, *sad its sum of magnitudes. */
static uint32_t subtract_c(int16_t *residual, const uint8_t *s, int ss, const uint8_t *prediction, int *sad_out) {
    uint32_t squares = 0;
    int sum = 0;
    for (int i = 0; i < 64; i++) {
        int d = s[(i >> 3) * ss + (i & 7)] - prediction[i];
        residual[i] = (int16_t)d;
        squares += (uint32_t)(d * d);
        sum += absolute(d);
    }
    *sad_out = sum;
    return squares;
}

/* Levels of coefficients (x 16) at step step16 (x 16), which replace the coefficients dequantised.
 * Returns which levels are not 0, bit i = level i. */
static uint64_t quantise_c(int16_t *levels, int16_t *coefficients, int round, int step16) {
    const uint32_t scale = 65536u / (uint32_t)step16;
    uint64_t nonzero = 0;
    for (int i = 0; i < 64; i++) {
        int v = coefficients[i], magnitude = saturate(absolute(v) + round);
        int level = (int)(((uint32_t)magnitude * scale) >> 16);
        nonzero |= (uint64_t)(level != 0) << i;
        levels[i] = (int16_t)(v < 0 ? -level : level);
        coefficients[i] = (int16_t)(v < 0 ? -level * step16 : level * step16);
    }
    return nonzero;
}

/* recon = prediction + residual; returns its squared error, *change the sum of |recon - prediction|. */
static uint32_t rebuild_c(uint8_t *recon, const uint8_t *prediction, const int16_t *residual, const uint8_t *s, int ss,
                          int *change) {
    uint32_t squares = 0;
    int sum = 0;
    for (int i = 0; i < 64; i++) {
        int v = prediction[i] + residual[i];
        v = v < 0 ? 0 : v > 255 ? 255 : v;
        int e = s[(i >> 3) * ss + (i & 7)] - v;
        recon[i] = (uint8_t)v;
        squares += (uint32_t)(e * e);
        sum += absolute(v - prediction[i]);
    }
    *change = sum;
    return squares;
}

static uint32_t squared16_c(const uint8_t *s, int ss, const uint8_t *block) {
    uint32_t squares = 0;
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++) {
            int d = s[y * ss + x] - block[16 * y + x];
            squares += (uint32_t)(d * d);
        }
    return squares;
}

/* Prediction that fades from the pixels left and above to the last of either (H.265's planar mode). */
static void smooth8_c(uint8_t *out, const uint8_t *top, const uint8_t *left) {
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 8; i++)
            out[8 * j + i] = (uint8_t)(((7 - i) * left[j] + (i + 1) * top[7] + (7 - j) * top[i] + (j + 1) * left[7] + 8) >> 4);
}

/* H.264's half-pel filter (1, -5, 20, 20, -5, 1) / 32 between in[0] and in[step]. */
static void six_tap_c(uint8_t *out, const uint8_t *in, ptrdiff_t step, int n) {
    for (int x = 0; x < n; x++) {
        const uint8_t *p = in + x;
        int v = (p[-2 * step] + p[3 * step] - 5 * (p[-step] + p[2 * step]) + 20 * (p[0] + p[step]) + 16) >> 5;
        out[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static const bc_kernels SCALAR = {sad16_c,   sad8_c,    satd8_c,    hadamard8_c, {sad_mean8_c, sad_mean16_c}, {mean8_c, mean16_c}, forward_c,
                                  inverse_c, subtract_c, quantise_c, rebuild_c, six_tap_c, squared16_c, rough8_c, smooth8_c};

int bc_simd(void) { return bc_kernels_sse2() != NULL; }

const bc_kernels *bc_kernels_for(int scalar) {
    const bc_kernels *vector = scalar ? NULL : bc_kernels_sse2();
    return vector ? vector : &SCALAR;
}
