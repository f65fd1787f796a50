/* The block kernels of bc_kernels.c in SSE2, which every x86-64 has: the same integers. What is done twice or more is in
 * BC_INLINE functions: rows have to stay in registers. */
#include "bc.h"

#if !defined(BC_NO_SIMD) && (defined(__SSE2__) || defined(_M_X64))
#include <emmintrin.h>
#if defined(_MSC_VER)
#define BC_INLINE static __forceinline
#else
#define BC_INLINE static inline __attribute__((always_inline))
#endif

static __m128i load8(const uint8_t *p) { return _mm_loadl_epi64((const __m128i *)p); }
static __m128i load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }

static int total(__m128i sad) { return _mm_cvtsi128_si32(sad) + _mm_cvtsi128_si32(_mm_srli_si128(sad, 8)); }

static int sad16_sse2(const uint8_t *a, int as, const uint8_t *b, int bs) {
    __m128i s = _mm_setzero_si128(), t = s;
    for (int y = 0; y < 16; y += 2, a += 2 * as, b += 2 * bs) {
        s = _mm_add_epi64(s, _mm_sad_epu8(load16(a), load16(b)));
        t = _mm_add_epi64(t, _mm_sad_epu8(load16(a + as), load16(b + bs)));
    }
    return total(_mm_add_epi64(s, t));
}

static int sad8_sse2(const uint8_t *a, int as, const uint8_t *b, int bs) {
    __m128i s = _mm_setzero_si128();
    for (int y = 0; y < 8; y += 2, a += 2 * as, b += 2 * bs) {
        __m128i u = _mm_unpacklo_epi64(load8(a), load8(a + as)), v = _mm_unpacklo_epi64(load8(b), load8(b + bs));
        s = _mm_add_epi64(s, _mm_sad_epu8(u, v));
    }
    return total(s);
}

static uint32_t total32(__m128i v) {
    v = _mm_add_epi32(v, _mm_srli_si128(v, 8));
    v = _mm_add_epi32(v, _mm_srli_si128(v, 4));
    return (uint32_t)_mm_cvtsi128_si32(v);
}

BC_INLINE void transpose(__m128i v[8]) {
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

BC_INLINE void stage(__m128i v[8], int half) {
    for (int i = 0; i < 8; i++)
        if (!(i & half)) {
            __m128i s = v[i], t = v[i + half];
            v[i] = _mm_add_epi16(s, t);
            v[i + half] = _mm_sub_epi16(s, t);
        }
}

/* Hadamard transform but for its last stage, transposed. */
BC_INLINE void nearly_hadamard(__m128i v[8]) {
    stage(v, 4), stage(v, 2), stage(v, 1);
    transpose(v);
    stage(v, 4), stage(v, 2);
}

static __m128i magnitude(__m128i v) { return _mm_max_epi16(v, _mm_sub_epi16(_mm_setzero_si128(), v)); }

static int satd8_sse2(const uint8_t *a, int as, const uint8_t *b, int bs) {
    const __m128i zero = _mm_setzero_si128();
    __m128i v[8], sum = zero;
    for (int y = 0; y < 8; y++)
        v[y] = _mm_sub_epi16(_mm_unpacklo_epi8(load8(a + y * as), zero), _mm_unpacklo_epi8(load8(b + y * bs), zero));
    nearly_hadamard(v);
    for (int i = 0; i < 8; i += 2) /* |p + q| + |p - q| = 2 max(|p|, |q|), here at most 32 x 255 */
        sum = _mm_add_epi16(sum, _mm_max_epi16(magnitude(v[i]), magnitude(v[i + 1])));
    return (int)((total32(_mm_madd_epi16(sum, _mm_set1_epi16(1))) + 1) >> 1);
}

static int hadamard8_sse2(int16_t *out, const uint8_t *a, int as) {
    const __m128i zero = _mm_setzero_si128();
    __m128i v[8], sum = zero;
    for (int y = 0; y < 8; y++) v[y] = _mm_unpacklo_epi8(load8(a + y * as), zero);
    nearly_hadamard(v);
    stage(v, 1);
    for (int i = 0; i < 8; i++) {
        _mm_storeu_si128((__m128i *)(out + 8 * i), v[i]);
        sum = _mm_add_epi32(sum, _mm_madd_epi16(magnitude(v[i]), _mm_set1_epi16(1)));
    }
    return (int)total32(sum);
}

static int rough8_sse2(const uint8_t *s, int ss) {
    const __m128i zero = _mm_setzero_si128(), inside = _mm_set_epi16(0, 0, 1, 1, 1, 1, 1, 1);
    __m128i v[8], sum = zero;
    for (int y = 0; y < 8; y++) {
        const __m128i p = _mm_unpacklo_epi8(load8(s + y * ss), zero);
        v[y] = _mm_add_epi16(_mm_sub_epi16(p, _mm_slli_epi16(_mm_srli_si128(p, 2), 1)), _mm_srli_si128(p, 4));
    }
    for (int y = 0; y < 6; y++) {
        const __m128i d = _mm_add_epi16(_mm_sub_epi16(v[y], _mm_slli_epi16(v[y + 1], 1)), v[y + 2]);
        sum = _mm_add_epi32(sum, _mm_madd_epi16(magnitude(d), inside));
    }
    return (int)total32(sum);
}

BC_INLINE void pass_sse2(__m128i v[8], int inverse, int shift) {
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

BC_INLINE void both_passes(int16_t *out, const int16_t *in, int inverse, int first, int second) {
    __m128i v[8];
    for (int i = 0; i < 8; i++) v[i] = load16(in + 8 * i);
    pass_sse2(v, inverse, first);
    pass_sse2(v, inverse, second);
    for (int i = 0; i < 8; i++) _mm_storeu_si128((__m128i *)(out + 8 * i), v[i]);
}

static void forward_sse2(int16_t *coefficients, const int16_t *residual) { both_passes(coefficients, residual, 0, 2, 9); }
static void inverse_sse2(int16_t *residual, const int16_t *coefficients) { both_passes(residual, coefficients, 1, 7, 12); }

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

static void smooth8_sse2(uint8_t *out, const uint8_t *top, const uint8_t *left) {
    const __m128i zero = _mm_setzero_si128(), up = _mm_set_epi16(8, 7, 6, 5, 4, 3, 2, 1), down = _mm_set_epi16(0, 1, 2, 3, 4, 5, 6, 7);
    const __m128i above = _mm_unpacklo_epi8(load8(top), zero), last = _mm_set1_epi16(left[7]);
    const __m128i step = _mm_sub_epi16(last, above); /* from row to row */
    __m128i row = _mm_add_epi16(_mm_mullo_epi16(above, _mm_set1_epi16(7)), _mm_mullo_epi16(up, _mm_set1_epi16(top[7])));
    row = _mm_add_epi16(row, _mm_add_epi16(last, _mm_set1_epi16(8)));
    for (int j = 0; j < 8; j++, row = _mm_add_epi16(row, step)) {
        const __m128i v = _mm_srai_epi16(_mm_add_epi16(row, _mm_mullo_epi16(down, _mm_set1_epi16(left[j]))), 4);
        _mm_storel_epi64((__m128i *)(out + 8 * j), _mm_packus_epi16(v, zero));
    }
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

static const bc_kernels SSE2 = {sad16_sse2,   sad8_sse2,     satd8_sse2,    hadamard8_sse2, {sad_mean8_sse2, sad_mean16_sse2},
                                {mean8_sse2,  mean16_sse2},  forward_sse2,  inverse_sse2,
                                subtract_sse2, quantise_sse2, rebuild_sse2, six_tap_sse2, squared16_sse2, rough8_sse2, smooth8_sse2};

const bc_kernels *bc_kernels_sse2(void) { return &SSE2; }
#else
const bc_kernels *bc_kernels_sse2(void) { return NULL; }
#endif
