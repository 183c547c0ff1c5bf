/* Status codes and the error record.
 *
 * Every fallible function returns an nf_status and, on failure, leaves a record in its context
 * (nf_context_error): which argument, which value, what the limit is and what to do about it.
 * Outputs are written on success only.
 */
#ifndef NEARFAR_STATUS_H
#define NEARFAR_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NF_API __attribute__((visibility("default")))
#define NF_MUST_USE __attribute__((warn_unused_result))
#else
#define NF_API
#define NF_MUST_USE
#endif

/* name, value, one-line meaning */
#define NF_STATUS_MAP(XX)                                                      \
    XX(OK, 0, "success")                                                       \
    XX(ERR_ARG, 1, "an argument is outside its documented range")              \
    XX(ERR_DATA, 2, "the data cannot be used for what was asked")              \
    XX(ERR_RANGE, 3, "a result does not fit its type, or a size is too large") \
    XX(ERR_NOMEM, 4, "out of memory")                                          \
    XX(ERR_IO, 5, "reading or writing a file failed")                          \
    XX(ERR_CANCELLED, 6, "cancelled by the progress callback")                 \
    XX(ERR_DIVERGED, 7, "training diverged: loss or weights are not finite")   \
    XX(ERR_UNSUPPORTED, 8, "not supported by this build or this machine")      \
    XX(ERR_CALLBACK, 9, "a user callback reported failure")

typedef enum nf_status {
#define XX(name, value, text) NF_##name = value,
    NF_STATUS_MAP(XX)
#undef XX
} nf_status;

#define NF_MESSAGE_SIZE 512

typedef struct nf_error {
    nf_status status;
    char message[NF_MESSAGE_SIZE]; /* UTF-8, NUL-terminated, empty when status is NF_OK */
} nf_error;

/* Name of a status, e.g. "NF_ERR_ARG"; "NF_ERR_UNKNOWN" for a value outside the enum.
 * Thread-safe; the string is static. */
NF_API const char *nf_status_name(nf_status status);

/* One-line meaning of a status. Thread-safe; the string is static. */
NF_API const char *nf_status_text(nf_status status);

#ifdef __cplusplus
}
#endif
#endif
