/* SPDX-License-Identifier: Apache-2.0 */
#include "case_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "codec/yaml.h"
#include "t.h"

static const char *const kinds[INDEX_KINDS] = {"Namespace",
                                               "Node",
                                               "Pod",
                                               "Service",
                                               "EndpointSlice",
                                               "AuthorizationPolicy",
                                               "PeerAuthentication",
                                               "GatewayClass",
                                               "Gateway",
                                               "HTTPRoute",
                                               "GRPCRoute",
                                               "TCPRoute",
                                               "ReferenceGrant",
                                               "RequestAuthentication",
                                               "DestinationRule",
                                               "ServiceAccount",
                                               "Deployment"};

bool case_rig_kind(const char *name, enum index_kind *out)
{
    for (unsigned i = 0; i < INDEX_KINDS; i++) {
        if (strcmp(name, kinds[i]) == 0) {
            *out = (enum index_kind)i;
            return true;
        }
    }
    return false;
}

static void die(const char *what, const struct diag *why)
{
    printf("Bail out! %s: %s\n", what, why ? why->text : "");
    exit(EXIT_FAILURE);
}

struct json *case_rig_file(const char *folder, const char *name)
{
    char path[512];
    size_t len = 0;
    struct diag why = {0};
    struct json *j = NULL;

    (void)snprintf(path, sizeof(path), "control/cases/%s/%s", folder, name);
    char *text = test_vector(path, &len);
    int r = strstr(name, ".yaml") ? yaml_parse_all(&j, text, len, &why)
                                  : json_parse(&j, text, len, NULL, &why);
    if (r < 0) {
        die(path, &why);
    }
    mem_free(text);
    return j;
}

/* ---- what a server fills in */

static const char *key_of(const struct json *object, char buf[static 512])
{
    (void)snprintf(buf, 512, "%s/%s/%s", json_str_at(object, "kind", ""),
                   json_str_at(object, "metadata.namespace", ""),
                   json_str_at(object, "metadata.name", ""));
    return buf;
}

static bool is_v6(const char *address)
{
    return strchr(address, ':') != NULL;
}

/* ipFamilies follow the cluster addresses; headless services are of the first family, or of both
 * where they ask for it or select nothing. */
static void fill_service(struct json *object)
{
    struct json *spec = json_make_object(object, "spec");
    const struct json *ips = json_get(spec, "clusterIPs");
    struct json *families = json_new_array();
    bool is_headless = strcmp(json_str(json_get(spec, "clusterIP"), ""), "None") == 0;

    if (json_get(spec, "ipFamilies") ||
        strcmp(json_str_at(spec, "type", ""), "ExternalName") == 0) {
        json_unref(families);
        return;
    }
    for (size_t i = 0; !is_headless && i < json_count(ips); i++) {
        json_append_str(families, is_v6(json_str(json_item(ips, i), "")) ? "IPv6" : "IPv4");
    }
    if (is_headless || json_count(ips) == 0) {
        json_append_str(families, "IPv4");
        if (is_headless &&
            (json_count(json_get(spec, "selector")) == 0 ||
             strcmp(json_str_at(spec, "ipFamilyPolicy", ""), "PreferDualStack") == 0)) {
            json_append_str(families, "IPv6");
        }
    }
    json_set(spec, "ipFamilies", families);
}

static void fill_metadata(struct case_rig *r, struct json *object, const struct json *had)
{
    struct json *meta = json_make_object(object, "metadata");
    char text[64];
    time_t now = (time_t)r->now_s;
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_set_str(meta, "creationTimestamp", json_str_at(had, "metadata.creationTimestamp", text));
    (void)snprintf(text, sizeof(text), "uid-%u", ++r->uids);
    json_set_str(meta, "uid", json_str_at(had, "metadata.uid", text));
    json_set_int(meta, "generation", json_int_at(had, "metadata.generation", 0) + 1);
}

/* "${uid:Pod/ns/name}" becomes what that pod was given. */
static void fill_targets(struct case_rig *r, struct json *object)
{
    struct json *all = json_array_at(object, "endpoints");

    for (size_t i = 0; i < json_count(all); i++) {
        struct json *target = json_object_at(json_item(all, i), "targetRef");
        const char *uid = json_str_at(target, "uid", "");
        char key[256];
        if (sscanf(uid, "${uid:%255[^}]}", key) == 1) {
            json_set_str(target, "uid",
                         json_str_at(json_get(r->objects, key), "metadata.uid", "no such pod"));
        }
    }
}

static void apply(struct case_rig *r, const struct json *object)
{
    char key[512];
    enum index_kind kind;
    struct json *mine = json_clone(object);

    fill_metadata(r, mine, json_get(r->objects, key_of(object, key)));
    if (strcmp(json_str_at(mine, "kind", ""), "Service") == 0) {
        fill_service(mine);
    } else if (strcmp(json_str_at(mine, "kind", ""), "EndpointSlice") == 0) {
        fill_targets(r, mine);
    }
    if (case_rig_kind(json_str_at(mine, "kind", ""), &kind)) {
        index_put(r->index, kind, mine);
    }
    json_set(r->objects, key, mine);
}

static void delete (struct case_rig *r, const struct json *object)
{
    char key[512];
    enum index_kind kind;

    (void)json_remove(r->objects, key_of(object, key));
    if (case_rig_kind(json_str_at(object, "kind", ""), &kind)) {
        index_remove(r->index, kind, json_str_at(object, "metadata.namespace", ""),
                     json_str_at(object, "metadata.name", ""));
    }
}

static void settle(struct case_rig *r)
{
    while (index_settle(r->index, 1)) {
    }
}

void case_rig_step(struct case_rig *r, const struct json *step)
{
    for (size_t i = 0; i < json_count(step); i++) {
        const struct json *one = json_item(step, i);
        if (json_get(one, "apply")) {
            apply(r, json_get(one, "apply"));
        } else if (json_get(one, "delete")) {
            delete (r, json_get(one, "delete"));
        } else if (json_get(one, "sleep")) {
            r->now_s += 1 + (int64_t)json_num(json_get(one, "sleep"), 0);
        } else {
            die("a step of an unknown kind", NULL);
        }
    }
    settle(r);
}

/* Seconds to wait before each document: comments, which the reader of YAML does not show. */
static int64_t pause_before(const char *text, size_t document)
{
    const char *at = text;

    for (size_t i = 0; at && i <= document; i++) {
        at = strstr(at, "\n---\n");
        at = at ? at + 4 : NULL;
    }
    const char *end = at ? strstr(at, "\n---\n") : NULL;
    const char *pause = at ? strstr(at, "\n# pause: ") : NULL;
    if (!pause || (end && pause > end)) {
        return 0;
    }
    return (int64_t)strtod(pause + strlen("\n# pause: "), NULL);
}

static void read_input(struct case_rig *r, const char *folder)
{
    AUTO(json) struct json *all = case_rig_file(folder, "input.yaml");
    char path[512];
    size_t len;

    (void)snprintf(path, sizeof(path), "control/cases/%s/input.yaml", folder);
    AUTO(text) char *text = test_vector(path, &len);
    for (size_t i = 0; i < json_count(all); i++) {
        r->now_s += pause_before(text, i);
        apply(r, json_item(all, i));
    }
    settle(r);
}

void case_rig_open(struct case_rig *r, const char *folder, const char *trust_domain)
{
    *r = (struct case_rig){.objects = json_new_object(),
                           .now_s = 1000000,
                           .mesh = {.cluster_id = "Kubernetes",
                                    .trust_domain = trust_domain,
                                    .root_ns = "istio-system",
                                    .system_ns = "istio-system",
                                    .domain = "cluster.local",
                                    .revision = "default"}};
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        r->catalogs[t] = catalog_new(ads_type_urls[t], t != ADS_AUTHORIZATION);
    }
    r->addresses = r->catalogs[ADS_ADDRESS];
    r->policies = r->catalogs[ADS_AUTHORIZATION];
    r->index = index_new(&r->mesh, r->catalogs);
    if (folder) {
        read_input(r, folder);
    }
}

void case_rig_close(struct case_rig *r)
{
    index_free(r->index);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        catalog_free(r->catalogs[t]);
    }
    json_unref(r->objects);
}
