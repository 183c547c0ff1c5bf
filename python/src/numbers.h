/* A loss as numbers, for attributes of XLA and TensorFlow: whole numbers and members of enumerations
 * are exact in a double. `stats` stays behind: only counts show it. */
#ifndef NEARFAR_PYTHON_NUMBERS_H
#define NEARFAR_PYTHON_NUMBERS_H

#include "nearfar/nearfar.h"

/* type, field of nf_loss */
#define LOSS_NUMBERS_MAP(XX)    \
    XX(nf_loss_kind, kind)      \
    XX(nf_metric, pos_metric)   \
    XX(nf_metric, neg_metric)   \
    XX(double, pos_exponent)    \
    XX(double, neg_exponent)    \
    XX(double, pos_margin)      \
    XX(double, neg_margin)      \
    XX(double, pos_weight)      \
    XX(double, neg_weight)      \
    XX(double, scale)           \
    XX(int, normalize)          \
    XX(nf_reduction, reduction) \
    XX(double, divisor)         \
    XX(double, temperature)     \
    XX(double, alpha)           \
    XX(double, beta)            \
    XX(double, base)            \
    XX(double, gamma)           \
    XX(nf_triplets, triplets)   \
    XX(int, smooth)             \
    XX(int, fast)

enum {
#define XX(type, name) LOSS_NUMBER_##name,
    LOSS_NUMBERS_MAP(XX)
#undef XX
        LOSS_NUMBER_unlabelled, /* whether -1 is no label */
    LOSS_NUMBERS
};

static inline void loss_to_numbers(const nf_loss *loss, int has_unlabelled,
                                   double numbers[LOSS_NUMBERS]) {
#define XX(type, name) numbers[LOSS_NUMBER_##name] = (double)loss->name;
    LOSS_NUMBERS_MAP(XX)
#undef XX
    numbers[LOSS_NUMBER_unlabelled] = has_unlabelled;
}

static inline nf_loss loss_from_numbers(const double numbers[LOSS_NUMBERS]) {
    nf_loss loss = {.stats = 0};
#define XX(type, name) loss.name = (type)numbers[LOSS_NUMBER_##name];
    LOSS_NUMBERS_MAP(XX)
#undef XX
    return loss;
}

#endif
