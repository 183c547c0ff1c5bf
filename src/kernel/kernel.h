/* The kernel table: what the engine asks of an instruction set.
 *
 * One body (body.inc) is compiled per element type and instruction set in its own unit; every
 * operation sequence is fixed, so all of them give the same bits. Pointers are to the table's element
 * type (float or double). A panel holds columns in groups of one 64-byte line:
 * panel[(c / L * d + k) * L + c % L] with L = NF_PANEL_BYTES / element size, padded with zeros.
 */
#ifndef NF_KERNEL_KERNEL_H
#define NF_KERNEL_KERNEL_H

#include "base/base.h"

#define NF_PANEL_BYTES 64

typedef struct nf_kernels {
    /* Pack b (cols, d) into a panel of nf_panel_size elements. */
    void (*pack)(void *panel, const void *b, size_t ldb, size_t cols, size_t d);

    /* out[r * ldo + c] = one chain over k = 0 .. d-1, for r < rows, c < cols rounded up to L (the
     * padding columns of out are written, so ldo must hold them).
     *   sqdist: fma(a - b, a - b, s)   dot: fma(a, b, s)   cityblock: s + |a - b| */
    void (*sqdist)(void *out, size_t ldo, const void *a, size_t lda, const void *panel, size_t rows,
                   size_t cols, size_t d);
    void (*dot)(void *out, size_t ldo, const void *a, size_t lda, const void *panel, size_t rows,
                size_t cols, size_t d);
    void (*cityblock)(void *out, size_t ldo, const void *a, size_t lda, const void *panel,
                      size_t rows, size_t cols, size_t d);

    /* out (rows, d) = w (rows, n) b (n, d): chains over n ascending. Rows of b and out are padded to
     * whole lines (ldb, ldo multiples of L, padding of out is written). */
    void (*combine)(void *out, size_t ldo, const void *w, size_t ldw, const void *b, size_t ldb,
                    size_t rows, size_t n, size_t d);
    /* out (n, d) = w' b, w (rows, n), b (rows, d): chains over rows ascending. */
    void (*combine_transposed)(void *out, size_t ldo, const void *w, size_t ldw, const void *b,
                               size_t ldb, size_t rows, size_t n, size_t d);

    /* out[i] = sqrt(in[i]) */
    void (*square_root)(void *out, const void *in, size_t count);
} nf_kernels;

/* The table of the context's instruction set. */
const nf_kernels *nf_kernels_get(const nf_context *context, nf_type type);

static inline size_t nf_panel_lanes(nf_type type) { return NF_PANEL_BYTES / nf_type_size(type); }

/* Elements of a panel of `cols` columns. */
static inline size_t nf_panel_size(nf_type type, size_t cols, size_t d) {
    return nf_round_up(cols, nf_panel_lanes(type)) * d;
}

#endif
