/* Working memory that each kept context of a binding holds, so that calls do not allocate: enough for
 * the loss of about 1000 rows of 128. Pages that no call has used take no memory; fresh ones at every
 * call would cost as much as the loss of 256 rows itself. */
#ifndef NEARFAR_PYTHON_RESERVE_H
#define NEARFAR_PYTHON_RESERVE_H

#define RESERVE ((size_t)8 << 20)

#endif
