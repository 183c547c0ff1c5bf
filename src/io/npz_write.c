/* .npz by libzip into memory, then to the file in one go. Members are stored (numpy.load can map
 * them) and carry the zip epoch as their date: the same arrays give the same bytes. */
#include "io/internal.h"

#include <zip.h>
#include <zlib.h>

#define DOS_EPOCH_DATE ((1 << 5) | 1) /* 1980-01-01 */

static nf_status zip_failed(nf_context *context, zip_error_t *error) {
    int code = zip_error_code_zip(error);
    bool zlib = code == ZIP_ER_ZLIB && zip_error_code_system(error) == Z_MEM_ERROR;
    if (code == ZIP_ER_MEMORY || zlib || code == ZIP_ER_OK) { /* at times it gives no reason */
        return nf_fail(context, NF_ERR_NOMEM, "out of memory: .npz archive; free memory");
    }
    return nf_fail(context, NF_ERR_IO, "cannot make the .npz archive: %s",
                   zip_error_strerror(error));
}

/* A member's bytes as scratch: they must live until the archive is closed. */
static nf_status member_bytes(nf_context *context, const nf_array *array, unsigned char **bytes,
                              size_t *size) {
    char header[NF_NPY_HEADER_MAX];
    size_t count = 0, element = nf_dtype_size(array->dtype);
    nf_status status = nf_npy_check(context, array->dtype, array->ndim, array->shape, &count);
    if (status != NF_OK) return status;
    size_t head = nf_npy_header(header, array->dtype, array->ndim, array->shape);
    if (nf_add_overflows(head, count * element, size)) *size = SIZE_MAX;
    status = nf_scratch(context, bytes, *size, 1, "npz member");
    if (status != NF_OK) return status;
    memcpy(*bytes, header, head);
    nf_decode(*bytes + head, array->data, count, element, nf_swap_little());
    return NF_OK;
}

static nf_status add_member(nf_context *context, zip_t *archive, const nf_named_array *member) {
    unsigned char *bytes = NULL;
    size_t size = 0, length = member->name != NULL ? strlen(member->name) : 0;
    char *name = NULL;
    if (length == 0) return nf_fail(context, NF_ERR_ARG, "an array has no name: give it one");
    nf_status status = nf_scratch(context, &name, length + 5, 1, "member name");
    if (status == NF_OK) status = member_bytes(context, &member->array, &bytes, &size);
    if (status != NF_OK) return status;
    memcpy(name, member->name, length);
    memcpy(name + length, ".npy", 5);
    if (zip_name_locate(archive, name, 0) >= 0) {
        return nf_fail(context, NF_ERR_ARG, "two arrays are called '%.100s': rename one",
                       member->name);
    }
    zip_error_clear(archive); /* the search's "no such file" */
    zip_source_t *source = zip_source_buffer(archive, bytes, size, 0);
    zip_int64_t index = source != NULL ? zip_file_add(archive, name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0) {
        zip_source_free(source);
        return zip_failed(context, zip_get_error(archive));
    }
    if (zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)index, 0, DOS_EPOCH_DATE, 0) != 0) {
        return zip_failed(context, zip_get_error(archive));
    }
    return NF_OK;
}

/* The finished archive behind `source`, copied to scratch. */
static nf_status archive_bytes(nf_context *context, zip_source_t *source, unsigned char **bytes,
                               size_t *size) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_source_stat(source, &stat) != 0 || zip_source_open(source) != 0) {
        return zip_failed(context, zip_source_error(source));
    }
    *size = (size_t)stat.size;
    nf_status status = nf_scratch(context, bytes, *size, 1, "npz archive");
    if (status == NF_OK && zip_source_read(source, *bytes, stat.size) != (zip_int64_t)stat.size) {
        status = zip_failed(context, zip_source_error(source));
    }
    zip_source_close(source);
    return status;
}

/* An archive of the members in a new memory source (the caller's to free). */
static nf_status build(nf_context *context, const nf_named_array *arrays, size_t count,
                       zip_source_t **source) {
    zip_error_t error;
    zip_error_init(&error);
    zip_t *archive = NULL;
    *source = zip_source_buffer_create(NULL, 0, 0, &error);
    if (*source != NULL) {
        archive = zip_open_from_source(*source, ZIP_CREATE | ZIP_TRUNCATE, &error);
    }
    nf_status status = archive == NULL ? zip_failed(context, &error) : NF_OK;
    zip_error_fini(&error);
    if (status != NF_OK) return status;
    zip_source_keep(*source); /* zip_close gives back the archive's reference */
    for (size_t k = 0; status == NF_OK && k < count; k++) {
        status = add_member(context, archive, &arrays[k]);
    }
    if (status == NF_OK && zip_close(archive) != 0) {
        status = zip_failed(context, zip_get_error(archive));
        zip_discard(archive);
    } else if (status != NF_OK) {
        zip_discard(archive);
    }
    return status;
}

nf_status nf_npz_write(nf_context *context, const char *path, const nf_named_array *arrays,
                       size_t count) {
    nf_scope scope = nf_scope_enter(context);
    if (count == 0) {
        return nf_scope_leave(
            context, scope,
            nf_fail(context, NF_ERR_ARG, "count is 0: an .npz needs at least one array"));
    }
    zip_source_t *source = NULL;
    unsigned char *bytes = NULL;
    size_t size = 0;
    nf_status status = build(context, arrays, count, &source);
    if (status == NF_OK) status = archive_bytes(context, source, &bytes, &size);
    zip_source_free(source);
    if (status == NF_OK) status = nf_file_write(context, path, bytes, size);
    return nf_scope_leave(context, scope, status);
}
