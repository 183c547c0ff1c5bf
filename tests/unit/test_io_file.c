/* Whole files: complete or untouched, whatever the system calls do.
 *
 * This program defines the system calls the library writes with; the definitions pass on to the
 * kernel, unless a test asks the k-th of them to fail. */
#define _GNU_SOURCE
#include "io_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static nf_context *ctx;

static struct {
    int armed;      /* count and perhaps fail */
    int calls;      /* so far */
    int fail_at;    /* 1-based; 0: none */
    int error;      /* errno of the failure; 0: a short write, EINTR: once, then fine */
    size_t largest; /* most bytes a write takes; 0: all */
} fault;

/* -1 with errno if this call must fail. */
static int fails(void) {
    if (!fault.armed || ++fault.calls != fault.fail_at || fault.error == 0) return 0;
    errno = fault.error;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    if (fails() != 0) return -1;
    if (fault.armed && fault.largest != 0 && size > fault.largest) size = fault.largest;
    return syscall(SYS_write, fd, bytes, size);
}

int fsync(int fd) { return fails() != 0 ? -1 : (int)syscall(SYS_fsync, fd); }

int rename(const char *from, const char *to) {
    return fails() != 0 ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fchmod(int fd, mode_t mode) { return fails() != 0 ? -1 : (int)syscall(SYS_fchmod, fd, mode); }

int close(int fd) {
    int failed = fails();
    int error = errno;
    int result = (int)syscall(SYS_close, fd); /* the descriptor is gone either way */
    if (failed != 0) errno = error;
    return failed != 0 ? -1 : result;
}

static int setup(void **state) {
    (void)state;
    ctx = test_context(1);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    nf_context_free(ctx);
    return 0;
}

static char big[300000], back[300001];

static void fill_big(void) {
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 31 >> 3);
}

static void check_file(const char *path, const void *bytes, size_t size) {
    assert_int_equal(read_back(path, back, sizeof back), size);
    assert_memory_equal(back, bytes, size);
}

static mode_t mode_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static void files_are_read_whole(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, sizeof big};
    const char *path = temp_path("f");
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        void *bytes = NULL;
        size_t size = 1;
        put_file(path, big, sizes[k]);
        assert_ok(ctx, nf_file_read(ctx, path, 1, 0, &bytes, &size));
        assert_int_equal(size, sizes[k]);
        assert_memory_equal(bytes, big, size);
        nf_bytes_free(ctx, bytes);
        bytes = NULL;
        if (sizes[k] < 2) continue;
        assert_ok(ctx, nf_file_read(ctx, path, 1, sizes[k], &bytes, &size));
        nf_bytes_free(ctx, bytes);
        bytes = NULL;
        assert_fails(ctx, nf_file_read(ctx, path, 1, sizes[k] - 1, &bytes, &size), NF_ERR_RANGE,
                     "more than the limit");
        assert_null(bytes);
    }
    temp_remove(path);
    void *bytes = NULL;
    size_t size = 0;
    assert_fails(ctx, nf_file_read(ctx, "/no/such", 0, 0, &bytes, &size), NF_ERR_IO,
                 "No such file");
    assert_fails(ctx, nf_file_read(ctx, "/tmp", 0, 0, &bytes, &size), NF_ERR_IO, "directory");
    assert_fails(ctx, nf_file_read(ctx, "", 0, 0, &bytes, &size), NF_ERR_ARG, "empty");
    assert_ok(ctx, nf_file_read(ctx, "/proc/self/status", 0, 0, &bytes, &size)); /* no size */
    assert_true(size > 100);
    nf_bytes_free(ctx, bytes);
}

/* A pipe that delivers in pieces, through a path and as standard input. */
static void pipes_are_read_to_their_end(void **state) {
    (void)state;
    const char *path = temp_path("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    for (int standard = 0; standard < 2; standard++) {
        pid_t child = fork();
        if (child == 0) {
            int fd = open(path, O_WRONLY);
            for (size_t at = 0; at < sizeof big; at += 1000) {
                if (syscall(SYS_write, fd, big + at, 1000) != 1000) _exit(1);
            }
            _exit(0);
        }
        void *bytes = NULL;
        size_t size = 0;
        int keep = -1;
        if (standard) {
            keep = dup(STDIN_FILENO);
            int fd = open(path, O_RDONLY);
            assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
            close(fd);
        }
        assert_ok(ctx, nf_file_read(ctx, standard ? "-" : path, 0, 0, &bytes, &size));
        if (standard) {
            dup2(keep, STDIN_FILENO);
            close(keep);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(size, sizeof big);
        assert_memory_equal(bytes, big, size);
        nf_bytes_free(ctx, bytes);
    }
    temp_remove(path);
}

static void new_files_take_the_umask_and_old_ones_keep_their_mode(void **state) {
    (void)state;
    const char *path = temp_path("f");
    mode_t old = umask(027);
    assert_ok(ctx, nf_file_write(ctx, path, big, sizeof big));
    assert_int_equal(mode_of(path), 0640);
    check_file(path, big, sizeof big);
    assert_int_equal(chmod(path, 0604), 0);
    assert_ok(ctx, nf_file_write(ctx, path, "short", 5));
    assert_int_equal(mode_of(path), 0604);
    check_file(path, "short", 5);
    umask(old);
    assert_ok(ctx, nf_file_write(ctx, path, NULL, 0));
    check_file(path, "", 0);
    temp_remove(path);
}

static void symbolic_links_are_followed(void **state) {
    (void)state;
    char target[300], link[300], second[300];
    const char *path = temp_path("x");
    *strrchr(path, '/') = '\0';
    snprintf(target, sizeof target, "%s/target", path);
    snprintf(link, sizeof link, "%s/link", path);
    snprintf(second, sizeof second, "%s/second", path);
    assert_int_equal(symlink("target", link), 0); /* relative, dangling at first */
    assert_int_equal(symlink(link, second), 0);   /* absolute, to a link */
    for (int k = 0; k < 2; k++) {
        assert_ok(ctx, nf_file_write(ctx, second, k == 0 ? "one" : "two", 3));
        check_file(target, k == 0 ? "one" : "two", 3);
        struct stat info;
        assert_int_equal(lstat(link, &info), 0);
        assert_true(S_ISLNK(info.st_mode));
    }
    unlink(second);
    assert_int_equal(symlink(second, second), 0); /* a circle */
    assert_fails(ctx, nf_file_write(ctx, second, "x", 1), NF_ERR_IO, "");
    unlink(link), unlink(second);
    temp_remove(target);
}

static void a_name_without_folder_is_written_here(void **state) {
    (void)state;
    char here[1000];
    const char *path = temp_path("plain");
    char folder[300];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    nf_status status = nf_file_write(ctx, "plain", "abc", 3);
    assert_int_equal(chdir(here), 0);
    assert_ok(ctx, status);
    check_file(path, "abc", 3);
    temp_remove(path);
}

/* Pipes and devices are written directly, never replaced. */
static void pipes_and_devices_are_written_directly(void **state) {
    (void)state;
    fill_big();
    const char *path = temp_path("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        nf_context *mine = test_context(1);
        _exit(nf_file_write(mine, path, big, sizeof big) == NF_OK ? 0 : 1);
    }
    check_file(path, big, sizeof big);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    temp_remove(path);
    assert_ok(ctx, nf_file_write(ctx, "/dev/null", big, sizeof big));
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    if (access("/dev/full", W_OK) == 0) {
        assert_fails(ctx, nf_file_write(ctx, "/dev/full", "x", 1), NF_ERR_IO, "No space left");
    }
}

/* /dev/stdout and "-" go on where the redirected output stands. */
static void standard_output_is_continued(void **state) {
    (void)state;
    static const char *const names[] = {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"};
    const char *path = temp_path("out");
    pid_t child = fork();
    if (child == 0) {
        nf_context *mine = test_context(1);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, STDOUT_FILENO);
        if (syscall(SYS_write, 1, "begin\n", 6) != 6) _exit(1);
        for (int k = 0; k < 4; k++) {
            if (nf_file_write(mine, names[k], "data\n", 5) != NF_OK) _exit(1);
        }
        _exit(syscall(SYS_write, 1, "end\n", 4) == 4 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    check_file(path, "begin\ndata\ndata\ndata\ndata\nend\n", 30);
    temp_remove(path);
}

static void a_full_nonblocking_pipe_is_waited_for(void **state) {
    (void)state;
    int ends[2];
    char name[40];
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        size_t got = 0;
        for (ssize_t n; (n = read(ends[0], back, 5000)) > 0; got += (size_t)n) usleep(200);
        _exit(got == sizeof big ? 0 : 1);
    }
    close(ends[0]);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[1]);
    assert_ok(ctx, nf_file_write(ctx, name, big, sizeof big));
    close(ends[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Every system call of a save fails once, with each error: the old file stays, nothing is left
 * beside it, and the next save works. Only a failed sync of the folder comes after the rename. */
static void any_failing_call_leaves_the_old_file(void **state) {
    (void)state;
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS};
    fill_big();
    const char *path = temp_path("f");
    assert_ok(ctx, nf_file_write(ctx, path, "old", 3));
    memset(&fault, 0, sizeof fault);
    fault.armed = 1;
    assert_ok(ctx, nf_file_write(ctx, path, big, sizeof big));
    int calls = fault.calls;
    fault.armed = 0;
    assert_in_range(calls, 7, 20); /* fchmod, write, fsync, close, rename, fsync, close at least */
    int failed = 0;
    for (int k = 1; k <= calls; k++) {
        for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
            assert_ok(ctx, nf_file_write(ctx, path, "old", 3));
            memset(&fault, 0, sizeof fault);
            fault.armed = 1, fault.fail_at = k, fault.error = errors[e];
            nf_status status = nf_file_write(ctx, path, big, sizeof big);
            fault.armed = 0;
            if (status == NF_OK) { /* closing the folder tells nothing */
                assert_int_equal(k, calls);
                check_file(path, big, sizeof big);
                continue;
            }
            failed++;
            assert_int_equal(status, NF_ERR_IO);
            test_assert_contains(nf_context_error(ctx)->message, strerror(errors[e]), __FILE__,
                                 __LINE__);
            if (k == calls - 1)
                check_file(path, big, sizeof big); /* whole, but perhaps not safe */
            else
                check_file(path, "old", 3);
            assert_int_equal(unlink(path), 0);
            char folder[300];
            snprintf(folder, sizeof folder, "%s", path);
            *strrchr(folder, '/') = '\0';
            assert_int_equal(rmdir(folder), 0); /* no temporary */
            assert_int_equal(mkdir(folder, 0700), 0);
        }
    }
    assert_int_equal(failed, (calls - 1) * 4);
    temp_remove(path);
}

static void interrupted_and_short_writes_go_on(void **state) {
    (void)state;
    fill_big();
    const char *path = temp_path("f");
    for (int k = 1; k <= 8; k++) {
        memset(&fault, 0, sizeof fault);
        fault.armed = 1, fault.fail_at = k, fault.error = EINTR, fault.largest = 77777;
        /* rename and fchmod do not return EINTR */
        nf_status status = nf_file_write(ctx, path, big, sizeof big);
        fault.armed = 0;
        if (status == NF_OK)
            check_file(path, big, sizeof big);
        else
            assert_int_equal(status, NF_ERR_IO);
        if (k < 5) assert_ok(ctx, status); /* the writes */
    }
    temp_remove(path);
}

/* Eight processes save to one name: it always holds one whole file, nothing else remains. */
static void writers_do_not_meet(void **state) {
    (void)state;
    fill_big();
    const char *path = temp_path("f");
    assert_ok(ctx, nf_file_write(ctx, path, big, sizeof big));
    pid_t children[8];
    for (int c = 0; c < 8; c++) {
        children[c] = fork();
        if (children[c] != 0) continue;
        nf_context *mine = test_context(1);
        memset(big, 'a' + c, sizeof big);
        for (int k = 0; k < 10; k++) {
            if (nf_file_write(mine, path, big, sizeof big) != NF_OK) _exit(1);
        }
        _exit(0);
    }
    for (int c = 0; c < 8; c++) {
        int status = 0;
        assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(read_back(path, back, sizeof back), sizeof big);
    for (size_t i = 1; i < sizeof big; i++) assert_int_equal(back[i], back[0]);
    temp_remove(path);
}

static void unwritable_targets_are_refused(void **state) {
    (void)state;
    assert_fails(ctx, nf_file_write(ctx, "/tmp", "x", 1), NF_ERR_IO, "directory");
    assert_fails(ctx, nf_file_write(ctx, "/no/such/f", "x", 1), NF_ERR_IO, "No such file");
    assert_fails(ctx, nf_file_write(ctx, "", "x", 1), NF_ERR_ARG, "empty");
    assert_fails(ctx, nf_file_write(ctx, NULL, "x", 1), NF_ERR_ARG, "empty");
    if (geteuid() != 0) { /* root may write anywhere */
        const char *path = temp_path("f");
        put_file(path, "old", 3);
        assert_int_equal(chmod(path, 0444), 0);
        assert_fails(ctx, nf_file_write(ctx, path, "x", 1), NF_ERR_IO, "Permission denied");
        check_file(path, "old", 3);
        temp_remove(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_whole),
        cmocka_unit_test(pipes_are_read_to_their_end),
        cmocka_unit_test(new_files_take_the_umask_and_old_ones_keep_their_mode),
        cmocka_unit_test(symbolic_links_are_followed),
        cmocka_unit_test(a_name_without_folder_is_written_here),
        cmocka_unit_test(pipes_and_devices_are_written_directly),
        cmocka_unit_test(standard_output_is_continued),
        cmocka_unit_test(a_full_nonblocking_pipe_is_waited_for),
        cmocka_unit_test(any_failing_call_leaves_the_old_file),
        cmocka_unit_test(interrupted_and_short_writes_go_on),
        cmocka_unit_test(writers_do_not_meet),
        cmocka_unit_test(unwritable_targets_are_refused),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
