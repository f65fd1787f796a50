/* Block kernels: SAD, Hadamard SATD, the 8 x 8 integer DCT. Scalar C and SSE2 give the same integers. */
#include "bc.h"

#if !defined(BC_NO_SIMD) && (defined(__SSE2__) || defined(_M_X64))
#define BC_SSE2 1
#include <emmintrin.h>
#endif

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

/* H.264's half-pel filter (1, -5, 20, 20, -5, 1) / 32 between in[0] and in[step]. */
static void six_tap_c(uint8_t *out, const uint8_t *in, ptrdiff_t step, int n) {
    for (int x = 0; x < n; x++) {
        const uint8_t *p = in + x;
        int v = (p[-2 * step] + p[3 * step] - 5 * (p[-step] + p[2 * step]) + 20 * (p[0] + p[step]) + 16) >> 5;
        out[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static const bc_kernels SCALAR = {sad16_c,   sad8_c,    satd8_c,    {sad_mean8_c, sad_mean16_c}, {mean8_c, mean16_c}, forward_c,
                                  inverse_c, subtract_c, quantise_c, rebuild_c, six_tap_c, squared16_c};

#ifdef BC_SSE2
static __m128i load8(const uint8_t *p) { return _mm_loadl_epi64((const __m128i *)p); }
static __m128i load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }

static int sad16_sse2(const uint8_t *a, int as, const uint8_t *b, int bs) {
    __m128i s = _mm_setzero_si128(), t = s;
    for (int y = 0; y < 16; y += 2, a += 2 * as, b += 2 * bs) {
        s = _mm_add_epi64(s, _mm_sad_epu8(load16(a), load16(b)));
        t = _mm_add_epi64(t, _mm_sad_epu8(load16(a + as), load16(b + bs)));
    }
    s = _mm_add_epi64(s, t);
    return _mm_cvtsi128_si32(s) + _mm_cvtsi128_si32(_mm_srli_si128(s, 8));
}

static int sad8_sse2(const uint8_t *a, int as, const uint8_t *b, int bs) {
    __m128i s = _mm_setzero_si128();
    for (int y = 0; y < 8; y += 2, a += 2 * as, b += 2 * bs) {
        __m128i u = _mm_unpacklo_epi64(load8(a), load8(a + as)), v = _mm_unpacklo_epi64(load8(b), load8(b + bs));
        s = _mm_add_epi64(s, _mm_sad_epu8(u, v));
    }
    return _mm_cvtsi128_si32(s) + _mm_cvtsi128_si32(_mm_srli_si128(s, 8));
}

static void transpose(__m128i v[8]) {
    __m128i a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[2 * i] = _mm_unpacklo_epi64(b[i], b[i + 4]);
        v[2 * i + 1] = _mm_unpackhi_epi64(b[i], b[i + 4]);
    }
}

static void butterflies_sse2(__m128i v[8]) {
    for (int half = 4; half; half >>= 1)
        for (int i = 0; i < 8; i++)
            if (!(i & half)) {
                __m128i s = v[i], t = v[i + half];
                v[i] = _mm_add_epi16(s, t);
                v[i + half] = _mm_sub_epi16(s, t);
            }
}

static int satd8_sse2(const uint8_t *a, int as, const uint8_t *b, int bs) {
    const __m128i zero = _mm_setzero_si128();
    __m128i v[8], sum = zero;
    for (int y = 0; y < 8; y++)
        v[y] = _mm_sub_epi16(_mm_unpacklo_epi8(load8(a + y * as), zero), _mm_unpacklo_epi8(load8(b + y * bs), zero));
    butterflies_sse2(v);
    transpose(v);
    butterflies_sse2(v);
    for (int i = 0; i < 8; i++) {
        __m128i magnitude = _mm_max_epi16(v[i], _mm_sub_epi16(zero, v[i])); /* at most 64 x 255 */
        sum = _mm_add_epi32(sum, _mm_madd_epi16(magnitude, _mm_set1_epi16(1)));
    }
    sum = _mm_add_epi32(sum, _mm_srli_si128(sum, 8));
    sum = _mm_add_epi32(sum, _mm_srli_si128(sum, 4));
    return (_mm_cvtsi128_si32(sum) + 2) >> 2;
}

static void pass_sse2(__m128i v[8], int inverse, int shift) {
    const __m128i half = _mm_set1_epi32(1 << (shift - 1)), count = _mm_cvtsi32_si128(shift);
    __m128i low[4], high[4];
    for (int i = 0; i < 4; i++) {
        low[i] = _mm_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        high[i] = _mm_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int k = 0; k < 8; k++) {
        __m128i s = half, t = half;
        for (int i = 0; i < 4; i++) {
            int first = inverse ? BC_DCT[2 * i][k] : BC_DCT[k][2 * i];
            int second = inverse ? BC_DCT[2 * i + 1][k] : BC_DCT[k][2 * i + 1];
            __m128i m = _mm_set1_epi32((int)(((uint32_t)second << 16) | (uint16_t)first));
            s = _mm_add_epi32(s, _mm_madd_epi16(low[i], m));
            t = _mm_add_epi32(t, _mm_madd_epi16(high[i], m));
        }
        v[k] = _mm_packs_epi32(_mm_sra_epi32(s, count), _mm_sra_epi32(t, count));
    }
    transpose(v);
}

static void both_passes(int16_t *out, const int16_t *in, int inverse, int first, int second) {
    __m128i v[8];
    for (int i = 0; i < 8; i++) v[i] = load16(in + 8 * i);
    pass_sse2(v, inverse, first);
    pass_sse2(v, inverse, second);
    for (int i = 0; i < 8; i++) _mm_storeu_si128((__m128i *)(out + 8 * i), v[i]);
}

static void forward_sse2(int16_t *coefficients, const int16_t *residual) { both_passes(coefficients, residual, 0, 2, 9); }
static void inverse_sse2(int16_t *residual, const int16_t *coefficients) { both_passes(residual, coefficients, 1, 7, 12); }

static int total(__m128i sad) { return _mm_cvtsi128_si32(sad) + _mm_cvtsi128_si32(_mm_srli_si128(sad, 8)); }

static uint32_t total32(__m128i v) {
    v = _mm_add_epi32(v, _mm_srli_si128(v, 8));
    v = _mm_add_epi32(v, _mm_srli_si128(v, 4));
    return (uint32_t)_mm_cvtsi128_si32(v);
}

static __m128i two_rows(const uint8_t *p, int stride) { return _mm_unpacklo_epi64(load8(p), load8(p + stride)); }

static int sad_mean8_sse2(const uint8_t *s, int ss, const uint8_t *a, const uint8_t *b, int stride) {
    __m128i sum = _mm_setzero_si128();
    for (int y = 0; y < 8; y += 2, s += 2 * ss, a += 2 * stride, b += 2 * stride) {
        __m128i m = _mm_avg_epu8(two_rows(a, stride), two_rows(b, stride));
        sum = _mm_add_epi64(sum, _mm_sad_epu8(two_rows(s, ss), m));
    }
    return total(sum);
}

static int sad_mean16_sse2(const uint8_t *s, int ss, const uint8_t *a, const uint8_t *b, int stride) {
    __m128i sum = _mm_setzero_si128();
    for (int y = 0; y < 16; y++, s += ss, a += stride, b += stride)
        sum = _mm_add_epi64(sum, _mm_sad_epu8(load16(s), _mm_avg_epu8(load16(a), load16(b))));
    return total(sum);
}

static void mean8_sse2(uint8_t *out, const uint8_t *a, const uint8_t *b, int stride) {
    for (int y = 0; y < 8; y++, out += 8, a += stride, b += stride)
        _mm_storel_epi64((__m128i *)out, _mm_avg_epu8(load8(a), load8(b)));
}

static void mean16_sse2(uint8_t *out, const uint8_t *a, const uint8_t *b, int stride) {
    for (int y = 0; y < 16; y++, out += 16, a += stride, b += stride)
        _mm_storeu_si128((__m128i *)out, _mm_avg_epu8(load16(a), load16(b)));
}

static uint32_t subtract_sse2(int16_t *residual, const uint8_t *s, int ss, const uint8_t *prediction, int *sad_out) {
    const __m128i zero = _mm_setzero_si128();
    __m128i squares = zero, sum = zero;
    for (int y = 0; y < 8; y++, s += ss, prediction += 8, residual += 8) {
        __m128i a = load8(s), b = load8(prediction);
        __m128i d = _mm_sub_epi16(_mm_unpacklo_epi8(a, zero), _mm_unpacklo_epi8(b, zero));
        _mm_storeu_si128((__m128i *)residual, d);
        squares = _mm_add_epi32(squares, _mm_madd_epi16(d, d));
        sum = _mm_add_epi64(sum, _mm_sad_epu8(a, b));
    }
    *sad_out = total(sum);
    return total32(squares);
}

static uint64_t quantise_sse2(int16_t *levels, int16_t *coefficients, int round, int step16) {
    const __m128i zero = _mm_setzero_si128(), offset = _mm_set1_epi16((short)round);
    const __m128i step = _mm_set1_epi16((short)step16), scale = _mm_set1_epi16((short)(65536u / (uint32_t)step16));
    uint64_t nonzero = 0;
    for (int i = 0; i < 64; i += 8) {
        __m128i v = load16(coefficients + i), minus = _mm_srai_epi16(v, 15);
        __m128i magnitude = _mm_adds_epi16(_mm_max_epi16(v, _mm_subs_epi16(zero, v)), offset);
        __m128i level = _mm_mulhi_epu16(magnitude, scale), back = _mm_mullo_epi16(level, step);
        const __m128i none = _mm_packs_epi16(_mm_cmpeq_epi16(level, zero), zero);
        nonzero |= (uint64_t)(~_mm_movemask_epi8(none) & 0xff) << i;
        _mm_storeu_si128((__m128i *)(levels + i), _mm_sub_epi16(_mm_xor_si128(level, minus), minus));
        _mm_storeu_si128((__m128i *)(coefficients + i), _mm_sub_epi16(_mm_xor_si128(back, minus), minus));
    }
    return nonzero;
}

static uint32_t rebuild_sse2(uint8_t *recon, const uint8_t *prediction, const int16_t *residual, const uint8_t *s, int ss,
                             int *change) {
    const __m128i zero = _mm_setzero_si128();
    __m128i squares = zero, sum = zero;
    for (int y = 0; y < 8; y++, s += ss, prediction += 8, residual += 8, recon += 8) {
        __m128i p = load8(prediction);
        __m128i v = _mm_packus_epi16(_mm_adds_epi16(_mm_unpacklo_epi8(p, zero), load16(residual)), zero);
        __m128i e = _mm_sub_epi16(_mm_unpacklo_epi8(load8(s), zero), _mm_unpacklo_epi8(v, zero));
        _mm_storel_epi64((__m128i *)recon, v);
        squares = _mm_add_epi32(squares, _mm_madd_epi16(e, e));
        sum = _mm_add_epi64(sum, _mm_sad_epu8(v, p));
    }
    *change = total(sum);
    return total32(squares);
}

static uint32_t squared16_sse2(const uint8_t *s, int ss, const uint8_t *block) {
    const __m128i zero = _mm_setzero_si128();
    __m128i squares = zero;
    for (int y = 0; y < 16; y++, s += ss, block += 16) {
        __m128i a = load16(s), b = load16(block);
        __m128i low = _mm_sub_epi16(_mm_unpacklo_epi8(a, zero), _mm_unpacklo_epi8(b, zero));
        __m128i high = _mm_sub_epi16(_mm_unpackhi_epi8(a, zero), _mm_unpackhi_epi8(b, zero));
        squares = _mm_add_epi32(squares, _mm_add_epi32(_mm_madd_epi16(low, low), _mm_madd_epi16(high, high)));
    }
    return total32(squares);
}

static __m128i six(__m128i a, __m128i b, __m128i c, __m128i d, __m128i e, __m128i f) {
    const __m128i outer = _mm_add_epi16(a, f), middle = _mm_add_epi16(b, e), inner = _mm_add_epi16(c, d);
    __m128i v = _mm_sub_epi16(_mm_slli_epi16(inner, 2), middle); /* outer + 5 (4 inner - middle) */
    v = _mm_add_epi16(_mm_add_epi16(outer, v), _mm_slli_epi16(v, 2));
    return _mm_srai_epi16(_mm_add_epi16(v, _mm_set1_epi16(16)), 5);
}

static void six_tap_sse2(uint8_t *out, const uint8_t *in, ptrdiff_t step, int n) {
    const __m128i zero = _mm_setzero_si128();
    for (int x = 0; x < n; x += 16) {
        __m128i v[6], low[6], high[6];
        for (int i = 0; i < 6; i++) {
            v[i] = load16(in + x + (i - 2) * step);
            low[i] = _mm_unpacklo_epi8(v[i], zero), high[i] = _mm_unpackhi_epi8(v[i], zero);
        }
        _mm_storeu_si128((__m128i *)(out + x), _mm_packus_epi16(six(low[0], low[1], low[2], low[3], low[4], low[5]),
                                                                six(high[0], high[1], high[2], high[3], high[4], high[5])));
    }
}

static const bc_kernels SSE2 = {sad16_sse2,   sad8_sse2,     satd8_sse2,    {sad_mean8_sse2, sad_mean16_sse2},
                                {mean8_sse2,  mean16_sse2},  forward_sse2,  inverse_sse2,
                                subtract_sse2, quantise_sse2, rebuild_sse2, six_tap_sse2, squared16_sse2};
#endif

int bc_simd(void) {
#ifdef BC_SSE2
    return 1;
#else
    return 0;
#endif
}

const bc_kernels *bc_kernels_for(int scalar) {
#ifdef BC_SSE2
    if (!scalar) return &SSE2;
#endif
    (void)scalar;
    return &SCALAR;
}
