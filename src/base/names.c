#include "base/names.h"

#include <stdio.h>
#include <string.h>

#define NF_NAMES_SIZE 256 /* room for the list in a message */

nf_status nf_name_parse(nf_context *context, const nf_names *names, const char *name, int *value) {
    char list[NF_NAMES_SIZE] = "";
    size_t used = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (name != NULL && strcmp(name, names->name[i]) == 0) {
            *value = (int)i;
            return NF_OK;
        }
        const char *before = i == 0 ? "" : i + 1 < names->count ? ", " : " or ";
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", before, names->name[i]);
        used = nf_min_size(used + (size_t)wrote, sizeof list - 1);
    }
    return nf_fail(context, NF_ERR_ARG, "%s is '%.60s': it must be %s", names->what,
                   name != NULL ? name : "NULL", list);
}
