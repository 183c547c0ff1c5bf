/* The smallest numbers of a row, and their order, against a plain sort. */
#include "probe.h"
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"
#include "eval/order.h"

#define MOST 3000

typedef struct row {
    float f[MOST + 16];
    double g[MOST + 16];
    uint64_t key[MOST], sorted[MOST];
    uint32_t index[MOST + 16], bins[NF_RANK_BINS];
    nf_ranked item[MOST], spare[MOST], want[MOST];
} row;

static int by_key(const void *pa, const void *pb) {
    const uint64_t *a = pa, *b = pb;
    return *a < *b ? -1 : *a > *b;
}

static int by_key_and_index(const void *pa, const void *pb) {
    const nf_ranked *a = pa, *b = pb;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* Kinds of rows: spread, tied, one value, of every size and sign, with NaN and infinities. */
static double number(uint64_t seed, size_t c) {
    const double unit = nf_random_unit(seed, 1, c);
    switch (seed % 6) {
    case 0: return unit;
    case 1: return (double)nf_random_below(seed, 2, c, 3);
    case 2: return 0.75;
    case 3: return ldexp(unit - 0.5, (int)nf_random_below(seed, 3, c, 60) - 30);
    case 4: return c % 3 == 0 ? (double)NAN : c % 7 == 0 ? (double)INFINITY : unit;
    default: return c % 5 == 0 ? -0.0 : c % 5 == 1 ? 0 : 1 + unit * 1e-6;
    }
}

static void check_list(const nf_kernels *kernels, nf_type type, row *r, size_t count, size_t wanted,
                       float guess, bool spread) {
    const void *value = type == NF_FLOAT32 ? (const void *)r->f : r->g;
    const nf_row_values values = {kernels, type, value, count, &guess};
    const size_t found = nf_list_smallest(&values, wanted, r->index);
    assert_true(found >= wanted && found <= count);
    bool listed[MOST] = {0};
    for (size_t p = 0; p < found; p++) {
        assert_true(r->index[p] < count && (p == 0 || r->index[p] > r->index[p - 1]));
        listed[r->index[p]] = true;
    }
    for (size_t c = 0; c < count; c++) r->sorted[c] = r->key[c];
    qsort(r->sorted, count, sizeof *r->sorted, by_key);
    size_t needed = 0;
    for (size_t c = 0; c < count; c++) {
        if (r->key[c] <= r->sorted[wanted - 1]) assert_true(listed[c]);
        needed += r->key[c] <= r->sorted[wanted - 1];
    }
    /* Where numbers spread, few more than those come along. */
    if (spread && needed == wanted) assert_true(found <= wanted + wanted / 4 + 40);
}

static void the_smallest_are_listed(void **state) {
    (void)state;
    row *r = malloc(sizeof *r);
    nf_isa isas[4];
    const size_t count_of_isas = probe_isas(isas);
    for (size_t t = 0; t < count_of_isas; t++) {
        nf_context *context = test_context_isa(1, isas[t]);
        for (uint64_t seed = 0; seed < 300; seed++) {
            nf_type type = seed % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
            const size_t count = 1 + (size_t)nf_random_below(seed, 5, 0, MOST);
            for (size_t c = 0; c < MOST + 16; c++) {
                r->g[c] = number(seed / 2, c);
                r->f[c] = (float)r->g[c];
            }
            for (size_t c = 0; c < count; c++) {
                r->key[c] = type == NF_FLOAT32 ? nf_key_f32(r->f[c]) : nf_key_f64(r->g[c]);
            }
            const float guesses[] = {0, 0.5F, 1e30F, -3, NAN, INFINITY};
            check_list(nf_kernels_get(context, type), type, r, count,
                       1 + (size_t)nf_random_below(seed, 6, 0, count), guesses[seed % 6],
                       seed / 2 % 6 == 0 || seed / 2 % 6 == 3);
        }
        nf_context_free(context);
    }
    free(r);
}

static void spread_keys_are_sorted(void **state) {
    (void)state;
    row *r = malloc(sizeof *r);
    for (uint64_t seed = 0; seed < 400; seed++) {
        const size_t count = (size_t)nf_random_below(seed, 5, 0, seed % 4 == 0 ? 40 : MOST);
        for (size_t c = 0; c < count; c++) {
            const double value = number(seed / 2, c);
            const uint64_t key = seed % 2 == 0 ? nf_key_f32((float)value) : nf_key_f64(value);
            r->want[c] = r->item[c] = (nf_ranked){key, (uint32_t)c};
        }
        qsort(r->want, count, sizeof *r->want, by_key_and_index);
        const nf_ranked *sorted = nf_sort_spread(r->item, r->spare, count, r->bins);
        for (size_t c = 0; c < count; c++) {
            assert_true(sorted[c].key == r->want[c].key && sorted[c].index == r->want[c].index);
        }
    }
    free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_are_listed),
        cmocka_unit_test(spread_keys_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
