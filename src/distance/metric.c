#include <string.h>

#include "base/base.h"
#include "nearfar/distance.h"

const char *nf_metric_name(nf_metric metric) {
    switch (metric) {
#define XX(name, value, text) \
    case NF_##name: return text;
        NF_METRIC_MAP(XX)
#undef XX
    }
    return NULL;
}

nf_status nf_metric_parse(nf_context *context, const char *name, nf_metric *metric) {
    for (int value = 0; nf_metric_name((nf_metric)value) != NULL; value++) {
        if (name != NULL && strcmp(name, nf_metric_name((nf_metric)value)) == 0) {
            *metric = (nf_metric)value;
            return NF_OK;
        }
    }
    return nf_fail(context, NF_ERR_ARG,
                   "metric is '%.60s': it must be euclidean, sqeuclidean, cosine, dot or cityblock",
                   name != NULL ? name : "NULL");
}

nf_distance_options nf_distance_defaults(void) {
    return (nf_distance_options){.metric = NF_EUCLIDEAN};
}
