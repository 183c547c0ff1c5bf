#include "base/names.h"
#include "nearfar/distance.h"

NF_NAMES(metrics, "metric", NF_METRIC_MAP);

const char *nf_metric_name(nf_metric metric) { return nf_name_of(&metrics, (int)metric); }

nf_status nf_metric_parse(nf_context *context, const char *name, nf_metric *metric) {
    int value;
    nf_status status = nf_name_parse(context, &metrics, name, &value);
    if (status == NF_OK) *metric = (nf_metric)value;
    return status;
}

nf_distance_options nf_distance_defaults(void) {
    return (nf_distance_options){.metric = NF_EUCLIDEAN};
}
