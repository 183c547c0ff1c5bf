/* Contexts, memory, random numbers and the thread pool. */
#include "support.h"

#include "base/base.h"
#include "base/pool.h"
#include "base/random.h"

static void philox_matches_published_vectors(void **state) {
    (void)state;
    /* Random123's known answers for philox4x32-10. */
    uint64_t out[2];
    nf_random_pair(0, 0, 0, out);
    assert_int_equal((uint32_t)out[0], 0x6627e8d5u);
    assert_int_equal((uint32_t)(out[0] >> 32), 0xe169c58du);
    assert_int_equal((uint32_t)out[1], 0xbc57ac4cu);
    assert_int_equal((uint32_t)(out[1] >> 32), 0x9b00dbd8u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_published_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
