/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a client sends, through a whole engine: what reaches the application is in normal form, is
 * not what policy denies, and carries nothing that only the waypoint may say. When the client has gone,
 * so has everything that was made for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "codec/http_path.h"
#include "rig.h"

enum { TURNS = 12, TURNS_MAX = 5000 }; /* the kernel delivers when it gets to it */

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* Nothing is left to be done to it. */
static bool is_normal(struct slice path)
{
    struct strbuf again = {0};
    struct diag why = {0};
    bool same = http_path_normalise(path, HTTP_SLASHES_KEPT, &again, &why) == 0 &&
                slice_equal(path, (struct slice){strbuf_text(&again), again.len});

    strbuf_fini(&again);
    return same;
}

static void judge(const struct message *head)
{
    struct slice path;
    struct slice query;
    struct slice v;

    message_target(head, &path, &query);
    const char *wrong = slice_has_prefix(path, "/secret")                   ? "denied"
                        : !slice_is(path, "*") && !is_normal(path)          ? "not in normal form"
                        : message_find(head, "x-forwarded-client-cert", &v) ? "a forged identity"
                        : message_find(head, "x-envoy-max-retries", &v)     ? "a control header"
                        : !message_find(head, "x-request-id", &v)           ? "no request id"
                        : !message_find(head, "x-set", &v) || !slice_is(v, "1")
                            ? "the rule's header is missing"
                            : NULL;
    if (wrong) {
        (void)fprintf(stderr, "%s: %.*s\n", wrong, (int)path.len, path.p);
        abort();
    }
}

static struct rig rig;

static void stop(void)
{
    rig_end(&rig);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (!rig.loop) {
        rig.seen = judge;
        rig_start(&rig);
        (void)atexit(stop);
    }
    int fd = rig_dial(&rig);
    ssize_t n = size > 0 ? write(fd, data, size) : 0;
    for (int i = 0; i < TURNS; i++) {
        (void)loop_turn(rig.loop, 0);
    }
    (void)n; /* what does not fit into the socket is not sent */
    (void)close(fd);
    for (int i = 0; i < TURNS_MAX && rig.engine->entry_count > 0; i++) {
        if (rig.held) { /* behind a request that waits nobody reads, so nobody sees the client go */
            rig_answer(&rig);
        }
        (void)loop_turn(rig.loop, i < 8 ? 0 : 1);
    }
    if (rig.engine->entry_count > 0) {
        abort();
    }
    rig_end_streams(&rig);
    return 0;
}
