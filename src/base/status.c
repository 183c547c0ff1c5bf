#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

const char *nf_status_name(nf_status status) {
    switch (status) {
#define XX(name, value, text) \
    case NF_##name: return "NF_" #name;
        NF_STATUS_MAP(XX)
#undef XX
    }
    return "NF_ERR_UNKNOWN";
}

const char *nf_status_text(nf_status status) {
    switch (status) {
#define XX(name, value, text) \
    case NF_##name: return text;
        NF_STATUS_MAP(XX)
#undef XX
    }
    return "unknown status";
}

nf_status(nf_fail)(nf_context *context, nf_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    context->error.status = status;
    vsnprintf(context->error.message, sizeof context->error.message, format, arguments);
    va_end(arguments);
    return status;
}
