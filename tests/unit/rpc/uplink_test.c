/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/uplink.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "pki.h"
#include "t.h"

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct tls_ctx *ctx;
    struct tls_loop *tls;
    struct pki_cert root;
    struct task owner;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void rig_start(struct rig *g)
{
    *g = (struct rig){.loop = loop_new(NULL), .jobs = jobs_new(1, 16, 16, NULL)};
    if (!g->loop || !g->jobs || tls_ctx_new(&g->ctx, NULL, NULL) < 0) {
        abort();
    }
    g->tls = tls_loop_new(g->loop, g->jobs, g->ctx, NULL);
    g->root = pki_root(PKI_P256);
    task_init(&g->owner, g->loop, "owner", nothing);
}

static void rig_stop(struct rig *g)
{
    task_fini(&g->owner);
    loop_end_orphans(g->loop);
    tls_loop_free(g->tls);
    jobs_free(g->jobs);
    tls_ctx_free(g->ctx);
    loop_free(g->loop);
    pki_free(&g->root);
}

/* One attempt at a port where nobody listens: how it fails. */
static int attempt(struct rig *g, const char *token, struct diag *why)
{
    struct uplink_config config = {.loop = g->loop,
                                   .jobs = g->jobs,
                                   .tls = g->tls,
                                   .address = "https://127.0.0.1:1",
                                   .roots = g->root.cert,
                                   .token = token};
    AUTO(uplink) struct uplink *u = NULL;
    struct grpc_client *client = NULL;
    const struct message *metadata;
    int r = uplink_new(&u, &config, why);

    if (r < 0) {
        return r;
    }
    struct grpc_dialer *d = uplink_dialer(u);
    d->start(d, &g->owner);
    while ((r = d->poll(d, &g->owner, &client, &metadata, why)) == -EAGAIN) {
        (void)loop_turn(g->loop, 1000);
    }
    grpc_client_free(client);
    return r;
}

TEST(a_token_file_that_is_missing_or_empty_is_named_and_nothing_is_dialled)
{
    char file[] = "/tmp/uplink-token-XXXXXX";
    int fd = mkstemp(file);
    const char *const paths[] = {"/nowhere/token", "./nowhere/token", file};
    struct rig g;

    rig_start(&g);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct diag why = {0};
        CHECK(attempt(&g, paths[i], &why) < 0);
        CHECK(strstr(why.text, "AUTH_TOKEN: ") != NULL);
        CHECK(strstr(why.text, paths[i]) != NULL);
    }
    CHECK(write(fd, "a.b.c\n", 6) == 6);
    const char *const good[] = {file, "a.b.c", "relative"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct diag why = {0};
        CHECK(attempt(&g, good[i], &why) < 0); /* by the connection */
        CHECK(strstr(why.text, "AUTH_TOKEN") == NULL);
        CHECK(why.text[0] != '\0');
    }
    close(fd);
    (void)unlink(file);
    rig_stop(&g);
}
