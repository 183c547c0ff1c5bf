/* NumPy's .npy format, versions 1 to 3 (NEP 1): magic, header length, a Python dictionary with
 * exactly the keys descr, fortran_order and shape, then the elements.
 *
 * The dictionary is read by a small scanner without recursion: it accepts what NumPy writes for
 * plain arrays and refuses everything else. */
#include "io/internal.h"

#define MAGIC "\x93NUMPY"

typedef struct npy_scan {
    nf_context *context;
    const char *start, *at, *end; /* the dictionary */
    size_t origin;                /* its offset in the file, for messages */
} npy_scan;

typedef struct npy_header {
    nf_dtype dtype;
    bool swap, fortran;
    int ndim;
    size_t shape[NF_MAX_DIMS];
    size_t count, data_offset;
} npy_header;

static nf_status bad(npy_scan *s, const char *expected) {
    return nf_fail(s->context, NF_ERR_DATA, ".npy header, byte %zu: expected %s",
                   s->origin + (size_t)(s->at - s->start), expected);
}

static void skip_blanks(npy_scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n')) s->at++;
}

static bool accept(npy_scan *s, char c) {
    skip_blanks(s);
    if (s->at == s->end || *s->at != c) return false;
    s->at++;
    return true;
}

/* A quoted string without escapes. */
static nf_status scan_string(npy_scan *s, const char *expected, const char **text, size_t *length) {
    skip_blanks(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"')) return bad(s, expected);
    char quote = *s->at++;
    const char *close = memchr(s->at, quote, (size_t)(s->end - s->at));
    if (close == NULL || memchr(s->at, '\\', (size_t)(close - s->at)) != NULL) {
        return bad(s, "a closing quote");
    }
    *text = s->at;
    *length = (size_t)(close - s->at);
    s->at = close + 1;
    return NF_OK;
}

static nf_status scan_descr(npy_scan *s, npy_header *h) {
    skip_blanks(s);
    if (s->at < s->end && *s->at == '[') {
        return nf_fail(s->context, NF_ERR_DATA,
                       ".npy holds a structured array: save one plain array per file, or an .npz");
    }
    const char *text;
    size_t length;
    nf_status status = scan_string(s, "a type such as '<f4'", &text, &length);
    if (status != NF_OK) return status;
    if (length >= 2 && (text[1] == 'O')) {
        return nf_fail(s->context, NF_ERR_DATA,
                       ".npy holds pickled Python objects: save a plain array (numbers only)");
    }
    if (length >= 2 && (text[1] == 'U' || text[1] == 'S')) {
        return nf_fail(s->context, NF_ERR_DATA,
                       ".npy holds strings: save class names as a text file, one a line");
    }
    for (int k = 0; length == 3 && nf_dtype_name((nf_dtype)k) != NULL; k++) {
        if (memcmp(text + 1, nf_dtype_name((nf_dtype)k), 2) != 0) continue;
        bool order_matters = nf_dtype_size((nf_dtype)k) > 1;
        if (text[0] == '<') {
            h->swap = nf_swap_little();
        } else if (text[0] == '>') {
            h->swap = nf_swap_big();
        } else if (text[0] != '=' && (text[0] != '|' || order_matters)) {
            break;
        }
        h->dtype = (nf_dtype)k;
        return NF_OK;
    }
    return nf_fail(s->context, NF_ERR_DATA,
                   ".npy type '%.*s' is not supported: use b1, i1 .. i8, u1 .. u8, f2, f4 or f8",
                   (int)nf_min_size(length, 40), text);
}

static bool accept_word(npy_scan *s, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0) return false;
    s->at += length;
    return true;
}

static nf_status scan_order(npy_scan *s, npy_header *h) {
    skip_blanks(s);
    h->fortran = accept_word(s, "True");
    return h->fortran || accept_word(s, "False") ? NF_OK : bad(s, "True or False");
}

static nf_status scan_shape(npy_scan *s, npy_header *h) {
    if (!accept(s, '(')) return bad(s, "a shape such as (3, 4)");
    for (bool comma = true; !accept(s, ')');) {
        if (!comma) return bad(s, "',' or ')' in the shape");
        if (h->ndim == NF_MAX_DIMS) return bad(s, "at most 32 dimensions");
        const char *from = s->at;
        while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
        if (!nf_size_parse(from, (size_t)(s->at - from), &h->shape[h->ndim])) {
            s->at = from;
            return bad(s, "a dimension: a whole number below 2^64");
        }
        h->ndim++;
        if (s->at < s->end && *s->at == 'L') s->at++; /* Python 2 */
        comma = accept(s, ',');
        if (!comma && h->ndim == 1) return bad(s, "',' after the only dimension");
    }
    return NF_OK;
}

static nf_status scan_dictionary(npy_scan *s, npy_header *h) {
    static const char *const keys[3] = {"descr", "fortran_order", "shape"};
    bool seen[3] = {false, false, false};
    if (!accept(s, '{')) return bad(s, "'{'");
    for (bool comma = true; !accept(s, '}');) {
        const char *text;
        size_t length;
        if (!comma) return bad(s, "',' or '}'");
        nf_status status = scan_string(s, "a quoted key", &text, &length);
        if (status != NF_OK) return status;
        int key = 0;
        while (key < 3 && (strlen(keys[key]) != length || memcmp(keys[key], text, length) != 0)) {
            key++;
        }
        if (key == 3 || seen[key]) return bad(s, "each of descr, fortran_order and shape once");
        seen[key] = true;
        if (!accept(s, ':')) return bad(s, "':'");
        status = key == 0 ? scan_descr(s, h) : key == 1 ? scan_order(s, h) : scan_shape(s, h);
        if (status != NF_OK) return status;
        comma = accept(s, ',');
    }
    if (!seen[0] || !seen[1] || !seen[2]) return bad(s, "the keys descr, fortran_order and shape");
    skip_blanks(s);
    return s->at == s->end ? NF_OK : bad(s, "nothing but blanks after '}'");
}

static nf_status parse_header(nf_context *context, const unsigned char *bytes, size_t size,
                              npy_header *h) {
    if (size < 10 || memcmp(bytes, MAGIC, 6) != 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "not an .npy file: it must start with \\x93NUMPY, a version and a length");
    }
    int version = bytes[6];
    if (version < 1 || version > 3 || bytes[7] != 0) {
        return nf_fail(context, NF_ERR_DATA, ".npy version %d.%d is not supported: use 1.0 to 3.0",
                       version, bytes[7]);
    }
    size_t fixed = version == 1 ? 10 : 12, length = 0;
    for (size_t b = 8; b < fixed && b < size; b++) length |= (size_t)bytes[b] << 8 * (b - 8);
    if (size < fixed || length > size - fixed) {
        return nf_fail(context, NF_ERR_DATA,
                       ".npy file of %zu bytes ends within its header of %zu bytes: it is cut off "
                       "or damaged",
                       size, length);
    }
    const char *text = (const char *)bytes + fixed;
    npy_scan scan = {context, text, text, text + length, fixed};
    h->data_offset = fixed + length;
    return scan_dictionary(&scan, h);
}

/* The file must end exactly where the shape says. */
static nf_status check_size(nf_context *context, npy_header *h, size_t size) {
    size_t have = size - h->data_offset, need;
    char text[NF_SHAPE_TEXT];
    nf_shape_text(text, h->shape, h->ndim);
    if (nf_shape_overflows(h->shape, h->ndim, &h->count) ||
        nf_mul_overflows(h->count, nf_dtype_size(h->dtype), &need)) {
        return nf_fail(context, NF_ERR_DATA, ".npy shape %s exceeds the address space", text);
    }
    if (need == have) return NF_OK;
    return nf_fail(context, NF_ERR_DATA,
                   ".npy of shape %s and type %s needs %zu bytes of data but has %zu: the file is "
                   "%s",
                   text, nf_dtype_name(h->dtype), need, have,
                   need > have ? "cut off or damaged" : "damaged (bytes after the end)");
}

/* Elements stored first index fastest, to last index fastest. */
static void decode_fortran(nf_array *array, const unsigned char *in, bool swap) {
    size_t size = nf_dtype_size(array->dtype), index[NF_MAX_DIMS] = {0};
    size_t stride[NF_MAX_DIMS] = {0};
    unsigned char *out = array->data;
    size_t step = size, from = 0;
    for (int k = 0; k < array->ndim; k++) {
        stride[k] = step;
        step *= array->shape[k];
    }
    for (size_t i = 0; i < array->count; i++, out += size) {
        nf_decode(out, in + from, 1, size, swap);
        for (int k = array->ndim - 1; k >= 0; k--) {
            from += stride[k];
            if (++index[k] < array->shape[k]) break;
            from -= stride[k] * array->shape[k];
            index[k] = 0;
        }
    }
}

nf_status nf_npy_parse(nf_context *context, const void *bytes, size_t size, nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    npy_header h;
    memset(&h, 0, sizeof h);
    nf_array *array = NULL;
    nf_status status = parse_header(context, bytes, size, &h);
    if (status == NF_OK) status = check_size(context, &h, size);
    if (status == NF_OK) status = nf_array_new(context, h.dtype, h.ndim, h.shape, "array", &array);
    if (status == NF_OK) {
        const unsigned char *data = (const unsigned char *)bytes + h.data_offset;
        if (h.fortran && h.ndim > 1) {
            decode_fortran(array, data, h.swap);
        } else {
            nf_decode(array->data, data, h.count, nf_dtype_size(h.dtype), h.swap);
        }
        unsigned char *flags = array->data;
        for (size_t i = 0; h.dtype == NF_DTYPE_BOOL && i < h.count; i++) flags[i] = flags[i] != 0;
        *out = array;
    }
    return nf_scope_leave(context, scope, status);
}
