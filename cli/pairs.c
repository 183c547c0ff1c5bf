/* nearfar pairs: classes and their pairs, every pair streamed to a file, a sample of them or mined
 * ones, also triplets; with the rows gathered for frameworks that are fed left, right and same arrays. */
#include <stdlib.h>
#include <string.h>

#include "data.h"

#define CHUNK 4096 /* pairs gathered at a time */

static const char *const npy_only[] = {".npy", NULL};
static const char *const npy_or_npz[] = {".npy", ".npz", NULL};

typedef struct job {
    cli *app;
    cli_rows data;      /* with --data; else only its labels are used */
    cli_rows reference; /* with --reference: what the second of a pair is a row of */
    nf_array *ids, *reference_ids;
    nf_partition *partition;
    uint64_t count, done; /* pairs to write, written */
    nf_npy_writer *list, *left, *right, *same;
    int64_t *triples;
    void *rows;         /* a chunk of gathered rows */
    int64_t *i, *j, *k; /* of pairs (i, j), or triplets (i, j, k) */
    uint8_t *flags;
    double *weight;
} job;

/* ---- writing ---- */

/* The third column is `same` of pairs, k of triplets. */
static nf_status append_list(job *work, size_t count, const int64_t *i, const int64_t *j,
                             const uint8_t *same, const int64_t *k) {
    for (size_t p = 0; p < count; p++) {
        work->triples[3 * p] = i[p];
        work->triples[3 * p + 1] = j[p];
        work->triples[3 * p + 2] = k != NULL ? k[p] : same[p];
    }
    return nf_npy_append(work->app->context, work->list, work->triples, 3 * count);
}

static nf_status append_rows(job *work, nf_matrix x, nf_npy_writer *writer, const int64_t *index,
                             size_t count) {
    nf_matrix_out out = {work->rows, x.type, count, x.cols, x.cols};
    nf_status status = nf_rows_gather(work->app->context, x, index, count, out);
    if (status != NF_OK) return status;
    return nf_npy_append(work->app->context, writer, work->rows, count * x.cols);
}

static nf_matrix others_of(const job *work) {
    return cli_given(work->app, OPT_REFERENCE) ? work->reference.x : work->data.x;
}

static nf_status append_triplets(job *work) {
    nf_status status = NF_OK;
    for (size_t p = 0; p < work->count && status == NF_OK; p += CHUNK) {
        size_t part = work->count - p < CHUNK ? (size_t)work->count - p : CHUNK;
        if (work->list != NULL) {
            status = append_list(work, part, work->i + p, work->j + p, NULL, work->k + p);
        }
        work->done += part;
    }
    return status;
}

static nf_status append(job *work, size_t count, const int64_t *i, const int64_t *j,
                        const uint8_t *same) {
    nf_status status = NF_OK;
    for (size_t p = 0; p < count && status == NF_OK; p += CHUNK) {
        size_t part = count - p < CHUNK ? count - p : CHUNK;
        if (work->list != NULL) status = append_list(work, part, i + p, j + p, same + p, NULL);
        if (status == NF_OK && work->left != NULL) {
            status = append_rows(work, work->data.x, work->left, i + p, part);
        }
        if (status == NF_OK && work->right != NULL) {
            status = append_rows(work, others_of(work), work->right, j + p, part);
        }
        if (status == NF_OK && work->same != NULL) {
            status = nf_npy_append(work->app->context, work->same, same + p, part);
        }
        work->done += part;
    }
    return status;
}

/* The status of a failed append, which the visit would hide behind NF_ERR_CALLBACK. */
typedef struct visitor {
    job *work;
    int code;
} visitor;

static int visit(void *user, size_t count, const int64_t *i, const int64_t *j,
                 const uint8_t *same) {
    visitor *self = user;
    cli *app = self->work->app;
    if (cli_progress_poll(app, self->work->done, self->work->count) != 0) {
        self->code = cli_status(app, NF_ERR_CANCELLED, NULL);
        return 1;
    }
    nf_status status = append(self->work, count, i, j, same);
    self->code = cli_status(app, status, "pairs");
    return status != NF_OK;
}

static nf_status open_one(job *work, cli_option_id id, nf_dtype dtype, int ndim, size_t columns,
                          nf_npy_writer **writer) {
    const size_t shape[2] = {(size_t)work->count, columns};
    const char *path = cli_output_path(work->app, id);
    if (path == NULL) return NF_OK;
    return nf_npy_open(work->app->context, path, dtype, ndim, shape, writer);
}

static bool to_npz(cli *app) {
    const char *path = cli_output_path(app, OPT_OUTPUT);
    return path != NULL && cli_ends_with(path, ".npz");
}

static int check_room(job *work) {
    cli *app = work->app;
    double count = (double)work->count;
    double row = (double)(work->data.x.cols * nf_type_size(work->data.x.type));
    const struct {
        cli_option_id id;
        double bytes;
    } files[] = {{OPT_OUTPUT, 24 * count},
                 {OPT_LEFT_OUT, row * count},
                 {OPT_RIGHT_OUT, row * count},
                 {OPT_SAME_OUT, count}};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        const char *path = cli_output_path(app, files[f].id);
        if (path == NULL) continue;
        int code = cli_check_room(app, path, files[f].bytes, "draw fewer pairs with -n");
        if (code != CLI_OK) return code;
    }
    return CLI_OK;
}

static int open_outputs(job *work) {
    cli *app = work->app;
    nf_dtype row_type = work->data.x.type == NF_FLOAT64 ? NF_DTYPE_F64 : NF_DTYPE_F32;
    size_t columns = work->data.x.cols;
    int code = check_room(work);
    if (code != CLI_OK) return code;
    nf_status status = NF_OK;
    if (!to_npz(app)) status = open_one(work, OPT_OUTPUT, NF_DTYPE_I64, 2, 3, &work->list);
    if (status == NF_OK) status = open_one(work, OPT_LEFT_OUT, row_type, 2, columns, &work->left);
    if (status == NF_OK) status = open_one(work, OPT_RIGHT_OUT, row_type, 2, columns, &work->right);
    if (status == NF_OK) status = open_one(work, OPT_SAME_OUT, NF_DTYPE_U8, 1, 1, &work->same);
    if (status != NF_OK) return cli_status(app, status, "pairs");
    work->triples = malloc(3 * CHUNK * sizeof *work->triples);
    work->rows = malloc(columns * CHUNK * nf_type_size(work->data.x.type) + 1);
    if (work->triples == NULL || work->rows == NULL) return cli_no_memory(app, "a chunk of pairs");
    return CLI_OK;
}

static int commit(job *work) {
    cli *app = work->app;
    nf_npy_writer *writers[] = {work->list, work->left, work->right, work->same};
    for (size_t w = 0; w < sizeof writers / sizeof *writers; w++) {
        if (writers[w] == NULL) continue;
        int code = cli_status(app, nf_npy_commit(app->context, writers[w]), "pairs");
        if (code != CLI_OK) return code;
    }
    return CLI_OK;
}

/* ---- all pairs ---- */

static int write_all(job *work) {
    static const nf_pair_kind kinds[] = {NF_PAIRS_POSITIVE, NF_PAIRS_NEGATIVE, NF_PAIRS_BOTH};
    cli *app = work->app;
    nf_pair_kind kind = kinds[cli_get(app, OPT_ALL_PAIRS)->choice];
    work->count = ((kind & NF_PAIRS_POSITIVE) != 0 ? work->partition->positive_pairs : 0) +
                  ((kind & NF_PAIRS_NEGATIVE) != 0 ? work->partition->negative_pairs : 0);
    int code = open_outputs(work);
    if (code != CLI_OK) return code;
    visitor self = {work, CLI_OK};
    cli_progress_begin(app, "pairs");
    /* visit polls and draws itself, with the pairs written so far. */
    nf_context_set_progress(app->context, NULL, NULL);
    nf_status status = nf_pairs_visit(app->context, work->partition, kind, visit, &self);
    nf_context_set_progress(app->context, cli_progress_poll, app);
    cli_progress_end(app);
    if (self.code != CLI_OK) return self.code;
    code = cli_status(app, status, "pairs");
    return code == CLI_OK ? commit(work) : code;
}

/* ---- pair lists ---- */

static nf_named_array member(const char *name, nf_dtype type, size_t n, void *data) {
    return (nf_named_array){name,
                            {.dtype = type, .ndim = 1, .shape = {n}, .count = n, .data = data}};
}

static int write_npz(job *work) {
    cli *app = work->app;
    const char *path = cli_output_path(app, OPT_OUTPUT);
    const bool triplets = work->k != NULL;
    size_t n = (size_t)work->count;
    nf_named_array pairs[4] = {member("i", NF_DTYPE_I64, n, work->i),
                               member("j", NF_DTYPE_I64, n, work->j),
                               member("same", NF_DTYPE_U8, n, work->flags),
                               member("weight", NF_DTYPE_F64, n, work->weight)};
    nf_named_array three[3] = {member("anchor", NF_DTYPE_I64, n, work->i),
                               member("positive", NF_DTYPE_I64, n, work->j),
                               member("negative", NF_DTYPE_I64, n, work->k)};
    const size_t count = work->weight != NULL ? 4 : 3;
    nf_status status = nf_npz_write(app->context, path, triplets ? three : pairs, count);
    return cli_status(app, status, cli_quote(path).text);
}

static int draw(job *work) {
    cli *app = work->app;
    nf_pair_sample_options options = nf_pair_sample_defaults();
    options.count = (size_t)work->count;
    options.replace = !cli_given(app, OPT_NO_REPLACE);
    if (cli_given(app, OPT_POSITIVE_FRACTION)) {
        options.positive_fraction = cli_get(app, OPT_POSITIVE_FRACTION)->number;
    }
    if (cli_given(app, OPT_SEED)) options.seed = cli_get(app, OPT_SEED)->integer;
    size_t n = options.count;
    const size_t each =
        sizeof *work->i + sizeof *work->j + sizeof *work->flags + sizeof *work->weight;
    int code = cli_check_memory(app, (double)n * (double)each, "the pairs",
                                "draw fewer with -n, or several times with another --seed");
    if (code != CLI_OK) return code;
    if (n > SIZE_MAX / 8) return cli_no_memory(app, "the pairs");
    work->i = malloc(n * sizeof *work->i);
    work->j = malloc(n * sizeof *work->j);
    work->flags = malloc(n * sizeof *work->flags);
    work->weight = malloc(n * sizeof *work->weight);
    if (work->i == NULL || work->j == NULL || work->flags == NULL || work->weight == NULL) {
        return cli_no_memory(app, "the pairs");
    }
    cli_progress_begin(app, "pairs");
    nf_status status = nf_pairs_sample(app->context, work->partition, &options, work->i, work->j,
                                       work->flags, work->weight);
    cli_progress_end(app);
    return cli_data_status(app, status, "pairs");
}

static void *copy_of(const void *data, size_t bytes) {
    void *copy = malloc(bytes + 1);
    if (copy != NULL && bytes > 0) memcpy(copy, data, bytes);
    return copy;
}

static bool take_pairs(job *work, const nf_pairs *pairs) {
    const size_t bytes = pairs->count * sizeof *work->i;
    work->count = pairs->count;
    work->i = copy_of(pairs->i, bytes);
    work->j = copy_of(pairs->j, bytes);
    work->flags = copy_of(pairs->same, pairs->count);
    return work->i != NULL && work->j != NULL && work->flags != NULL;
}

static bool take_triplets(job *work, const nf_mined *mined) {
    const size_t bytes = mined->triplets * sizeof *work->i;
    work->count = mined->triplets;
    work->i = copy_of(mined->anchor, bytes);
    work->j = copy_of(mined->positive, bytes);
    work->k = copy_of(mined->negative, bytes);
    return work->i != NULL && work->j != NULL && work->k != NULL;
}

/* Of each triplet (anchor, positive), then (anchor, negative). */
static bool split_triplets(job *work, const nf_mined *mined) {
    const size_t count = mined->triplets;
    if (count > SIZE_MAX / 32) return false;
    work->count = 2 * count;
    work->i = malloc(2 * count * sizeof *work->i + 1);
    work->j = malloc(2 * count * sizeof *work->j + 1);
    work->flags = malloc(2 * count + 1);
    if (work->i == NULL || work->j == NULL || work->flags == NULL) return false;
    for (size_t p = 0; p < 2 * count; p++) {
        const bool same = p % 2 == 0;
        work->i[p] = mined->anchor[p / 2];
        work->j[p] = same ? mined->positive[p / 2] : mined->negative[p / 2];
        work->flags[p] = same;
    }
    return true;
}

static int mine(job *work) {
    cli *app = work->app;
    nf_mined *mined;
    cli_progress_begin(app, "mining");
    nf_status status =
        cli_mine(app, &work->data, &work->reference, work->ids, work->reference_ids, &mined);
    cli_progress_end(app);
    if (status != NF_OK) return cli_data_status(app, status, "mining");
    bool made = cli_writes_triplets(app) ? take_triplets(work, mined)
                : mined->anchor != NULL  ? split_triplets(work, mined)
                                         : take_pairs(work, &mined->pairs);
    nf_mined_free(app->context, mined);
    return made ? CLI_OK : cli_no_memory(app, "the pairs");
}

/* Pairs drawn or mined, which are in memory. */
static int write_listed(job *work) {
    cli *app = work->app;
    if (cli_given(app, OPT_COUNT)) work->count = cli_get(app, OPT_COUNT)->integer;
    /* How many are drawn is known, so that a lack of room shows before; what is mined is not. */
    int code = cli_given(app, OPT_MINE) ? mine(work) : CLI_OK;
    if (code == CLI_OK) code = open_outputs(work);
    if (code == CLI_OK && !cli_given(app, OPT_MINE)) code = draw(work);
    if (code != CLI_OK) return code;
    nf_status status = work->k != NULL
                           ? append_triplets(work)
                           : append(work, (size_t)work->count, work->i, work->j, work->flags);
    code = cli_status(app, status, "pairs");
    if (code == CLI_OK && to_npz(app)) code = write_npz(work);
    return code == CLI_OK ? commit(work) : code;
}

/* ---- words ---- */

static int print_summary(job *work, bool wrote) {
    cli *app = work->app;
    const nf_partition *partition = work->partition;
    if (app->json) {
        json_t *document = cli_json_document();
        cli_json_count(document, "n", partition->n);
        cli_json_count(document, "labelled", partition->labelled);
        cli_json_count(document, "classes", partition->classes);
        cli_json_count(document, "singletons", partition->singletons);
        cli_json_count(document, "positive_pairs", partition->positive_pairs);
        cli_json_count(document, "negative_pairs", partition->negative_pairs);
        cli_json_count(document, "written", work->done);
        cli_json_text(document, "output", cli_output_path(app, OPT_OUTPUT));
        return cli_json_print(app, document);
    }
    if (wrote) {
        cli_note(app, "wrote %llu %s", (unsigned long long)work->done,
                 cli_writes_triplets(app) ? "triplets" : "pairs");
        return CLI_OK;
    }
    cli_row_count(app, "rows", partition->n);
    cli_row_count(app, "unlabelled", partition->n - partition->labelled);
    cli_row_count(app, "classes", partition->classes);
    cli_row_count(app, "classes with one row", partition->singletons);
    cli_row_count(app, "positive pairs", partition->positive_pairs);
    cli_row_count(app, "negative pairs", partition->negative_pairs);
    return CLI_OK;
}

static int load(cli *app, job *work) {
    const char *labels = cli_labels_text(app);
    int code;
    if (cli_given(app, OPT_GATHER)) {
        code = cli_load_rows(app, cli_get(app, OPT_GATHER)->text, labels, "--labels", &work->data);
    } else {
        code = cli_load_labels(app, labels, &work->data);
    }
    if (code == CLI_OK && cli_given(app, OPT_REFERENCE)) {
        code = cli_load_reference(app, &work->data, &work->reference, &work->ids,
                                  &work->reference_ids);
    }
    if (code != CLI_OK) return code;
    nf_status status = nf_partition_create(app->context, work->data.labels, &work->partition);
    return cli_data_status(app, status, "labels");
}

static int run(cli *app, job *work) {
    bool all = cli_given(app, OPT_ALL_PAIRS);
    bool listed = cli_given(app, OPT_COUNT) || cli_given(app, OPT_MINE);
    int code = load(app, work);
    if (code == CLI_OK && work->partition->singletons > 0) {
        cli_note(app, "%zu of %zu classes have one row and no positive pair",
                 work->partition->singletons, work->partition->classes);
    }
    if (code == CLI_OK && all) code = write_all(work);
    if (code == CLI_OK && listed) code = write_listed(work);
    return code == CLI_OK ? print_summary(work, all || listed) : code;
}

/* The forms of the result that go with what is asked for. */
static int need_output(cli *app, bool listed) {
    if (cli_writes_triplets(app)) {
        return cli_fail(app, CLI_USAGE,
                        "pairs --mine %s needs -o FILE.npy (or FILE.npz) for its triplets, or "
                        "--as pairs with -o, or with --left, --right and --same",
                        cli_get(app, OPT_MINE)->text);
    }
    return cli_fail(app, CLI_USAGE,
                    "pairs needs -o FILE.npy%s, or --left, --right and --same, for the result",
                    listed ? " (or FILE.npz)" : "");
}

static int check_usage(cli *app) {
    bool all = cli_given(app, OPT_ALL_PAIRS), sample = cli_given(app, OPT_COUNT);
    bool listed = sample || cli_given(app, OPT_MINE);
    bool gather = cli_given(app, OPT_LEFT_OUT) || cli_given(app, OPT_RIGHT_OUT);
    bool output = cli_given(app, OPT_OUTPUT);
    if (!cli_given(app, OPT_LABELS) && !cli_given(app, OPT_GATHER)) {
        return cli_fail(app, CLI_USAGE, "pairs needs --labels FILE");
    }
    if (all && sample) {
        return cli_fail(app, CLI_USAGE, "--all and -n exclude each other: keep one");
    }
    if (!all && !listed && (output || gather || cli_given(app, OPT_SAME_OUT))) {
        return cli_fail(app, CLI_USAGE,
                        "say which pairs: --all positive, --all negative, --all "
                        "both, -n N to draw some, or --mine HOW");
    }
    if ((all || listed) && !output && !gather && !cli_given(app, OPT_SAME_OUT)) {
        return need_output(app, listed);
    }
    if (gather && !cli_given(app, OPT_GATHER)) {
        return cli_fail(app, CLI_USAGE,
                        "--left and --right gather rows of --data, which is "
                        "missing");
    }
    static const cli_option_id drawing[] = {OPT_POSITIVE_FRACTION, OPT_NO_REPLACE, OPT_SEED};
    for (size_t i = 0; !sample && i < sizeof drawing / sizeof *drawing; i++) {
        if (!cli_given(app, drawing[i])) continue;
        if (drawing[i] == OPT_SEED && cli_mines_at_random(app)) continue;
        return cli_fail(app, CLI_USAGE, "--%s goes with -n N, which is missing",
                        cli_options[drawing[i]].name);
    }
    int code = cli_check_mining(app);
    if (code == CLI_OK) {
        code = cli_check_ending(app, OPT_OUTPUT, listed ? npy_or_npz : npy_only);
    }
    if (code == CLI_OK) code = cli_check_ending(app, OPT_LEFT_OUT, npy_only);
    if (code == CLI_OK) code = cli_check_ending(app, OPT_RIGHT_OUT, npy_only);
    return code == CLI_OK ? cli_check_ending(app, OPT_SAME_OUT, npy_only) : code;
}

int cli_run_pairs(cli *app) {
    job work = {.app = app};
    int code = check_usage(app);
    if (code == CLI_OK) code = run(app, &work);
    nf_npy_close(app->context, work.list);
    nf_npy_close(app->context, work.left);
    nf_npy_close(app->context, work.right);
    nf_npy_close(app->context, work.same);
    nf_partition_free(app->context, work.partition);
    cli_free_rows(app, &work.data);
    cli_free_rows(app, &work.reference);
    nf_array_free(app->context, work.ids);
    nf_array_free(app->context, work.reference_ids);
    free(work.triples);
    free(work.rows);
    free(work.i);
    free(work.j);
    free(work.k);
    free(work.flags);
    free(work.weight);
    return code;
}
