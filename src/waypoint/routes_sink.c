/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/routes_sink.h"

#include "base/mem.h"
#include "tls/jwks.h"
#include "xds/name_set.h"
#include "xds/resource.h"
#include "xds/waypoint.h"

/* In the order in which they are asked for and so answered; the first answers are in force together. */
static const char *const types[] = {XDS_TYPE_ADDRESS, XDS_TYPE_L7_POLICY, XDS_TYPE_L7_TRAFFIC,
                                    XDS_TYPE_L7_ROUTE, XDS_TYPE_L7_BINDING};

enum { NAMES_BYTES = 64 << 20 };

struct routes_sink {
    /* What is held: a stream that begins anew tells the control plane, so that it says what has gone
     * meanwhile. */
    struct name_set names[L7_TYPES];
    struct snap_slot *slots;
    unsigned count;
    struct snap_bin bin;
    const struct l7 *now;
    struct l7_delta *delta; /* NULL: nothing came since the last commit */
    struct ads_interest interest;
};

static struct l7_delta *delta_of(struct routes_sink *s)
{
    s->delta = s->delta ? s->delta : l7_delta_new(s->now);
    return s->delta;
}

static int put(void *arg, const char *type_url, const char *name, struct slice value,
               struct diag *why)
{
    struct routes_sink *s = arg;
    enum l7_type type = L7_TYPES;
    int r = -ERR_UNSUPPORTED;

    if (xds_l7_type_of(type_url, &type)) {
        r = xds_l7_put(delta_of(s), type, name, value, why);
    }
    /* A policy that is refused may be held as broken. */
    if ((r == 0 || type == L7_TYPE_POLICY) &&
        name_set_add(&s->names[type], slice_of(name), NAMES_BYTES) < 0) {
        r = FAIL(why, -ERR_LIMIT, "too many resources");
    }
    return r;
}

static void drop(void *arg, const char *type_url, const char *name)
{
    enum l7_type type = L7_TYPES;

    if (xds_l7_type_of(type_url, &type)) {
        struct routes_sink *s = arg;
        (void)name_set_remove(&s->names[type],
                              slice_of(name));    /* removing what is not there is fine */
        (void)l7_remove(delta_of(s), type, name); /* likewise */
    }
}

static void names(void *arg, const char *type_url, void (*each)(void *to, const char *name),
                  void *to)
{
    struct routes_sink *s = arg;
    enum l7_type type = L7_TYPES;

    if (xds_l7_type_of(type_url, &type)) {
        name_set_for_each(n, &s->names[type])
        {
            each(to, container_of(n, struct name_item, by_name)->name);
        }
    }
}

static void publish(struct routes_sink *s)
{
    snap_publish(s->slots, s->count, l7_snap(l7_ref(s->now)));
    (void)snap_bin_empty(&s->bin); /* how many is of no interest */
}

static void commit(void *arg, const struct world *world)
{
    struct routes_sink *s = arg;
    struct l7_delta *d = s->delta;

    (void)world;
    if (!d) {
        return;
    }
    s->delta = NULL;
    const struct l7 *next = l7_next(d);
    l7_unref(s->now);
    s->now = next;
    publish(s);
}

static const struct ads_sink sink_ops = {
    .put = put, .remove = drop, .commit = commit, .names = names};

struct routes_sink *routes_sink_new(struct snap_slot *slots, unsigned count)
{
    struct routes_sink *s = mem_new(struct routes_sink);

    s->slots = slots;
    s->count = count;
    s->now = l7_new(&s->bin, &jwks_maker);
    s->interest = (struct ads_interest){
        .types = types, .type_count = ARRAY_LEN(types), .sink = &sink_ops, .sink_arg = s};
    publish(s);
    return s;
}

void routes_sink_free(struct routes_sink *s)
{
    if (s) {
        for (unsigned i = 0; i < L7_TYPES; i++) {
            name_set_fini(&s->names[i]);
        }
        l7_delta_free(s->delta);
        l7_unref(s->now);
        (void)snap_bin_empty(&s->bin); /* nothing names the bin any more */
        mem_free(s);
    }
}

const struct l7 *routes_sink_now(const struct routes_sink *s)
{
    return s->now;
}

const struct ads_interest *routes_sink_interest(const struct routes_sink *s)
{
    return &s->interest;
}
