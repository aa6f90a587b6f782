/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies: JSON, YAML, and the protobuf that kubectl sends for the kinds it knows. */
#include "apiserver/call_int.h"
#include "apiserver/proto.h"
#include "codec/json.h"
#include "codec/yaml.h"

static int unreadable(struct call *c, const char *what, const struct diag *why)
{
    return call_refuse(c, 400, "BadRequest",
                       "the object provided is unrecognized (must be of type %s): couldn't get "
                       "version/kind; %s parse error: %s",
                       c->kind->name, what, c->rq->body.len > 0 ? why->text : "the body is empty");
}

static int decode_yaml(struct call *c, struct json **out)
{
    struct diag why = {0};
    AUTO(yaml_reader) struct yaml_reader *reader = NULL;
    int r = yaml_reader_new(&reader, c->rq->body.p, c->rq->body.len, &why);

    if (r == 0) {
        r = yaml_reader_next(reader, out, &why);
    }
    return r == 1 ? 0 : unreadable(c, "yaml", &why);
}

static int decode_json(struct call *c, struct json **out)
{
    struct diag why = {0};

    if (json_parse(out, c->rq->body.len > 0 ? c->rq->body.p : "", c->rq->body.len, NULL, &why) <
        0) {
        return unreadable(c, "json", &why);
    }
    return 0;
}

static int decode_proto(struct call *c, struct json **out)
{
    struct diag why = {0};

    if (proto_decode(c->rq->body, &why, out) < 0) {
        return call_refuse(c, 415, "UnsupportedMediaType", "%s", why.text);
    }
    return 0;
}

static int decode(struct call *c, struct json **out)
{
    struct slice type;
    struct slice parameters;

    (void)slice_cut(call_header(c, "content-type"), ';', &type,
                    &parameters); /* charset and the like */
    type = slice_trim(type);
    if (type.len == 0 || slice_is_any_case(type, "application/json")) {
        return decode_json(c, out);
    }
    if (slice_is_any_case(type, "application/yaml") ||
        slice_is_any_case(type, "application/apply-patch+yaml")) {
        return decode_yaml(c, out);
    }
    if (slice_is_any_case(type, "application/vnd.kubernetes.protobuf")) {
        return decode_proto(c, out);
    }
    return call_refuse(c, 415, "UnsupportedMediaType",
                       "the body of the request was in an unknown format - accepted media types "
                       "include: application/json, application/yaml, "
                       "application/vnd.kubernetes.protobuf");
}

int body_check_shape(struct call *c, const struct json *j)
{
    size_t budget = API_OBJECT_VALUES;
    unsigned depth = json_depth(j, &budget);

    if (depth == 0) {
        return call_refuse(c, 413, "RequestEntityTooLarge", "more than %d values",
                           API_OBJECT_VALUES);
    }
    if (depth > API_OBJECT_DEPTH) {
        return call_refuse(c, 422, "Invalid", "nested deeper than %d levels", API_OBJECT_DEPTH);
    }
    return 0;
}

int body_decode(struct call *c, struct json **out)
{
    AUTO(json) struct json *body = NULL;
    int r = decode(c, &body);

    if (r == 0) {
        r = body_check_shape(c, body);
    }
    if (r == 0 && !json_is_obj(body)) {
        r = call_refuse(c, 400, "BadRequest",
                        "the object provided is unrecognized (must be of type %s): it is no object",
                        c->kind->name);
    }
    if (r == 0) {
        *out = MOVE(body);
    }
    return r;
}
