/* How strong is the sensor noise of a frame? Sixteenths of a grey level, of its standard deviation.
 *
 * Noise is what shows both in space and in time. In space: the mean magnitude of the filter (1 -2 1; -2 4 -2; 1 -2 1)
 * inside every 8 x 8 cell, which sees neither slopes nor straight edges (J. Immerkaer, Fast noise variance estimation,
 * 1996); in the calmest tenth of the cells little but noise is left. In time: the mean difference to the frame before; the
 * calmest quarter of the cells hardly move. The less of the two counts: texture is no noise where it stands still, nor is
 * motion where the picture is smooth. Cells without any response (black bars, what was clipped) do not count, and a
 * picture where they are the most has no noise: it was drawn. */
#include "bc.h"

#include <stdlib.h>
#include <string.h>

enum { LEVELS = 1024 }; /* up to 64 grey levels */

/* Sum of the filter's magnitudes over the 6 x 6 places inside a cell. */
static int roughness(const uint8_t *s, int stride) {
    int16_t across[8][6];
    int sum = 0;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 6; i++) across[j][i] = (int16_t)(s[j * stride + i] - 2 * s[j * stride + i + 1] + s[j * stride + i + 2]);
    for (int j = 0; j < 6; j++)
        for (int i = 0; i < 6; i++) sum += abs(across[j][i] - 2 * across[j + 1][i] + across[j + 2][i]);
    return sum;
}

/* The least value that a share of 1 / part of the histogram's entries does not exceed. */
static int quantile(const int32_t *histogram, int entries, int part) {
    int value = 0, left = (entries - 1) / part;
    while (left >= histogram[value]) left -= histogram[value++];
    return value;
}

static int limited(int value) { return value < LEVELS ? value : LEVELS - 1; }

/* Noise of c->source in space (*space) and since c->before (*time). */
void bc_noise(const bc_coder *c, int *space, int *time) {
    int32_t rough[LEVELS] = {0}, moved[LEVELS] = {0};
    const int h = c->H / 8, w = c->W / 8;
    int entries = 0;
    *space = *time = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const ptrdiff_t at = (ptrdiff_t)8 * y * c->pw + 8 * x;
            const int sum = roughness(c->source + at, c->pw);
            if (!sum) continue;
            /* E |filter| = 6 sigma sqrt(2 / pi) at 36 places; E |difference| = 2 sigma / sqrt(pi) at 64. */
            rough[limited((sum * 24) >> 8)]++;
            moved[limited((c->k->sad8(c->source + at, c->pw, c->before + at, c->pw) * 57) >> 8)]++;
            entries++;
        }
    if (2 * entries < h * w || !entries) return;
    *space = quantile(rough, entries, 10);
    *time = quantile(moved, entries, 4);
}
