/* Random clips through the block coder for a given time: sizes, contents, constants, both kernel sets.
 *
 * Built with AddressSanitizer and UndefinedBehaviorSanitizer (tests/fuzz/run.sh), which stop at the first bad access. It
 * checks besides: buffers of exactly the promised size are filled; vector and scalar kernels agree to the bit; residual
 * is 0 to 255, bits are positive and finite, motion is in quarter pixels and 0 where intra; frame 0 is a cut, all intra.
 *
 * usage: blockcoder_fuzz SECONDS [SEED]
 */
#include "bc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state;

static uint32_t any(uint32_t below) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 16) % below;
}

static int size(void) {
    static const int LIMITS[] = {4, 20, 70, 150, 400};
    return 1 + (int)any((uint32_t)LIMITS[any(5)]);
}

static void paint(uint8_t *f, const uint8_t *before, int H, int W) {
    const int kind = (int)any(before ? 10 : 6), level = (int)any(256), step = 1 + (int)any(40);
    const int dx = (int)any(2 * W) - W, dy = (int)any(2 * H) - H, noise = 1 + (int)any(60);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            int v = level;
            if (kind == 1) v = (int)any(256);
            if (kind == 2) v = (x / step + y / step) & 1 ? 255 : 0;
            if (kind == 3) v = (x * step + y * 3) & 255;
            if (kind == 4) v = (x * x / step + y * y) & 255;
            if (kind == 5) v = any(2) ? 255 : 0;
            if (kind >= 6) {
                const int u = x - dx < 0 ? 0 : x - dx >= W ? W - 1 : x - dx, w = y - dy < 0 ? 0 : y - dy >= H ? H - 1 : y - dy;
                v = before[kind == 6 ? y * W + x : w * W + u];
                if (kind == 8) v += (int)any((uint32_t)noise) - noise / 2;
                if (kind == 9) v = 255 - v;
            }
            f[y * W + x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
}

static bc_parameters constants(void) {
    bc_parameters p = BC_DEFAULTS;
    if (any(2)) return p;
#define P(name, value, low, high) \
    if (!any(3)) p.name = (low) + (int32_t)any((uint32_t)((high) - (low) + 1));
#include "bc_parameters.h"
#undef P
    return p;
}

typedef struct {
    float *bits, *residual, *motion;
    uint8_t *intra, *cut;
} outputs;

static outputs code(const uint8_t *luma, int T, int H, int W, const bc_parameters *p, int scalar) {
    const size_t n = (size_t)T * ((H + 7) / 8) * ((W + 7) / 8);
    outputs o = {malloc(4 * n), malloc(4 * n), malloc(8 * n), malloc(n), malloc((size_t)T)};
    if (bc_code_clip(luma, T, H, W, p, scalar, o.bits, o.residual, o.motion, o.intra, o.cut)) exit(3);
    return o;
}

static void release(outputs o) { free(o.bits), free(o.residual), free(o.motion), free(o.intra), free(o.cut); }

static const char *wrong(outputs o, int T, size_t cells) {
    if (!o.cut[0]) return "frame 0 is no cut";
    for (size_t i = 0; i < T * cells; i++) {
        const float x = o.motion[2 * i], y = o.motion[2 * i + 1];
        if (!(o.residual[i] >= 0 && o.residual[i] <= 255)) return "residual";
        if (!(o.bits[i] >= 0 && o.bits[i] < 1e5f)) return "bits";
        if (!(fabsf(x) <= 255 && fabsf(y) <= 255 && x * 4 == rintf(x * 4) && y * 4 == rintf(y * 4))) return "motion";
        if (o.intra[i] > 1 || (o.intra[i] && (x != 0 || y != 0))) return "intra cells with motion";
        if (o.cut[i / cells] && !o.intra[i]) return "a cut with inter cells";
    }
    return NULL;
}

int main(int argc, char **argv) {
    const double seconds = argc > 1 ? atof(argv[1]) : 10;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const time_t start = time(NULL);
    uint64_t clips = 0, frames = 0;
    for (uint64_t clip = seed; difftime(time(NULL), start) < seconds; clip++, clips++) {
        state = clip * 0x2545f4914f6cdd1du;
        const int T = 1 + (int)any(6), H = size(), W = size();
        const size_t cells = (size_t)((H + 7) / 8) * ((W + 7) / 8);
        uint8_t *luma = malloc((size_t)T * H * W);
        for (int t = 0; t < T; t++) paint(luma + (size_t)t * H * W, t ? luma + (size_t)(t - 1) * H * W : NULL, H, W);
        const bc_parameters p = constants();
        outputs a = code(luma, T, H, W, &p, 0), b = code(luma, T, H, W, &p, 1);
        const char *problem = wrong(a, T, cells);
        if (memcmp(a.bits, b.bits, 4 * T * cells) || memcmp(a.residual, b.residual, 4 * T * cells) ||
            memcmp(a.motion, b.motion, 8 * T * cells) || memcmp(a.intra, b.intra, T * cells) || memcmp(a.cut, b.cut, (size_t)T))
            problem = "vector and scalar kernels differ";
        if (problem) {
            fprintf(stderr, "clip %llu, %d x %d x %d: %s\n", (unsigned long long)clip, T, H, W, problem);
            return 1;
        }
        release(a), release(b), free(luma);
        frames += (uint64_t)T;
    }
    printf("%llu clips, %llu frames, both kernel sets, %.0f s: clean\n", (unsigned long long)clips, (unsigned long long)frames,
           seconds);
    return 0;
}
