#include "train/list.h"

#include <string.h>

#include "io/internal.h"

size_t nf_list_count(const char *text) {
    size_t count = 1;
    for (; *text != '\0'; text++) count += *text == ',';
    return count;
}

nf_status nf_list_numbers(nf_context *context, const char *text, double *out, bool *good) {
    nf_c_locale locale;
    nf_status status = nf_c_locale_enter(context, &locale);
    if (status != NF_OK) return status;
    *good = true;
    for (; *good; text++) {
        const size_t length = strcspn(text, ",");
        *good = nf_number_parse(text, length, out++);
        text += length;
        if (*text == '\0') break;
    }
    nf_c_locale_leave(&locale);
    return NF_OK;
}

bool nf_list_integers(const char *text, int64_t *out) {
    for (;; text++) {
        const size_t length = strcspn(text, ",");
        if (nf_integer_parse(text, length, out++) != NF_INTEGER_OK) return false;
        text += length;
        if (*text == '\0') return true;
    }
}
