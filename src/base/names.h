/* Names of an enum whose values count from 0. */
#ifndef NF_BASE_NAMES_H
#define NF_BASE_NAMES_H

#include "base/base.h"

typedef struct nf_names {
    const char *what; /* in messages: "metric" */
    size_t count;
    const char *const *name; /* (count), by value */
} nf_names;

/* `variable` holds the names of an enum's XX map. */
#define NF_NAMES(variable, enum_what, MAP)                             \
    static const char *const variable##_list[] = {MAP(NF_NAMES_TEXT)}; \
    static const nf_names variable = {                                 \
        (enum_what), sizeof variable##_list / sizeof variable##_list[0], variable##_list}
#define NF_NAMES_TEXT(name, value, text) [value] = text,

/* NULL outside the enum. */
static inline const char *nf_name_of(const nf_names *names, int value) {
    return value >= 0 && (size_t)value < names->count ? names->name[value] : NULL;
}

/* The value of a name; NF_ERR_ARG lists the names. */
nf_status nf_name_parse(nf_context *context, const nf_names *names, const char *name,
                        int *value) NF_MUST_USE;

#endif
