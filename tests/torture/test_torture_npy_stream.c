/* The streaming .npy writer under failing allocations: the old file stays, no temporary is left, and
 * the retry writes the same bytes. */
#define _GNU_SOURCE
#include "support.h"

#include <dirent.h>
#include <unistd.h>

typedef struct stream_job {
    char directory[64], path[96];
    unsigned char bytes[256]; /* of the file, on success */
} stream_job;

static int entries(const char *directory) {
    int count = 0;
    DIR *handle = opendir(directory);
    for (struct dirent *entry; (entry = readdir(handle)) != NULL;) count += entry->d_name[0] != '.';
    closedir(handle);
    return count;
}

static size_t read_file(const char *path, void *out, size_t size) {
    FILE *file = fopen(path, "rb");
    size_t got = file != NULL ? fread(out, 1, size, file) : 0;
    if (file != NULL) fclose(file);
    return got;
}

static nf_status write_parts(nf_context *context, const char *path) {
    const float values[6] = {1, 2, 3, 4, 5, 6};
    const size_t shape[2] = {3, 2};
    nf_npy_writer *writer = NULL;
    nf_status status = nf_npy_open(context, path, NF_DTYPE_F32, 2, shape, &writer);
    if (status == NF_OK) status = nf_npy_append(context, writer, values, 1);
    if (status == NF_OK) status = nf_npy_append(context, writer, values + 1, 5);
    if (status == NF_OK) status = nf_npy_commit(context, writer);
    if (writer != NULL) nf_npy_close(context, writer);
    return status;
}

static nf_status stream_body(nf_context *context, void *user) {
    stream_job *job = user;
    FILE *old = fopen(job->path, "wb");
    assert_non_null(old);
    fputs("old", old);
    fclose(old);
    nf_status status = write_parts(context, job->path);
    assert_int_equal(entries(job->directory), 1); /* no temporary beside it */
    unsigned char bytes[256] = {0};
    size_t size = read_file(job->path, bytes, sizeof bytes);
    if (status == NF_OK) {
        assert_int_equal(size, 128 + 6 * sizeof(float));
        memcpy(job->bytes, bytes, sizeof bytes);
    } else {
        assert_int_equal(size, 3);
        assert_memory_equal(bytes, "old", 3);
    }
    return status;
}

static void the_stream_survives(void **state) {
    (void)state;
    stream_job job = {.directory = "/tmp/nf_stream_XXXXXX"};
    assert_non_null(mkdtemp(job.directory));
    snprintf(job.path, sizeof job.path, "%s/out.npy", job.directory);
    assert_true(test_fail_every_allocation(1, stream_body, &job, job.bytes, sizeof job.bytes) > 0);
    assert_int_equal(unlink(job.path), 0);
    assert_int_equal(rmdir(job.directory), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_stream_survives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
