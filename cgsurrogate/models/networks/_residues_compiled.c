/* The network `residues` with its slopes, in single precision: one replica after the other, so that all of it stays in
the nearest caches. See _residues.py for the equations; here is the same, one undirected edge at a time.

Constants of the compilation: FEATURES F, SITES S, LAYERS L, ORDER of the multiples of a dihedral. The batch B is the
last dimension of distances (S P, B), of P pairs of residues, and of dihedrals (T, B). Arrays of nodes are (R, F).

A filter depends on the distances only: it is looked up in a table, which holds values and slopes at even knots, by cubic
Hermite interpolation. Slopes of the energy are those of the interpolation, so that forces belong to an energy. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define APART __attribute__((noinline))
#define SQUARE (FEATURES * FEATURES)
#define ROWS (2 * FEATURES) /* numbers of a knot: values, and slopes times the spacing of knots */

typedef struct {
    int32_t first, second, kind, pair;
    struct {
        int32_t knot;
        float value[4], slope[4]; /* what two knots contribute */
    } site[SITES];
} Edge;

typedef struct { /* weights (F, F) both ways round, since one is needed forwards and the other back */
    float sender[SQUARE], sender_back[SQUARE], second[SQUARE], second_back[SQUARE], mixer[SQUARE], mixer_back[SQUARE];
    float sender_bias[FEATURES], second_bias[FEATURES], mixer_bias[FEATURES];
} Layer;

typedef struct {
    float hidden[SQUARE], hidden_back[SQUARE], hidden_bias[FEATURES], output[FEATURES];
} Head;

typedef struct {
    int64_t residues, pairs, dihedrals, slots, kinds, knots;
    const int32_t *table;   /* (P, 4) residues r < q, kind of edge, and whether it is always one */
    const uint8_t *there;   /* (S, P) sites that the pair has */
    const int32_t *turns;   /* (slots, R) dihedrals; -1 for none */
    const float *turning;   /* (slots, ORDER, 2, F) of cosine and sine */
    const float *embedding; /* (R, F) */
    const float *filters;   /* (L, kinds, 2, S, knots, 2, F): as r sees q, and as q sees r; zero for missing sites */
    const Layer *layers;
    const Head *head;
    float cutoff;
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

/* Where a distance in units of the spacing lies among the knots, and their weights. */
static inline void place(Edge *edge, int s, float x, int64_t knots) {
    const float last = (float)(knots - 1), scale = last;
    x = x > last ? last : x;
    const int32_t knot = x < last ? (int32_t)x : (int32_t)knots - 2;
    const float t = x - (float)knot, u = 1.0f - t;
    float *value = edge->site[s].value, *slope = edge->site[s].slope;
    edge->site[s].knot = knot;
    value[0] = (1.0f + 2.0f * t) * u * u, value[1] = t * u * u;
    value[2] = (3.0f - 2.0f * t) * t * t, value[3] = -t * t * u;
    slope[0] = -6.0f * t * u * scale, slope[1] = (1.0f - 3.0f * t) * u * scale;
    slope[2] = 6.0f * t * u * scale, slope[3] = (3.0f * t - 2.0f) * t * scale;
}

/* The edges of replica b; returns their number. Slopes are per cutoff. */
static int64_t list(const Network *net, int64_t batch, int64_t b, const float *distances, Edge *edges) {
    const float scale = (float)(net->knots - 1) / net->cutoff;
    int64_t count = 0;
    for (int64_t p = 0; p < net->pairs; p++) {
        const int32_t *pair = net->table + 4 * p;
        int is_edge = pair[3];
        for (int s = 0; s < SITES; s++) /* a distance that is not a number makes an edge, so that it is not lost */
            is_edge |= net->there[s * net->pairs + p] & !(distances[(s * net->pairs + p) * batch + b] > net->cutoff);
        if (!is_edge)
            continue;
        Edge *edge = edges + count++;
        edge->first = pair[0], edge->second = pair[1], edge->kind = pair[2], edge->pair = (int32_t)p;
        for (int s = 0; s < SITES; s++)
            place(edge, s, scale * distances[(s * net->pairs + p) * batch + b], net->knots);
    }
    return count;
}

/* Four rows of the table of a site, the first of two knots. */
static inline const float *rows(const Network *net, const float *filters, const Edge *edge, int way, int s) {
    return filters + ((((int64_t)edge->kind * 2 + way) * SITES + s) * net->knots + edge->site[s].knot) * ROWS;
}

/* Adds two knots to sum (F,). A function of its own, since compilers that see the loop over sites vectorise that one. */
APART static void add(const float *restrict w, const float *restrict row, float *restrict sum) {
    for (int f = 0; f < FEATURES; f++) {
        const int g = FEATURES + f, h = ROWS + f, i = ROWS + FEATURES + f;
        sum[f] += w[0] * row[f] + w[1] * row[g] + w[2] * row[h] + w[3] * row[i];
    }
}

/* The product of two knots with along (F,). */
APART static float dot(const float *restrict w, const float *restrict row, const float *restrict along) {
    float sum = 0;
    for (int f = 0; f < FEATURES; f++) {
        const int g = FEATURES + f, h = ROWS + f, i = ROWS + FEATURES + f;
        sum += along[f] * (w[0] * row[f] + w[1] * row[g] + w[2] * row[h] + w[3] * row[i]);
    }
    return sum;
}

static inline void filter(const Network *net, const float *filters, const Edge *edge, int way, float *restrict out) {
    memset(out, 0, FEATURES * sizeof(float));
    for (int s = 0; s < SITES; s++)
        add(edge->site[s].value, rows(net, filters, edge, way, s), out);
}

/* Adds to heard (R, F). */
static void hear(const Network *net, int64_t count, const Edge *edge, const float *filters, const float *restrict sent,
                 float *restrict heard) {
    for (const Edge *end = edge + count; edge < end; edge++) {
        const int64_t r = (int64_t)edge->first * FEATURES, q = (int64_t)edge->second * FEATURES;
        float ahead[FEATURES], behind[FEATURES];
        filter(net, filters, edge, 0, ahead);
        filter(net, filters, edge, 1, behind);
        for (int f = 0; f < FEATURES; f++) {
            heard[r + f] += ahead[f] * sent[q + f];
            heard[q + f] += behind[f] * sent[r + f];
        }
    }
}

/* From dU/d heard, `felt`: adds dU/d sent to `out` (R, F), and dU/d distance to `slopes` (S P, B). */
static void hear_back(const Network *net, int64_t count, int64_t batch, const Edge *edge, const float *filters,
                      const float *restrict sent, const float *restrict felt, float *restrict out, float *slopes) {
    for (const Edge *end = edge + count; edge < end; edge++) {
        const int64_t r = (int64_t)edge->first * FEATURES, q = (int64_t)edge->second * FEATURES;
        float ahead[FEATURES], behind[FEATURES], forth[FEATURES], return_[FEATURES];
        filter(net, filters, edge, 0, ahead);
        filter(net, filters, edge, 1, behind);
        for (int f = 0; f < FEATURES; f++) {
            forth[f] = felt[r + f] * sent[q + f];
            return_[f] = felt[q + f] * sent[r + f];
            out[q + f] += ahead[f] * felt[r + f];
            out[r + f] += behind[f] * felt[q + f];
        }
        for (int s = 0; s < SITES; s++) {
            const float *w = edge->site[s].slope;
            const float total = dot(w, rows(net, filters, edge, 0, s), forth);
            const float other = dot(w, rows(net, filters, edge, 1, s), return_);
            slopes[(s * net->pairs + edge->pair) * batch] += (total + other) / net->cutoff;
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

/* Energies (B,); adds slopes, if there are any to add to. `room` holds (3 L + 4) R F numbers, `edges` all pairs. */
void evaluate(const Network *net, int64_t batch, const float *distances, const float *dihedrals, float *values,
              float *distance_slopes, float *dihedral_slopes, float *room, Edge *edges) {
    const int64_t residues = net->residues, size = residues * FEATURES;
    const int64_t block = net->kinds * 2 * SITES * net->knots * ROWS;
    float *state = room, *slope = state + size, *one = slope + size, *two = one + size;
    float *memory = two + size; /* of each layer: inner, sent, heard */
    for (int64_t b = 0; b < batch; b++) {
        const int64_t count = list(net, batch, b, distances, edges);
        memcpy(state, net->embedding, size * sizeof(float));
        turn(net, batch, dihedrals + b, state);
        for (int l = 0; l < LAYERS; l++) {
            const Layer *layer = net->layers + l;
            float *inner = memory + 3 * l * size, *sent = inner + size, *heard = sent + size;
            product(residues, state, layer->sender, layer->sender_bias, inner);
            silu(size, inner, one);
            product(residues, one, layer->second, layer->second_bias, sent);
            memset(heard, 0, size * sizeof(float));
            hear(net, count, edges, net->filters + l * block, sent, heard);
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
        if (!distance_slopes)
            continue;
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
            hear_back(net, count, batch, edges, net->filters + l * block, sent, one, two, distance_slopes + b);
            memset(one, 0, size * sizeof(float));
            product(residues, two, layer->second_back, 0, one);
            silu_back(size, inner, one);
            product(residues, one, layer->sender_back, 0, slope);
        }
        turn_back(net, batch, dihedrals + b, slope, dihedral_slopes + b);
    }
}
