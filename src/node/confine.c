/* SPDX-License-Identifier: Apache-2.0 */
#include "node/confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of linux/landlock.h, newer than the one that is built with. */
struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped; /* ABI 6 */
};
enum { ABI_RENAMES = 2, ABI_SCOPES = 6 };
static const uint64_t scope_signal = 1u << 1;

/* The C library has no wrappers for these. */
static int make_ruleset(const struct ruleset *r, size_t size)
{
    return (int)syscall(SYS_landlock_create_ruleset, r, size, 0);
}

static int abi_version(void)
{
    long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return v > 0 ? (int)v : 0;
}

/* A domain has to restrict something: it does so with renames, which are then allowed everywhere. */
static int allow_renames(int ruleset)
{
    int root = open("/", O_PATH | O_CLOEXEC);

    if (root < 0) {
        return neg_errno();
    }
    struct landlock_path_beneath_attr all = {.allowed_access = LANDLOCK_ACCESS_FS_REFER,
                                             .parent_fd = root};
    long r = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &all, 0);
    int result = r < 0 ? neg_errno() : 0;
    close(root);
    return result;
}

static int enter(int ruleset)
{
    return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? neg_errno() : 0;
}

int confine(struct diag *why)
{
    int abi = abi_version();
    bool scopes = abi >= ABI_SCOPES;
    struct ruleset wanted = {.fs = scopes ? 0 : LANDLOCK_ACCESS_FS_REFER,
                             .scoped = scopes ? scope_signal : 0};

    if (abi < ABI_RENAMES) {
        return 0;
    }
    int ruleset = make_ruleset(&wanted, scopes ? sizeof(wanted) : sizeof(wanted.fs));
    if (ruleset < 0) {
        return FAIL(why, neg_errno(), "make a Landlock ruleset");
    }
    int r = scopes ? 0 : allow_renames(ruleset);
    r = r < 0 ? r : enter(ruleset);
    close(ruleset);
    return r < 0 ? FAIL(why, r, "enter a Landlock domain") : 0;
}
