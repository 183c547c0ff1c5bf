/* Output files that are complete or not there at all. */
#include "io/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SINK_BUFFER ((size_t)1 << 16)
#define MAX_LINKS 40

struct nf_sink {
    int fd;
    bool committed;
    char *target; /* where the file goes, symbolic links followed */
    char *folder; /* that holds it: kept, so that nothing is allocated once the file is in place */
    char *temporary; /* NULL when the target is written directly */
    size_t used;
    unsigned char buffer[SINK_BUFFER];
};

static nf_status write_failed(nf_context *context, const char *path, int error) {
    return nf_fail(context, NF_ERR_IO, "cannot write '%.200s': %s", path, strerror(error));
}

/* Length of the folder part of a path, with its '/'; 0 if it has none. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* Device files (and what /dev/stdout leads to) are never replaced. */
static bool is_device_path(const char *path) {
    return strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
}

/* The file descriptor behind "-", /dev/stdout, /dev/stderr, /dev/fd/N; -1 for other paths.
 * Opening such a name anew would start at the beginning of a redirected file. */
static int standard_descriptor(const char *path) {
    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
    const char *number = strncmp(path, "/dev/fd/", 8) == 0          ? path + 8
                         : strncmp(path, "/proc/self/fd/", 14) == 0 ? path + 14
                                                                    : NULL;
    size_t fd;
    if (number == NULL || !nf_size_parse(number, strlen(number), &fd) || fd > INT16_MAX) return -1;
    return (int)fd;
}

/* Follow symbolic links of the last component, dangling ones too, up to a device. */
static nf_status follow_links(nf_context *context, const char *path, char **target) {
    char *current = NULL, *link = NULL;
    nf_status status = nf_scratch(context, &current, strlen(path) + 1, 1, "path");
    if (status == NF_OK) status = nf_scratch(context, &link, SINK_BUFFER, 1, "path");
    if (status != NF_OK) return status;
    memcpy(current, path, strlen(path) + 1);
    for (int links = 0; !is_device_path(current); links++) {
        ssize_t got = readlink(current, link, SINK_BUFFER - 1);
        if (got < 0) break; /* not a link, or not there */
        if (links == MAX_LINKS) return write_failed(context, path, ELOOP);
        size_t folder = got > 0 && link[0] == '/' ? 0 : folder_length(current);
        char *next = NULL;
        status = nf_scratch(context, &next, folder + (size_t)got + 1, 1, "path");
        if (status != NF_OK) return status;
        memcpy(next, current, folder);
        memcpy(next + folder, link, (size_t)got);
        next[folder + (size_t)got] = '\0';
        current = next;
    }
    status = nf_allocate(context, target, strlen(current) + 1, 1, "path");
    if (status == NF_OK) memcpy(*target, current, strlen(current) + 1);
    return status;
}

static nf_status keep_folder(nf_context *context, nf_sink *sink) {
    size_t length = folder_length(sink->target);
    nf_status status = nf_allocate(context, &sink->folder, length + 2, 1, "path");
    if (status != NF_OK) return status;
    memcpy(sink->folder, length > 0 ? sink->target : ".", length > 0 ? length : 1);
    sink->folder[length > 0 ? length : 1] = '\0';
    return NF_OK;
}

/* A name no other writer has: O_EXCL decides, the numbers only make collisions rare. */
static nf_status open_temporary(nf_context *context, nf_sink *sink) {
    size_t folder = folder_length(sink->target), room = folder + 64;
    char *name = NULL;
    nf_status status = nf_allocate(context, &name, room, 1, "path");
    if (status != NF_OK) return status;
    memcpy(name, sink->target, folder);
    for (int attempt = 0; attempt < 1000; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        snprintf(name + folder, room - folder, ".nearfar-%ld-%lx%lx.tmp", (long)getpid(),
                 (unsigned long)now.tv_nsec ^ ((unsigned long)(uintptr_t)sink >> 4),
                 (unsigned long)attempt);
        sink->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
        if (sink->fd >= 0) {
            sink->temporary = name;
            return NF_OK;
        }
        if (errno != EEXIST && errno != EINTR) break;
    }
    int error = errno;
    nf_release(context, name);
    return write_failed(context, sink->target, error);
}

/* The old file's mode (and, where permitted, its owner) instead of the umask's. */
static nf_status keep_mode(nf_context *context, nf_sink *sink, const struct stat *old) {
    struct stat made;
    if (fstat(sink->fd, &made) == 0 && (made.st_uid != old->st_uid || made.st_gid != old->st_gid)) {
        if (fchown(sink->fd, old->st_uid, old->st_gid) != 0) errno = 0; /* not ours to give away */
    }
    if (fchmod(sink->fd, old->st_mode & 07777) != 0) {
        return write_failed(context, sink->target, errno);
    }
    return NF_OK;
}

static nf_status open_target(nf_context *context, nf_sink *sink) {
    int standard = standard_descriptor(sink->target);
    if (standard >= 0) {
        sink->fd = fcntl(standard, F_DUPFD_CLOEXEC, 3);
        return sink->fd >= 0 ? NF_OK : write_failed(context, sink->target, errno);
    }
    struct stat old;
    bool exists = stat(sink->target, &old) == 0;
    if (is_device_path(sink->target) || (exists && !S_ISREG(old.st_mode))) {
        nf_status status = NF_OK;
        do {
            sink->fd = open(sink->target, O_WRONLY | O_CLOEXEC | O_NOCTTY);
            if (sink->fd < 0 && errno != EINTR) return write_failed(context, sink->target, errno);
            if (sink->fd < 0) status = nf_after_signal(context);
        } while (sink->fd < 0 && status == NF_OK);
        return status;
    }
    /* A rename needs leave of the folder only; a file its owner made read-only stays as it is. */
    if (exists && access(sink->target, W_OK) != 0) {
        return write_failed(context, sink->target, errno);
    }
    nf_status status = open_temporary(context, sink);
    if (status == NF_OK && exists) status = keep_mode(context, sink, &old);
    return status;
}

nf_status nf_sink_open(nf_context *context, const char *path, nf_sink **out) {
    if (path == NULL || path[0] == '\0') {
        return nf_fail(context, NF_ERR_ARG, "path is empty: name a file");
    }
    nf_scope scope = nf_scope_enter(context);
    nf_sink *sink = NULL;
    nf_status status = nf_allocate(context, &sink, 1, sizeof *sink, "output buffer");
    if (status == NF_OK) {
        sink->fd = -1;
        sink->committed = false;
        sink->used = 0;
        sink->target = sink->folder = sink->temporary = NULL;
        status = follow_links(context, path, &sink->target);
    }
    if (status == NF_OK) status = keep_folder(context, sink);
    if (status == NF_OK) status = open_target(context, sink);
    if (status == NF_OK) {
        *out = sink;
    } else {
        nf_sink_close(context, sink);
    }
    return nf_scope_leave(context, scope, status);
}

/* All bytes out: interrupted and short writes go on, a full non-blocking pipe is waited for. */
static nf_status write_all(nf_context *context, nf_sink *sink, const unsigned char *bytes,
                           size_t size) {
    while (size > 0) {
        ssize_t put = write(sink->fd, bytes, nf_min_size(size, (size_t)1 << 30));
        if (put > 0) {
            bytes += put;
            size -= (size_t)put;
        } else if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
            put = poll(&ready, 1, -1);
        }
        if (put < 0 && errno == EINTR) {
            nf_status status = nf_after_signal(context);
            if (status != NF_OK) return status;
        } else if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            return write_failed(context, sink->target, errno);
        }
    }
    return NF_OK;
}

static nf_status flush(nf_context *context, nf_sink *sink) {
    size_t used = sink->used;
    sink->used = 0;
    return write_all(context, sink, sink->buffer, used);
}

nf_status nf_sink_write(nf_context *context, nf_sink *sink, const void *bytes, size_t size) {
    if (size == 0) return NF_OK;
    if (size > SINK_BUFFER - sink->used) {
        nf_status status = flush(context, sink);
        if (status != NF_OK) return status;
        if (size >= SINK_BUFFER) return write_all(context, sink, bytes, size);
    }
    memcpy(sink->buffer + sink->used, bytes, size);
    sink->used += size;
    return NF_OK;
}

static int sync_descriptor(int fd) {
    int result;
    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* Some file systems cannot sync a folder, and some folders may not be read: the file itself is
 * safe then, so only real failures count. */
static nf_status sync_folder(nf_context *context, const nf_sink *sink) {
    int fd = open(sink->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES ? NF_OK : write_failed(context, sink->folder, errno);
    int error = sync_descriptor(fd) != 0 ? errno : 0;
    close(fd);
    if (error == 0 || error == EINVAL || error == ENOTSUP) return NF_OK;
    return write_failed(context, sink->folder, error);
}

static nf_status close_descriptor(nf_context *context, nf_sink *sink) {
    int fd = sink->fd;
    sink->fd = -1;
    /* The descriptor is gone after EINTR on Linux; the data was synced before. */
    if (close(fd) != 0 && errno != EINTR) return write_failed(context, sink->target, errno);
    return NF_OK;
}

nf_status nf_sink_commit(nf_context *context, nf_sink *sink) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = flush(context, sink);
    if (status == NF_OK && sink->temporary != NULL && sync_descriptor(sink->fd) != 0) {
        status = write_failed(context, sink->target, errno);
    }
    if (status == NF_OK) status = close_descriptor(context, sink);
    if (status == NF_OK && sink->temporary != NULL) {
        if (rename(sink->temporary, sink->target) != 0) {
            status = write_failed(context, sink->target, errno);
        } else {
            sink->committed = true;
            status = sync_folder(context, sink);
        }
    }
    return nf_scope_leave(context, scope, status);
}

void nf_sink_close(nf_context *context, nf_sink *sink) {
    if (sink == NULL) return;
    if (sink->fd >= 0) close(sink->fd);
    if (sink->temporary != NULL && !sink->committed) unlink(sink->temporary);
    nf_release(context, sink->temporary);
    nf_release(context, sink->folder);
    nf_release(context, sink->target);
    nf_release(context, sink);
}

nf_status nf_file_write(nf_context *context, const char *path, const void *bytes, size_t size) {
    nf_scope scope = nf_scope_enter(context);
    nf_sink *sink = NULL;
    nf_status status = nf_sink_open(context, path, &sink);
    if (status == NF_OK) status = nf_sink_write(context, sink, bytes, size);
    if (status == NF_OK) status = nf_sink_commit(context, sink);
    nf_sink_close(context, sink);
    return nf_scope_leave(context, scope, status);
}
