/* SPDX-License-Identifier: Apache-2.0 */
#include "node/privilege.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RIGHT(n) (UINT64_C(1) << (n))

static const uint64_t own = RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_NET_ADMIN) | RIGHT(CAP_NET_RAW) |
                            RIGHT(CAP_SYS_PTRACE) | RIGHT(CAP_KILL) | RIGHT(CAP_SETUID) |
                            RIGHT(CAP_SETGID) | RIGHT(CAP_SETPCAP);
static const uint64_t of_commands = RIGHT(CAP_CHOWN) | RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_FOWNER) |
                                    RIGHT(CAP_FSETID) | RIGHT(CAP_NET_BIND_SERVICE);

enum { WORDS = _LINUX_CAPABILITY_U32S_3, WORD_BITS = 32, RIGHTS_MAX = 64 };

static int limit_bounds(struct diag *why)
{
    for (unsigned n = 0; n < RIGHTS_MAX; n++) {
        bool known = prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0;
        if (known && !((own | of_commands) & RIGHT(n)) && prctl(PR_CAPBSET_DROP, n, 0, 0, 0) < 0 &&
            errno != EPERM) {
            return FAIL(why, neg_errno(), "drop right %u", n);
        }
    }
    return 0;
}

/* The C library has no wrappers for these two. */
int privilege_drop(struct diag *why)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[WORDS];
    int r = limit_bounds(why);

    if (r < 0) {
        return r;
    }
    if (syscall(SYS_capget, &head, data) < 0) {
        return FAIL(why, neg_errno(), "read rights");
    }
    for (unsigned i = 0; i < WORDS; i++) {
        data[i].permitted &= (uint32_t)(own >> (i * WORD_BITS));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &head, data) < 0 ? FAIL(why, neg_errno(), "drop rights") : 0;
}
