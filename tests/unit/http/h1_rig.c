/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_rig.h"

#include <string.h>

static int next(void *server, struct exchange **out)
{
    return h1_server_next(server, out);
}

void h1_rig_start_with(struct h1_rig *g, const char *script, size_t pipe, int fail_at,
                       const struct h1_limits *limits)
{
    struct stream *ends[2];

    *g = (struct h1_rig){.fault = {.countdown = fail_at, .code = -EIO}};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    mempipe_pair(ends, pipe, &g->fault);
    handler_start(&g->app, g->loop);
    g->server = h1_server_new(g->loop, ends[1], limits, &g->app.task);
    handler_serve(&g->app, next, g->server);
    wire_start(&g->client, g->loop, ends[0], script, strlen(script));
}

void h1_rig_start(struct h1_rig *g, const char *script)
{
    h1_rig_start_with(g, script, 4096, -1, NULL);
}

bool h1_rig_stop(struct h1_rig *g)
{
    handler_stop(&g->app);
    h1_server_free(g->server);
    bool settled = settle(g->loop);
    wire_stop(&g->client, 0);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000); /* whatever lingers gives up */
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}
