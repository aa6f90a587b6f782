/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "apiserver/store.h"
#include "base/mem.h"
#include "codec/json.h"
#include "io/loop.h"
#include "kube/call.h"
#include "rig.h"
#include "t.h"

struct waiter {
    struct task task;
};

static void on_wake(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

/* Asks and waits. The error that the answer is. */
static int ask(struct rig *g, const struct kube_ask *a, struct kube_answer *out, struct diag *why)
{
    struct waiter w;
    int r = -EAGAIN;

    task_init(&w.task, g->loop, "test", on_wake);
    struct kube_call *call = kube_call_new(g->client, a, &w.task);
    for (int i = 0; i < 3000 && r == -EAGAIN; i++) {
        store_set_durable(g->store, store_rv(g->store));
        loop_turn(g->loop, 10);
        r = kube_call_take(call, out, why);
    }
    kube_call_free(call);
    task_fini(&w.task);
    return r < 0 ? r : kube_answer_error(out, why);
}

static struct json *config_map(const char *name, const char *value)
{
    struct json *o = json_new_object();

    json_set_str(o, "kind", "ConfigMap");
    json_set_str(o, "apiVersion", "v1");
    json_set_str(json_make_object(o, "metadata"), "name", name);
    json_set_str(json_make_object(o, "data"), "v", value);
    return o;
}

TEST(every_verb_reaches_the_server_and_comes_back)
{
    struct rig g;
    struct kube_answer a = {0};
    struct diag why = {0};
    AUTO(json) struct json *one = config_map("one", "1");
    AUTO(json) struct json *label = json_new_object();
    AUTO(json) struct json *ops = json_new_array();
    AUTO(json) struct json *applied = config_map("two", "2");
    struct kube_ask ask_of = {.resource = &rig_config_maps, .ns = "n", .name = "one"};

    json_set_str(json_make_object(label, "metadata.labels"), "a", "b");
    struct json *op = json_new_object();
    json_set_str(op, "op", "remove");
    json_set_str(op, "path", "/metadata/labels");
    json_append(ops, op);
    rig_start(&g);
    ask_of.verb = KUBE_CREATE;
    ask_of.body = one;
    int created = ask(&g, &ask_of, &a, &why);
    AUTO(text) char *rv = mem_strdup(json_str_at(a.body, "metadata.resourceVersion", ""));
    kube_answer_fini(&a);
    int again = ask(&g, &ask_of, &a, &why);
    json_set_str(json_get(one, "metadata"), "resourceVersion", rv);
    kube_answer_fini(&a);
    ask_of.verb = KUBE_MERGE_PATCH;
    ask_of.body = label;
    int merged = ask(&g, &ask_of, &a, &why);
    bool labelled = strcmp(json_str_at(a.body, "metadata.labels.a", ""), "b") == 0;
    kube_answer_fini(&a);
    ask_of.verb = KUBE_JSON_PATCH;
    ask_of.body = ops;
    int patched = ask(&g, &ask_of, &a, &why);
    kube_answer_fini(&a);
    ask_of.verb = KUBE_UPDATE;
    ask_of.body = one;
    int stale = ask(&g, &ask_of, &a, &why);
    kube_answer_fini(&a);
    ask_of.verb = KUBE_APPLY;
    ask_of.name = "two";
    ask_of.body = applied;
    ask_of.field_manager = "me";
    int put = ask(&g, &ask_of, &a, &why);
    bool managed =
        strcmp(json_str_at(json_item(json_at(a.body, "metadata.managedFields"), 0), "manager", ""),
               "me") == 0;
    kube_answer_fini(&a);
    ask_of =
        (struct kube_ask){.verb = KUBE_LIST, .resource = &rig_config_maps, .ns = "n", .limit = 1};
    int listed = ask(&g, &ask_of, &a, &why);
    size_t shown = json_count(json_get(a.body, "items"));
    bool more = json_str_at(a.body, "metadata.continue", "")[0] != '\0';
    kube_answer_fini(&a);
    ask_of = (struct kube_ask){
        .verb = KUBE_DELETE, .resource = &rig_config_maps, .ns = "n", .name = "one"};
    int deleted = ask(&g, &ask_of, &a, &why);
    kube_answer_fini(&a);
    ask_of.verb = KUBE_GET;
    int gone = ask(&g, &ask_of, &a, &why);
    kube_answer_fini(&a);
    rig_stop(&g);
    CHECK_INT(created, 0);
    CHECK_INT(again, -ERR_EXISTS);
    CHECK_INT(merged, 0);
    CHECK(labelled);
    CHECK_INT(patched, 0);
    CHECK_INT(stale, -ERR_CONFLICT);
    CHECK_INT(put, 0);
    CHECK(managed);
    CHECK_INT(listed, 0);
    CHECK(shown == 1 && more);
    CHECK_INT(deleted, 0);
    CHECK_INT(gone, -ERR_NOT_FOUND);
    CHECK_STR(why.text, "API server, 404: configmaps \"one\" not found");
}

TEST(what_the_server_warns_of_comes_with_the_answer)
{
    struct rig g;
    struct kube_answer a = {0};
    struct kube_answer clean = {0};
    AUTO(json) struct json *odd = config_map("odd", "1");
    AUTO(json) struct json *plain = config_map("plain", "1");
    struct kube_ask ask_of = {.verb = KUBE_CREATE, .resource = &rig_config_maps, .ns = "n"};

    json_set_str(odd, "say \"so\"", "x");
    rig_start(&g);
    ask_of.body = odd;
    int warned = ask(&g, &ask_of, &a, NULL);
    AUTO(json) struct json *warnings = MOVE(a.warnings);
    kube_answer_fini(&a);
    ask_of.body = plain;
    int unwarned = ask(&g, &ask_of, &clean, NULL);
    bool silent = clean.warnings == NULL;
    kube_answer_fini(&clean);
    rig_stop(&g);
    CHECK_INT(warned, 0);
    CHECK_INT(json_count(warnings), 1);
    CHECK_STR(json_str(json_item(warnings, 0), ""), "unknown field \"say \"so\"\"");
    CHECK_INT(unwarned, 0);
    CHECK(silent);
}

/* Network sockets that a program we start would inherit. */
static unsigned inheritable_sockets(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_storage at;
        socklen_t len = sizeof(at);
        int flags = fcntl(fd, F_GETFD);
        bool is_network = flags >= 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0 &&
                          (at.ss_family == AF_INET || at.ss_family == AF_INET6);
        n += is_network && !(flags & FD_CLOEXEC);
    }
    return n;
}

TEST(connections_are_not_inherited_by_programs_that_are_started)
{
    struct rig g;
    struct kube_answer a = {0};
    struct diag why = {0};
    struct kube_ask ask_of = {.verb = KUBE_GET, .resource = &rig_namespaces, .name = "default"};
    unsigned before = inheritable_sockets();

    rig_start(&g);
    int r = ask(&g, &ask_of, &a, &why);
    unsigned after = inheritable_sockets();
    kube_answer_fini(&a);
    rig_stop(&g);
    CHECK(r == 0 || r == -ERR_NOT_FOUND); /* it has been asked */
    CHECK_INT(after, before);
}

TEST(a_server_that_is_not_there_is_an_error_not_a_hang)
{
    struct rig g;
    struct kube_answer a = {0};
    struct diag why = {0};
    struct kube_ask ask_of = {.verb = KUBE_GET, .resource = &rig_namespaces, .name = "n"};

    rig_start(&g);
    rig_stop_serving(&g);
    int r = ask(&g, &ask_of, &a, &why);
    rig_stop(&g);
    CHECK_INT(r, -ECONNREFUSED);
    CHECK(why.text[0] != '\0');
}

TEST(a_call_can_be_dropped_at_any_moment)
{
    struct rig g;
    struct waiter w;
    struct kube_ask ask_of = {.verb = KUBE_GET, .resource = &rig_namespaces, .name = "n"};

    rig_start(&g);
    task_init(&w.task, g.loop, "test", on_wake);
    for (int turns = 0; turns < 12; turns++) {
        struct kube_call *call = kube_call_new(g.client, &ask_of, &w.task);
        for (int i = 0; i < turns; i++) {
            loop_turn(g.loop, 0);
        }
        kube_call_free(call);
    }
    int fds = test_fd_count();
    for (int i = 0; i < 50; i++) {
        kube_call_free(kube_call_new(g.client, &ask_of, &w.task));
        loop_turn(g.loop, 0);
    }
    int more = test_fd_count() - fds;
    for (int i = 0; i < 3000 && more >= 12; i++) { /* the server's ends follow */
        loop_turn(g.loop, 10);
        more = test_fd_count() - fds;
    }
    task_fini(&w.task);
    rig_stop(&g);
    CHECK(more < 12); /* libcurl keeps a few connections, not one a call */
}

TEST(what_is_wrong_with_an_object_comes_before_what_is_cut)
{
    static const char text[] =
        "{\"message\":\"Node \\\"node2\\\" is invalid: [...]\",\"details\":{\"causes\":[{\"field\":"
        "\"spec.podCIDRs\",\"message\":\"Forbidden: give another\"},{\"field\":"
        "\"x\",\"message\":\"y\"}]}}";
    struct kube_answer a = {.status = 422};
    struct diag why = {0};

    CHECK_INT(json_parse(&a.body, text, sizeof(text) - 1, NULL, NULL), 0);
    CHECK_INT(kube_answer_error(&a, &why), -ERR_SYNTAX);
    CHECK_STR(why.text, "API server, 422: spec.podCIDRs: Forbidden: give another, x: y");
    kube_answer_fini(&a);
}
