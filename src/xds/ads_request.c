/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/ads_request.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"

/* Field numbers of contract 5.2, and of google.protobuf.Struct. */
enum {
    REQUEST_NODE = 1,
    REQUEST_TYPE_URL = 2,
    REQUEST_SUBSCRIBE = 3,
    REQUEST_UNSUBSCRIBE = 4,
    REQUEST_INITIAL = 5,
    REQUEST_NONCE = 6,
    REQUEST_ERROR = 7
};
enum { NODE_ID = 1, NODE_METADATA = 3, STRUCT_FIELDS = 1, ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum { VALUE_STRING = 3, STATUS_MESSAGE = 2, ERROR_TEXT_MAX = 1024 };

void ads_node_fini(struct ads_node *n)
{
    mem_free(n->id);
    mem_free(n->ns);
    mem_free(n->node);
    mem_free(n->account);
    mem_free(n->gateway);
    *n = (struct ads_node){.id = NULL};
}

void ads_request_init(struct ads_request *r, const struct catalog *const *catalogs)
{
    *r = (struct ads_request){.catalogs = catalogs, .type = ADS_UNKNOWN};
    pbstream_init(&r->stream, ADS_FIELD_BYTES_MAX);
}

void ads_request_fini(struct ads_request *r)
{
    pbstream_fini(&r->stream);
    ads_node_fini(&r->node);
    mem_free(r->type_url);
    mem_free(r->nonce);
    mem_free(r->error);
    mem_free(r->same);
    name_set_fini(&r->subscribe);
    name_set_fini(&r->unsubscribe);
    name_set_fini(&r->gone);
    name_set_fini(&r->held);
}

static struct slice slice_of_field(const struct pb_field *f)
{
    return (struct slice){(const char *)f->bytes, f->len};
}

/* Replaces *at; what holds a NUL or is too long is no text of ours. */
static int take_text(char **at, const struct pb_field *f, size_t most, struct diag *why)
{
    if (f->wire != PB_BYTES || f->len > most || memchr(f->bytes, 0, f->len)) {
        return FAIL(why, -ERR_SYNTAX, "field %u of the request is no text", f->number);
    }
    mem_free(*at);
    *at = mem_dup(f->bytes, f->len);
    return 0;
}

/* ---- node */

/* One entry of the metadata's map; other values than texts are not ours. */
static int take_metadata(struct ads_node *n, const struct pb_field *entry, struct diag *why)
{
    struct pb_field key;
    struct pb_field value;
    struct pb_field text;
    char **at = NULL;

    if (pbwalk_find(entry->bytes, entry->len, ENTRY_KEY, &key) != 1 ||
        pbwalk_find(entry->bytes, entry->len, ENTRY_VALUE, &value) != 1 ||
        pbwalk_find(value.bytes, value.len, VALUE_STRING, &text) != 1) {
        return 0;
    }
    if (slice_is(slice_of_field(&key), "NAMESPACE")) {
        at = &n->ns;
    } else if (slice_is(slice_of_field(&key), "NODE_NAME")) {
        at = &n->node;
    } else if (slice_is(slice_of_field(&key), "SERVICE_ACCOUNT")) {
        at = &n->account;
    } else if (slice_is(slice_of_field(&key), "GATEWAY")) {
        at = &n->gateway;
    }
    return at ? take_text(at, &text, ADS_NODE_TEXT_MAX, why) : 0;
}

static int take_struct(struct ads_node *n, const struct pb_field *metadata, struct diag *why)
{
    struct pbwalk w;
    struct pb_field f;
    int r;

    pbwalk_init(&w, metadata->bytes, metadata->len);
    while ((r = pbwalk_next(&w, &f)) == 1) {
        if (f.number == STRUCT_FIELDS && f.wire == PB_BYTES) {
            r = take_metadata(n, &f, why);
        }
        if (r < 0) {
            return r;
        }
    }
    return r;
}

static int take_node(struct ads_node *n, const struct pb_field *node, struct diag *why)
{
    struct pbwalk w;
    struct pb_field f;
    int r;

    pbwalk_init(&w, node->bytes, node->len);
    while ((r = pbwalk_next(&w, &f)) == 1) {
        if (f.number == NODE_ID) {
            r = take_text(&n->id, &f, ADS_NODE_TEXT_MAX, why);
        } else if (f.number == NODE_METADATA && f.wire == PB_BYTES) {
            r = take_struct(n, &f, why);
        }
        if (r < 0) {
            return why->code < 0 ? r : FAIL(why, r, "the node does not decode");
        }
    }
    return r < 0 ? FAIL(why, r, "the node does not decode") : 0;
}

/* ---- names */

static int take_type(struct ads_request *r, const struct pb_field *f, struct diag *why)
{
    int x = take_text(&r->type_url, f, ADS_NODE_TEXT_MAX, why);

    r->type = ADS_UNKNOWN;
    for (unsigned i = 0; x == 0 && i < ADS_TYPES; i++) {
        if (strcmp(r->type_url, ads_type_urls[i]) == 0) {
            r->type = (enum ads_type)i;
        }
    }
    return x;
}

static int take_name(struct name_set *s, struct slice name, struct diag *why)
{
    if (name.len > 0 && memchr(name.p, 0, name.len)) {
        return FAIL(why, -ERR_SYNTAX, "a resource name is no text");
    }
    int r = name_set_add(s, name, ADS_NAMES_BYTES_MAX);
    return r < 0 ? FAIL(why, r, "more names than %d bytes", ADS_NAMES_BYTES_MAX) : 0;
}

static void mark_same(struct ads_request *r, uint32_t slot)
{
    if (!r->same) {
        r->same_bits = catalog_slots(r->catalogs[r->type]);
        r->same = mem_alloc(r->same_bits / 8 + 1);
        r->same_at = catalog_seq(r->catalogs[r->type]);
    }
    if (slot < r->same_bits) {
        r->same[slot / 8] |= (uint8_t)BIT(slot % 8);
    }
}

/* A resource that changes while the rest of the message arrives is newer than same_at. */
static int take_initial(struct ads_request *r, const struct pb_field *entry, struct diag *why)
{
    struct pb_field key = {.len = 0};
    struct pb_field value = {.len = 0};

    if (pbwalk_find(entry->bytes, entry->len, ENTRY_KEY, &key) < 0 ||
        pbwalk_find(entry->bytes, entry->len, ENTRY_VALUE, &value) < 0) {
        return FAIL(why, -ERR_SYNTAX, "initial_resource_versions does not decode");
    }
    if (r->type == ADS_UNKNOWN) {
        return 0;
    }
    const struct slice name = slice_of_field(&key);
    const struct catalog_entry *e = catalog_find(r->catalogs[r->type], name);
    if (!e || catalog_is_gone(e)) {
        return take_name(&r->gone, name, why);
    }
    if (*e->version && slice_is(slice_of_field(&value), e->version)) {
        mark_same(r, e->slot);
    }
    /* Only a client of names needs to be remembered by them, and it has few. */
    if (r->unsubscribe.by_name.count > 0 || r->subscribe.by_name.count > 0) {
        return take_name(&r->held, name, why);
    }
    return 0;
}

static int take_error(struct ads_request *r, const struct pb_field *f, struct diag *why)
{
    struct pb_field text = {.len = 0};

    if (pbwalk_find(f->bytes, f->len, STATUS_MESSAGE, &text) < 0) {
        return FAIL(why, -ERR_SYNTAX, "error_detail does not decode");
    }
    mem_free(r->error);
    r->error = mem_dup(text.bytes, MIN_OF(text.len, (size_t)ERROR_TEXT_MAX));
    return 0;
}

static int take_field(struct ads_request *r, const struct pb_field *f, struct diag *why)
{
    if (f->number <= REQUEST_ERROR && f->wire != PB_BYTES) {
        return FAIL(why, -ERR_SYNTAX, "field %u of the request has the wrong type", f->number);
    }
    if (!r->type_url && f->number >= REQUEST_SUBSCRIBE && f->number <= REQUEST_INITIAL) {
        return FAIL(why, -ERR_SYNTAX, "names come before the type they are of");
    }
    switch (f->number) {
    case REQUEST_NODE:
        return take_node(&r->node, f, why);
    case REQUEST_TYPE_URL:
        return take_type(r, f, why);
    case REQUEST_SUBSCRIBE:
        return take_name(&r->subscribe, slice_of_field(f), why);
    case REQUEST_UNSUBSCRIBE:
        return take_name(&r->unsubscribe, slice_of_field(f), why);
    case REQUEST_INITIAL:
        return take_initial(r, f, why);
    case REQUEST_NONCE:
        return take_text(&r->nonce, f, ADS_NODE_TEXT_MAX, why);
    case REQUEST_ERROR:
        return take_error(r, f, why);
    default:
        return 0; /* a field from the future */
    }
}

int ads_request_feed(struct ads_request *r, const void *piece, size_t len, struct diag *why)
{
    const uint8_t *at = piece;
    struct pb_field f;
    int x;

    while ((x = pbstream_next(&r->stream, &at, &len, &f)) == 1) {
        x = take_field(r, &f, why);
        if (x < 0) {
            return x;
        }
    }
    return x < 0 ? FAIL(why, x, "the request does not decode") : 0;
}

int ads_request_end(struct ads_request *r, struct diag *why)
{
    int x = pbstream_end(&r->stream);

    return x < 0 ? FAIL(why, x, "the request does not decode") : 0;
}

bool ads_request_is_same(const struct ads_request *r, const struct catalog_entry *e)
{
    return r->same && e->changed <= r->same_at && e->slot < r->same_bits &&
           (r->same[e->slot / 8] & BIT(e->slot % 8)) != 0;
}
