/* The subcommands: usage, examples and notes of each, as --help, the manual and completion show
 * them. */
#include <string.h>

#include "cli.h"

static const char loss_of_reference[] =
    "loss Q --labels FILE --reference R --reference-labels FILE [--ids FILE --reference-ids FILE]";

const cli_command cli_commands[] = {
    {.name = "train",
     .bit = ON_TRAIN,
     .summary = "learn an embedding from labelled rows or from pairs",
     .usage = {"train DATA [--labels FILE|:COLUMN] -o MODEL.safetensors [options]",
               "train --left FILE --right FILE --same FILE -o MODEL.safetensors [options]"},
     .examples =
         {{"nearfar train digits -o model.safetensors", "linear model of the bundled digits"},
          {"nearfar train x.npy --labels y.npy --hidden 256,128 --dim 32 -o model.safetensors",
           "two hidden layers"},
          {"nearfar train iris.csv --labels :species --loss hinge --margin 4 -o iris.safetensors",
           "a CSV with its own column of labels"},
          {"nearfar train digits --loss triplet --mine semi-hard -o model.safetensors",
           "the triplets that a miner finds in every batch"},
          {"nearfar train --left l.npy --right r.npy --same s.npy --no-bias -o w.safetensors",
           "y = W x from pairs made beforehand"}},
     .details =
         "DATA is .npy, .npz (or file.npz:member), CSV or TSV, svmlight or IDX, each also gzipped; "
         "'digits', 'digits-train' and 'digits-test' are the bundled set and its two halves.\n"
         "Every step takes a batch and the loss over all pairs inside it, or with --mine over what "
         "a miner finds there; its options that the loss has too are called --mine-margin and so "
         "on. A step with nothing to mine has loss 0 and is counted. The weights that are "
         "best on the validation rows (MAP@R) are kept. The same seed gives the same bytes of the "
         "model for any number of threads. Interrupted training (Ctrl-C) saves the best model so "
         "far and exits with 130.",
     .shows_loss = true,
     .operands = 1,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_train},
    {.name = "embed",
     .bit = ON_EMBED,
     .summary = "apply a model to rows",
     .usage = {"embed MODEL DATA -o EMB.npy|EMB.csv"},
     .examples = {{"nearfar embed model.safetensors digits-test -o emb.npy", "rows to embeddings"},
                  {"nearfar embed iris.safetensors iris.csv --labels :species -o emb.csv",
                   "as CSV; the column of labels is no feature"}},
     .details = "The embedding of a row does not depend on the other rows. The result is float32.",
     .operands = 2,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_embed},
    {.name = "eval",
     .bit = ON_EVAL,
     .summary = "judge an embedding: retrieval and verification",
     .usage = {"eval EMB --labels FILE|:COLUMN [-k 1,5,10]",
               "eval Q --labels FILE --reference R --reference-labels FILE [--ids FILE "
               "--reference-ids FILE]",
               "eval EMB --label-sets FILE [--reference R --reference-label-sets FILE]"},
     .examples = {{"nearfar eval emb.npy --labels y.npy", "every row against every other row"},
                  {"nearfar eval emb.npy --label-sets tags.npy",
                   "several labels a row: (n, c) of 0 and 1"},
                  {"nearfar eval emb.npy --labels y.npy -k 1,5,10 --metric cosine --json",
                   "another metric, and JSON for programs"},
                  {"nearfar eval q.npy --labels ql.npy --reference r.npy --reference-labels rl.npy",
                   "queries against a reference set"}},
     .details =
         "recall@k: share of rows with a row of their class among the k nearest.\n"
         "R-precision: of the R nearest, R being the number of other rows of the class, the share "
         "of that class. MAP@R: mean precision at the ranks 1 .. R that hold that class.\n"
         "kNN accuracy: share of rows whose class wins the vote of the nearest rows.\n"
         "ROC AUC: chance that a positive pair is nearer than a negative one; 0.5 is guessing.\n"
         "EER: error rate of the threshold where as many negatives are accepted as positives "
         "rejected. TAR@FAR=f: positives accepted when a share of at most f of the negatives is.\n"
         "Rows without another row of their class are dropped from retrieval and counted.\n"
         "With --label-sets rows that share a label are of one class with each other, and in the "
         "vote every label of a neighbour counts.",
     .operands = 1,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_eval},
    {.name = "loss",
     .bit = ON_LOSS,
     .summary = "loss and gradient: all pairs, a pair list, rows, or a reference set",
     .usage =
         {"loss X --labels FILE|:COLUMN [options]", "loss X --pairs FILE [options]",
          "loss --left FILE --right FILE --same FILE [options]",
          "loss X --label-sets FILE|--soft FILE [--row-weights FILE] [--groups FILE] [options]",
          loss_of_reference},
     .examples = {{"nearfar loss emb.npy --labels y.npy", "all pairs of labelled rows, eq. (3)"},
                  {"nearfar loss emb.npy --labels y.npy --loss hinge --margin 10 --grad g.npy",
                   "with the gradient"},
                  {"nearfar loss emb.npy --pairs pairs.npz --terms t.npy",
                   "a pair list, and the term of each pair"},
                  {"nearfar loss --left x1.npy --right x2.npy --same y.npy --json",
                   "loss(x1, x2, y)"}},
     .details = "The matrix of all distances is never in memory. Gradients have the shape and type "
                "of the rows. Value and gradient are the same bits for any number of threads.",
     .shows_loss = true,
     .operands = 1,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_loss},
    {.name = "pairs",
     .bit = ON_PAIRS,
     .summary = "split rows into same-label and different-label pairs",
     .usage = {"pairs --labels FILE",
               "pairs --labels FILE --all positive|negative|both -o PAIRS.npy",
               "pairs --labels FILE -n N [--positive-fraction F] -o PAIRS.npz|PAIRS.npy",
               "pairs --labels FILE -n N --data X --left L.npy --right R.npy --same S.npy",
               "pairs --labels FILE --mine hard --data X [--k K] -o PAIRS.npz|PAIRS.npy",
               "pairs --labels FILE --mine HOW --data X [--reference R --reference-labels L] -o F"},
     .examples = {{"nearfar pairs --labels y.npy", "classes, and how many pairs there are"},
                  {"nearfar pairs --labels y.npy --all positive -o positive.npy",
                   "indices of every pair with one label"},
                  {"nearfar pairs --labels y.npy -n 1000 --seed 1 -o pairs.npz",
                   "1000 pairs, half of them positive"},
                  {"nearfar pairs --labels y.npy -n 1000 --data x.npy --left l.npy --right r.npy "
                   "--same s.npy",
                   "left, right and same arrays for a framework that is fed pairs"},
                  {"nearfar pairs --labels y.npy --mine hard --data emb.npy --k 20 -o hard.npz",
                   "20 nearest rows of other labels for every row"},
                  {"nearfar pairs --labels y.npy --mine semi-hard --data emb.npy -o triplets.npz",
                   "triplets whose negative is a little farther than the positive"}},
     .details =
         "A pair (i, j) has i < j; it is positive when both rows have one label. An .npy holds "
         "int64 rows i, j, same; an .npz holds i, j, same and weight.\n"
         "Drawn pairs are uniform within each side: a class of n rows is chosen with probability "
         "proportional to n (n - 1) / 2. The weight 1 / (P p), P all pairs and p the probability "
         "of "
         "the pair, makes the weighted mean over the drawn pairs an unbiased estimate of the mean "
         "over all.\n"
         "--mine hard takes, for every row, the --range-max nearest rows of other labels, keeps "
         "those "
         "that pass the filters, leaves out the nearest --range-min and takes K of the rest; the "
         "similarity of rows at distance t is 1 - t for cosine and -t for other metrics. Two rows "
         "may find each other, and then stand in the list as (i, j) and as (j, i).\n"
         "pair-margin and multi-similarity give pairs; batch-hard, easy-positive, triplet-margin, "
         "semi-hard and distance-weighted give triplets: an .npz holds anchor, positive and "
         "negative, an .npy int64 rows of the three. With --reference anchors are rows of --data, "
         "all others rows of the reference set.",
     .operands = 0,
     .run = cli_run_pairs},
    {.name = "distances",
     .bit = ON_DISTANCES,
     .summary = "distances between rows: all, condensed, or of a pair list",
     .usage = {"distances A [B] -o D.npy [--metric METRIC]", "distances A --condensed -o D.npy",
               "distances A [B] --pairs FILE -o D.npy"},
     .examples = {{"nearfar distances x.npy -o d.npy", "n x n"},
                  {"nearfar distances x.npy y.npy --metric cosine -o d.npy", "n x m"},
                  {"nearfar distances x.npy --condensed -o d.npy", "as SciPy's pdist"},
                  {"nearfar distances x.npy --pairs pairs.npz -o d.npy", "only the listed pairs"}},
     .details =
         "Computed from differences, so near rows do not cancel, and written block by block: "
         "memory does not grow with the number of distances. dot is negated (a larger "
         "product is nearer); cosine is 1 - cos.",
     .operands = 2,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_distances},
    {.name = "knn",
     .bit = ON_KNN,
     .summary = "exact nearest neighbours",
     .usage = {"knn A [B] -k K -o IDX.npy [--distances D.npy] [--metric METRIC]"},
     .examples = {{"nearfar knn x.npy -k 10 -o idx.npy",
                   "within one set, a row is not its own neighbour"},
                  {"nearfar knn q.npy r.npy -k 5 -o idx.npy --distances d.npy",
                   "the rows of r nearest to each row of q"}},
     .details =
         "Row i of the result holds the indices of the k nearest rows, nearest first, ties by "
         "the smaller index.",
     .operands = 2,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_knn},
    {.name = "info",
     .bit = ON_INFO,
     .summary = "what a file holds: shape, type, range, classes, layers",
     .usage = {"info FILE"},
     .examples = {{"nearfar info x.npy", "shape, type and range"},
                  {"nearfar info iris.csv", "columns, and classes with their counts"},
                  {"nearfar info model.safetensors", "layers and configuration of a model"}},
     .operands = 1,
     .operand_values = "digits digits-train digits-test",
     .run = cli_run_info},
    {.name = "completion",
     .bit = ON_COMPLETION,
     .summary = "print the completion script of a shell",
     .usage = {"completion bash|zsh"},
     .examples = {{"source <(nearfar completion bash)", "for this session"},
                  {"nearfar completion zsh > ~/.zfunc/_nearfar", "for every session"}},
     .operands = 1,
     .operand_values = "bash zsh",
     .run = cli_run_completion},
    {.name = "help",
     .bit = ON_HELP,
     .summary = "help on a subcommand",
     .usage = {"help [SUBCOMMAND]"},
     .examples = {{"nearfar help train", "the same as nearfar train --help"}},
     .operands = 1,
     .operand_values = "train embed eval loss pairs distances knn info completion",
     .run = cli_run_help},
    {0},
};

const cli_command *cli_command_find(const char *name) {
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) return command;
    }
    return NULL;
}
