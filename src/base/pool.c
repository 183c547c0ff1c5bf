/* A small pthread pool: fork-safe, survives failed thread creation, never allocates in a worker.
 *
 * A loop is a generation number under a mutex; workers take task numbers from an atomic counter.
 * Between loops a worker spins briefly (tournament rounds follow each other within microseconds),
 * then sleeps on a condition variable. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#define NF_SPIN 2000
#define NF_STACK_SIZE (256 * 1024)

typedef struct nf_worker {
    nf_pool *pool;
    pthread_t thread;
    int number;
} nf_worker;

struct nf_pool {
    pid_t owner; /* a forked child must not use its parent's threads */
    int workers; /* threads running, without the caller */
    pthread_mutex_t mutex;
    pthread_cond_t start, finish;
    atomic_uint generation;
    atomic_int busy; /* workers still in the current loop */
    bool stop;
    nf_task_fn task;
    void *argument;
    size_t count;
    atomic_size_t next;
    atomic_int *cancelled;
    nf_worker worker[];
};

static void run_tasks(nf_pool *pool, int number) {
    for (;;) {
        if (atomic_load_explicit(pool->cancelled, memory_order_relaxed)) return;
        size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->count) return;
        pool->task(pool->argument, task, number);
    }
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    sched_yield();
#endif
}

/* Wait for a generation other than `seen`; returns false when the pool stops. */
static bool wait_for_loop(nf_pool *pool, unsigned seen) {
    for (int spin = 0; spin < NF_SPIN; spin++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) break;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->start, &pool->mutex);
    bool go = !pool->stop;
    pthread_mutex_unlock(&pool->mutex);
    return go;
}

static void *worker_main(void *argument) {
    nf_worker *self = argument;
    nf_pool *pool = self->pool;
    nf_fp_default(); /* a new thread inherits its creator's control word */
    unsigned seen = 0;
    while (wait_for_loop(pool, seen)) {
        seen = atomic_load(&pool->generation);
        run_tasks(pool, self->number);
        if (atomic_fetch_sub(&pool->busy, 1) == 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->finish);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
    return NULL;
}

/* Start workers with all signals blocked, so that the host's handlers run on its own threads. */
static void start_workers(nf_pool *pool, int wanted) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setstacksize(&attributes, NF_STACK_SIZE);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < wanted; i++) {
        nf_worker *worker = &pool->worker[pool->workers];
        *worker = (nf_worker){.pool = pool, .number = pool->workers + 1};
        if (pthread_create(&worker->thread, &attributes, worker_main, worker) != 0) break;
        pool->workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
}

/* The pool, made or (after a fork) made anew; NULL when the caller must work alone. */
static nf_pool *pool_get(nf_context *context) {
    if (context->pool != NULL && context->pool->owner == getpid()) return context->pool;
    /* A child abandons its parent's pool: those threads do not exist here, and its mutex may be
     * in any state. Only the memory is given back. */
    nf_release(context, context->pool);
    context->pool = NULL;
    nf_error kept = context->error;
    size_t wanted = (size_t)context->threads - 1;
    nf_pool *pool;
    if (nf_allocate_zeroed(context, &pool, 1, sizeof *pool + wanted * sizeof(nf_worker),
                           "thread pool") != NF_OK) {
        context->error = kept; /* fewer threads is not a failure */
        return NULL;
    }
    pool->owner = getpid();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->finish, NULL);
    start_workers(pool, (int)wanted);
    context->pool = pool;
    return pool;
}

static nf_status run_alone(nf_context *context, size_t count, uint64_t units, nf_task_fn task,
                           void *argument) {
    for (size_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&context->cancelled, memory_order_relaxed)) break;
        task(argument, i, 0);
        if (units > 0) nf_progress_add(context, units);
    }
    return nf_progress_status(context);
}

nf_status nf_parallel(nf_context *context, size_t count, bool wake, uint64_t units, nf_task_fn task,
                      void *argument) {
    nf_pool *pool = wake && count > 1 && context->threads > 1 ? pool_get(context) : NULL;
    if (pool == NULL || pool->workers == 0) {
        return run_alone(context, count, units, task, argument);
    }
    pool->task = task;
    pool->argument = argument;
    pool->count = count;
    pool->cancelled = &context->cancelled;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->busy, pool->workers);
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);

    size_t counted = 0; /* tasks of all workers, as the shared counter shows them */
    for (;;) {
        if (atomic_load_explicit(&context->cancelled, memory_order_relaxed)) break;
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= count) break;
        task(argument, i, 0);
        if (units > 0) nf_progress_add(context, units * (i + 1 - counted));
        counted = i + 1;
    }
    if (units > 0) nf_progress_add(context, units * (count - counted));
    for (int spin = 0; spin < NF_SPIN && atomic_load(&pool->busy) > 0; spin++) relax();
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->busy) > 0) pthread_cond_wait(&pool->finish, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    return nf_progress_status(context);
}

void nf_pool_free(nf_context *context) {
    nf_pool *pool = context->pool;
    context->pool = NULL;
    if (pool != NULL && pool->owner == getpid()) {
        pthread_mutex_lock(&pool->mutex);
        pool->stop = true;
        atomic_fetch_add(&pool->generation, 1);
        pthread_cond_broadcast(&pool->start);
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < pool->workers; i++) pthread_join(pool->worker[i].thread, NULL);
        pthread_mutex_destroy(&pool->mutex);
        pthread_cond_destroy(&pool->start);
        pthread_cond_destroy(&pool->finish);
    }
    nf_release(context, pool);
}
