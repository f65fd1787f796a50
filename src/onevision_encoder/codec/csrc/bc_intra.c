/* Intra prediction of an 8 x 8 block from the pixels above and left of it in the frame being coded. */
#include "bc.h"

#include <string.h>

static int absolute(int v) { return v < 0 ? -v : v; }

/* The Hadamard transform of 8 numbers, times 8: the one column or row of that of 8 x 8 that repeats them. */
static void repeated(int out[8], const uint8_t in[8]) {
    for (int i = 0; i < 8; i++) out[i] = 8 * in[i];
    for (int half = 4; half; half >>= 1)
        for (int i = 0; i < 8; i++)
            if (!(i & half)) {
                const int s = out[i], t = out[i + half];
                out[i] = s + t, out[i + half] = s - t;
            }
}

/* Sum of |transform| with line[0], line[step], ... replaced by what is left of them after prediction. */
static int without(int sum, const int16_t *line, int step, const int *prediction) {
    for (int i = 0; i < 8; i++) sum += absolute(line[i * step] - prediction[i]) - absolute(line[i * step]);
    return sum;
}

/* Tries mean, smooth, horizontal and vertical; the best by SATD goes to out (8 x 8). Returns its SATD. The Hadamard
 * transform is linear, and of a mean, rows or columns it has one number, column or row: the block's own is enough.
 * Pixels outside the picture: the other side's nearest, or the block's own mean, which is sent. Beyond the block's edges
 * the last pixel repeats. */
int bc_intra(const bc_coder *c, int x, int y, uint8_t *out, int *mode) {
    uint8_t top[8], left[8];
    const uint8_t *pixel = c->recon + (ptrdiff_t)y * c->stride + x;
    if (y) memcpy(top, pixel - c->stride, 8);
    if (x)
        for (int i = 0; i < 8; i++) left[i] = pixel[(ptrdiff_t)i * c->stride - 1];
    const uint8_t *source = c->source + (ptrdiff_t)y * c->pw + x;
    int16_t transformed[64];
    const int all = c->k->hadamard8(transformed, source, c->pw);
    const int own = (transformed[0] + 32) >> 6;
    if (!y) memset(top, x ? left[0] : own, 8);
    if (!x) memset(left, y ? top[0] : own, 8);
    int sum = 8, rows[8], columns[8];
    for (int i = 0; i < 8; i++) sum += top[i] + left[i];
    repeated(rows, left), repeated(columns, top);
    c->k->smooth8(out, top, left);
    const int cost[4] = {(all + absolute(transformed[0] - 64 * (sum >> 4)) - transformed[0] + 2) >> 2, c->k->satd8(source, c->pw, out, 8),
                         (without(all, transformed, 1, rows) + 2) >> 2, (without(all, transformed, 8, columns) + 2) >> 2};
    *mode = 0;
    for (int m = 1; m < 4; m++)
        if (cost[m] < cost[*mode]) *mode = m;
    if (*mode == 0) memset(out, sum >> 4, 64);
    for (int j = 0; j < 8; j++) {
        if (*mode == 2) memset(out + 8 * j, left[j], 8);
        if (*mode == 3) memcpy(out + 8 * j, top, 8);
    }
    return cost[*mode];
}
