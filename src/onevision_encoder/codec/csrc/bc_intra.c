/* Intra prediction of an 8 x 8 block from the pixels above and left of it in the frame being coded. */
#include "bc.h"

#include <string.h>

/* Tries mean, smooth, horizontal and vertical; the best by SATD goes to out (8 x 8). Returns its SATD.
 * Pixels outside the picture: the other side's nearest, or the block's own mean, which is sent. Beyond the block's edges the last pixel repeats. */
int bc_intra(const bc_coder *c, int x, int y, uint8_t *out, int *mode) {
    uint8_t top[8], left[8], block[4][64];
    const uint8_t *pixel = c->recon + (ptrdiff_t)y * c->stride + x;
    if (y)
        memcpy(top, pixel - c->stride, 8);
    if (x)
        for (int i = 0; i < 8; i++) left[i] = pixel[(ptrdiff_t)i * c->stride - 1];
    const uint8_t *source = c->source + (ptrdiff_t)y * c->pw + x;
    int sum = 32;
    if (!x && !y)
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < 8; i++) sum += source[j * c->pw + i];
    if (!y) memset(top, x ? left[0] : sum >> 6, 8);
    if (!x) memset(left, y ? top[0] : sum >> 6, 8);
    sum = 8;
    for (int i = 0; i < 8; i++) sum += top[i] + left[i];
    memset(block[0], sum >> 4, 64);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 8; i++) {
            block[1][8 * j + i] = (uint8_t)(((7 - i) * left[j] + (i + 1) * top[7] + (7 - j) * top[i] + (j + 1) * left[7] + 8) >> 4);
            block[2][8 * j + i] = left[j];
            block[3][8 * j + i] = top[i];
        }
    int best = 1 << 30;
    for (int m = 0; m < 4; m++) {
        int cost = c->k->satd8(source, c->pw, block[m], 8);
        if (cost < best) best = cost, *mode = m;
    }
    memcpy(out, block[*mode], 64);
    return best;
}
