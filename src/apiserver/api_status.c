/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/api_status.h"

#include "apiserver/fault.h"
#include "apiserver/kind.h"
#include "base/str.h"
#include "codec/json.h"

static struct json *status_new(const char *outcome)
{
    struct json *s = json_new_object();

    json_set_str(s, "kind", "Status");
    json_set_str(s, "apiVersion", "v1");
    json_set(s, "metadata", json_new_object());
    json_set_str(s, "status", outcome);
    return s;
}

struct json *api_status_failure(unsigned code, const char *reason, const char *message)
{
    struct json *s = status_new("Failure");

    json_set_str(s, "message", message);
    if (reason) {
        json_set_str(s, "reason", reason);
    }
    json_set_int(s, "code", code);
    return s;
}

void api_status_about(struct json *status, const struct kind *kind, const char *name)
{
    struct json *details = json_make_object(status, "details");

    if (name[0] != '\0') {
        json_set_str(details, "name", name);
    }
    if (kind) {
        if (kind->group[0] != '\0') {
            json_set_str(details, "group", kind->group);
        }
        json_set_str(details, "kind", kind->plural);
    }
}

void api_status_add_cause(struct json *status, const char *reason, const char *message,
                          const char *field)
{
    struct json *cause = json_new_object();

    json_set_str(cause, "reason", reason);
    json_set_str(cause, "message", message);
    if (field) {
        json_set_str(cause, "field", field);
    }
    json_append(json_make_array(status, "details.causes"), cause);
}

struct json *api_status_invalid(const char *group, const char *kind_name, const char *name,
                                const struct faults *faults)
{
    AUTO(strbuf) struct strbuf text = {0};
    bool several = faults->count > 1;

    strbuf_printf(&text, "%s%s%s \"%s\" is invalid: %s", kind_name, group[0] != '\0' ? "." : "",
                  group, name, several ? "[" : "");
    for (size_t i = 0; i < faults->count; i++) {
        strbuf_printf(&text, "%s%s: %s", i > 0 ? ", " : "", faults->at[i].field,
                      faults->at[i].message);
    }
    strbuf_puts(&text, several ? "]" : "");
    struct json *s = api_status_failure(422, "Invalid", strbuf_text(&text));
    struct json *details = json_make_object(s, "details");
    if (name[0] != '\0') {
        json_set_str(details, "name", name);
    }
    if (group[0] != '\0') {
        json_set_str(details, "group", group);
    }
    json_set_str(details, "kind", kind_name);
    for (size_t i = 0; i < faults->count; i++) {
        api_status_add_cause(s, fault_reason(faults->at[i].kind), faults->at[i].message,
                             faults->at[i].field);
    }
    return s;
}

struct json *api_status_deleted(const struct kind *kind, const char *name, const char *uid)
{
    struct json *s = status_new("Success");

    api_status_about(s, kind, name);
    json_set_str(json_get(s, "details"), "uid", uid);
    return s;
}
