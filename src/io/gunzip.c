/* gzip in two passes: the first counts and checks, the second fills a block of the exact size. A
 * small file that claims or expands to a large one costs time up to the limit, but no memory
 * before it has been checked whole. */
#include "io/internal.h"

#define ZLIB_CONST
#include <zlib.h>

#define WINDOW ((size_t)1 << 16)

static voidpf zlib_allocate(voidpf user, uInt items, uInt size) {
    void *block = NULL;
    return nf_allocate(user, &block, items, size, "gzip state") == NF_OK ? block : NULL;
}

static void zlib_release(voidpf user, voidpf block) { nf_release(user, block); }

typedef struct gunzip_pass {
    const unsigned char *bytes;
    size_t size, max_size;
    unsigned char *window; /* first pass */
    unsigned char *out;    /* second pass, `total` bytes */
    size_t total;
} gunzip_pass;

static nf_status damaged(nf_context *context, const gunzip_pass *pass, size_t at, const char *why) {
    return nf_fail(context, NF_ERR_DATA,
                   "gzip data is damaged at byte %zu of %zu (%s): fetch the file again", at,
                   pass->size, why);
}

/* Where the next inflated bytes go, and how many fit. */
static size_t place_output(const gunzip_pass *pass, size_t produced, z_stream *stream) {
    size_t room = pass->out != NULL ? nf_min_size(pass->total - produced, (size_t)1 << 30) : WINDOW;
    stream->next_out = pass->out != NULL ? pass->out + produced : pass->window;
    stream->avail_out = (uInt)room;
    return room;
}

/* Inflate one member from *at on; advances *at and *produced. */
static nf_status inflate_member(nf_context *context, gunzip_pass *pass, z_stream *stream,
                                size_t *at, size_t *produced) {
    int code = Z_OK;
    while (code != Z_STREAM_END) {
        size_t take = nf_min_size(pass->size - *at, (size_t)1 << 30);
        size_t room = place_output(pass, *produced, stream);
        stream->next_in = pass->bytes + *at;
        stream->avail_in = (uInt)take;
        code = inflate(stream, Z_NO_FLUSH);
        size_t used = take - stream->avail_in, made = room - stream->avail_out;
        *at += used;
        *produced += made;
        if (code == Z_MEM_ERROR) return NF_ERR_NOMEM; /* recorded by zlib_allocate */
        if (code == Z_BUF_ERROR || (code == Z_OK && used == 0 && made == 0)) {
            return damaged(context, pass, *at, "it ends too early");
        }
        if (code != Z_OK && code != Z_STREAM_END) {
            return damaged(context, pass, *at, stream->msg != NULL ? stream->msg : "bad data");
        }
        if (pass->max_size != 0 && *produced > pass->max_size) {
            return nf_fail(context, NF_ERR_RANGE,
                           "gzip data inflates to more than the limit of %zu bytes",
                           pass->max_size);
        }
    }
    return NF_OK;
}

static nf_status inflate_all(nf_context *context, gunzip_pass *pass, size_t *produced) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    stream.zalloc = zlib_allocate;
    stream.zfree = zlib_release;
    stream.opaque = context;
    if (inflateInit2(&stream, 15 + 16) != Z_OK) { /* +16: gzip with its checksum */
        return NF_ERR_NOMEM;                      /* recorded by zlib_allocate */
    }
    nf_status status = NF_OK;
    size_t at = 0;
    *produced = 0;
    do {
        status = inflate_member(context, pass, &stream, &at, produced);
        if (status == NF_OK) inflateReset(&stream);
    } while (status == NF_OK && at < pass->size);
    inflateEnd(&stream);
    return status;
}

nf_status nf_gunzip(nf_context *context, const void *bytes, size_t size, size_t max_size,
                    void **out, size_t *out_size) {
    nf_scope scope = nf_scope_enter(context);
    gunzip_pass pass = {.bytes = bytes, .size = size, .max_size = max_size};
    size_t produced = 0;
    nf_status status =
        size < 2 || memcmp(bytes, "\x1f\x8b", 2) != 0
            ? nf_fail(context, NF_ERR_DATA, "not gzip data: it must start with the bytes 1f 8b")
            : nf_scratch(context, &pass.window, WINDOW, 1, "gzip window");
    if (status == NF_OK) status = inflate_all(context, &pass, &pass.total);
    if (status == NF_OK) {
        /* One byte more, so that the second pass can see the end of an empty last member. */
        status = nf_allocate(context, &pass.out, pass.total, 1, "inflated data");
    }
    if (status == NF_OK) status = inflate_all(context, &pass, &produced);
    if (status == NF_OK) {
        *out = pass.out;
        *out_size = produced;
    } else {
        nf_release(context, pass.out);
    }
    return nf_scope_leave(context, scope, status);
}
