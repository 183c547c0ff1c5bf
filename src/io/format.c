#include "io/internal.h"

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t want = strlen(ending);
    if (length < want) return false;
    for (size_t i = 0; i < want; i++) {
        char c = text[length - want + i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (c != ending[i]) return false;
    }
    return true;
}

static nf_format by_name(const char *path) {
    static const struct {
        const char *ending;
        nf_format format;
    } names[] = {{".csv", NF_FORMAT_CSV},           {".tsv", NF_FORMAT_CSV},
                 {".txt", NF_FORMAT_CSV},           {".svm", NF_FORMAT_SVMLIGHT},
                 {".svmlight", NF_FORMAT_SVMLIGHT}, {".libsvm", NF_FORMAT_SVMLIGHT}};
    size_t length = path != NULL ? strlen(path) : 0;
    if (ends_with(path, length, ".gz")) length -= 3;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (ends_with(path, length, names[k].ending)) return names[k].format;
    }
    return NF_FORMAT_UNKNOWN;
}

static nf_format by_magic(const unsigned char *b, size_t size) {
    if (size >= 6 && memcmp(b, "\x93NUMPY", 6) == 0) return NF_FORMAT_NPY;
    if (size >= 4 && (memcmp(b, "PK\3\4", 4) == 0 || memcmp(b, "PK\5\6", 4) == 0)) {
        return NF_FORMAT_NPZ;
    }
    if (size >= 4 && b[0] == 0 && b[1] == 0 && b[2] >= 0x08 && b[2] <= 0x0E && b[3] >= 1 &&
        b[3] <= NF_MAX_DIMS) {
        return NF_FORMAT_IDX;
    }
    if (size >= 9 && b[8] == '{' && b[7] == 0 && b[6] == 0 && b[5] == 0) {
        return NF_FORMAT_SAFETENSORS;
    }
    return NF_FORMAT_UNKNOWN;
}

/* Text of unknown name (standard input): svmlight if the second word is index:value. */
static nf_format by_text(const char *text, size_t size) {
    size_t look = nf_min_size(size, 4096), at = 0;
    if (look == 0 || memchr(text, '\0', look) != NULL) return NF_FORMAT_UNKNOWN;
    while (at < look && text[at] != ' ' && text[at] != '\n' && text[at] != ',') at++;
    if (at == look || text[at] != ' ') return NF_FORMAT_CSV;
    while (at < look && text[at] == ' ') at++;
    size_t digits = 0;
    while (at < look && text[at] >= '0' && text[at] <= '9') at++, digits++;
    return digits > 0 && at < look && text[at] == ':' ? NF_FORMAT_SVMLIGHT : NF_FORMAT_CSV;
}

nf_format nf_format_detect(const void *bytes, size_t size, const char *path) {
    nf_format format = by_magic(bytes, size);
    if (format == NF_FORMAT_UNKNOWN) format = by_name(path);
    if (format == NF_FORMAT_UNKNOWN) format = by_text(bytes, size);
    return format;
}

const char *nf_format_name(nf_format format) {
    static const char *const names[] = {"unknown",  "npy", "npz",        "csv",
                                        "svmlight", "idx", "safetensors"};
    return (unsigned)format < sizeof names / sizeof *names ? names[format] : NULL;
}
