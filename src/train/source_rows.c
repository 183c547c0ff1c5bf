/* Pairs made offline: row k of left with row k of right. */
#include "base/random.h"
#include "train/train.h"

nf_status nf_source_loss_pairs(nf_run *run, nf_loss_result *result) {
    size_t d = run->model->options.outputs, n = run->rows / 2;
    float *y = run->a.y, *g = run->a.gradient[0];
    return nf_loss_rows(run->context, &run->options.loss, nf_matrix_f32(y, n, d),
                        nf_matrix_f32(y + n * d, n, d), run->source.step_same,
                        run->source.step_weight, NULL, result, nf_matrix_out_f32(g, n, d),
                        nf_matrix_out_f32(g + n * d, n, d));
}

static nf_status begin_rows(nf_run *run, size_t epoch) {
    nf_source *s = &run->source;
    for (size_t k = 0; k < s->rows; k++) s->order[k] = k;
    /* All pairs in one step are taken in the order given. */
    if (s->steps > 1) {
        nf_random_shuffle(run->options.seed, nf_random_stream(NF_STREAM_BATCHES, epoch), s->order,
                          s->rows);
    }
    return NF_OK;
}

static nf_status load_rows(nf_run *run, size_t step) {
    nf_source *s = &run->source;
    size_t first = step * run->options.batch_size;
    size_t end = step + 1 < s->steps ? first + run->options.batch_size : s->rows, n = end - first;
    const size_t *pair = s->order + first;
    for (size_t k = 0; k < n; k++) {
        s->step_same[k] = s->same[pair[k]];
        if (s->weight != NULL) s->step_weight[k] = s->weight[pair[k]];
    }
    run->rows = 2 * n;
    nf_status status =
        nf_model_gather(run->context, run->mean, run->std, s->x, pair, n, &run->a, 0);
    if (status != NF_OK) return status;
    return nf_model_gather(run->context, run->mean, run->std, s->right, pair, n, &run->a, n);
}

nf_status nf_source_rows(nf_run *run, nf_matrix left, nf_matrix right, const uint8_t *same,
                         const double *weight) {
    nf_source *s = &run->source;
    nf_context *context = run->context;
    size_t n = left.rows, batch = run->options.batch_size;
    bool all = run->options.sampling == NF_SAMPLE_ALL || batch >= n;
    *s = (nf_source){.begin_epoch = begin_rows,
                     .load = load_rows,
                     .loss = nf_source_loss_pairs,
                     .x = left,
                     .right = right,
                     .rows = n,
                     .same = same,
                     .weight = weight};
    /* A last step shorter than half of batch_size is folded into the one before. */
    s->steps = all ? 1 : nf_max_size(1, n / batch + (n % batch >= batch - batch / 2));
    size_t largest = s->steps == 1 ? n : nf_max_size(batch, n - (s->steps - 1) * batch);
    if (nf_mul_overflows(largest, 2, &s->capacity)) s->capacity = SIZE_MAX;
    nf_status status = nf_scratch(context, &s->order, n, sizeof(size_t), "pair order");
    if (status == NF_OK) status = nf_scratch(context, &s->step_same, largest, 1, "step pairs");
    if (status == NF_OK && weight != NULL) {
        status = nf_scratch(context, &s->step_weight, largest, sizeof(double), "step weights");
    }
    return status;
}
