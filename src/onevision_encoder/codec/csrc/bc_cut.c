/* Does a frame start a new scene? The rule of codec/cuts.py in integers.
 *
 * A frame is a cut when it has texture (5 % of its cells deviate from their mean by 2 grey levels or more), 90 % of the
 * textured cells and 25 % of all have no useful prediction (intra, or an error of half their deviation and of 2
 * levels), and the frame before does not explain the texture after one global shift: neither in place nor shifted by
 * the best displacement of the whole picture do half of the textured cells correlate by 0.25.
 *
 * In noise 2 levels are twice the noise: otherwise every cell had texture, and of a kind that nothing predicts.
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
    const int seen = c->noise > 16 ? 8 * c->noise : 128; /* 2 levels a pixel, or twice the noise */
    int suspects = 0, lost = 0, lost_texture = 0, texture = 0;
    for (int i = 0; i < cells; i++) suspects += c->cell_error[i] >= seen;
    if (4 * suspects < cells) return 0;
    for (int i = 0; i < cells; i++) {
        const int d = deviation(c, i % c->w * 8, i / c->w * 8), e = c->cell_error[i];
        const int is_lost = e == 0xffff || (e >= seen && 2 * e >= d);
        textured[i] = d >= seen;
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

static int8_t sign(int32_t difference, int32_t threshold) {
    return (int8_t)((difference >= threshold) - (difference <= -threshold));
}

/* Signs of the picture reduced by 2^level; sums holds its blocks' sums at every level (see read_sums). */
static void read_signs(const bc_coder *c, const int32_t *sums, int level, signs *s) {
    s->h = c->ph >> level, s->w = c->pw >> level;
    for (int i = 0; i < level; i++) sums += (size_t)(c->ph >> i) * (c->pw >> i);
    const int32_t threshold = 2 << 2 * level;
    const int w = s->w;
    memset(s->down + (size_t)(s->h - 1) * w, 0, (size_t)w);
    for (int y = 0; y < s->h; y++) {
        const int32_t *restrict row = sums + (size_t)y * w;
        int8_t *restrict across = s->across + (size_t)y * w, *restrict down = s->down + (size_t)y * w;
        for (int x = 0; x < w - 1; x++) across[x] = sign(row[x + 1] - row[x], threshold);
        across[w - 1] = 0;
        if (y < s->h - 1)
            for (int x = 0; x < w; x++) down[x] = sign(row[x + w] - row[x], threshold);
    }
}

/* The picture, then sums over 2 x 2, 4 x 4, ... pixels, one level after the other. */
static void read_sums(const bc_coder *c, const uint8_t *picture, int levels, int32_t *sums) {
    const size_t n = (size_t)c->ph * c->pw;
    for (size_t i = 0; i < n; i++) sums[i] = picture[i];
    for (int level = 1; level < levels; level++) {
        const int32_t *from = sums;
        const int wide = c->pw >> (level - 1), h = c->ph >> level, w = c->pw >> level;
        sums += (size_t)(c->ph >> (level - 1)) * wide;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const int32_t *p = from + (size_t)2 * y * wide + 2 * x;
                sums[(size_t)y * w + x] = p[0] + p[1] + p[wide] + p[wide + 1];
            }
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
    const size_t n = (size_t)c->ph * c->pw, all = n + n / 2; /* a pyramid holds less than 4 / 3 n numbers */
    uint8_t *memory = malloc(2 * all * sizeof(int32_t) + 4 * n);
    if (!memory) return -1;
    int32_t *sums_now = (int32_t *)memory, *sums_before = sums_now + all;
    int8_t *maps = (int8_t *)(sums_before + all);
    signs now = {0, 0, maps, maps + n}, before = {0, 0, maps + 2 * n, maps + 3 * n};
    int levels = 1;
    while (c->ph >> (levels - 1) > 32 || c->pw >> (levels - 1) > 32) levels++;
    while (c->ph >> (levels - 1) < 1 || c->pw >> (levels - 1) < 1) levels--; /* a ribbon: wider than 32 at one pixel high */
    read_sums(c, c->source, levels, sums_now);
    read_sums(c, c->before, levels, sums_before);
    *dx = *dy = 0;
    for (int level = levels - 1; level >= 0; level--) {
        const int first = level == levels - 1;
        read_signs(c, sums_now, level, &now);
        read_signs(c, sums_before, level, &before);
        best_of(&now, &before, 2 * *dx, 2 * *dy, first ? now.w - 1 : 1, first ? now.h - 1 : 1, dx, dy);
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
