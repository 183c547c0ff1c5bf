/* Byte strings numbered by first appearance.
 *
 * A hash table keyed with random bytes (SipHash-1-3, Aumasson & Bernstein 2012), so that no file
 * can be made to hit one bucket. The key never changes a result: numbers follow the order of
 * appearance. */
#define _DEFAULT_SOURCE /* getentropy */
#include "io/internal.h"

#include <unistd.h>

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

static uint64_t sip_hash(const uint64_t key[2], const char *text, size_t length) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    size_t at = 0;
    for (; length - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, text + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t tail = (uint64_t)length << 56;
    for (size_t b = 0; at + b < length; b++) tail |= (uint64_t)(unsigned char)text[at + b] << 8 * b;
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

nf_status nf_classes_init(nf_context *context, nf_classes *classes, size_t items, size_t bytes) {
    memset(classes, 0, sizeof *classes);
    if (items >= UINT32_MAX - 1) {
        return nf_fail(context, NF_ERR_RANGE,
                       "%zu labels are too many to be named: give the classes numbers", items);
    }
    size_t slots = 16;
    while (slots < items + items / 2) slots *= 2;
    nf_status status = nf_scratch(context, &classes->text, bytes + items + 1, 1, "class names");
    if (status == NF_OK) {
        status = nf_scratch(context, &classes->start, items + 1, sizeof(size_t), "class names");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &classes->slot, slots, sizeof(uint32_t), "class names");
    }
    if (status != NF_OK) return status;
    memset(classes->slot, 0, slots * sizeof(uint32_t));
    classes->start[0] = 0;
    classes->mask = slots - 1;
    if (getentropy(classes->key, sizeof classes->key) != 0) {
        classes->key[0] = (uint64_t)(uintptr_t)classes->text;
    }
    return NF_OK;
}

int64_t nf_classes_intern(nf_classes *classes, const char *text, size_t length, bool unquote) {
    size_t begin = classes->start[classes->count];
    char *name = classes->text + begin;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        name[used++] = text[i];
        if (unquote && text[i] == '"') i++; /* the second of a doubled quote */
    }
    name[used] = '\0';
    size_t at = (size_t)sip_hash(classes->key, name, used) & classes->mask;
    while (classes->slot[at] != 0) {
        size_t k = classes->slot[at] - 1;
        size_t have = classes->start[k + 1] - classes->start[k] - 1;
        if (have == used && memcmp(classes->text + classes->start[k], name, used) == 0) {
            return (int64_t)k;
        }
        at = (at + 1) & classes->mask;
    }
    classes->slot[at] = (uint32_t)(classes->count + 1);
    classes->start[++classes->count] = begin + used + 1;
    return (int64_t)(classes->count - 1);
}

nf_status nf_classes_names(nf_context *context, const nf_classes *classes, char ***names) {
    size_t pointers = (classes->count + 1) * sizeof(char *), bytes = classes->start[classes->count];
    char *block = NULL;
    nf_status status = nf_allocate(context, &block, pointers + bytes, 1, "class names");
    if (status != NF_OK) return status;
    char **list = (char **)(void *)block;
    memcpy(block + pointers, classes->text, bytes);
    for (size_t k = 0; k < classes->count; k++) list[k] = block + pointers + classes->start[k];
    list[classes->count] = NULL;
    *names = list;
    return NF_OK;
}
