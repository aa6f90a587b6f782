/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/up_api.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/up_plan.h"
#include "codec/json.h"
#include "io/file.h"
#include "kube/resource.h"

enum { TOKEN_LIFE_S = 12 * 3600 }; /* the first one; the agent renews it long before its end */

static const char mesh_namespace[] = "istio-system";
static const char proxy_account[] = "ztunnel";

static const struct kube_resource nodes = {"", "v1", "nodes", false};
static const struct kube_resource pods = {"", "v1", "pods", true};
static const struct kube_resource accounts = {"", "v1", "serviceaccounts", true};

static struct json *object_of(const char *kind, const char *namespace, const char *name)
{
    struct json *o = json_new_object();

    json_set_str(o, "apiVersion", "v1");
    json_set_str(o, "kind", kind);
    json_set_str(json_make_object(o, "metadata"), "name", name);
    if (*namespace) {
        json_set_str(json_at(o, "metadata"), "namespace", namespace);
    }
    return o;
}

/* One that is there already is fine. */
static int make(struct api *a, const struct kube_resource *resource, const struct json *object,
                struct diag *why)
{
    AUTO(json) struct json *made = NULL;
    struct kube_ask ask = {.verb = KUBE_CREATE,
                           .resource = resource,
                           .ns = json_str_at(object, "metadata.namespace", ""),
                           .body = object};
    int r = api_call_blocking(a, &ask, &made, why);

    return r == -ERR_EXISTS ? 0 : r;
}

/* A range that is there may be another one: only an administrator changes it (apiserver/node_range.h). */
static int make_node(struct api *a, const struct up_config *config, struct diag *why)
{
    AUTO(json) struct json *node = object_of("Node", "", config->node);
    AUTO(json) struct json *patch = json_new_object();
    AUTO(json) struct json *after = NULL;
    struct json *spec = json_make_object(patch, "spec");
    struct kube_ask ask = {
        .verb = KUBE_MERGE_PATCH, .resource = &nodes, .name = config->node, .body = patch};
    int r = make(a, &nodes, node, why);

    json_set(spec, "podCIDRs", up_pod_ranges(config));
    json_set_str(spec, "podCIDR", json_str(json_item(json_get(spec, "podCIDRs"), 0), ""));
    return r < 0 ? r : api_call_blocking(a, &ask, &after, why);
}

static int make_pod(struct api *a, const char *node, const char *name, struct diag *why)
{
    AUTO(json) struct json *pod = object_of("Pod", mesh_namespace, name);
    struct json *spec = json_make_object(pod, "spec");
    struct json *container = json_new_object();

    json_set_str(json_make_object(pod, "metadata.labels"), "app", "ztunnel");
    json_set_str(spec, "serviceAccountName", proxy_account);
    json_set_str(spec, "nodeName", node);
    json_set_bool(spec, "hostNetwork", true);
    json_set_str(container, "name", "ztunnel");
    json_set_str(container, "image", "local");
    json_append(json_make_array(spec, "containers"), container);
    return make(a, &pods, pod, why);
}

/* Nobody else says of this pod that it runs; whether it is ready says the agent (node/proxy_pod.h). */
static int set_running(struct api *a, const char *name, struct diag *why)
{
    AUTO(json) struct json *body = json_new_object();
    AUTO(json) struct json *after = NULL;
    struct kube_ask ask = {.verb = KUBE_MERGE_PATCH,
                           .resource = &pods,
                           .ns = mesh_namespace,
                           .name = name,
                           .sub = "status",
                           .body = body};

    json_set_str(json_make_object(body, "status"), "phase", "Running");
    return api_call_blocking(a, &ask, &after, why);
}

static int make_token(struct api *a, const char *pod, struct json **out, struct diag *why)
{
    AUTO(json) struct json *request = json_new_object();
    struct json *spec = json_make_object(request, "spec");
    struct json *bound = json_make_object(spec, "boundObjectRef");
    struct kube_ask ask = {.verb = KUBE_CREATE,
                           .resource = &accounts,
                           .ns = mesh_namespace,
                           .name = proxy_account,
                           .sub = "token",
                           .body = request};

    json_set_str(request, "apiVersion", "authentication.k8s.io/v1");
    json_set_str(request, "kind", "TokenRequest");
    json_append_str(json_make_array(spec, "audiences"), "istio-ca");
    json_set_int(spec, "expirationSeconds", TOKEN_LIFE_S);
    json_set_str(bound, "apiVersion", "v1");
    json_set_str(bound, "kind", "Pod");
    json_set_str(bound, "name", pod);
    return api_call_blocking(a, &ask, out, why);
}

static int write_token(struct api *a, const struct up_config *config, const char *pod,
                       struct diag *why)
{
    AUTO(json) struct json *answer = NULL;
    AUTO(text) char *path = up_path(config->run_dir, "ztunnel", ".token");
    int r = make_token(a, pod, &answer, why);
    const char *token = json_str_at(answer, "status.token", "");

    return r < 0 ? r : file_write_blocking(path, token, strlen(token), 0600, why);
}

int up_api_prepare_blocking(struct cli *c, const struct up_config *config, struct diag *why)
{
    AUTO(api) struct api *a = NULL;
    AUTO(text) char *path = up_path(config->data, "admin", ".kubeconfig");
    AUTO(strbuf) struct strbuf pod = {0};
    int r = api_open_file_blocking(c, path, &a, why);

    strbuf_printf(&pod, "ztunnel-%s", config->node);
    if (r == 0) {
        r = make_node(a, config, why);
    }
    if (r == 0) {
        r = make_pod(a, config->node, strbuf_text(&pod), why);
    }
    if (r == 0) {
        r = set_running(a, strbuf_text(&pod), why);
    }
    return r < 0 ? r : write_token(a, config, strbuf_text(&pod), why);
}
