/* Sources as users name them: a path, or path:member. */
#include "io/internal.h"

#include <sys/stat.h>

static bool exists(const char *path) {
    struct stat info;
    return strcmp(path, "-") == 0 || stat(path, &info) == 0;
}

nf_status nf_source_open(nf_context *context, const char *source, nf_source *out) {
    memset(out, 0, sizeof *out);
    if (source == NULL || source[0] == '\0') {
        return nf_fail(context, NF_ERR_ARG, "source is empty: name a file");
    }
    size_t length = strlen(source);
    char *path = NULL;
    nf_status status = nf_scratch(context, &path, length + 1, 1, "path");
    if (status != NF_OK) return status;
    memcpy(path, source, length + 1);
    out->path = path;
    char *colon = strrchr(path, ':');
    if (!exists(path) && colon != NULL && colon[1] != '\0' && colon != path) {
        *colon = '\0';
        out->member = colon + 1;
    }
    status = nf_file_read(context, path, 1, 0, &out->bytes, &out->size);
    if (status != NF_OK) return status;
    out->format = nf_format_detect(out->bytes, out->size, path);
    bool takes_member = out->format == NF_FORMAT_NPZ || out->format == NF_FORMAT_CSV;
    if (out->member != NULL && !takes_member) {
        return nf_fail(context, NF_ERR_DATA,
                       "'%.100s' is not an .npz: ':%.60s' names a member of an .npz or a column of "
                       "a CSV",
                       path, out->member);
    }
    if (out->format == NF_FORMAT_UNKNOWN) {
        return nf_fail(context, NF_ERR_DATA,
                       "'%.200s' is %s: expected .npy, .npz, .csv, .tsv, .svmlight or IDX, perhaps "
                       "gzipped",
                       path, out->size == 0 ? "empty" : "of an unknown format");
    }
    return NF_OK;
}

void nf_source_close(nf_context *context, nf_source *source) {
    nf_release(context, source->bytes);
    source->bytes = NULL;
}

nf_status nf_source_fail(nf_context *context, const nf_source *source, nf_status status) {
    char message[NF_MESSAGE_SIZE];
    if (status == NF_OK || source->format == NF_FORMAT_UNKNOWN || context->error.status != status) {
        return status;
    }
    memcpy(message, context->error.message, sizeof message);
    return nf_fail(context, status, "%.100s: %s", source->path, message);
}
