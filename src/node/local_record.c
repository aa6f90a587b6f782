/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_record.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

void local_record_fini(struct local_record *r)
{
    r->json = json_unref(r->json);
    mem_free(r->uid);
    *r = (struct local_record){0};
}

void local_record_dir(const struct local_record *r, char out[static LOCAL_PATH_MAX])
{
    /* Always fits: names have at most 63 bytes, the run folder as many. */
    (void)snprintf(out, LOCAL_PATH_MAX, "%s/local/%s.%s", r->run_dir, r->spec.namespace,
                   r->spec.name);
}

void local_record_log(const struct local_record *r, char out[static LOCAL_LOG_MAX])
{
    char dir[LOCAL_PATH_MAX];

    local_record_dir(r, dir);
    (void)snprintf(out, LOCAL_LOG_MAX, "%s/log", dir); /* fits */
}

static int path_by_uid(const struct local_record *r, const char *folder,
                       char out[static LOCAL_PATH_MAX])
{
    if (r->uid[0] == '\0' || r->uid[0] == '.' || strchr(r->uid, '/')) {
        return -ERR_SYNTAX;
    }
    int n = snprintf(out, LOCAL_PATH_MAX, "%s/%s/%s", r->run_dir, folder, r->uid);
    return n > 0 && n < LOCAL_PATH_MAX ? 0 : -ERR_SYNTAX;
}

int local_record_netns(const struct local_record *r, char out[static LOCAL_PATH_MAX])
{
    return path_by_uid(r, "netns", out);
}

int local_record_secrets(const struct local_record *r, char out[static LOCAL_PATH_MAX])
{
    return path_by_uid(r, "secrets", out);
}

static int read_ips(const struct json *array, struct local_record *r, struct diag *why)
{
    if (json_count(array) > POD_IPS_MAX) {
        return FAIL(why, -ERR_RANGE, "record: addresses");
    }
    for (size_t i = 0; i < json_count(array); i++) {
        const char *text = json_str(json_item(array, i), "");
        if (ip_parse(&r->ips[i], text, strlen(text)) < 0) {
            return FAIL(why, -ERR_SYNTAX, "record: address %s", text);
        }
        r->ip_count++;
    }
    return 0;
}

int local_record_read(const struct json *json, struct local_record *out, struct diag *why)
{
    struct local_record r = {
        .command = (pid_t)json_int(json_get(json, "pid"), 0),
        .shim = (pid_t)json_int(json_get(json, "shim"), 0),
        .start_time = (uint64_t)json_int(json_get(json, "startTime"), 0),
        .restarts = (unsigned)json_int(json_get(json, "restarts"), 0),
    };

    if (json_int(json_get(json, "version"), 0) != LOCAL_RECORD_VERSION) {
        return FAIL(why, -ERR_VERSION, "record of a local workload");
    }
    const char *run_dir = json_str(json_get(json, "runDir"), "");
    int len = snprintf(r.run_dir, sizeof(r.run_dir), "%s", run_dir);
    if (len <= 0 || (size_t)len >= sizeof(r.run_dir)) {
        return FAIL(why, -ERR_RANGE, "record: run folder");
    }
    int result = local_spec_read(json_get(json, "spec"), &r.spec, why);
    if (result == 0) {
        result = read_ips(json_get(json, "ips"), &r, why);
    }
    if (result < 0) {
        return result;
    }
    r.json = json_ref(json);
    r.uid = mem_strdup(json_str(json_get(json, "uid"), ""));
    *out = r;
    return 0;
}

struct json *local_record_to_json(const struct local_record *r)
{
    struct json *j = json_new_object();
    struct json *ips = json_new_array();
    char text[IP_TEXT];

    for (unsigned i = 0; i < r->ip_count; i++) {
        json_append_str(ips, ip_format(&r->ips[i], text));
    }
    json_set_int(j, "version", LOCAL_RECORD_VERSION);
    json_set_str(j, "runDir", r->run_dir);
    json_set(j, "spec", json_clone(r->spec.json));
    json_set_str(j, "uid", r->uid ? r->uid : "");
    json_set(j, "ips", ips);
    json_set_int(j, "pid", r->command);
    json_set_int(j, "shim", r->shim);
    json_set_int(j, "startTime", (int64_t)r->start_time);
    json_set_int(j, "restarts", r->restarts);
    return j;
}

static int load(const char *dir, const char *name, struct json **out, struct diag *why)
{
    static const struct json_limits limits = {.bytes = LOCAL_RECORD_BYTES_MAX, .depth = 8};
    char path[LOCAL_PATH_MAX + 16];
    char *bytes;
    size_t len;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name); /* names are short */
    int r = file_read_blocking(path, &bytes, &len, why);
    if (r < 0) {
        return r;
    }
    AUTO(text) char *owned = bytes;
    return json_parse(out, owned, len, &limits, why);
}

static int save(const char *dir, const char *name, const struct json *j, struct diag *why)
{
    AUTO(strbuf) struct strbuf text = {0};
    char path[LOCAL_PATH_MAX + 16];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name); /* names are short */
    json_print(j, 0, &text);
    return file_write_blocking(path, strbuf_text(&text), text.len, 0600, why);
}

int local_record_load_blocking(const char *dir, struct local_record *out, struct diag *why)
{
    AUTO(json) struct json *j = NULL;
    int r = load(dir, "record.json", &j, why);

    return r < 0 ? r : local_record_read(j, out, why);
}

int local_record_save_blocking(const char *dir, const struct json *record, struct diag *why)
{
    return save(dir, "record.json", record, why);
}

struct json *local_exit_text(const struct local_exit *e)
{
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_printf(&b, "ended %s %d, is started again", e->signal > 0 ? "by signal" : "with status",
                  e->signal > 0 ? e->signal : e->code);
    return json_new_str(strbuf_text(&b));
}

int local_exit_load_blocking(const char *dir, struct local_exit *out, struct diag *why)
{
    AUTO(json) struct json *j = NULL;
    int r = load(dir, "exit.json", &j, why);

    if (r < 0) {
        return r;
    }
    *out = (struct local_exit){.code = (int)json_int(json_get(j, "code"), -1),
                               .signal = (int)json_int(json_get(j, "signal"), 0)};
    return 0;
}

int local_exit_save_blocking(const char *dir, const struct local_exit *e, struct diag *why)
{
    AUTO(json) struct json *j = json_new_object();

    json_set_int(j, "code", e->code);
    json_set_int(j, "signal", e->signal);
    return save(dir, "exit.json", j, why);
}
