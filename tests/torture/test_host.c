/* The host process after a call is as it was: signals, locale, directory, umask, environment, open
 * files, floating-point control. And the library in hosts that fork, cancel, cannot make threads, or
 * call from many threads. */
#define _GNU_SOURCE
#include "probe.h"
#include "support.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"

/* Threads that may still be made before pthread_create fails; negative: no limit. */
static int threads_left = -1;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument) {
    typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    create_fn next;
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &symbol, sizeof next);
    if (threads_left == 0) return EAGAIN;
    if (threads_left > 0) threads_left--;
    return next(thread, attributes, start, argument);
}

/* ---- work: enough to wake threads ----------------------------------------------------------------- */

enum { N = 700, D = 24 };

typedef struct work {
    float x[N * D], gradient[N * D], matrix[N * 8];
    int64_t label[N];
} work;

static work *make_work(uint64_t seed) {
    work *w = malloc(sizeof *w);
    test_random_f32(seed, w->x, N * D, -1, 1);
    test_random_labels(seed, w->label, N, -1, 5);
    return w;
}

/* A hash of everything two calls give; 0 on failure. */
static uint64_t run_work(nf_context *context, work *w) {
    nf_loss loss = nf_loss_weston();
    nf_loss_result r;
    loss.neg_margin = 3;
    nf_matrix x = nf_matrix_f32(w->x, N, D);
    if (nf_loss_batch(context, &loss, x, (nf_labels){w->label, N, 1}, &r,
                      nf_matrix_out_f32(w->gradient, N, D)) != NF_OK) {
        return 0;
    }
    if (nf_distances_full(context, NULL, x, nf_matrix_f32(w->x, 8, D),
                          nf_matrix_out_f32(w->matrix, N, 8)) != NF_OK) {
        return 0;
    }
    uint64_t hash = probe_hash(PROBE_HASH, &r.value, sizeof r.value);
    hash = probe_hash(hash, w->gradient, sizeof w->gradient);
    return probe_hash(hash, w->matrix, sizeof w->matrix);
}

/* ---- the host as it was ----------------------------------------------------------------------------- */

extern char **environ;

typedef struct host {
    struct sigaction action[32];
    sigset_t mask;
    char locale[64], directory[4096];
    mode_t creation_mask;
    uint64_t environment;
    int files;
    unsigned control;
} host;

static int count_files(void) {
    int files = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL) files++;
    if (directory != NULL) closedir(directory);
    return files;
}

static host look(void) {
    host h;
    memset(&h, 0, sizeof h);
    for (int s = 1; s < 32; s++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        sigaction(s, NULL, &action);
        memcpy(&h.action[s].sa_handler, &action.sa_handler, sizeof action.sa_handler);
        h.action[s].sa_flags = action.sa_flags;
    }
    pthread_sigmask(SIG_BLOCK, NULL, &h.mask);
    snprintf(h.locale, sizeof h.locale, "%s", setlocale(LC_ALL, NULL));
    if (getcwd(h.directory, sizeof h.directory) == NULL) fail();
    h.creation_mask = umask(022);
    umask(h.creation_mask);
    h.environment = PROBE_HASH;
    for (char **e = environ; *e != NULL; e++)
        h.environment = probe_hash(h.environment, *e, strlen(*e));
    h.files = count_files();
    h.control = probe_fp_get();
    return h;
}

static void the_host_is_left_as_it_was(void **state) {
    (void)state;
    work *w = make_work(1);
    host before = look();
    for (int threads = 1; threads <= 3; threads += 2) {
        nf_context *context = test_context(threads);
        assert_true(run_work(context, w) != 0);
        w->x[5] = INFINITY; /* an error path */
        assert_true(run_work(context, w) == 0);
        w->x[5] = 0.25f;
        nf_context_free(context);
    }
    host after = look();
    before.control = after.control; /* of this thread's own arithmetic; see the next test */
    assert_memory_equal(&before, &after, sizeof before);
    free(w);
}

static void the_control_word_and_flags_survive(void **state) {
    (void)state;
    work *w = make_work(2);
    for (int threads = 1; threads <= 2; threads++) {
        nf_context *context = test_context(threads);
        uint64_t want = run_work(context, w);
        for (int environment = 0; environment < PROBE_ENVIRONMENTS; environment++) {
            unsigned before = probe_fp_set(environment), inside = probe_fp_get();
            uint64_t got = run_work(context, w);
            unsigned after = probe_fp_get();
            probe_fp_restore(before);
            assert_true(got == want);
            assert_int_equal(after, inside);
        }
        nf_context_free(context);
    }
    free(w);
}

/* ---- hosts that fork, call from many threads, cannot make threads ------------------------------------ */

#define HUNG 120 /* seconds of a child that waits for a lock; a slow one takes a few */

static void forked_children_give_the_same_bytes(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* ThreadSanitizer refuses new threads in a forked child */
#endif
    nf_context *context = test_context(2);
    work *w = make_work(3);
    uint64_t want = run_work(context, w);
    for (int child = 0; child < 12; child++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(HUNG);
            int right = run_work(context, w) == want;
            nf_context_free(context);
            _exit(right ? 0 : 1);
        }
        int code;
        assert_int_equal(waitpid(pid, &code, 0), pid);
        assert_int_equal(code, 0);
    }
    assert_true(run_work(context, w) == want);
    nf_context_free(context);
    free(w);
}

/* Memory behind a lock that the forking thread holds: AddressSanitizer's malloc, unlike glibc's, keeps
 * no order at a fork, and a child of a thread inside it would wait for ever. */
static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;

static void *locked_allocate(void *user, size_t bytes) {
    (void)user;
    pthread_mutex_lock(&memory_lock);
    void *memory = malloc(bytes);
    pthread_mutex_unlock(&memory_lock);
    return memory;
}

static void locked_release(void *user, void *memory) {
    (void)user;
    pthread_mutex_lock(&memory_lock);
    free(memory);
    pthread_mutex_unlock(&memory_lock);
}

static nf_context *locked_context(void) {
    const nf_allocator allocator = {locked_allocate, locked_release, NULL};
    const nf_context_options options = {.threads = 2, .allocator = &allocator};
    nf_context *context = NULL;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    return context;
}

static pid_t locked_fork(void) {
    pthread_mutex_lock(&memory_lock);
    pid_t pid = fork();
    pthread_mutex_unlock(&memory_lock);
    return pid;
}

typedef struct busy {
    nf_context *context;
    work *work;
    atomic_int calls, stop, wrong;
} busy;

static void *call_until_told(void *argument) {
    busy *b = argument;
    uint64_t want = run_work(b->context, b->work);
    while (!atomic_load(&b->stop)) {
        if (run_work(b->context, b->work) != want) atomic_store(&b->wrong, 1);
        atomic_fetch_add(&b->calls, 1);
    }
    return NULL;
}

/* A fork in the middle of another thread's call: the child may use any context of its own. */
static void children_of_a_busy_process_work(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip();
#endif
    busy b = {.context = locked_context(), .work = make_work(5)};
    pthread_t thread;
    nf_context *context = locked_context(); /* idle at the fork */
    work *w = make_work(6);
    uint64_t want = run_work(context, w);
    assert_int_equal(pthread_create(&thread, NULL, call_until_told, &b), 0);
    while (atomic_load(&b.calls) == 0) sched_yield(); /* its own threads are made */
    for (int child = 0; child < 12; child++) {
        pid_t pid = locked_fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(HUNG);
            nf_context *own = locked_context();
            int right = run_work(own, w) == want && run_work(context, w) == want;
            nf_context_free(own);
            _exit(right ? 0 : 1);
        }
        int code;
        assert_int_equal(waitpid(pid, &code, 0), pid);
        assert_int_equal(code, 0);
    }
    atomic_store(&b.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(b.wrong, 0);
    nf_context_free(b.context);
    nf_context_free(context);
    free(b.work);
    free(w);
}

static void threads_that_cannot_be_made_change_nothing(void **state) {
    (void)state;
    work *w = make_work(4);
    nf_context *alone = test_context(1);
    uint64_t want = run_work(alone, w);
    for (int limit = 0; limit < 5; limit++) {
        nf_context *context = test_context(5);
        threads_left = limit;
        uint64_t got = run_work(context, w);
        threads_left = -1;
        assert_true(got == want);
        nf_context_free(context);
    }
    nf_context_free(alone);
    free(w);
}

static void *call_often(void *argument) {
    uint64_t *hash = argument;
    nf_context *context = test_context(2);
    work *w = make_work(*hash);
    uint64_t first = run_work(context, w), again = first;
    for (int round = 0; round < 4; round++) again = run_work(context, w) == first ? again : 0;
    nf_context_free(context);
    free(w);
    *hash = again;
    return NULL;
}

static void many_contexts_at_once(void **state) {
    (void)state;
    pthread_t thread[8];
    uint64_t hash[8];
    for (size_t k = 0; k < 8; k++) {
        hash[k] = 7 + k % 4;
        assert_int_equal(pthread_create(&thread[k], NULL, call_often, &hash[k]), 0);
    }
    for (size_t k = 0; k < 8; k++) pthread_join(thread[k], NULL);
    nf_context *context = test_context(1);
    for (size_t k = 0; k < 8; k++) {
        work *w = make_work(7 + k % 4);
        assert_true(hash[k] == run_work(context, w));
        free(w);
    }
    nf_context_free(context);
}

/* ---- cancelling -------------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PATIENCE 2.0 /* sanitizers are slow */
#else
#define PATIENCE 0.2
#endif

/* Processor time of this process: how late a call is must not depend on what else is running. */
static double busy_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct stop {
    double at, returned_from; /* when to stop; when the callback said so */
} stop;

static int stop_at(void *user, uint64_t done, uint64_t total) {
    stop *s = user;
    (void)done;
    (void)total;
    if (busy_seconds() < s->at) return 0;
    s->returned_from = busy_seconds();
    return 1;
}

typedef struct long_work {
    float *x, *gradient, *matrix;
    int64_t *label;
    size_t n, d;
} long_work;

static nf_status long_call(nf_context *context, long_work *w, int which, nf_loss_result *r) {
    nf_loss loss = nf_loss_weston();
    loss.neg_margin = 8;
    nf_matrix x = nf_matrix_f32(w->x, w->n, w->d);
    nf_labels labels = {w->label, w->n, 1};
    nf_loss_sets sets = {x, x, labels, labels, NULL, NULL};
    nf_matrix_out gradient = nf_matrix_out_f32(w->gradient, w->n, w->d);
    switch (which) {
    case 0: return nf_loss_batch(context, &loss, x, labels, r, gradient);
    case 1: return nf_loss_reference(context, &loss, &sets, r, gradient, (nf_matrix_out){0});
    default:
        return nf_distances_full(context, NULL, x, nf_matrix_f32(w->x, 2000, w->d),
                                 nf_matrix_out_f32(w->matrix, w->n, 2000));
    }
}

static void a_long_call_stops_within_a_fifth_of_a_second(void **state) {
    (void)state;
    long_work w = {.n = 16000, .d = 512};
    w.x = malloc(w.n * w.d * 4);
    w.gradient = malloc(w.n * w.d * 4);
    w.matrix = malloc(w.n * 2000 * 4);
    w.label = malloc(w.n * sizeof *w.label);
    test_random_f32(1, w.x, w.n * w.d, -1, 1);
    test_random_labels(1, w.label, w.n, 0, 50);
    for (int threads = 1; threads <= 2; threads++) {
        nf_context *context = test_context(threads);
        for (int which = 0; which < 3; which++) {
            stop s = {.at = busy_seconds() + 0.15};
            nf_loss_result r;
            memset(&r, 0xA5, sizeof r);
            memset(w.gradient, 0xA5, w.n * w.d * 4);
            nf_context_set_progress(context, stop_at, &s);
            nf_status status = long_call(context, &w, which, &r);
            double late = busy_seconds() - s.returned_from;
            if (status == NF_OK) continue; /* the call was quicker than that */
            assert_int_equal(status, NF_ERR_CANCELLED);
            assert_int_equal(nf_context_error(context)->status, NF_ERR_CANCELLED);
            if (late > PATIENCE * threads)
                fail_msg("call %d, %d threads: %g s late", which, threads, late);
            for (size_t k = 0; k < sizeof r; k++) assert_int_equal(((unsigned char *)&r)[k], 0xA5);
            for (size_t k = 0; which < 2 && k < w.n * w.d * 4; k++) {
                if (((unsigned char *)w.gradient)[k] != 0xA5) fail_msg("byte %zu was written", k);
            }
        }
        nf_context_set_progress(context, NULL, NULL);
        nf_context_free(context);
    }
    free(w.x);
    free(w.gradient);
    free(w.matrix);
    free(w.label);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_is_left_as_it_was),
        cmocka_unit_test(the_control_word_and_flags_survive),
        cmocka_unit_test(forked_children_give_the_same_bytes),
        cmocka_unit_test(children_of_a_busy_process_work),
        cmocka_unit_test(threads_that_cannot_be_made_change_nothing),
        cmocka_unit_test(many_contexts_at_once),
        cmocka_unit_test(a_long_call_stops_within_a_fifth_of_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
