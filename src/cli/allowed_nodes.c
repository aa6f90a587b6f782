/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/allowed_nodes.h"

#include <string.h>

#include "base/str.h"
#include "codec/json.h"

static const char *said_by(const struct json *object)
{
    return json_str(json_get(json_at(object, "metadata.annotations"), "ambit.io/allowed-nodes"),
                    NULL);
}

static bool lists(const char *nodes, const char *node)
{
    struct slice part;
    struct slice rest = slice_of(nodes);
    bool more = rest.len > 0;
    bool found = false;

    while (more && !found) {
        more = slice_cut(rest, ',', &part, &rest);
        found = slice_is(slice_trim(part), node);
    }
    return found;
}

static void add(struct strbuf *nodes, const char *node)
{
    if (node[0] != '\0' && !lists(strbuf_text(nodes), node)) {
        strbuf_printf(nodes, "%s%s", nodes->len > 0 ? "," : "", node);
    }
}

static void add_running(struct strbuf *nodes, const struct json *pods, const char *account)
{
    for (size_t i = 0; i < json_count(pods); i++) {
        const struct json *pod = json_item(pods, i);
        if (strcmp(json_str_at(pod, "spec.serviceAccountName", ""), account) == 0) {
            add(nodes, json_str_at(pod, "spec.nodeName", ""));
        }
    }
}

char *allowed_nodes_with(const struct json *account, const struct json *namespace,
                         const struct json *pods, const char *node)
{
    const char *name = json_str_at(account, "metadata.name", "");
    const char *said = said_by(account) ? said_by(account) : said_by(namespace);
    struct strbuf nodes = {0};

    if ((!said && strcmp(name, "default") == 0) ||
        (said && (lists(said, node) || lists(said, "*")))) {
        return NULL;
    }
    strbuf_puts(&nodes, said ? said : "");
    if (!said) {
        add_running(&nodes, pods, name);
    }
    add(&nodes, node);
    return strbuf_take(&nodes);
}
