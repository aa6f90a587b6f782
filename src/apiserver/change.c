/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/change.h"

#include <inttypes.h>
#include <stdio.h>

#include "apiserver/call_int.h"
#include "apiserver/meta.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "codec/json.h"

void change_stamp(const struct kind *kind, struct json *body, int64_t now_s)
{
    struct json *meta = json_make_object(body, "metadata");
    char text[40];

    meta_new_uid(text, sizeof(text));
    json_set_str(meta, "uid", text);
    meta_format_time(now_s, text, sizeof(text));
    json_set_str(meta, "creationTimestamp", text);
    if (kind_is(kind, KIND_GENERATION)) {
        json_set_int(meta, "generation", 1);
    }
}

uint64_t change_version(struct api *a, struct json *body)
{
    uint64_t rv = store_rv(a->store) + 1;
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, rv); /* 20 digits fit */
    json_set_str(json_make_object(body, "metadata"), "resourceVersion", text);
    return rv;
}

struct object *change_put(struct api *a, const struct kind *kind, struct json *body)
{
    uint64_t rv = change_version(a, body);
    struct object *o = object_new(kind, rv, body);

    store_put(a->store, o);
    return o;
}

struct object *change_remove(struct api *a, const struct kind *kind, struct json *body)
{
    uint64_t rv = change_version(a, body);
    struct object *o = object_new(kind, rv, body);

    store_remove(a->store, object_ref(o));
    return o;
}
