/* Does a frame start a new scene? The rule of codec/cuts.py in integers.
 *
 * A frame is a cut when it has texture (5 % of its cells deviate from their mean by 2 grey levels or more), 90 % of the
 * textured cells and 25 % of all have no useful prediction (intra, or an error of half their deviation and of 2
 * levels), and the frame before does not explain the texture after one global shift: neither in place nor shifted by
 * the best displacement of the whole picture do half of the textured cells correlate by 0.25.
 *
 * The best displacement: the signs of the horizontal and vertical differences are compared at every shift of pictures
 * reduced to at most 32 x 32, then refined by one step either way at every halving. Signs see neither brightness nor
 * contrast, so that fades and flashes are matched. */
#include "bc.h"

#include <stdlib.h>
#include <string.h>

static int deviation(const bc_coder *c, int x, int y) {
    const uint8_t *s = c->source + (ptrdiff_t)y * c->pw + x;
    int sum = 32, out = 0;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 8; i++) sum += s[j * c->pw + i];
    const int mean = sum >> 6;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 8; i++) {
            int d = s[j * c->pw + i] - mean;
            out += d < 0 ? -d : d;
        }
    return out;
}

/* Steps 1 and 2; marks textured cells. */
static int unpredicted(const bc_coder *c, uint8_t *textured) {
    const int cells = c->h * c->w;
    int suspects = 0, lost = 0, lost_texture = 0, texture = 0;
    for (int i = 0; i < cells; i++) suspects += c->cell_error[i] >= 128;
    if (4 * suspects < cells) return 0;
    for (int i = 0; i < cells; i++) {
        const int d = deviation(c, i % c->w * 8, i / c->w * 8), e = c->cell_error[i];
        const int is_lost = e == 0xffff || (e >= 128 && 2 * e >= d);
        textured[i] = d >= 128;
        texture += textured[i], lost += is_lost, lost_texture += is_lost && textured[i];
    }
    return 4 * lost >= cells && 20 * texture >= cells && 10 * lost_texture >= 9 * texture;
}

/* 1 if at least half of the textured cells (and a fifth of them over the old picture) correlate with it, shifted. */
static int explains(const bc_coder *c, const uint8_t *textured, int dx, int dy) {
    int inside = 0, like = 0, texture = 0;
    for (int i = 0; i < c->h * c->w; i++) {
        if (!textured[i]) continue;
        texture++;
        const int x = i % c->w * 8, y = i / c->w * 8;
        if (x - dx < 0 || y - dy < 0 || x - dx + 8 > c->pw || y - dy + 8 > c->ph) continue;
        const uint8_t *a = c->source + (ptrdiff_t)y * c->pw + x, *b = c->before + (ptrdiff_t)(y - dy) * c->pw + x - dx;
        int64_t sa = 0, sb = 0, aa = 0, bb = 0, ab = 0;
        for (int v = 0; v < 8; v++)
            for (int u = 0; u < 8; u++) {
                int p = a[v * c->pw + u], q = b[v * c->pw + u];
                sa += p, sb += q, aa += p * p, bb += q * q, ab += p * q;
            }
        aa = 64 * aa - sa * sa, bb = 64 * bb - sb * sb, ab = 64 * ab - sa * sb;
        inside++;
        like += ab > 0 && 16 * ab * ab >= aa * bb;
    }
    return 5 * inside >= texture && 2 * like >= inside && inside > 0;
}

typedef struct {
    int h, w;
    int8_t *across, *down; /* signs of differences, [h][w] */
} signs;

static int8_t sign(int difference, int threshold) { return (int8_t)(difference >= threshold ? 1 : difference <= -threshold ? -1 : 0); }

static void read_signs(const bc_coder *c, const uint8_t *picture, int factor, signs *s, int32_t *means) {
    s->h = c->ph / factor, s->w = c->pw / factor;
    for (int y = 0; y < s->h; y++)
        for (int x = 0; x < s->w; x++) {
            int32_t sum = 0;
            for (int j = 0; j < factor; j++)
                for (int i = 0; i < factor; i++) sum += picture[(ptrdiff_t)(y * factor + j) * c->pw + x * factor + i];
            means[y * s->w + x] = sum;
        }
    const int threshold = 2 * factor * factor;
    for (int y = 0; y < s->h; y++)
        for (int x = 0; x < s->w; x++) {
            const int32_t *m = means + y * s->w + x;
            s->across[y * s->w + x] = x + 1 < s->w ? sign(m[1] - m[0], threshold) : 0;
            s->down[y * s->w + x] = y + 1 < s->h ? sign(m[s->w] - m[0], threshold) : 0;
        }
}

/* Agreement of signs at a shift, and how many of the current picture's signs were compared. */
static int64_t agreement(const signs *now, const signs *before, int dx, int dy, int64_t *compared) {
    const int w = now->w, left = dx > 0 ? dx : 0, right = dx < 0 ? w + dx : w;
    int64_t same = 0, count = 0;
    for (int y = dy > 0 ? dy : 0; y < (dy < 0 ? now->h + dy : now->h); y++) {
        const int8_t *a = now->across + y * w, *b = now->down + y * w;
        const int8_t *p = before->across + (y - dy) * w - dx, *q = before->down + (y - dy) * w - dx;
        int32_t row = 0, used = 0;
        for (int x = left; x < right; x++) {
            row += a[x] * p[x] + b[x] * q[x];
            used += a[x] * a[x] + b[x] * b[x];
        }
        same += row, count += used;
    }
    *compared = count;
    return same;
}

static void best_of(const signs *now, const signs *before, int x, int y, int reach_x, int reach_y, int *bx, int *by) {
    int64_t all, best = 0, best_count = 1;
    agreement(now, now, 0, 0, &all);
    *bx = x, *by = y;
    for (int dy = y - reach_y; dy <= y + reach_y; dy++)
        for (int dx = x - reach_x; dx <= x + reach_x; dx++) {
            if (dx <= -now->w || dx >= now->w || dy <= -now->h || dy >= now->h) continue;
            int64_t count, same = agreement(now, before, dx, dy, &count);
            if (count < 1 || 5 * count < all) continue;
            /* same^2 / count: how unlikely so much agreement is by chance */
            if (same > 0 && same * same / count > best * best / best_count) best = same, best_count = count, *bx = dx, *by = dy;
        }
}

/* The displacement of the whole picture since the frame before, in pixels. Returns -1 when memory runs out. */
static int global_shift(const bc_coder *c, int *dx, int *dy) {
    const size_t n = (size_t)c->ph * c->pw;
    int8_t *memory = malloc(4 * n + 4 * n);
    if (!memory) return -1;
    int32_t *means = (int32_t *)memory;
    signs now = {0, 0, memory + 4 * n, memory + 5 * n}, before = {0, 0, memory + 6 * n, memory + 7 * n};
    int factor = 1;
    while (c->ph / factor > 32 || c->pw / factor > 32) factor *= 2;
    *dx = *dy = 0;
    for (int first = 1; factor; factor /= 2, first = 0) {
        read_signs(c, c->source, factor, &now, means);
        read_signs(c, c->before, factor, &before, means);
        if (first)
            best_of(&now, &before, 0, 0, now.w - 1, now.h - 1, dx, dy);
        else
            best_of(&now, &before, 2 * *dx, 2 * *dy, 1, 1, dx, dy);
    }
    free(memory);
    return 0;
}

/* BC_SAME_SCENE, BC_SHIFTED (with c->global set: the scene goes on, displaced beyond what the search found) or BC_CUT;
 * -1 when memory runs out. */
int bc_scene(bc_coder *c) {
    uint8_t *textured = c->textured;
    int dx, dy;
    if (!unpredicted(c, textured)) return BC_SAME_SCENE;
    if (explains(c, textured, 0, 0)) return BC_SAME_SCENE;
    if (global_shift(c, &dx, &dy)) return -1;
    if (!explains(c, textured, dx, dy)) return BC_CUT;
    const int limit = BC_MAX_MV / 4;
    if (dx > limit || dx < -limit || dy > limit || dy < -limit) return BC_SAME_SCENE;
    c->global.x = (int16_t)(-4 * dx), c->global.y = (int16_t)(-4 * dy);
    return BC_SHIFTED;
}
