/* Motion search of one block: candidates, hexagon, square, half and quarter pixels. */
#include "bc.h"

static bc_mv at(int x, int y) {
    bc_mv mv = {(int16_t)x, (int16_t)y};
    return mv;
}

static int between(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

typedef struct {
    int left, right, top, bottom;
} limits;

/* Which vectors the reference covers: block and vector stay within BC_REACH of the picture. */
static limits limits_for(const bc_coder *c, int x, int y, int size) {
    limits l = {4 * (-BC_REACH - x), 4 * (c->pw + BC_REACH - size - x), 4 * (-BC_REACH - y), 4 * (c->ph + BC_REACH - size - y)};
    l.left = l.left < -BC_MAX_MV ? -BC_MAX_MV : l.left, l.right = l.right > BC_MAX_MV ? BC_MAX_MV : l.right;
    l.top = l.top < -BC_MAX_MV ? -BC_MAX_MV : l.top, l.bottom = l.bottom > BC_MAX_MV ? BC_MAX_MV : l.bottom;
    return l;
}

static bc_mv clamp(const limits *l, bc_mv mv) { return at(between(mv.x, l->left, l->right), between(mv.y, l->top, l->bottom)); }

bc_mv bc_clamp(const bc_coder *c, int x, int y, int size, bc_mv mv) {
    limits l = limits_for(c, x, y, size);
    return clamp(&l, mv);
}

typedef struct {
    const bc_coder *c;
    const uint8_t *source;
    int x, y, size, lambda;
    limits l;
    bc_mv predictor, best;
    int cost, sad;
} search;

/* Looks at one vector; 1 if it is the best so far. */
static int look(search *s, bc_mv mv) {
    const bc_coder *c = s->c;
    if (mv.x < s->l.left || mv.x > s->l.right || mv.y < s->l.top || mv.y > s->l.bottom) return 0;
    int rate = (int)((bc_mv_cost(c, mv, s->predictor) * (uint32_t)s->lambda) >> 16);
    if (rate >= s->cost) return 0;
    const uint8_t *a, *b;
    int sad;
    if (bc_samples(c, s->x, s->y, mv, &a, &b))
        sad = c->k->sad_mean[s->size == 16](s->source, c->pw, a, b, c->stride);
    else
        sad = (s->size == 16 ? c->k->sad16 : c->k->sad8)(s->source, c->pw, a, c->stride);
    if (sad + rate >= s->cost) return 0;
    s->cost = sad + rate, s->sad = sad, s->best = mv;
    return 1;
}

static void whole_pixels(search *s) {
    static const int8_t HEXAGON[6][2] = {{-2, 0}, {-1, -2}, {1, -2}, {2, 0}, {1, 2}, {-1, 2}};
    static const int8_t SQUARE[8][2] = {{0, -1}, {-1, 0}, {1, 0}, {0, 1}, {-1, -1}, {1, -1}, {-1, 1}, {1, 1}};
    int from = -1;
    for (int step = 0; step < 16; step++) {
        bc_mv centre = s->best;
        int moved = -1;
        for (int i = 0; i < 6; i++) {
            /* After a step only the three new corners ahead of it are unknown. */
            if (from >= 0 && i != from && i != (from + 1) % 6 && i != (from + 5) % 6) continue;
            if (look(s, at(centre.x + 4 * HEXAGON[i][0], centre.y + 4 * HEXAGON[i][1]))) moved = i;
        }
        if (moved < 0) break;
        from = moved;
    }
    bc_mv centre = s->best;
    for (int i = 0; i < 8; i++) look(s, at(centre.x + 4 * SQUARE[i][0], centre.y + 4 * SQUARE[i][1]));
}

static void between_pixels(search *s) {
    static const int8_t CROSS[4][2] = {{0, -1}, {-1, 0}, {1, 0}, {0, 1}};
    for (int step = 2; step >= 1; step--)
        for (int round = 0; round < s->c->p.between; round++) {
            bc_mv centre = s->best;
            for (int i = 0; i < 4; i++) look(s, at(centre.x + step * CROSS[i][0], centre.y + step * CROSS[i][1]));
            if (s->best.x == centre.x && s->best.y == centre.y) break;
        }
}

/* The best vector of a block by SAD + lambda x bits (lambda x 256). Returns its SAD. */
int bc_search(const bc_coder *c, int x, int y, int size, bc_mv predictor, const bc_mv *starts, int count, int lambda,
              int still, bc_mv *best) {
    const uint8_t *source = c->source + (ptrdiff_t)y * c->pw + x;
    search s = {c, source, x, y, size, lambda, limits_for(c, x, y, size), predictor, {0, 0}, 1 << 30, 1 << 30};
    look(&s, clamp(&s.l, at(0, 0)));
    for (int i = 0; i < count; i++) look(&s, clamp(&s.l, starts[i]));
    if (s.sad > still) {
        bc_mv whole = at((s.best.x + 2) & ~3, (s.best.y + 2) & ~3);
        if (whole.x != s.best.x || whole.y != s.best.y) {
            search w = s;
            w.cost = 1 << 30;
            look(&w, clamp(&s.l, whole));
            whole_pixels(&w);
            if (w.cost < s.cost) s = w;
        } else {
            whole_pixels(&s);
        }
        if (s.sad > still) {
            search whole_best = s;
            between_pixels(&s);
            if (64 * (int64_t)s.cost > (64 - c->p.gain) * (int64_t)whole_best.cost) s = whole_best;
        }
    }
    *best = s.best;
    return s.sad;
}
