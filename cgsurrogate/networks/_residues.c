/* The network `residues` with its slopes, in single precision: one replica after the other, so that all of it stays in
the nearest caches. See _residues.py for the equations; here is the same, one undirected edge at a time.

Constants of the compilation: FEATURES F, RADIAL K, SITES S, LAYERS L, ORDER of the multiples of a dihedral.
C = S K + 1 channels, the last is a constant. The batch B is the last dimension of distances (S P, B), of P pairs of
residues, and of dihedrals (T, B). Arrays of nodes are (R, F). */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CHANNELS (SITES * RADIAL + 1)
#define KEPT (2 * SITES * RADIAL) /* of an edge: values and slopes of the Gaussians of each site */
#define SQUARE (FEATURES * FEATURES)

typedef struct {
    int32_t first, second, kind, pair;
} Edge;

typedef struct { /* weights (F, F) both ways round, since one is needed forwards and the other back */
    float sender[SQUARE], sender_back[SQUARE], second[SQUARE], second_back[SQUARE], mixer[SQUARE], mixer_back[SQUARE];
    float sender_bias[FEATURES], second_bias[FEATURES], mixer_bias[FEATURES];
} Layer;

typedef struct {
    float hidden[SQUARE], hidden_back[SQUARE], hidden_bias[FEATURES], output[FEATURES];
} Head;

typedef struct {
    int64_t residues, pairs, dihedrals, slots, kinds;
    const int32_t *table;   /* (P, 4) residues r < q, kind of edge, and whether it is always one */
    const uint8_t *there;   /* (S, P) sites that the pair has */
    const int32_t *turns;   /* (slots, R) dihedrals; -1 for none */
    const float *turning;   /* (slots, ORDER, 2, F) of cosine and sine */
    const float *embedding; /* (R, F) */
    const float *filters;   /* (L, kinds, 2, C, F): as r sees q, and as q sees r; zero where a site is missing */
    const Layer *layers;
    const Head *head;
    const float *centres; /* (K,) nm */
    float sharpness, cutoff, faint;
} Network;

/* exp to 1e-7 of arguments that are cut off at +-40: no denormal numbers, which are slow. */
static inline float exponential(float x) {
    union {
        int32_t i;
        float f;
    } power;
    x = x < -40.0f ? -40.0f : x > 40.0f ? 40.0f : x;
    float n = floorf(x * 1.44269504f + 0.5f), r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float tail = 0.16666667f + r * (4.1666645e-2f + r * (8.3334519e-3f + r * 1.388e-3f));
    power.i = ((int32_t)n + 127) * (1 << 23);
    return (1.0f + r * (1.0f + r * (0.5f + r * tail))) * power.f;
}

static inline void silu(int64_t count, const float *restrict x, float *restrict out) {
    for (int64_t i = 0; i < count; i++)
        out[i] = x[i] / (1.0f + exponential(-x[i]));
}

/* Multiplies by the slope of silu at x. */
static inline void silu_back(int64_t count, const float *restrict x, float *restrict slope) {
    for (int64_t i = 0; i < count; i++) {
        float s = 1.0f / (1.0f + exponential(-x[i]));
        slope[i] *= s * (1.0f + x[i] * (1.0f - s));
    }
}

/* out (R, F) = start (F,), or out itself, + x (R, F) times weight (F, F). */
static void product(int64_t rows, const float *restrict x, const float *restrict weight, const float *restrict start,
                    float *restrict out) {
    for (int64_t r = 0; r < rows; r++, x += FEATURES, out += FEATURES) {
        float sum[FEATURES];
        memcpy(sum, start ? start : out, sizeof sum);
        for (int i = 0; i < FEATURES; i++)
            for (int f = 0; f < FEATURES; f++)
                sum[f] += x[i] * weight[i * FEATURES + f];
        memcpy(out, sum, sizeof sum);
    }
}

/* The edges of replica b and what they keep; returns their number. */
static int64_t list(const Network *net, int64_t batch, int64_t b, const float *distances, Edge *edges, float *kept) {
    int64_t count = 0;
    for (int64_t p = 0; p < net->pairs; p++) {
        const int32_t *pair = net->table + 4 * p;
        int is_edge = pair[3];
        for (int s = 0; s < SITES; s++) /* a distance that is not a number makes an edge, so that it is not lost */
            is_edge |= net->there[s * net->pairs + p] & !(distances[(s * net->pairs + p) * batch + b] > net->cutoff);
        if (!is_edge)
            continue;
        edges[count] = (Edge){pair[0], pair[1], pair[2], (int32_t)p};
        for (int s = 0; s < SITES; s++) {
            float *value = kept + count * KEPT + 2 * s * RADIAL, *slope = value + RADIAL;
            float d = distances[(s * net->pairs + p) * batch + b];
            float near = 1.0f - d / net->cutoff * (d / net->cutoff), outwards, fade;
            d = d > net->cutoff ? net->cutoff : d;
            outwards = near < net->faint ? 0.0f : -6.0f * d / (net->cutoff * net->cutoff * near);
            near = near < net->faint ? net->faint : near;
            fade = near * near * near;
            for (int k = 0; k < RADIAL; k++) {
                float u = net->sharpness * (d - net->centres[k]);
                value[k] = fade * exponential(-u * u);
                slope[k] = value[k] * (outwards - 2.0f * net->sharpness * u);
            }
        }
        count++;
    }
    return count;
}

static inline void filter(const float *restrict kept, const float *restrict weights, float *restrict out) {
    float sum[FEATURES];
    memcpy(sum, weights + (CHANNELS - 1) * FEATURES, sizeof sum);
    for (int s = 0; s < SITES; s++)
        for (int k = 0; k < RADIAL; k++)
            for (int f = 0; f < FEATURES; f++)
                sum[f] += kept[2 * s * RADIAL + k] * weights[(s * RADIAL + k) * FEATURES + f];
    memcpy(out, sum, sizeof sum);
}

/* Adds to heard (R, F). */
static void hear(int64_t count, const Edge *edges, const float *kept, const float *filters, const float *restrict sent,
                 float *restrict heard) {
    for (int64_t e = 0; e < count; e++, kept += KEPT) {
        const float *weights = filters + (int64_t)edges[e].kind * 2 * CHANNELS * FEATURES;
        const int64_t r = (int64_t)edges[e].first * FEATURES, q = (int64_t)edges[e].second * FEATURES;
        float ahead[FEATURES], behind[FEATURES];
        filter(kept, weights, ahead);
        filter(kept, weights + CHANNELS * FEATURES, behind);
        for (int f = 0; f < FEATURES; f++) {
            heard[r + f] += ahead[f] * sent[q + f];
            heard[q + f] += behind[f] * sent[r + f];
        }
    }
}

/* From dU/d heard, `felt`: adds dU/d sent to `out` (R, F), and dU/d distance to `slopes` (S P, B). */
static void hear_back(int64_t count, int64_t stride, int64_t batch, const Edge *edges, const float *kept,
                      const float *filters, const float *restrict sent, const float *restrict felt, float *restrict out,
                      float *slopes) {
    for (int64_t e = 0; e < count; e++, kept += KEPT) {
        const float *there = filters + (int64_t)edges[e].kind * 2 * CHANNELS * FEATURES;
        const float *back = there + CHANNELS * FEATURES;
        const int64_t r = (int64_t)edges[e].first * FEATURES, q = (int64_t)edges[e].second * FEATURES;
        float ahead[FEATURES], behind[FEATURES], forth[FEATURES], return_[FEATURES];
        filter(kept, there, ahead);
        filter(kept, back, behind);
        for (int f = 0; f < FEATURES; f++) {
            forth[f] = felt[r + f] * sent[q + f];
            return_[f] = felt[q + f] * sent[r + f];
            out[q + f] += ahead[f] * felt[r + f];
            out[r + f] += behind[f] * felt[q + f];
        }
        for (int s = 0; s < SITES; s++) {
            float sum[FEATURES] = {0}, total = 0;
            for (int k = 0; k < RADIAL; k++)
                for (int f = 0; f < FEATURES; f++)
                    sum[f] += kept[(2 * s + 1) * RADIAL + k] * (forth[f] * there[(s * RADIAL + k) * FEATURES + f] +
                                                                return_[f] * back[(s * RADIAL + k) * FEATURES + f]);
            for (int f = 0; f < FEATURES; f++)
                total += sum[f];
            slopes[s * stride + edges[e].pair * batch] += total;
        }
    }
}

/* Multiples (ORDER, 2) of an angle: cosine and sine. */
static inline void multiples(float angle, float *out) {
    for (int n = 0; n < ORDER; n++) {
        out[2 * n] = cosf((n + 1) * angle);
        out[2 * n + 1] = sinf((n + 1) * angle);
    }
}

static void turn(const Network *net, int64_t batch, const float *dihedrals, float *state) {
    for (int64_t s = 0; s < net->slots; s++)
        for (int64_t r = 0; r < net->residues; r++) {
            const int32_t t = net->turns[s * net->residues + r];
            float waves[2 * ORDER];
            if (t < 0)
                continue;
            multiples(dihedrals[t * batch], waves);
            for (int n = 0; n < 2 * ORDER; n++)
                for (int f = 0; f < FEATURES; f++)
                    state[r * FEATURES + f] += waves[n] * net->turning[(s * 2 * ORDER + n) * FEATURES + f];
        }
}

static void turn_back(const Network *net, int64_t batch, const float *dihedrals, const float *slope, float *slopes) {
    for (int64_t s = 0; s < net->slots; s++)
        for (int64_t r = 0; r < net->residues; r++) {
            const int32_t t = net->turns[s * net->residues + r];
            float waves[2 * ORDER], total = 0;
            if (t < 0)
                continue;
            multiples(dihedrals[t * batch], waves);
            for (int n = 0; n < 2 * ORDER; n++) {
                float along = 0;
                for (int f = 0; f < FEATURES; f++)
                    along += slope[r * FEATURES + f] * net->turning[(s * 2 * ORDER + n) * FEATURES + f];
                total += (n / 2 + 1) * (n % 2 ? waves[n - 1] : -waves[n + 1]) * along;
            }
            slopes[t * batch] += total;
        }
}

/* Energies (B,); adds slopes. `room` holds (4 L + 4) R F numbers and P edges with what they keep. */
void evaluate(const Network *net, int64_t batch, const float *distances, const float *dihedrals, float *values,
              float *distance_slopes, float *dihedral_slopes, float *room, Edge *edges) {
    const int64_t residues = net->residues, size = residues * FEATURES, stride = net->pairs * batch;
    const int64_t block = net->kinds * 2 * CHANNELS * FEATURES;
    float *state = room, *slope = state + size, *one = slope + size, *two = one + size;
    float *memory = two + size, *kept = memory + 3 * LAYERS * size; /* of each layer: inner, sent, heard */
    for (int64_t b = 0; b < batch; b++) {
        const int64_t count = list(net, batch, b, distances, edges, kept);
        memcpy(state, net->embedding, size * sizeof(float));
        turn(net, batch, dihedrals + b, state);
        for (int l = 0; l < LAYERS; l++) {
            const Layer *layer = net->layers + l;
            float *inner = memory + 3 * l * size, *sent = inner + size, *heard = sent + size;
            product(residues, state, layer->sender, layer->sender_bias, inner);
            silu(size, inner, one);
            product(residues, one, layer->second, layer->second_bias, sent);
            memset(heard, 0, size * sizeof(float));
            hear(count, edges, kept, net->filters + l * block, sent, heard);
            silu(size, heard, one);
            product(residues, one, layer->mixer, layer->mixer_bias, two);
            for (int64_t i = 0; i < size; i++)
                state[i] += two[i];
        }
        silu(size, state, one);
        product(residues, one, net->head->hidden, net->head->hidden_bias, two);
        silu(size, two, one);
        values[b] = 0;
        for (int64_t r = 0; r < residues; r++)
            for (int f = 0; f < FEATURES; f++) {
                values[b] += one[r * FEATURES + f] * net->head->output[f];
                one[r * FEATURES + f] = net->head->output[f];
            }
        silu_back(size, two, one);
        memset(slope, 0, size * sizeof(float));
        product(residues, one, net->head->hidden_back, 0, slope);
        silu_back(size, state, slope);
        for (int l = LAYERS - 1; l >= 0; l--) {
            const Layer *layer = net->layers + l;
            float *inner = memory + 3 * l * size, *sent = inner + size, *heard = sent + size;
            memset(one, 0, size * sizeof(float));
            memset(two, 0, size * sizeof(float));
            product(residues, slope, layer->mixer_back, 0, one);
            silu_back(size, heard, one);
            hear_back(count, stride, batch, edges, kept, net->filters + l * block, sent, one, two, distance_slopes + b);
            memset(one, 0, size * sizeof(float));
            product(residues, two, layer->second_back, 0, one);
            silu_back(size, inner, one);
            product(residues, one, layer->sender_back, 0, slope);
        }
        turn_back(net, batch, dihedrals + b, slope, dihedral_slopes + b);
    }
}
