/* No fallible public function escapes the fail-every-allocation tests: each name in the headers that
 * returns nf_status appears in a source of the suites that runs them. */
#define _GNU_SOURCE
#include "support.h"

#include <ctype.h>
#include <dirent.h>

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("cannot read %s", path);
    size_t size = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    for (size_t got; (got = fread(text + size, 1, capacity - size - 1, file)) > 0;) {
        size += got;
        if (capacity - size < 2) text = realloc(text, capacity *= 2);
    }
    text[size] = '\0';
    fclose(file);
    return text;
}

typedef void (*file_fn)(const char *path, void *user);

static void each_file(const char *directory, const char *suffix, file_fn visit, void *user) {
    DIR *handle = opendir(directory);
    if (handle == NULL) fail_msg("cannot open %s", directory);
    for (struct dirent *entry; (entry = readdir(handle)) != NULL;) {
        size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (length < tail || strcmp(entry->d_name + length - tail, suffix) != 0) continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        visit(path, user);
    }
    closedir(handle);
}

/* All text of the sources that use the helper. */
static void gather(const char *path, void *user) {
    char **all = user, *text = read_text(path);
    if (strstr(text, "test_fail_every_allocation(") != NULL || strstr(text, "fail_at") != NULL) {
        *all = realloc(*all, strlen(*all) + strlen(text) + 1);
        strcat(*all, text);
    }
    free(text);
}

static int mentions(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += length) {
        if (!isalnum((unsigned char)at[length]) && at[length] != '_') return 1;
    }
    return 0;
}

typedef struct search {
    const char *tested;
    size_t functions, missing;
} search;

static void check_header(const char *path, void *user) {
    search *s = user;
    char *text = read_text(path);
    for (const char *at = text; (at = strstr(at, "NF_API NF_MUST_USE nf_status")) != NULL;) {
        at += strlen("NF_API NF_MUST_USE nf_status");
        while (isspace((unsigned char)*at)) at++;
        char name[128] = {0};
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
        assert_in_range(length, 4, sizeof name - 1);
        memcpy(name, at, length);
        s->functions++;
        if (mentions(s->tested, name)) continue;
        print_error("%s is in no test of failing allocations\n", name);
        s->missing++;
    }
    free(text);
}

static void every_fallible_function_is_tortured(void **state) {
    (void)state;
    char *all = calloc(1, 1);
    const char *suites[] = {"unit", "kernel", "gradient", "property", "torture"};
    for (size_t k = 0; k < sizeof suites / sizeof *suites; k++) {
        char directory[1024];
        snprintf(directory, sizeof directory, NF_SOURCE_DIR "/tests/%s", suites[k]);
        each_file(directory, ".c", gather, &all);
    }
    search s = {.tested = all};
    each_file(NF_SOURCE_DIR "/include/nearfar", ".h", check_header, &s);
    assert_true(s.functions > 40);
    assert_int_equal(s.missing, 0);
    free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fallible_function_is_tortured)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
