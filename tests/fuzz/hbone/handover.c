/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs of tunnels and of single streams: whatever is imported can be used and closed; a blob that was
 * taken is exported again to something that is taken, too. */
#include "hbone/handover.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/loop.h"

static struct loop *loop;
static struct task nobody;

static ssize_t none_read(struct stream *s, void *into, size_t room)
{
    (void)s;
    (void)into;
    (void)room;
    return -EAGAIN;
}

static ssize_t none_write(struct stream *s, const void *from, size_t len)
{
    (void)s;
    (void)from;
    return (ssize_t)len;
}

static int none_flush(struct stream *s)
{
    (void)s;
    return 0;
}

static void none_close(struct stream *s, int why)
{
    (void)why;
    stream_fini(s);
    mem_free(s);
}

static const struct stream_ops none_ops = {.name = "none",
                                           .read = none_read,
                                           .write = none_write,
                                           .flush = none_flush,
                                           .shut = none_flush,
                                           .close = none_close};

static struct stream *none_new(void)
{
    struct stream *s = mem_new(struct stream);

    s->ops = &none_ops;
    return s;
}

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void use_streams(const struct hbone_handed *h)
{
    char buf[4096];

    for (unsigned i = 0; i < h->count; i++) {
        while (stream_read(h->streams[i].stream, buf, sizeof(buf)) > 0) {
        }
        ssize_t n = stream_write(h->streams[i].stream, buf, sizeof(buf));
        int r = n < 0 ? 0 : stream_shut(h->streams[i].stream);
        stream_close(h->streams[i].stream, r < 0 ? r : 0);
    }
}

static void try_server(struct hbone_loop *home, const uint8_t *p, size_t len)
{
    static struct hbone_handed handed;
    struct hbone_server *s = NULL;
    struct stream *below = NULL;
    struct bytes again;

    if (hbone_server_import(home, none_new(), p, len, &nobody, NULL, &s, &handed) < 0) {
        return;
    }
    bytes_init(&again, 64 << 20);
    int r = hbone_server_export(s, &again, &below);
    if (r < 0) {
        abort();
    }
    r = hbone_server_import(home, below, bytes_peek(&again), again.len, &nobody, NULL, &s, &handed);
    bytes_fini(&again);
    if (r < 0) {
        abort();
    }
    loop_turn(loop, 0);
    use_streams(&handed);
    loop_turn(loop, 0);
    hbone_server_close(s, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hbone_handed handed;
    struct hbone_dialer dialer = {.open = NULL};
    struct stream *s = NULL;

    if (!loop) {
        loop = loop_new(NULL);
        task_init(&nobody, loop, "nobody", nothing);
    }
    struct hbone_loop *home = hbone_loop_new(loop, NULL, NULL);
    struct hbone_pool *pool = hbone_pool_new(home, &dialer, NULL);
    try_server(home, data, size);
    if (hbone_pool_import(pool, none_new(), data, size, &handed) == 0) {
        loop_turn(loop, 0);
        use_streams(&handed);
    }
    if (hbone_stream_import(home, data, size, NULL, &s) == 0) {
        handed.count = 1;
        handed.streams[0].stream = s;
        use_streams(&handed);
    }
    hbone_pool_free(pool);
    for (int i = 0; i < 4; i++) {
        loop_turn(loop, 0);
        loop_advance(loop, 3000);
    }
    hbone_loop_free(home);
    return 0;
}
