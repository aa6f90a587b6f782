/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of one loop: those that are not in use keep their memory. */
#include <string.h>

#include "base/mem.h"
#include "waypoint/request_int.h"

enum { FREE_MAX = 256 };

struct request *request_make(struct request_store *store)
{
    struct list *n = list_take_first(&store->free);

    if (n) {
        store->free_count--;
        return container_of(n, struct request, in_session);
    }
    struct request *q = mem_new(struct request);
    q->store = store;
    list_init(&q->in_session);
    bytes_init(&q->replay, REPLAY_BYTES_MAX);
    return q;
}

static void request_destroy(struct request *q)
{
    message_fini(&q->out);
    message_fini(&q->spare);
    strbuf_fini(&q->path);
    strbuf_fini(&q->host);
    strbuf_fini(&q->text);
    bytes_fini(&q->replay);
    mem_free(q);
}

/* What was large is not kept: it was an exception. */
static void shrink(struct strbuf *b)
{
    if (b->room > 4096) {
        strbuf_fini(b);
    } else {
        strbuf_clear(b);
    }
}

static void shrink_head(struct message *m)
{
    message_shrink(m);
    m->limit = 0; /* one that was taken over had its own */
}

void request_recycle(struct request *q)
{
    struct request_store *store = q->store;

    if (store->free_count >= FREE_MAX) {
        request_destroy(q);
        return;
    }
    shrink_head(&q->out);
    shrink_head(&q->spare);
    shrink(&q->path);
    shrink(&q->host);
    shrink(&q->text);
    bytes_skip(&q->replay, q->replay.len);
    bytes_shrink(&q->replay);
    memset(&q->task, 0, offsetof(struct request, details) - offsetof(struct request, task));
    list_append(&store->free, &q->in_session);
    store->free_count++;
}

struct request_store *request_store_new(struct engine *e)
{
    struct request_store *r = mem_new(struct request_store);

    r->engine = e;
    r->recorder = http_recorder_new(e->shard, e->config->access_log);
    list_init(&r->free);
    list_init(&r->mirrors);
    return r;
}

void request_store_free(struct request_store *r)
{
    if (!r) {
        return;
    }
    mirrors_free(r);
    for (struct list *n; (n = list_take_first(&r->free));) {
        request_destroy(container_of(n, struct request, in_session));
    }
    http_recorder_free(r->recorder);
    mem_free(r);
}

void request_store_write_recent(const struct request_store *r, struct strbuf *out)
{
    http_recorder_write_recent(r->recorder, out);
}

struct request_counts request_store_counts(const struct request_store *r)
{
    return r->counts;
}
