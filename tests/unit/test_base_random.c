/* Counter-based random numbers: known answers, ranges and uniformity. */
#include "support.h"

#include <math.h>

#include "base/random.h"

static void assert_philox(uint64_t seed, uint64_t stream, uint64_t index, const uint32_t want[4]) {
    uint64_t out[2];
    nf_random_pair(seed, stream, index, out);
    assert_int_equal((uint32_t)out[0], want[0]);
    assert_int_equal((uint32_t)(out[0] >> 32), want[1]);
    assert_int_equal((uint32_t)out[1], want[2]);
    assert_int_equal((uint32_t)(out[1] >> 32), want[3]);
}

static void philox_matches_published_vectors(void **state) {
    (void)state;
    /* Random123's known answers for philox4x32-10: counter words 0..3 are index and stream, low word
     * first, key words the seed. */
    const uint32_t zeros[] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
    const uint32_t ones[] = {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu};
    const uint32_t pi[] = {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u};
    assert_philox(0, 0, 0, zeros);
    assert_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, ones);
    assert_philox(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u, pi);
}

static void units_are_in_range_and_balanced(void **state) {
    (void)state;
    double sum = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = nf_random_unit(7, 3, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    /* Standard error of the mean is 0.00091; 6 of them. */
    assert_true(sum / 100000 > 0.4945 && sum / 100000 < 0.5055);
}

/* Chi-square with b - 1 degrees of freedom stays under b + 6 sqrt(2 b) with probability > 1 - 1e-6. */
static void bounded_numbers_are_uniform(void **state) {
    (void)state;
    const uint64_t bounds[] = {1, 2, 3, 7, 10, 64, 100};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        uint64_t bound = bounds[b], draws = 20000;
        double count[100] = {0}, chi = 0, expected = (double)draws / (double)bound;
        for (uint64_t i = 0; i < draws; i++) {
            uint64_t value = nf_random_below(11, 5, i, bound);
            assert_true(value < bound);
            count[value]++;
        }
        for (uint64_t v = 0; v < bound; v++) {
            chi += (count[v] - expected) * (count[v] - expected) / expected;
        }
        assert_true(chi < (double)bound + 6 * sqrt(2 * (double)bound));
    }
    for (uint64_t i = 0; i < 1000; i++) { /* the rejection zone is largest just above 2^63 */
        uint64_t bound = (UINT64_C(1) << 63) + 1;
        assert_true(nf_random_below(1, 2, i, bound) < bound);
    }
}

static void shuffles_are_permutations(void **state) {
    (void)state;
    size_t first[3] = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        size_t values[3] = {0, 1, 2};
        nf_random_shuffle(seed, 9, values, 3);
        assert_int_equal(values[0] + values[1] + values[2], 3);
        assert_int_equal(values[0] * values[1] * values[2], 0);
        assert_true(values[0] != values[1] && values[1] != values[2]);
        first[values[0]]++;
    }
    for (size_t v = 0; v < 3; v++) assert_in_range(first[v], 850, 1150); /* sd 26 */
    nf_random_shuffle(1, 1, NULL, 0);
}

static void streams_and_seeds_differ(void **state) {
    (void)state;
    assert_true(nf_random(1, 1, 0) != nf_random(1, 2, 0));
    assert_true(nf_random(1, 1, 0) != nf_random(2, 1, 0));
    assert_true(nf_random(1, 1, 0) != nf_random(1, 1, 1));
    assert_true(nf_random_stream(4, 0) != nf_random_stream(4, 1));
    assert_int_equal(nf_random(3, 4, 5), nf_random(3, 4, 5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_published_vectors),
        cmocka_unit_test(units_are_in_range_and_balanced),
        cmocka_unit_test(bounded_numbers_are_uniform),
        cmocka_unit_test(shuffles_are_permutations),
        cmocka_unit_test(streams_and_seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
