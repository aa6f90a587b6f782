/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/definition.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kube/call.h"
#include "kube/resource.h"

static const struct kube_resource definitions = {
    .group = "apiextensions.k8s.io", .version = "v1", .plural = "customresourcedefinitions"};

struct definition_check {
    struct kube_client *client;
    struct task *owner;
    const struct kube_resource *resource;
    struct kube_resource group; /* the document of its group and version */
    struct strbuf name;         /* of the definition */
    struct kube_call *call;
    bool asks_group;
};

static void ask(struct definition_check *d, const struct kube_resource *what, const char *name)
{
    struct kube_ask a = {.verb = KUBE_GET, .resource = what, .name = name};

    kube_call_free(d->call);
    d->call = kube_call_new(d->client, &a, d->owner);
}

struct definition_check *definition_check_new(struct kube_client *c,
                                              const struct kube_resource *resource,
                                              struct task *owner)
{
    struct definition_check *d = mem_new(struct definition_check);

    d->client = c;
    d->owner = owner;
    d->resource = resource;
    d->group = (struct kube_resource){
        .group = resource->group, .version = resource->version, .plural = ""};
    strbuf_printf(&d->name, "%s.%s", resource->plural, resource->group);
    ask(d, &definitions, strbuf_text(&d->name));
    return d;
}

void definition_check_free(struct definition_check *d)
{
    if (d) {
        kube_call_free(d->call);
        strbuf_fini(&d->name);
        mem_free(d);
    }
}

static bool serves(const struct json *definition, const char *version)
{
    const struct json *versions = json_at(definition, "spec.versions");

    for (size_t i = 0; i < json_count(versions); i++) {
        const struct json *v = json_item(versions, i);
        if (strcmp(json_str_at(v, "name", ""), version) == 0) {
            return json_bool_at(v, "served", false);
        }
    }
    return false;
}

/* A 404 that does not name the definition is that of a path: the server has no definitions, or not
 * yet. -ERR_DENIED, -ERR_NOT_FOUND: it is not to be learned here. */
static int judge_definition(const struct definition_check *d, const struct kube_answer *a,
                            enum definition_verdict *out, struct diag *why)
{
    const char *missing = json_str_at(a->body, "details.name", "");

    if (a->status == 404 && strcmp(missing, strbuf_text(&d->name)) == 0) {
        *out = DEFINITION_ABSENT;
        return 0;
    }
    int r = kube_answer_error(a, why);
    if (r == 0) {
        *out = serves(a->body, d->resource->version) ? DEFINITION_THERE : DEFINITION_UNSERVED;
    }
    return r;
}

static int judge_group(const struct definition_check *d, const struct kube_answer *a,
                       enum definition_verdict *out, struct diag *why)
{
    const struct json *kinds = json_get(a->body, "resources");
    int r = kube_answer_error(a, why);

    *out = DEFINITION_UNNAMED;
    if (r == -ERR_NOT_FOUND) {
        return 0;
    }
    if (r == 0 && !kinds) {
        return FAIL(why, -ERR_SYNTAX, "API server: the answer is no list of kinds");
    }
    for (size_t i = 0; i < json_count(kinds); i++) {
        if (strcmp(json_str_at(json_item(kinds, i), "name", ""), d->resource->plural) == 0) {
            *out = DEFINITION_THERE;
        }
    }
    return r;
}

int definition_check_take(struct definition_check *d, enum definition_verdict *out,
                          struct diag *why)
{
    struct kube_answer a = {.body = NULL};
    int r = kube_call_take(d->call, &a, why);

    if (r < 0) {
        return r;
    }
    r = d->asks_group ? judge_group(d, &a, out, why) : judge_definition(d, &a, out, why);
    kube_answer_fini(&a);
    if (!d->asks_group && (r == -ERR_DENIED || r == -ERR_NOT_FOUND)) {
        d->asks_group = true;
        ask(d, &d->group, "");
        return -EAGAIN;
    }
    return r;
}
