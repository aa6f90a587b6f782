/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/proto.h"

#include <string.h>

#include "codec/base64.h"
#include "codec/json.h"
#include "codec/pbwalk.h"

enum field_type {
    TYPE_STRING,
    TYPE_BYTES, /* base64 in JSON */
    TYPE_INT,
    TYPE_BOOL,
    TYPE_TRUE,     /* a bool whose false says nothing */
    TYPE_POSITIVE, /* an int whose 0 says nothing */
    TYPE_INT_OR_STRING,
    TYPE_MESSAGE,
    TYPE_MAP, /* string to string */
    TYPE_BYTES_MAP,
};

struct field {
    uint32_t number; /* 0 ends a list */
    const char *name;
    enum field_type type;
    bool repeated;
    const struct field *sub;
};

#define STR(n, name)                                                                               \
    {                                                                                              \
        n, name, TYPE_STRING, false, NULL                                                          \
    }
#define INT(n, name)                                                                               \
    {                                                                                              \
        n, name, TYPE_INT, false, NULL                                                             \
    }
#define BOOL(n, name)                                                                              \
    {                                                                                              \
        n, name, TYPE_BOOL, false, NULL                                                            \
    }
#define STRS(n, name)                                                                              \
    {                                                                                              \
        n, name, TYPE_STRING, true, NULL                                                           \
    }
#define MAP(n, name)                                                                               \
    {                                                                                              \
        n, name, TYPE_MAP, false, NULL                                                             \
    }
#define MSG(n, name, sub)                                                                          \
    {                                                                                              \
        n, name, TYPE_MESSAGE, false, sub                                                          \
    }
#define MSGS(n, name, sub)                                                                         \
    {                                                                                              \
        n, name, TYPE_MESSAGE, true, sub                                                           \
    }
#define META                                                                                       \
    {                                                                                              \
        1, "metadata", TYPE_MESSAGE, false, object_meta                                            \
    }
#define END                                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

static const struct field object_meta[] = {
    STR(1, "name"),         STR(2, "generateName"),    STR(3, "namespace"),
    STR(5, "uid"),          STR(6, "resourceVersion"), MAP(11, "labels"),
    MAP(12, "annotations"), STRS(14, "finalizers"),    END};
static const struct field reference[] = {STR(1, "name"), END};
static const struct field object_reference[] = {
    STR(1, "kind"), STR(2, "namespace"), STR(3, "name"), STR(4, "uid"), STR(5, "apiVersion"), END};

static const struct field namespace_spec[] = {STRS(1, "finalizers"), END};
static const struct field namespace_fields[] = {META, MSG(2, "spec", namespace_spec), END};

static const struct field account_fields[] = {META, MSGS(2, "secrets", object_reference),
                                              MSGS(3, "imagePullSecrets", reference),
                                              BOOL(4, "automountServiceAccountToken"), END};

static const struct field service_port[] = {STR(1, "name"),
                                            STR(2, "protocol"),
                                            INT(3, "port"),
                                            {4, "targetPort", TYPE_INT_OR_STRING, false, NULL},
                                            {5, "nodePort", TYPE_POSITIVE, false, NULL},
                                            STR(6, "appProtocol"),
                                            END};
static const struct field service_spec[] = {
    MSGS(1, "ports", service_port),
    MAP(2, "selector"),
    STR(3, "clusterIP"),
    STR(4, "type"),
    STRS(5, "externalIPs"),
    STR(7, "sessionAffinity"),
    STR(8, "loadBalancerIP"),
    STR(10, "externalName"),
    STR(11, "externalTrafficPolicy"),
    {13, "publishNotReadyAddresses", TYPE_TRUE, false, NULL},
    STR(17, "ipFamilyPolicy"),
    STRS(18, "clusterIPs"),
    STRS(19, "ipFamilies"),
    STR(22, "internalTrafficPolicy"),
    STR(23, "trafficDistribution"),
    END};
static const struct field service_fields[] = {META, MSG(2, "spec", service_spec), END};

static const struct field config_map_fields[] = {META,
                                                 MAP(2, "data"),
                                                 {3, "binaryData", TYPE_BYTES_MAP, false, NULL},
                                                 BOOL(4, "immutable"),
                                                 END};
static const struct field secret_fields[] = {META,
                                             {2, "data", TYPE_BYTES_MAP, false, NULL},
                                             STR(3, "type"),
                                             MAP(4, "stringData"),
                                             BOOL(5, "immutable"),
                                             END};

static const struct field resource_attributes[] = {
    STR(1, "namespace"), STR(2, "verb"),        STR(3, "group"), STR(4, "version"),
    STR(5, "resource"),  STR(6, "subresource"), STR(7, "name"),  END};
static const struct field path_attributes[] = {STR(1, "path"), STR(2, "verb"), END};
static const struct field access_spec[] = {MSG(1, "resourceAttributes", resource_attributes),
                                           MSG(2, "nonResourceAttributes", path_attributes), END};
static const struct field access_fields[] = {META, MSG(2, "spec", access_spec), END};
static const struct field rules_spec[] = {STR(1, "namespace"), END};
static const struct field rules_fields[] = {META, MSG(2, "spec", rules_spec), END};
static const struct field self_fields[] = {META, END};

static const struct field bound_object[] = {STR(1, "kind"), STR(2, "apiVersion"), STR(3, "name"),
                                            STR(4, "uid"), END};
static const struct field token_request_spec[] = {
    STRS(1, "audiences"), MSG(3, "boundObjectRef", bound_object), INT(4, "expirationSeconds"), END};
static const struct field token_request_fields[] = {META, MSG(2, "spec", token_request_spec), END};
static const struct field token_review_spec[] = {STR(1, "token"), STRS(2, "audiences"), END};
static const struct field token_review_fields[] = {META, MSG(2, "spec", token_review_spec), END};

static const struct field preconditions[] = {STR(1, "uid"), STR(2, "resourceVersion"), END};
static const struct field delete_fields[] = {INT(1, "gracePeriodSeconds"),
                                             MSG(2, "preconditions", preconditions),
                                             STR(4, "propagationPolicy"), STRS(5, "dryRun"), END};

static const struct {
    const char *kind;
    const struct field *fields;
} kinds[] = {
    {"Namespace", namespace_fields},
    {"ServiceAccount", account_fields},
    {"Service", service_fields},
    {"ConfigMap", config_map_fields},
    {"Secret", secret_fields},
    {"SelfSubjectAccessReview", access_fields},
    {"SelfSubjectRulesReview", rules_fields},
    {"SelfSubjectReview", self_fields},
    {"TokenRequest", token_request_fields},
    {"TokenReview", token_review_fields},
    {"DeleteOptions", delete_fields},
};

static int decode(const struct field *fields, const uint8_t *p, size_t len, unsigned depth,
                  struct json **out);

static struct json *text_value(const struct pb_field *f)
{
    return json_new_strn((const char *)f->bytes, f->len);
}

static struct json *bytes_value(const struct pb_field *f)
{
    AUTO(strbuf) struct strbuf text = {0};

    base64_encode(&text, f->bytes, f->len);
    return json_new_str(strbuf_text(&text));
}

/* {1: type, 2: int, 3: string}; type 1 is the string. */
static int int_or_string(const struct pb_field *f, struct json **out)
{
    struct pb_field part;
    bool is_string = pbwalk_find(f->bytes, f->len, 1, &part) == 1 && part.value == 1;
    int r = pbwalk_find(f->bytes, f->len, is_string ? 3 : 2, &part);

    if (r < 0 || (r == 1 && part.wire != (is_string ? PB_BYTES : PB_VARINT))) {
        return -ERR_SYNTAX;
    }
    if (r == 0) {
        *out = is_string ? json_new_str("") : json_new_int(0);
    } else {
        *out = is_string ? text_value(&part) : json_new_int((int64_t)part.value);
    }
    return 0;
}

/* One entry: {1: key, 2: value}. */
static int add_entry(struct json *map, const struct pb_field *f, bool is_bytes)
{
    struct pb_field key = {.bytes = (const uint8_t *)"", .wire = PB_BYTES};
    struct pb_field value = key;

    if (pbwalk_find(f->bytes, f->len, 1, &key) < 0 ||
        pbwalk_find(f->bytes, f->len, 2, &value) < 0 || key.wire != PB_BYTES ||
        value.wire != PB_BYTES) {
        return -ERR_SYNTAX;
    }
    AUTO(json) struct json *name = text_value(&key);
    json_set(map, json_str(name, ""), is_bytes ? bytes_value(&value) : text_value(&value));
    return 0;
}

static bool has_wire(enum field_type t, enum pb_wire wire)
{
    return wire == (t == TYPE_INT || t == TYPE_POSITIVE || t == TYPE_BOOL || t == TYPE_TRUE
                        ? PB_VARINT
                        : PB_BYTES);
}

static int decode_value(const struct field *d, const struct pb_field *f, unsigned depth,
                        struct json **out)
{
    switch (d->type) {
    case TYPE_STRING:
        *out = text_value(f);
        return 0;
    case TYPE_BYTES:
        *out = bytes_value(f);
        return 0;
    case TYPE_INT:
    case TYPE_POSITIVE:
        *out = json_new_int((int64_t)f->value);
        return 0;
    case TYPE_BOOL:
    case TYPE_TRUE:
        *out = json_new_bool(f->value != 0);
        return 0;
    case TYPE_INT_OR_STRING:
        return int_or_string(f, out);
    case TYPE_MESSAGE:
        return decode(d->sub, f->bytes, f->len, depth + 1, out);
    case TYPE_MAP:
    case TYPE_BYTES_MAP:
        break;
    }
    return -ERR_SYNTAX;
}

/* Go writes empty strings where nothing was set: they say nothing. */
static bool says_nothing(enum field_type t, const struct json *v)
{
    bool zero =
        (t == TYPE_POSITIVE && json_int(v, 1) == 0) || (t == TYPE_TRUE && !json_bool(v, true));
    bool empty = json_kind(v) == JSON_KIND_STRING && json_str(v, "")[0] == '\0';
    bool hollow = json_is_obj(v) && json_count(v) == 0;

    return zero || empty || hollow;
}

static int decode_field(const struct field *d, const struct pb_field *f, unsigned depth,
                        struct json *into)
{
    struct json *value = NULL;

    if (!has_wire(d->type, f->wire)) {
        return -ERR_SYNTAX;
    }
    if (d->type == TYPE_MAP || d->type == TYPE_BYTES_MAP) {
        return add_entry(json_make_object(into, d->name), f, d->type == TYPE_BYTES_MAP);
    }
    int r = decode_value(d, f, depth, &value);
    if (r < 0) {
        return r;
    }
    if (d->repeated) {
        json_append(json_make_array(into, d->name), value);
    } else if (says_nothing(d->type, value)) {
        json_unref(value);
    } else {
        json_set(into, d->name, value);
    }
    return 0;
}

static const struct field *find(const struct field *fields, uint32_t number)
{
    for (; fields->number != 0; fields++) {
        if (fields->number == number) {
            return fields;
        }
    }
    return NULL;
}

static int decode(const struct field *fields, const uint8_t *p, size_t len, unsigned depth,
                  struct json **out)
{
    AUTO(json) struct json *o = json_new_object();
    struct pbwalk w;
    struct pb_field f;
    int r = depth > 8 ? -ERR_SYNTAX : 0; /* deeper than any of the tables */

    pbwalk_init(&w, p, len);
    while (r == 0 && (r = pbwalk_next(&w, &f)) == 1) {
        const struct field *d = find(fields, f.number);
        r = d ? decode_field(d, &f, depth, o) : 0;
    }
    if (r == 0) {
        *out = MOVE(o);
    }
    return r;
}

static int decode_object(const char *kind, const char *api_version, const struct pb_field *raw,
                         struct diag *why, struct json **out)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].kind, kind) != 0) {
            continue;
        }
        int r = decode(kinds[i].fields, raw->bytes, raw->len, 0, out);
        if (r < 0) {
            return FAIL(why, r, "the protobuf body does not decode as a %s", kind);
        }
        json_set_str(*out, "kind", kind);
        json_set_str(*out, "apiVersion", api_version);
        return 0;
    }
    return FAIL(why, -ERR_UNSUPPORTED,
                "%.60s is not read as protobuf; as JSON: `kubectl create ... --dry-run=client -o "
                "yaml | kubectl apply -f -`",
                kind);
}

int proto_decode(struct slice body, struct diag *why, struct json **out)
{
    static const char magic[4] = {'k', '8', 's', '\0'};
    static const struct field type_meta[] = {STR(1, "apiVersion"), STR(2, "kind"), END};
    struct pb_field type = {.bytes = (const uint8_t *)""};
    struct pb_field raw = type;
    AUTO(json) struct json *meta = NULL;

    if (body.len < sizeof(magic) || memcmp(body.p, magic, sizeof(magic)) != 0) {
        return FAIL(why, -ERR_SYNTAX, "the body is not Kubernetes protobuf");
    }
    const char *envelope = body.p + sizeof(magic);
    size_t len = body.len - sizeof(magic);
    if (pbwalk_find(envelope, len, 1, &type) < 0 || pbwalk_find(envelope, len, 2, &raw) < 0 ||
        (type.len > 0 && type.wire != PB_BYTES) || (raw.len > 0 && raw.wire != PB_BYTES) ||
        decode(type_meta, type.bytes, type.len, 0, &meta) < 0) {
        return FAIL(why, -ERR_SYNTAX, "the protobuf envelope does not decode");
    }
    return decode_object(json_str_at(meta, "kind", ""), json_str_at(meta, "apiVersion", ""), &raw,
                         why, out);
}
