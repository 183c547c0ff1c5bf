/* .npz: a zip archive of .npy members, read from memory by libzip.
 *
 * libzip keeps its own bookkeeping with malloc; the member's bytes go to memory of the context, of
 * a size that was checked first: a stored member cannot exceed the file, a deflated one is
 * inflated once to count it. */
#include "io/internal.h"

#include <stdio.h>
#include <zip.h>
#include <zlib.h>

#define WINDOW ((size_t)1 << 16)
#define DEFLATE_MAX_RATIO 1032 /* of inflated to deflated bytes, by the format */

static nf_status zip_failed(nf_context *context, const char *what, zip_error_t *error) {
    int code = zip_error_code_zip(error);
    bool zlib = code == ZIP_ER_ZLIB && zip_error_code_system(error) == Z_MEM_ERROR;
    if (code == ZIP_ER_MEMORY || zlib || code == ZIP_ER_OK) { /* at times it gives no reason */
        return nf_fail(context, NF_ERR_NOMEM, "out of memory: %s; free memory", what);
    }
    return nf_fail(context, NF_ERR_DATA, "%s is damaged: %s", what, zip_error_strerror(error));
}

static nf_status open_archive(nf_context *context, const void *bytes, size_t size, zip_t **out) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &error);
    zip_t *archive = source != NULL ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
    nf_status status = NF_OK;
    if (archive == NULL) {
        status = zip_failed(context, "the .npz archive", &error);
        zip_source_free(source);
    }
    zip_error_fini(&error);
    *out = archive;
    return status;
}

/* Name of a member without .npy, and its length; NULL if it is no array. */
static const char *array_name(zip_t *archive, zip_uint64_t index, size_t *length) {
    const char *name = zip_get_name(archive, index, ZIP_FL_ENC_RAW);
    size_t have = name != NULL ? strlen(name) : 0;
    if (have < 4 || strcmp(name + have - 4, ".npy") != 0) return NULL;
    *length = have - 4;
    return name;
}

static zip_uint64_t entries(zip_t *archive) {
    zip_int64_t count = zip_get_num_entries(archive, 0);
    return count > 0 ? (zip_uint64_t)count : 0;
}

/* Index of the array called `name` (with or without .npy), or -1. */
static zip_int64_t find_array(zip_t *archive, const char *name) {
    size_t wanted = strlen(name), length;
    for (zip_uint64_t i = 0; i < entries(archive); i++) {
        const char *have = array_name(archive, i, &length);
        if (have == NULL) continue;
        if ((wanted == length && memcmp(have, name, length) == 0) || strcmp(have, name) == 0) {
            return (zip_int64_t)i;
        }
    }
    return -1;
}

static nf_status no_such_member(nf_context *context, zip_t *archive, const char *name) {
    char list[256] = "";
    size_t used = 0, length, arrays = 0;
    for (zip_uint64_t i = 0; i < entries(archive) && used < sizeof list; i++) {
        const char *have = array_name(archive, i, &length);
        if (have == NULL) continue;
        int put = snprintf(list + used, sizeof list - used, "%s%.*s", arrays++ > 0 ? ", " : "",
                           (int)nf_min_size(length, 100), have);
        used += put > 0 ? (size_t)put : 0;
    }
    if (arrays == 0) return nf_fail(context, NF_ERR_DATA, "the .npz archive holds no array");
    if (name == NULL) {
        return nf_fail(
            context, NF_ERR_DATA,
            "the .npz archive holds several arrays: choose one with FILE.npz:NAME; it has "
            "%s",
            list);
    }
    return nf_fail(context, NF_ERR_DATA, "the .npz archive has no array '%.60s'; it has %s", name,
                   list);
}

static nf_status find_member(nf_context *context, zip_t *archive, const char *name,
                             zip_uint64_t *index) {
    zip_int64_t found = -1;
    size_t length;
    if (name != NULL) {
        found = find_array(archive, name);
    } else {
        for (zip_uint64_t i = 0; i < entries(archive); i++) {
            if (array_name(archive, i, &length) == NULL) continue;
            if (found >= 0) return no_such_member(context, archive, NULL);
            found = (zip_int64_t)i;
        }
    }
    if (found < 0) return no_such_member(context, archive, name);
    *index = (zip_uint64_t)found;
    return NF_OK;
}

/* Size, method and encryption as the archive claims them, as far as they can be true. */
static nf_status check_member(nf_context *context, zip_t *archive, zip_uint64_t index, size_t size,
                              zip_stat_t *stat) {
    const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(archive, index, 0, stat) != 0 || (stat->valid & needed) != needed) {
        return zip_failed(context, "the .npz archive", zip_get_error(archive));
    }
    if (stat->encryption_method != ZIP_EM_NONE) {
        return nf_fail(context, NF_ERR_DATA, "the .npz member is encrypted: save it plainly");
    }
    if (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE) {
        return nf_fail(context, NF_ERR_DATA,
                       "the .npz member uses zip method %u: save with numpy.savez or "
                       "savez_compressed",
                       (unsigned)stat->comp_method);
    }
    bool stored = stat->comp_method == ZIP_CM_STORE;
    if (stat->comp_size > size || (stored && stat->size != stat->comp_size) ||
        stat->size / DEFLATE_MAX_RATIO > stat->comp_size || stat->size > PTRDIFF_MAX) {
        return nf_fail(context, NF_ERR_DATA,
                       "the .npz member claims %llu bytes, more than the archive can hold: it is "
                       "damaged",
                       (unsigned long long)stat->size);
    }
    return NF_OK;
}

/* Read a member to its end: into `out` if it is not NULL, else only counting. libzip compares the
 * checksum at the end. */
static nf_status read_member(nf_context *context, zip_t *archive, zip_uint64_t index, size_t size,
                             unsigned char *out) {
    unsigned char *window = NULL;
    nf_status status = nf_scratch(context, &window, WINDOW, 1, "zip window");
    if (status != NF_OK) return status;
    zip_file_t *file = zip_fopen_index(archive, index, 0);
    if (file == NULL) return zip_failed(context, "the .npz member", zip_get_error(archive));
    size_t used = 0;
    while (status == NF_OK) {
        bool direct = out != NULL && used < size;
        size_t room = direct ? nf_min_size(size - used, (size_t)1 << 30) : WINDOW;
        zip_int64_t got = zip_fread(file, direct ? out + used : window, room);
        if (got < 0) status = zip_failed(context, "the .npz member", zip_file_get_error(file));
        if (got <= 0) break;
        used += (size_t)got;
        if (used > size) break;
    }
    zip_fclose(file);
    if (status == NF_OK && used != size) {
        status = nf_fail(context, NF_ERR_DATA,
                         "the .npz member does not have the %zu bytes the archive claims", size);
    }
    return status;
}

static nf_status parse_member(nf_context *context, zip_t *archive, zip_uint64_t index, size_t size,
                              nf_array **out) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    unsigned char *bytes = NULL;
    nf_status status = check_member(context, archive, index, size, &stat);
    if (status == NF_OK && stat.comp_method != ZIP_CM_STORE) {
        status = read_member(context, archive, index, (size_t)stat.size, NULL);
    }
    if (status == NF_OK) status = nf_allocate(context, &bytes, (size_t)stat.size, 1, "npz member");
    if (status == NF_OK) {
        status = read_member(context, archive, index, (size_t)stat.size, bytes);
    }
    if (status == NF_OK) status = nf_npy_parse(context, bytes, (size_t)stat.size, out);
    nf_release(context, bytes);
    return status;
}

nf_status nf_npz_parse(nf_context *context, const void *bytes, size_t size, const char *name,
                       nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    zip_t *archive = NULL;
    zip_uint64_t index = 0;
    nf_status status = open_archive(context, bytes, size, &archive);
    if (status == NF_OK) status = find_member(context, archive, name, &index);
    if (status == NF_OK) status = parse_member(context, archive, index, size, out);
    if (archive != NULL) zip_discard(archive);
    return nf_scope_leave(context, scope, status);
}

nf_status nf_npz_first(nf_context *context, const void *bytes, size_t size,
                       const char *const *names, nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    zip_t *archive = NULL;
    zip_int64_t found = -1;
    nf_status status = open_archive(context, bytes, size, &archive);
    for (; status == NF_OK && found < 0 && *names != NULL; names++) {
        found = find_array(archive, *names);
    }
    if (status == NF_OK && found >= 0) {
        status = parse_member(context, archive, (zip_uint64_t)found, size, out);
    } else if (status == NF_OK) {
        *out = NULL;
    }
    if (archive != NULL) zip_discard(archive);
    return nf_scope_leave(context, scope, status);
}

nf_status nf_npz_names(nf_context *context, const void *bytes, size_t size, char ***names,
                       size_t *count) {
    nf_scope scope = nf_scope_enter(context);
    zip_t *archive = NULL;
    char *block = NULL;
    size_t arrays = 0, text = 0, length;
    nf_status status = open_archive(context, bytes, size, &archive);
    for (zip_uint64_t i = 0; status == NF_OK && i < entries(archive); i++) {
        if (array_name(archive, i, &length) != NULL) arrays++, text += length + 1;
    }
    size_t pointers = (arrays + 1) * sizeof(char *);
    if (status == NF_OK) status = nf_allocate(context, &block, pointers + text, 1, "member names");
    if (status == NF_OK) {
        char **list = (char **)(void *)block, *at = block + pointers;
        size_t k = 0;
        for (zip_uint64_t i = 0; i < entries(archive); i++) {
            const char *name = array_name(archive, i, &length);
            if (name == NULL) continue;
            memcpy(at, name, length);
            at[length] = '\0';
            list[k++] = at;
            at += length + 1;
        }
        list[k] = NULL;
        *names = list;
        *count = arrays;
    }
    if (archive != NULL) zip_discard(archive);
    return nf_scope_leave(context, scope, status);
}
