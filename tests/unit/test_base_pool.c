/* The thread pool: every task once, cancelling, forks, threads that cannot be made. */
#define _GNU_SOURCE
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/pool.h"

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

#define TASKS 500

typedef struct loop {
    atomic_int runs[TASKS];
    atomic_int bad_worker, other_workers;
    int threads;
} loop;

static void count_task(void *argument, size_t task, int worker) {
    loop *l = argument;
    atomic_fetch_add(&l->runs[task], 1);
    if (worker < 0 || worker >= l->threads) atomic_store(&l->bad_worker, 1);
    if (worker != 0) atomic_fetch_add(&l->other_workers, 1);
}

static int loop_is_right(nf_context *context, size_t count) {
    loop *l = calloc(1, sizeof *l);
    l->threads = nf_context_threads(context);
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_parallel(context, count, true, 0, count_task, l);
    int right = nf_scope_leave(context, scope, status) == NF_OK;
    for (size_t k = 0; k < TASKS; k++) right &= l->runs[k] == (k < count);
    right &= !l->bad_worker;
    free(l);
    return right;
}

static void every_task_runs_once(void **state) {
    (void)state;
    const int threads[] = {1, 2, 3, 7, 16};
    for (size_t t = 0; t < 5; t++) {
        nf_context *context = test_context(threads[t]);
        for (size_t count = 0; count <= TASKS; count += count < 10 ? 1 : 98) {
            for (int round = 0; round < 20; round++) assert_true(loop_is_right(context, count));
        }
        nf_context_free(context);
    }
}

static void tasks_without_wake_stay_on_the_caller(void **state) {
    (void)state;
    nf_context *context = test_context(3);
    loop l = {.threads = 3};
    assert_ok(context, nf_parallel(context, TASKS, false, 0, count_task, &l));
    assert_int_equal(l.other_workers, 0);
    assert_null(context->pool);
    nf_context_free(context);
}

/* ---- cancelling ----------------------------------------------------------------------------- */

typedef struct watch {
    int stop_after; /* calls before asking to stop; negative: never */
    int calls, calls_after_stop, broken;
    uint64_t last, total;
    atomic_int ran;  /* tasks that have ended */
    int ran_at_stop; /* when the callback asked to stop */
} watch;

static int watch_progress(void *user, uint64_t done, uint64_t total) {
    watch *w = user;
    if (w->stop_after >= 0 && w->calls > w->stop_after) w->calls_after_stop++;
    if (done < w->last || done > total) w->broken = 1;
    w->last = done;
    w->total = total;
    if (w->calls == w->stop_after) {
        struct timespec pause = {0, 50000000}; /* as on a busy machine: the next call is due */
        nanosleep(&pause, NULL);
        w->ran_at_stop = w->ran;
    }
    return w->calls++ == w->stop_after;
}

static void slow_task(void *argument, size_t task, int worker) {
    (void)task;
    (void)worker;
    struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
    atomic_fetch_add(&((watch *)argument)->ran, 1);
}

enum { SLOW_TASKS = 1000 }; /* two seconds of sleep */

static nf_status watched_loop(nf_context *context, watch *w) {
    nf_context_set_progress(context, watch_progress, w);
    nf_scope scope = nf_scope_enter(context);
    nf_progress_start(context, SLOW_TASKS * 3);
    nf_status status = nf_parallel(context, SLOW_TASKS, true, 3, slow_task, w);
    return nf_scope_leave(context, scope, status);
}

/* Tasks and not seconds are counted: a busy machine may keep any thread from running for a while. */
static void a_cancelled_loop_stops_soon(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        nf_context *context = test_context(threads);
        watch w = {.stop_after = 1};
        assert_int_equal(watched_loop(context, &w), NF_ERR_CANCELLED);
        /* Each thread ends the task it is in; alone, nobody takes another while the caller asks. */
        assert_true(w.ran - w.ran_at_stop <= (threads == 1 ? 0 : SLOW_TASKS / 2));
        assert_int_equal(w.calls_after_stop, 0);
        assert_int_equal(w.broken, 0);
        assert_int_equal(w.total, 3000);
        nf_context_set_progress(context, NULL, NULL);
        assert_true(loop_is_right(context, TASKS)); /* the next call is not cancelled */
        nf_context_free(context);
    }
}

static void progress_ascends_to_the_total(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    watch w = {.stop_after = -1};
    assert_ok(context, watched_loop(context, &w));
    assert_int_equal(w.ran, SLOW_TASKS);
    assert_int_equal(w.broken, 0);
    assert_true(w.calls >= 2);
    nf_context_free(context);
}

/* ---- hosts that fork, limit threads or call from many ---------------------------------------- */

static void forked_children_make_their_own_threads(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* ThreadSanitizer refuses new threads in a forked child */
#endif
    nf_context *context = test_context(3);
    assert_true(loop_is_right(context, TASKS));
    for (int child = 0; child < 20; child++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(120); /* a child that hangs, not one on a slow machine */
            int right = loop_is_right(context, TASKS) && loop_is_right(context, TASKS);
            if (child % 2 == 0) { /* a grandchild */
                pid_t inner = fork();
                if (inner == 0) _exit(loop_is_right(context, TASKS) ? 0 : 1);
                int code;
                right &= waitpid(inner, &code, 0) == inner && code == 0;
            }
            nf_context_free(context);
            _exit(right ? 0 : 1);
        }
        int code;
        assert_int_equal(waitpid(pid, &code, 0), pid);
        assert_int_equal(code, 0);
    }
    assert_true(loop_is_right(context, TASKS));
    nf_context_free(context);
}

static void fewer_threads_than_asked_will_do(void **state) {
    (void)state;
    for (int limit = 0; limit < 7; limit++) {
        nf_context *context = test_context(7);
        threads_left = limit;
        for (int round = 0; round < 10; round++) assert_true(loop_is_right(context, TASKS));
        threads_left = -1;
        assert_int_equal(nf_context_threads(context), 7);
        assert_true(loop_is_right(context, TASKS));
        assert_int_equal(nf_context_error(context)->status, NF_OK);
        nf_context_free(context);
    }
}

static void *many_loops(void *argument) {
    nf_context *context = test_context(2);
    int right = 1;
    for (int round = 0; round < 100; round++) right &= loop_is_right(context, 50);
    nf_context_free(context);
    *(int *)argument = right;
    return NULL;
}

static void many_contexts_at_once(void **state) {
    (void)state;
    pthread_t thread[8];
    int right[8];
    for (int k = 0; k < 8; k++) {
        assert_int_equal(pthread_create(&thread[k], NULL, many_loops, &right[k]), 0);
    }
    for (int k = 0; k < 8; k++) pthread_join(thread[k], NULL);
    for (int k = 0; k < 8; k++) assert_int_equal(right[k], 1);
}

/* ---- the state workers run in --------------------------------------------------------------- */

enum { TURNS = 60000 }; /* that the caller waits for a first worker: 12 seconds and more */

typedef struct worker_state {
    atomic_int open_signals, wrong_control, met;
} worker_state;

static void inspect_worker(void *argument, size_t task, int worker) {
    worker_state *s = argument;
    (void)task;
    struct timespec pause = {0, 200000}; /* lets every worker have a share */
    nanosleep(&pause, NULL);
    if (worker == 0) {
        for (int turn = 0; turn < TURNS && atomic_load(&s->met) == 0; turn++)
            nanosleep(&pause, NULL);
        return;
    }
    atomic_fetch_add(&s->met, 1);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (!sigismember(&mask, SIGINT) || !sigismember(&mask, SIGTERM))
        atomic_store(&s->open_signals, 1);
#if defined(__x86_64__)
    if ((__builtin_ia32_stmxcsr() & ~0x3fu) != 0x1f80u) atomic_store(&s->wrong_control, 1);
#endif
}

static void workers_block_signals_and_round_by_default(void **state) {
    (void)state;
    nf_context *context = test_context(3);
    worker_state s = {0};
#if defined(__x86_64__)
    unsigned control = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(control | 0x8040u | 0x6000u); /* FTZ, DAZ, round toward zero */
    if ((__builtin_ia32_stmxcsr() & 0xe040u) != 0xe040u) {
        __builtin_ia32_ldmxcsr(control);
        nf_context_free(context);
        skip(); /* an emulated processor that rounds in one way only, as memcheck's */
    }
#endif
    nf_status status = nf_parallel(context, 200, true, 0, inspect_worker, &s);
#if defined(__x86_64__)
    assert_int_equal(__builtin_ia32_stmxcsr() & 0xffc0u, (control | 0x8040u | 0x6000u) & 0xffc0u);
    __builtin_ia32_ldmxcsr(control);
#endif
    assert_int_equal(status, NF_OK);
    assert_true(s.met > 0);
    assert_int_equal(s.open_signals, 0);
    assert_int_equal(s.wrong_control, 0);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(tasks_without_wake_stay_on_the_caller),
        cmocka_unit_test(a_cancelled_loop_stops_soon),
        cmocka_unit_test(progress_ascends_to_the_total),
        cmocka_unit_test(forked_children_make_their_own_threads),
        cmocka_unit_test(fewer_threads_than_asked_will_do),
        cmocka_unit_test(many_contexts_at_once),
        cmocka_unit_test(workers_block_signals_and_round_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
