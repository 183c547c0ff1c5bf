/* Pair index arithmetic: exhaustive for small n, exact at the sizes where 32 bits or a double's
 * square root go wrong (L8). */
#include "support.h"

#include "base/random.h"

static void ranks_count_pairs_up_to_2000(void **state) {
    (void)state;
    for (uint64_t n = 0; n <= 2000; n = n < 240 ? n + 1 : n + 40) {
        uint64_t rank = 0;
        for (uint64_t i = 0; i < n; i++) {
            for (uint64_t j = i + 1; j < n; j++, rank++) {
                uint64_t a, b;
                nf_pair_unrank(n, rank, &a, &b);
                if (nf_pair_rank(n, i, j) != rank || a != i || b != j) {
                    fail_msg("n = %llu, pair (%llu, %llu)", (unsigned long long)n,
                             (unsigned long long)i, (unsigned long long)j);
                }
            }
        }
    }
}

/* The condensed order is checked by neighbours: rank + 1 is the next pair. */
static void check_rank(uint64_t n, uint64_t rank) {
    uint64_t total = n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n, i, j;
    if (rank >= total) return;
    nf_pair_unrank(n, rank, &i, &j);
    if (!(i < j && j < n) || nf_pair_rank(n, i, j) != rank) {
        fail_msg("n = %llu, rank %llu gave (%llu, %llu)", (unsigned long long)n,
                 (unsigned long long)rank, (unsigned long long)i, (unsigned long long)j);
    }
    if (rank + 1 < total) {
        uint64_t a, b;
        nf_pair_unrank(n, rank + 1, &a, &b);
        assert_true(j + 1 < n ? (a == i && b == j + 1) : (a == i + 1 && b == i + 2));
    }
}

static void check_row(uint64_t n, uint64_t i) {
    uint64_t start = nf_pair_rank(n, i, i + 1);
    /* The start of row i by 128-bit arithmetic. */
    unsigned __int128 exact = (unsigned __int128)i * (2 * (unsigned __int128)n - i - 1) / 2;
    assert_true(start == (uint64_t)exact);
    for (uint64_t k = 0; k < 3; k++) {
        if (start + k >= 1) check_rank(n, start + k - 1);
    }
}

static void ranks_are_exact_at_large_sizes(void **state) {
    (void)state;
    const uint64_t sizes[] = {46340,     46341, 46342, 65536, 65537, 92682, (uint64_t)1 << 31,
                              UINT32_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t n = sizes[s], total = n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n, i, j;
        nf_pair_unrank(n, 0, &i, &j);
        assert_true(i == 0 && j == 1);
        nf_pair_unrank(n, total - 1, &i, &j);
        assert_true(i == n - 2 && j == n - 1);
        assert_true(nf_pair_rank(n, n - 2, n - 1) == total - 1);
        if (n <= 92682) { /* every row start, and its neighbours */
            for (uint64_t row = 0; row + 1 < n; row++) check_row(n, row);
        } else {
            for (uint64_t k = 0; k < 100000; k++) {
                check_row(n, k);
                check_row(n, n - 2 - k);
                check_row(n, nf_random_below(n, 1, k, n - 1));
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_count_pairs_up_to_2000),
        cmocka_unit_test(ranks_are_exact_at_large_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
