/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_traffic.h"

#include "model/const_int.h"
#include "model/l7_pack_int.h"

enum { EJECTION_PERCENT = 10, INTERVAL_MS = 10000, EJECTION_MS = 30000, HOUR_MS = 3600 * 1000 };

static struct l7_traffic *lay_out(struct pack *p, const struct l7_traffic *from)
{
    struct l7_traffic *room = pack_room(p, sizeof(*room), _Alignof(struct l7_traffic));
    struct l7_traffic to = *from;

    to.resource = pack_text(p, from->resource);
    to.version = pack_text(p, from->version);
    to.service = pack_key(p, from->ns, from->hostname);
    to.ns = pack_text(p, from->ns);
    to.hostname = pack_text(p, from->hostname);
    to.hash.header = pack_lower(p, from->hash.header);
    to.hash.cookie = pack_text(p, from->hash.cookie);
    to.hash.query = pack_text(p, from->hash.query);
    to.hash.cookie_path = pack_text(p, from->hash.cookie_path);
    if (to.outlier.interval_ms == 0) {
        to.outlier.interval_ms = INTERVAL_MS;
    }
    if (to.outlier.base_ejection_ms == 0) {
        to.outlier.base_ejection_ms = EJECTION_MS;
    }
    if (to.outlier.max_ejection_percent == 0) {
        to.outlier.max_ejection_percent = EJECTION_PERCENT;
    }
    if (room) {
        aref_init(&to.refs);
        memcpy(room, &to, sizeof(to));
    }
    return room;
}

static int check_hash(const struct l7_traffic *x, struct diag *why)
{
    const struct l7_hash_key *h = &x->hash;
    int given = !text_is_empty(h->header) + !text_is_empty(h->cookie) + !text_is_empty(h->query) +
                (h->source_ip ? 1 : 0);

    if (x->balance == L7_CONSISTENT_HASH && given != 1) {
        return FAIL(why, -ERR_SYNTAX, "hash: one of header, cookie, query, source_ip, not %d",
                    given);
    }
    return 0;
}

static int check_outlier(const struct l7_outlier *o, struct diag *why)
{
    if (o->max_ejection_percent > 100 || o->min_health_percent > 100) {
        return FAIL(why, -ERR_RANGE, "outlier: a percentage over 100");
    }
    if (o->interval_ms > HOUR_MS || o->base_ejection_ms > 24ull * HOUR_MS) {
        return FAIL(why, -ERR_RANGE, "outlier: interval over 1 h or ejection over 24 h");
    }
    return 0;
}

int l7_traffic_new(const struct l7_traffic **out, const struct l7_traffic *from, struct diag *why)
{
    struct pack p = {.base = NULL};

    if (text_is_empty(from->hostname)) {
        return FAIL(why, -ERR_SYNTAX, "hostname: is empty");
    }
    int r = check_hash(from, why);
    if (r == 0) {
        r = check_outlier(&from->outlier, why);
    }
    if (r < 0) {
        return r;
    }
    (void)lay_out(&p, from); /* measures */
    p = (struct pack){.base = mem_alloc(p.used)};
    *out = lay_out(&p, from);
    return 0;
}

const struct l7_traffic *l7_traffic_ref(const struct l7_traffic *x)
{
    if (x) {
        aref_get(&((struct l7_traffic *)unconst(x))->refs);
    }
    return x;
}

const struct l7_traffic *l7_traffic_unref(const struct l7_traffic *x)
{
    struct l7_traffic *mine = unconst(x);

    if (mine && aref_put(&mine->refs)) {
        mem_free(mine);
    }
    return NULL;
}
