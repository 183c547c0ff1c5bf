#include "io/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK ((size_t)1 << 16)

static nf_status read_failed(nf_context *context, const char *path, int error) {
    return nf_fail(context, NF_ERR_IO, "cannot read '%.200s': %s", path, strerror(error));
}

static nf_status too_large(nf_context *context, const char *path, size_t max_size) {
    return nf_fail(context, NF_ERR_RANGE, "'%.200s' holds more than the limit of %zu bytes", path,
                   max_size);
}

/* Bytes to start with: the size of a regular file and one more, to see the end of file without
 * growing; a chunk for pipes and for files that do not tell their size. */
static size_t first_capacity(int fd) {
    struct stat info;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
        (uintmax_t)info.st_size < PTRDIFF_MAX) {
        return (size_t)info.st_size + 1;
    }
    return READ_CHUNK;
}

static nf_status grow(nf_context *context, char **bytes, size_t used, size_t *capacity) {
    size_t larger;
    char *copy = NULL;
    if (nf_mul_overflows(*capacity, 2, &larger)) larger = SIZE_MAX;
    nf_status status = nf_allocate(context, &copy, larger, 1, "file contents");
    if (status != NF_OK) return status;
    memcpy(copy, *bytes, used);
    nf_release(context, *bytes);
    *bytes = copy;
    *capacity = larger;
    return NF_OK;
}

/* Reads to the end of file; *bytes is the caller's to release in every case. */
static nf_status read_all(nf_context *context, int fd, const char *path, size_t max_size,
                          char **bytes, size_t *size) {
    size_t capacity = first_capacity(fd), used = 0;
    if (max_size != 0 && capacity > READ_CHUNK && capacity - 1 > max_size) {
        return too_large(context, path, max_size);
    }
    nf_status status = nf_allocate(context, bytes, capacity, 1, "file contents");
    while (status == NF_OK) {
        if (used == capacity) {
            status = grow(context, bytes, used, &capacity);
            if (status != NF_OK) break;
        }
        ssize_t got = read(fd, *bytes + used, nf_min_size(capacity - used, (size_t)1 << 30));
        if (got < 0 && errno == EINTR) {
            status = nf_after_signal(context);
            continue;
        }
        if (got < 0) return read_failed(context, path, errno);
        if (got == 0) break;
        used += (size_t)got;
        if (max_size != 0 && used > max_size) return too_large(context, path, max_size);
    }
    *size = used;
    return status;
}

static nf_status read_path(nf_context *context, const char *path, size_t max_size, char **bytes,
                           size_t *size) {
    if (strcmp(path, "-") == 0) {
        return read_all(context, STDIN_FILENO, "standard input", max_size, bytes, size);
    }
    int fd;
    nf_status status = NF_OK;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && errno != EINTR) return read_failed(context, path, errno);
        if (fd < 0) status = nf_after_signal(context);
    } while (fd < 0 && status == NF_OK);
    if (fd < 0) return status;
    status = read_all(context, fd, path, max_size, bytes, size);
    close(fd);
    return status;
}

nf_status nf_file_read(nf_context *context, const char *path, int inflate, size_t max_size,
                       void **bytes, size_t *size) {
    nf_scope scope = nf_scope_enter(context);
    if (path == NULL || path[0] == '\0') {
        return nf_scope_leave(context, scope,
                              nf_fail(context, NF_ERR_ARG, "path is empty: name a file"));
    }
    char *raw = NULL;
    size_t raw_size = 0;
    nf_status status = read_path(context, path, max_size, &raw, &raw_size);
    bool zipped = raw_size >= 2 && memcmp(raw, "\x1f\x8b", 2) == 0;
    if (status == NF_OK && inflate && zipped) {
        void *inflated = NULL;
        status = nf_gunzip(context, raw, raw_size, max_size, &inflated, &raw_size);
        nf_release(context, raw);
        raw = inflated;
    }
    if (status == NF_OK) {
        *bytes = raw;
        *size = raw_size;
    } else {
        nf_release(context, raw);
    }
    return nf_scope_leave(context, scope, status);
}

void nf_bytes_free(nf_context *context, void *bytes) { nf_release(context, bytes); }
