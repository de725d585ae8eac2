/* shim.h: the page that a process under shim.c shares with whoever makes its disk fail.
 *
 * The file named by $FAULT_CONTROL, of sizeof(struct fault_control) bytes, is mapped by both. Every call on a file in
 * the directory is counted; the `at`-th since `calls` was set to 0 fails, and with `lasting` all behind it. Change `at`
 * last: 0 means that nothing fails. */
#ifndef TESTS_FAULT_SHIM_H
#define TESTS_FAULT_SHIM_H

#include <stdint.h>

#ifdef __cplusplus
#error "C only"
#endif

struct fault_control {
    _Atomic uint64_t calls;
    _Atomic uint64_t at;
    _Atomic uint32_t code;    /* errno; 0: a write is short by half, every other call succeeds */
    _Atomic uint32_t lasting; /* not 0: until `at` is changed */
    _Atomic uint64_t failed;  /* how many calls did */
    _Atomic uint32_t cold;    /* not 0: nothing of the files is in memory, says preadv2 with RWF_NOWAIT */
    _Atomic uint32_t unused;
    _Atomic uint64_t memory; /* not 0: so many bytes of memory has the machine, says libuv */
    char directory[256];     /* absolute, without links; files below it are meant */
};

#endif
