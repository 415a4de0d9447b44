/* What residues of `residues` hear of each other, in single precision, one undirected edge at a time; see _edges.py.

Constants of the compilation: FEATURES F, RADIAL K, SITES S.  C = S K + 1 channels, the last is a constant.
D = S P distances of P pairs, the batch B last.  Nodes are (B R, F).  Weights are (kinds, 2, C, F): as the first residue
of a pair sees the second, and the other way; rows are zero where a site is missing. */

#include <math.h>
#include <stdint.h>

#define CHANNELS (SITES * RADIAL + 1)

typedef struct {
    int32_t first, second, kind, place; /* rows of nodes, block of weights, place of the first site in (D, B) */
} Edge;

/* exp for arguments of at most 0, to 1e-7; far arguments give 4e-18 instead of slow denormal numbers. */
static inline float decay(float x) {
    union { float f; int32_t i; } power;
    x = x < -40.0f ? -40.0f : x;
    float n = floorf(x * 1.44269504f + 0.5f);
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f + r * (4.1666645e-2f + r * (8.3334519e-3f + r * 1.388e-3f)))));
    power.i = ((int32_t)n + 127) << 23;
    return p * power.f;
}

/* Edges of the batch and their channels (E, S, 2, K): Gaussians that fade towards the cutoff, and their slopes.
`pairs` (P, 4): residues r < q, block of weights, and 1 for a pair that is always an edge; `there` (S, P) sites.
Without room (`edges` is null) they are only counted. */
int64_t list_edges(int64_t batch, int64_t residues, int64_t pairs_, const int32_t *pairs, const uint8_t *there,
                   const float *distances, const float *centres, float sharpness, float cutoff, float faint,
                   Edge *edges, float *channels) {
    int64_t count = 0;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t p = 0; p < pairs_; p++) {
            const int32_t *pair = pairs + 4 * p;
            int is_edge = pair[3];
            for (int s = 0; s < SITES; s++)
                is_edge |= there[s * pairs_ + p] && !(distances[(s * pairs_ + p) * batch + b] > cutoff);
            if (!is_edge)
                continue;
            if (edges) {
                edges[count] = (Edge){b * residues + pair[0], b * residues + pair[1], pair[2], p * batch + b};
                for (int s = 0; s < SITES; s++) {
                    float *value = channels + (count * SITES + s) * 2 * RADIAL, *slope = value + RADIAL;
                    float d = distances[(s * pairs_ + p) * batch + b];
                    float near = 1 - d / cutoff * (d / cutoff), fade, outwards;
                    d = d > cutoff ? cutoff : d;
                    outwards = near < faint ? 0 : -6 * d / (cutoff * cutoff * near);
                    near = near < faint ? faint : near;
                    fade = near * near * near;
                    for (int k = 0; k < RADIAL; k++) {
                        float u = sharpness * (d - centres[k]);
                        value[k] = fade * decay(-u * u);
                        slope[k] = value[k] * (outwards - 2 * sharpness * u);
                    }
                }
            }
            count++;
        }
    return count;
}

static inline void filter(const float *channels, const float *weights, float *out) {
    for (int f = 0; f < FEATURES; f++)
        out[f] = weights[(CHANNELS - 1) * FEATURES + f];
    for (int s = 0; s < SITES; s++)
        for (int k = 0; k < RADIAL; k++) {
            float c = channels[s * 2 * RADIAL + k];
            const float *w = weights + (s * RADIAL + k) * FEATURES;
            for (int f = 0; f < FEATURES; f++)
                out[f] += c * w[f];
        }
}

/* Adds to heard (B R, F). */
void hear(int64_t count, const Edge *edges, const float *restrict channels, const float *restrict weights, const float *restrict sent,
          float *restrict heard) {
    for (int64_t e = 0; e < count; e++) {
        const float *c = channels + e * SITES * 2 * RADIAL, *w = weights + edges[e].kind * 2 * CHANNELS * FEATURES;
        int64_t r = (int64_t)edges[e].first * FEATURES, q = (int64_t)edges[e].second * FEATURES;
        float there[FEATURES], back[FEATURES];
        filter(c, w, there);
        filter(c, w + CHANNELS * FEATURES, back);
        for (int f = 0; f < FEATURES; f++) {
            heard[r + f] += there[f] * sent[q + f];
            heard[q + f] += back[f] * sent[r + f];
        }
    }
}

/* From dU/d heard, `felt`: adds dU/d sent to `out` (B R, F), and dU/d distance to `slopes` (D, B). */
void back(int64_t count, int64_t stride, const Edge *edges, const float *restrict channels, const float *restrict weights,
          const float *restrict sent, const float *restrict felt, float *restrict out, float *restrict slopes) {
    for (int64_t e = 0; e < count; e++) {
        const float *c = channels + e * SITES * 2 * RADIAL, *w = weights + edges[e].kind * 2 * CHANNELS * FEATURES;
        const float *v = w + CHANNELS * FEATURES;
        int64_t r = (int64_t)edges[e].first * FEATURES, q = (int64_t)edges[e].second * FEATURES;
        float there[FEATURES], back[FEATURES], a[FEATURES], b[FEATURES];
        filter(c, w, there);
        filter(c, v, back);
        for (int f = 0; f < FEATURES; f++) {
            a[f] = felt[r + f] * sent[q + f];
            b[f] = felt[q + f] * sent[r + f];
            out[q + f] += there[f] * felt[r + f];
            out[r + f] += back[f] * felt[q + f];
        }
        for (int s = 0; s < SITES; s++) {
            float sum[FEATURES], total = 0;
            for (int f = 0; f < FEATURES; f++)
                sum[f] = 0;
            for (int k = 0; k < RADIAL; k++) {
                float slope = c[(s * 2 + 1) * RADIAL + k];
                const float *x = w + (s * RADIAL + k) * FEATURES, *y = v + (s * RADIAL + k) * FEATURES;
                for (int f = 0; f < FEATURES; f++)
                    sum[f] += slope * (a[f] * x[f] + b[f] * y[f]);
            }
            for (int f = 0; f < FEATURES; f++)
                total += sum[f];
            slopes[s * stride + edges[e].place] += total;
        }
    }
}
