/* Helpers of the io suites: byte strings with their length, temporary folders, refused inputs. */
#ifndef NF_IO_TEST_H
#define NF_IO_TEST_H

#include "support.h"

#include <sys/stat.h>
#include <unistd.h>

/* A literal that may hold NUL bytes, and its length. */
#define BYTES(text) (text), (sizeof(text) - 1)

/* A copy of exactly `size` bytes on the heap, so that sanitizers see any read past the end. */
static inline void *exact_copy(const void *bytes, size_t size) {
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

/* The path of `name` in a new folder of its own; static buffers, two live at a time. */
static inline const char *temp_path(const char *name) {
    static char paths[2][256];
    static int turn;
    char *path = paths[turn ^= 1];
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof paths[0], "%s/nf_io_XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    size_t used = strlen(path);
    snprintf(path + used, sizeof paths[0] - used, "/%s", name);
    return path;
}

/* Remove the file and its folder. */
static inline void temp_remove(const char *path) {
    char *folder = exact_copy(path, strlen(path) + 1);
    unlink(path);
    *strrchr(folder, '/') = '\0';
    assert_int_equal(rmdir(folder), 0); /* nothing else may be left */
    free(folder);
}

static inline size_t read_back(const char *path, char *buffer, size_t room) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(buffer, 1, room, file);
    fclose(file);
    return size;
}

static inline void put_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

#endif
