/* A small pthread pool: fork-safe, survives failed thread creation, never allocates in a worker.
 *
 * Loops are numbered; workers take task numbers from an atomic counter. A worker may join a loop while
 * it is open; the caller closes it when no task is left and waits for the workers inside only, so one
 * that a busy machine has not woken yet delays nobody. Between loops a worker spins briefly (steps of
 * a training loop follow each other closely), then sleeps on a condition variable. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#define NF_SPIN 2000
#define NF_OPEN 1u
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
    atomic_uint loop;  /* twice its number, and NF_OPEN while workers may join it */
    atomic_int inside; /* workers that run tasks of it, or look whether they may */
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

/* Wait for a loop other than `seen`, which has NF_OPEN set; returns false when the pool stops. */
static bool wait_for_loop(nf_pool *pool, unsigned seen) {
    for (int spin = 0; spin < NF_SPIN; spin++) {
        if ((atomic_load_explicit(&pool->loop, memory_order_acquire) | NF_OPEN) != seen) break;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while ((atomic_load(&pool->loop) | NF_OPEN) == seen && !pool->stop) {
        pthread_cond_wait(&pool->start, &pool->mutex);
    }
    bool go = !pool->stop;
    pthread_mutex_unlock(&pool->mutex);
    return go;
}

static void *worker_main(void *argument) {
    nf_worker *self = argument;
    nf_pool *pool = self->pool;
    nf_fp_default(); /* a new thread inherits its creator's control word */
    unsigned seen = NF_OPEN;
    while (wait_for_loop(pool, seen)) {
        /* First inside, then the look: a loop seen open cannot end without this worker. */
        atomic_fetch_add(&pool->inside, 1);
        const unsigned loop = atomic_load(&pool->loop);
        seen = loop | NF_OPEN;
        if (loop == seen) run_tasks(pool, self->number);
        if (atomic_fetch_sub(&pool->inside, 1) == 1) {
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

/* Let the workers in; what they read is in place. */
static void open_loop(nf_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->loop, (atomic_load(&pool->loop) + 2) | NF_OPEN);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);
}

/* Let no more in and wait for those inside. */
static void close_loop(nf_pool *pool) {
    atomic_fetch_and(&pool->loop, ~NF_OPEN);
    for (int spin = 0; spin < NF_SPIN && atomic_load(&pool->inside) > 0; spin++) relax();
    if (atomic_load(&pool->inside) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->inside) > 0) pthread_cond_wait(&pool->finish, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
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
    open_loop(pool);

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
    close_loop(pool);
    return nf_progress_status(context);
}

void nf_pool_free(nf_context *context) {
    nf_pool *pool = context->pool;
    context->pool = NULL;
    if (pool != NULL && pool->owner == getpid()) {
        pthread_mutex_lock(&pool->mutex);
        pool->stop = true;
        pthread_cond_broadcast(&pool->start);
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < pool->workers; i++) pthread_join(pool->worker[i].thread, NULL);
        pthread_mutex_destroy(&pool->mutex);
        pthread_cond_destroy(&pool->start);
        pthread_cond_destroy(&pool->finish);
    }
    nf_release(context, pool);
}
