#include "loss/update.h"

#include <math.h>

/* A pair nearer than radius / 16 loses four bits or more. */
#define NF_NEAR2 (1.0 / 256)

/* Features of a part of an update, so many that the lines read stay in the fastest cache while all
 * strips go over them. */
#define NF_LINES 4

typedef struct nf_row_strip {
    size_t first, count;           /* rows of the side that is updated */
    uint32_t index[NF_BLOCK_ROWS]; /* rows of the other side with a weight in the strip */
    size_t n;
    double near; /* smallest raw number with a weight */
} nf_row_strip;

/* One direction: what the weights of the tile do to the rows of `own`. */
typedef struct nf_direction {
    const nf_update_side *own, *other;
    size_t row_step, step; /* from one weight to the next, along own's rows and the other's */
    const void *sum;       /* T: sums of the weights of own's rows */
    size_t count;
    nf_row_strip strip[NF_STRIPS];
} nf_direction;

/* Indices first + i of the bits i that are set. */
static void list_bits(nf_row_strip *strip, size_t first, uint64_t bits) {
    while (bits != 0) {
        const size_t start = (size_t)__builtin_ctzll(bits);
        const uint64_t rest = ~(bits >> start); /* 0 only if all 64 are set */
        const size_t run = rest != 0 ? (size_t)__builtin_ctzll(rest) : 64;
        for (size_t i = 0; i < run; i++) strip->index[strip->n++] = (uint32_t)(first + start + i);
        if (start + run == 64) return;
        bits &= ~(uint64_t)0 << (start + run);
    }
}

static nf_row_strip *add_strip_of(nf_direction *direction, size_t first, size_t rows) {
    nf_row_strip *strip = &direction->strip[direction->count++];
    strip->first = first;
    strip->count = nf_min_size(NF_STRIP_HEIGHT, rows - first);
    strip->near = INFINITY;
    strip->n = 0;
    return strip;
}

static void list_rows(const nf_update *update, nf_direction *rows) {
    const nf_weight_facts *facts = update->facts;
    for (size_t first = 0; first < update->rows; first += NF_STRIP_HEIGHT) {
        nf_row_strip *strip = add_strip_of(rows, first, update->rows);
        strip->near = nf_element_get(update->type, facts->row_near, first / NF_STRIP_HEIGHT);
        for (size_t word = 0; word < NF_BIT_WORDS; word++) {
            uint64_t bits = 0;
            for (size_t r = first; r < first + strip->count; r++) {
                bits |= facts->weighted[r * NF_BIT_WORDS + word];
            }
            list_bits(strip, 64 * word, bits);
        }
    }
}

/* The rows with a weight in the columns of the mask; `every`: the columns with one in all rows. */
static void list_rows_of(const nf_update *update, const uint64_t *mask, const uint64_t *every,
                         nf_row_strip *strip) {
    if (((mask[0] & every[0]) | (mask[1] & every[1])) != 0) {
        for (size_t r = 0; r < update->rows; r++) strip->index[r] = (uint32_t)r;
        strip->n = update->rows;
        return;
    }
    for (size_t r = 0; r < update->rows; r++) {
        const uint64_t *bits = update->facts->weighted + r * NF_BIT_WORDS;
        strip->index[strip->n] = (uint32_t)r;
        strip->n += ((bits[0] & mask[0]) | (bits[1] & mask[1])) != 0;
    }
}

static void list_cols(const nf_update *update, nf_direction *cols) {
    const nf_weight_facts *facts = update->facts;
    uint64_t every[NF_BIT_WORDS] = {~(uint64_t)0, ~(uint64_t)0};
    for (size_t r = 0; r < update->rows; r++) {
        every[0] &= facts->weighted[r * NF_BIT_WORDS];
        every[1] &= facts->weighted[r * NF_BIT_WORDS + 1];
    }
    for (size_t first = 0; first < update->cols; first += NF_STRIP_HEIGHT) {
        nf_row_strip *strip = add_strip_of(cols, first, update->cols);
        uint64_t mask[NF_BIT_WORDS] = {0};
        for (size_t c = first; c < first + strip->count; c++) {
            const double near = nf_element_get(update->type, facts->col_near, c);
            if (near < strip->near) strip->near = near;
            mask[c / 64] |= (uint64_t)1 << c % 64;
        }
        list_rows_of(update, mask, every, strip);
    }
}

static bool is_centered(const nf_update *update, const nf_direction *direction,
                        const nf_row_strip *strip) {
    const double radius2 = direction->own->radius2[strip->first / NF_STRIP_HEIGHT];
    return update->family == NF_SQUARED && strip->near >= radius2 * NF_NEAR2;
}

/* Features [c, c + width) of one strip. */
static void add_strip(const nf_update *update, const nf_direction *direction,
                      const nf_row_strip *strip, size_t c, size_t width) {
    const nf_kernels *kernels = update->kernels;
    const nf_update_side *own = direction->own;
    const size_t bytes = nf_type_size(update->type);
    const size_t at = (strip->first * update->stride + c) * bytes;
    nf_add_fn add = is_centered(update, direction, strip) ? kernels->add_centered
                    : update->family == NF_SQUARED        ? kernels->add_difference
                    : update->family == NF_PRODUCT        ? kernels->add_product
                                                          : kernels->add_sign;
    add(own->part + at, update->stride,
        update->weights + strip->first * direction->row_step * bytes, direction->row_step,
        direction->step, own->x + at, update->stride, direction->other->x + c * bytes,
        update->stride, strip->index, strip->count, strip->n, width);
}

static void add_all(const nf_update *update, const nf_direction *direction) {
    const size_t lines = NF_LINES * nf_lanes(update->type);
    for (size_t c = 0; c < update->d; c += lines) {
        for (size_t s = 0; s < direction->count; s++) {
            const nf_row_strip *strip = &direction->strip[s];
            if (strip->n == 0) continue;
            add_strip(update, direction, strip, c, nf_min_size(lines, update->d - c));
        }
    }
    for (size_t s = 0; s < direction->count; s++) {
        const nf_row_strip *strip = &direction->strip[s];
        if (strip->n == 0 || !is_centered(update, direction, strip)) continue;
        for (size_t r = strip->first; r < strip->first + strip->count; r++) {
            direction->own->weight[r] += nf_element_get(update->type, direction->sum, r);
        }
    }
}

static void count_strips(const nf_direction *direction, nf_update_work *work) {
    work->strips += direction->count;
    for (size_t s = 0; s < direction->count; s++) work->skipped += direction->strip[s].n == 0;
}

void nf_update_run(const nf_update *update, nf_update_work *work) {
    nf_direction direction;
    if (update->a.part != NULL) {
        direction.own = &update->a;
        direction.other = &update->b;
        direction.row_step = update->ld;
        direction.step = 1;
        direction.sum = update->facts->row_sum;
        direction.count = 0;
        list_rows(update, &direction);
        add_all(update, &direction);
        count_strips(&direction, work);
    }
    if (update->b.part != NULL) {
        direction.own = &update->b;
        direction.other = &update->a;
        direction.row_step = 1;
        direction.step = update->ld;
        direction.sum = update->facts->col_sum;
        direction.count = 0;
        list_cols(update, &direction);
        add_all(update, &direction);
        count_strips(&direction, work);
    }
}

size_t nf_weight_facts_layout(nf_type type, size_t rows, size_t ld, unsigned char *base,
                              nf_weight_facts *facts) {
    const size_t element = nf_type_size(type), strips = rows / NF_STRIP_HEIGHT + 1;
    const size_t sizes[5] = {rows * element, ld * element, strips * element, ld * element,
                             rows * NF_BIT_WORDS * sizeof(uint64_t)};
    unsigned char *slot[5];
    size_t used = 0;
    for (int i = 0; i < 5; i++) {
        slot[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    *facts = (nf_weight_facts){slot[0], slot[1], slot[2], slot[3], (uint64_t *)(void *)slot[4]};
    return used;
}
