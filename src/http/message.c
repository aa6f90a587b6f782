/* SPDX-License-Identifier: Apache-2.0 */
#include "http/message.h"

#include "base/mem.h"
#include "base/num.h"

enum {
    TEXT_FIRST = 1024,
    FIELDS_FIRST = 16,
    TEXT_KEPT = 2 * TEXT_FIRST,
    FIELDS_KEPT = 2 * FIELDS_FIRST,
    TEXT_MAX = 2 * MESSAGE_BYTES_MAX
};

void message_init(struct message *m, uint32_t limit_bytes)
{
    *m = (struct message){.limit = limit_bytes};
}

void message_fini(struct message *m)
{
    mem_free(m->text);
    mem_free(m->fields);
    message_init(m, m->limit);
}

void message_clear(struct message *m)
{
    m->status = 0;
    m->count = 0;
    m->len = 0;
    m->cost = 0;
    m->overflow = false;
    for (unsigned i = 0; i < MESSAGE_PARTS; i++) {
        m->part[i] = (struct message_span){0, 0};
    }
}

/* Counts what is added against the limit. False: it is not added, and the message is not whole. */
static bool charge(struct message *m, size_t bytes)
{
    uint32_t limit = m->limit > 0 ? m->limit : MESSAGE_BYTES_MAX;

    if (m->overflow || bytes > limit || m->cost + MESSAGE_FIELD_COST > limit - bytes) {
        m->overflow = true;
        return false;
    }
    m->cost += (uint32_t)bytes + MESSAGE_FIELD_COST;
    return true;
}

static bool make_room(struct message *m, size_t len)
{
    size_t need = m->len + len;

    if (need > m->room) {
        size_t room = MAX_OF(MAX_OF((size_t)m->room * 2, (size_t)TEXT_FIRST), need);
        char *text = mem_try_resize(m->text, room, 2 * TEXT_MAX);
        if (!text) {
            m->overflow = true;
            return false;
        }
        m->text = text;
        m->room = (uint32_t)room;
    }
    return true;
}

static struct message_span store(struct message *m, struct slice s)
{
    struct message_span span = {.at = m->len, .len = (uint32_t)s.len};

    if (s.len > 0) {
        memcpy(m->text + m->len, s.p, s.len);
        m->len += (uint32_t)s.len;
    }
    return span;
}

/* Without a branch an octet, so that compilers do many at once. */
static void lower(char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        p[i] = (char)(c | (unsigned char)((unsigned char)(c - 'A') < 26 ? 0x20 : 0));
    }
}

void message_set(struct message *m, enum message_part part, struct slice text)
{
    if (charge(m, text.len) && make_room(m, text.len)) {
        m->part[part] = store(m, text);
    }
}

static bool fields_room(struct message *m)
{
    if (m->count < m->fields_room) {
        return true;
    }
    unsigned room = m->fields_room > 0 ? m->fields_room * 2 : FIELDS_FIRST;
    struct message_span *fields = NULL;
    if (m->count < MESSAGE_FIELDS_MAX) {
        fields = mem_try_resize(m->fields, 2 * sizeof(*fields) * room, SIZE_MAX / 2);
    }
    if (!fields) {
        m->overflow = true;
        return false;
    }
    m->fields = fields;
    m->fields_room = room;
    return true;
}

void message_add(struct message *m, struct slice name, struct slice value)
{
    if (!charge(m, name.len + value.len) || !fields_room(m) ||
        !make_room(m, name.len + value.len)) {
        return;
    }
    struct message_span *f = &m->fields[2 * m->count++];
    f[0] = store(m, name);
    lower(m->text + f[0].at, f[0].len);
    f[1] = store(m, value);
}

void message_puts(struct message *m, const char *name, const char *value)
{
    message_add(m, slice_of(name), slice_of(value));
}

void message_put_u64(struct message *m, const char *name, uint64_t value)
{
    char text[DECIMAL_TEXT];

    message_add(m, slice_of(name), slice_of_u64(value, text));
}

void message_request(struct message *m, const char *method, const char *scheme,
                     const char *authority, const char *path)
{
    message_set(m, MESSAGE_METHOD, slice_of(method));
    if (scheme) {
        message_set(m, MESSAGE_SCHEME, slice_of(scheme));
    }
    if (authority) {
        message_set(m, MESSAGE_AUTHORITY, slice_of(authority));
    }
    message_set(m, MESSAGE_PATH, slice_of(path));
}

static bool fields_for(struct message *m, unsigned count)
{
    struct message_span *fields = m->fields;

    if (count > m->fields_room) {
        fields = mem_try_resize(fields, 2 * sizeof(*fields) * count, SIZE_MAX / 2);
        if (!fields) {
            return false;
        }
        m->fields = fields;
        m->fields_room = count;
    }
    return true;
}

void message_copy(struct message *to, const struct message *from)
{
    uint32_t limit = to->limit > 0 ? to->limit : MESSAGE_BYTES_MAX;

    message_clear(to);
    to->status = from->status;
    to->overflow = from->overflow || from->cost > limit;
    if (to->overflow || !make_room(to, from->len) || !fields_for(to, from->count)) {
        to->overflow = true;
        return;
    }
    if (from->len > 0) {
        memcpy(to->text, from->text, from->len);
    }
    if (from->count > 0) {
        memcpy(to->fields, from->fields, 2 * sizeof(*from->fields) * from->count);
    }
    memcpy(to->part, from->part, sizeof(to->part));
    to->len = from->len;
    to->cost = from->cost;
    to->count = from->count;
}

void message_take(struct message *to, struct message *from)
{
    struct message was = *to;

    *to = *from;
    *from = was;
    from->limit = to->limit;
    message_clear(from);
}

void message_shrink(struct message *m)
{
    if (m->room > TEXT_KEPT || m->fields_room > FIELDS_KEPT) {
        message_fini(m);
    } else {
        message_clear(m);
    }
}

static struct slice text_of(const struct message *m, struct message_span span)
{
    return (struct slice){m->text ? m->text + span.at : "", span.len};
}

struct slice message_get(const struct message *m, enum message_part part)
{
    return text_of(m, m->part[part]);
}

struct message_field message_field(const struct message *m, unsigned i)
{
    const struct message_span *f = &m->fields[2 * (size_t)i];

    return (struct message_field){.name = text_of(m, f[0]), .value = text_of(m, f[1])};
}

unsigned message_remove(struct message *m, const char *name)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < m->count; i++) {
        struct message_field f = message_field(m, i);
        if (slice_is(f.name, name)) {
            m->cost -= (uint32_t)(f.name.len + f.value.len) + MESSAGE_FIELD_COST;
            continue;
        }
        memmove(&m->fields[2 * kept], &m->fields[2 * i], 2 * sizeof(*m->fields));
        kept++;
    }
    unsigned removed = m->count - kept;
    m->count = kept;
    return removed;
}

int message_find_next(const struct message *m, const char *name, unsigned from)
{
    size_t len = strlen(name);

    for (unsigned i = from; i < m->count; i++) {
        const struct message_span *f = &m->fields[2 * (size_t)i];
        if (f->len == len && memcmp(m->text + f->at, name, len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

bool message_find(const struct message *m, const char *name, struct slice *out)
{
    int i = message_find_next(m, name, 0);

    if (i >= 0) {
        *out = message_field(m, (unsigned)i).value;
    }
    return i >= 0;
}

void message_target(const struct message *m, struct slice *out_path, struct slice *out_query)
{
    struct slice target = message_get(m, MESSAGE_PATH);

    if (!slice_cut(target, '?', out_path, out_query)) {
        *out_path = target;
        *out_query = (struct slice){"", 0};
    }
}

bool message_query_find(struct slice query, const char *key, struct slice *out)
{
    while (query.len > 0) {
        struct slice pair = query;
        struct slice rest = {"", 0};
        struct slice name;
        struct slice value;
        (void)slice_cut(query, '&', &pair, &rest); /* no '&': all of it is the pair */
        if (!slice_cut(pair, '=', &name, &value)) {
            name = pair;
            value = (struct slice){"", 0};
        }
        if (slice_is(name, key)) {
            *out = value;
            return true;
        }
        query = rest;
    }
    return false;
}

bool message_is_method(const struct message *m, const char *method)
{
    return slice_is(message_get(m, MESSAGE_METHOD), method);
}
