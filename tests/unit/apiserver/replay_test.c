/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What real clients asked a real API server is asked of ours, and the answers are compared: status,
 * and every field of the body but those that differ from run to run. Objects that a recording takes
 * for granted are put into the store when its answers show them for the first time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/change.h"
#include "apiserver/kind.h"
#include "apiserver/namespace.h"
#include "apiserver/object.h"
#include "base/mem.h"
#include "codec/json.h"
#include "recording.h"
#include "rig.h"
#include "t.h"

enum { ALIASES = 256 };

struct alias { /* a value of the recording that has another one here */
    char *theirs;
    char *ours;
};

struct replay {
    struct rig rig;
    struct alias aliases[ALIASES];
    size_t alias_count;
    const struct recorded *now;
    unsigned compared;
    unsigned different;
    const char *vector;
    bool forgets;
};

/* What is ours on purpose, with the reason. A part of the request line or command selects it. */
static const struct {
    const char *vector;
    const char *where;
    const char *field; /* of the difference; "" = whatever it is */
    const char *why;
} accepted[] = {
    {"raw-semantics", "Foreground", "", "no garbage collector: what is deleted goes at once"},
    {"raw-semantics", "same clusterIP again", "", "there is no Service kubernetes that has it"},
    {"raw-semantics", "Pod binding", "", "no scheduler: a pod names its node when it is created"},
    {"raw-semantics", "/pods/p", "", "so this one never had a node"},
    {"raw-semantics", "deprecated API", "", "Endpoints are not served"},
    {"raw-negotiation", "call: yaml", "", "answers are JSON"},
    {"raw-negotiation", "call: protobuf", "", "answers are JSON"},
    {"raw-negotiation", "/", "message", "our parsers speak for themselves"},
    {"raw-negotiation", "call: text/html", "details", "one sentence for all 406"},
    {"raw-negotiation", "call: cbor", "details", "one sentence for all 406"},
    {"raw-negotiation", "PATCH with application/json", "details", "one sentence for all 415"},
    {"errors-invalid", "missing.yaml", "", "no CEL engine that could complain of what it skipped"},
    {"errors-invalid", "bad-enum-cr.yaml", "",
     "no CEL engine that could complain of what it skipped"},
    {"errors-invalid", "wrong-type.yaml", "message", "no Go types to name"},
    {"patch", "bad json", "message", "our parser speaks for itself"},
    {"patch", "uid", "causes", "one cause, not the same one twice"},
    {"patch", "nodeName", "message", "no diff of Go structs in the message"},
    {"delete", "--cascade=foreground", "", "no garbage collector: what is deleted goes at once"},
    {"errors-invalid", "create -f pod2.yaml", "status", "no such pods were being deleted here"},
    {"python-crud", "precondition", "message", "names a uid or a version"},
    {"python-list", "in the future", "message", "names the newest version"},
    {"raw-tables", "Table of Deployment", "", "not served"},
    {"raw-tables", "Table of DaemonSet", "", "not served"},
    {"raw-tables", "Table of Endpoints", "", "not served"},
    {"raw-tables", "", ".rows", "rows of objects that this server does not have"},
    {"python-crud", "generateName", "metadata.name", "random"},
    {"python-list", "garbage", "message", "our decoder speaks for itself"},
    {"validation", "--server-side", "status", "400 like every other unknown field, not 500"},
};

/* Values that no two runs share. */
static bool differs_by_nature(const char *key)
{
    static const char *const keys[] = {
        "uid",           "resourceVersion", "creationTimestamp", "deletionTimestamp",
        "managedFields", "clusterIP",       "clusterIPs",        "lastTransitionTime",
        "continue",      "description",     "remainingItemCount"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* What a cluster's other programs (scheduler, admission plug-ins) put into a Pod: not ours to do. */
static bool is_cluster_work(const char *path)
{
    static const char *const paths[] = {
        ".spec.volumes",          ".spec.tolerations",        ".spec.priority",
        ".spec.preemptionPolicy", ".spec.enableServiceLinks", ".spec.securityContext",
        ".volumeMounts",          ".imagePullPolicy",         ".status.conditions",
        ".status.qosClass"};
    size_t n = strlen(path);

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        size_t m = strlen(paths[i]);
        if (n >= m && strcmp(path + n - m, paths[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void learn(struct replay *p, const struct json *theirs, const struct json *ours)
{
    const char *a = json_str(theirs, NULL);
    const char *b = json_str(ours, NULL);

    for (size_t i = 0; a && i < p->alias_count; i++) {
        if (strcmp(p->aliases[i].theirs, a) == 0) {
            mem_free(p->aliases[i].ours);
            p->aliases[i].ours = mem_strdup(b ? b : "");
            return;
        }
    }
    if (a && b && strcmp(a, "None") != 0 && p->alias_count < ALIASES) {
        p->aliases[p->alias_count++] = (struct alias){mem_strdup(a), mem_strdup(b)};
    }
}

static const char *ours_of(const struct replay *p, const char *theirs)
{
    for (size_t i = 0; i < p->alias_count; i++) {
        if (strcmp(p->aliases[i].theirs, theirs) == 0) {
            return p->aliases[i].ours;
        }
    }
    return NULL;
}

static bool is_accepted(const struct replay *p, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        bool here =
            strstr(p->vector, accepted[i].vector) && (strstr(p->now->request, accepted[i].where) ||
                                                      strstr(p->now->command, accepted[i].where));
        if (here && strstr(path, accepted[i].field)) {
            return true;
        }
    }
    return false;
}

static void report(struct replay *p, const char *path, const struct json *theirs,
                   const struct json *ours)
{
    AUTO(strbuf) struct strbuf a = {.limit = 600};
    AUTO(strbuf) struct strbuf b = {.limit = 600};

    if (is_accepted(p, path)) {
        return;
    }
    p->different++;
    json_print(theirs, 0, &a);
    json_print(ours, 0, &b);
    printf("# %s\n#   %s\n#   %s\n#   at %s\n#     theirs %s\n#     ours   %s\n", p->vector,
           p->now->command, p->now->request, path, strbuf_text(&a), strbuf_text(&b));
}

static void compare(struct replay *p, struct strbuf *path, const struct json *theirs,
                    const struct json *ours);

/* "43s", "2m4s": the clock of the test is not the recording's. */
static bool is_age(const struct json *v)
{
    const char *s = json_str(v, "");

    return s[0] >= '0' && s[0] <= '9' && s[strspn(s, "0123456789dhms")] == '\0' &&
           strchr("dhms", s[strlen(s) - 1]);
}

static void compare_field(struct replay *p, struct strbuf *path, const char *key,
                          const struct json *theirs, const struct json *ours)
{
    size_t was = path->len;

    strbuf_printf(path, ".%s", key);
    if (differs_by_nature(key)) {
        learn(p, theirs, ours);
    } else if (!is_cluster_work(strbuf_text(path))) {
        compare(p, path, theirs, ours);
    }
    path->len = was;
    path->p[was] = '\0';
}

static void compare(struct replay *p, struct strbuf *path, const struct json *theirs,
                    const struct json *ours)
{
    if (json_is_obj(theirs) && json_is_obj(ours)) {
        for (struct json_iter it = {0}; json_each(theirs, &it);) {
            compare_field(p, path, it.key, it.value, json_get(ours, it.key));
        }
        for (struct json_iter it = {0}; json_each(ours, &it);) {
            if (!json_get(theirs, it.key)) {
                compare_field(p, path, it.key, NULL, it.value);
            }
        }
    } else if (json_is_arr(theirs) && json_is_arr(ours) && json_count(theirs) == json_count(ours)) {
        for (size_t i = 0; i < json_count(theirs); i++) {
            size_t was = path->len;
            strbuf_printf(path, "[%zu]", i);
            compare(p, path, json_item(theirs, i), json_item(ours, i));
            path->len = was;
            path->p[was] = '\0';
        }
    } else if (!json_same(theirs, ours) && !(is_age(theirs) && is_age(ours))) {
        report(p, strbuf_text(path), theirs, ours);
    }
}

/* ---- objects that were there before the recording began */

static const struct kind *kind_of(const struct json *object)
{
    const char *api_version = json_str_at(object, "apiVersion", "");
    const char *slash = strchr(api_version, '/');
    AUTO(text)
    char *group = slash ? mem_dup(api_version, (size_t)(slash - api_version)) : mem_strdup("");

    return kind_named(group, json_str_at(object, "kind", ""));
}

static void seed(struct replay *p, const struct json *object);

/* A namespace that only later answers show: as they show it. */
static void need_namespace(struct replay *p, const char *ns)
{
    char path[128];
    struct recorded e;

    if (ns[0] == '\0' || store_find(p->rig.store, kind_named("", "Namespace"), "", ns)) {
        return;
    }
    snprintf(path, sizeof(path), "apiserver/%s.http.txt", p->vector);
    struct recording *r = recording_open(path);
    while (recording_next(r, &e)) {
        AUTO(json) struct json *answer = NULL;
        if (e.answer && json_parse(&answer, e.answer, strlen(e.answer), NULL, NULL) == 0 &&
            strcmp(json_str_at(answer, "kind", ""), "Namespace") == 0 &&
            strcmp(json_str_at(answer, "metadata.name", ""), ns) == 0) {
            seed(p, answer);
            break;
        }
    }
    recording_close(r);
    if (!store_find(p->rig.store, kind_named("", "Namespace"), "", ns)) {
        rig_namespace(&p->rig, ns);
    }
}

/* An object that is being deleted, as it was before. */
static void unmark(const struct kind *kind, struct json *body)
{
    struct json *meta = json_get(body, "metadata");
    bool marked = json_remove(meta, "deletionTimestamp");

    json_remove(meta, "deletionGracePeriodSeconds");
    if (strcmp(json_str(json_item(json_get(meta, "finalizers"), 0), ""), "foregroundDeletion") ==
        0) {
        json_remove(meta, "finalizers");
    }
    if (marked && kind_is(kind, KIND_GENERATION)) {
        json_set_int(meta, "generation", json_int_at(meta, "generation", 1) - 1);
    }
    if (strcmp(kind->name, "Namespace") == 0) {
        json_set_str(json_get(body, "status"), "phase", "Active");
    }
}

static void seed(struct replay *p, const struct json *object)
{
    const struct kind *kind = kind_of(object);
    const char *name = json_str_at(object, "metadata.name", "");
    const char *ns = json_str_at(object, "metadata.namespace", "");

    if (!kind || name[0] == '\0' || kind_is(kind, KIND_CREATE_ONLY) ||
        store_find(p->rig.store, kind, ns, name)) {
        return;
    }
    need_namespace(p, ns);
    AUTO(json) struct json *body = json_clone(object);
    bool foreground = strcmp(json_str(json_item(json_at(body, "metadata.finalizers"), 0), ""),
                             "foregroundDeletion") == 0;
    if (foreground || strncmp(p->now->request, "GET ", 4) != 0) {
        unmark(kind, body);
    }
    bool is_target = strcmp(kind->name, "Namespace") != 0;
    if (is_target &&
        strncmp(p->now->request, "PUT ", 4) == 0) { /* something must be left for it to change */
        json_set_str(json_make_object(body, "metadata.annotations"), "seeded", "1");
    }
    change_put(p->rig.api, kind, body);
    if (strcmp(kind->name, "Namespace") == 0) {
        namespace_furnish(p->rig.api, name, 0);
    }
    store_set_durable(p->rig.store, store_rv(p->rig.store));
    learn(p, json_at(object, "metadata.resourceVersion"),
          json_at(body, "metadata.resourceVersion"));
    if (strncmp(p->now->request, "PUT ", 4) == 0 && p->now->body) {
        AUTO(json) struct json *sent = NULL;
        if (json_parse(&sent, p->now->body, strlen(p->now->body), NULL, NULL) == 0) {
            learn(p, json_at(sent, "metadata.resourceVersion"),
                  json_at(body, "metadata.resourceVersion"));
        }
    }
}

/* A deletion that was answered with a Status: the object was there. */
static void seed_deleted(struct replay *p, const struct json *status)
{
    const struct kind *kind =
        kind_find(slice_of(json_str_at(status, "details.group", "")), slice_of(""),
                  slice_of(json_str_at(status, "details.kind", "")));
    const char *ns = strstr(p->now->request, "/namespaces/");

    if (!kind || !ns || strncmp(p->now->request, "DELETE ", 7) != 0) {
        return;
    }
    ns += strlen("/namespaces/");
    AUTO(text) char *name = mem_dup(ns, strcspn(ns, "/"));
    AUTO(json) struct json *body = json_new_object();
    AUTO(strbuf) struct strbuf api_version = {0};
    kind_api_version(kind, kind->versions[0], &api_version);
    json_set_str(body, "kind", kind->name);
    json_set_str(body, "apiVersion", strbuf_text(&api_version));
    json_set_str(json_make_object(body, "metadata"), "name",
                 json_str_at(status, "details.name", ""));
    json_set_str(json_make_object(body, "metadata"), "namespace", name);
    json_set_str(json_make_object(body, "metadata"), "uid", "seeded");
    seed(p, body);
}

static void seed_items(struct replay *p, const struct json *answer)
{
    const struct json *items = json_get(answer, "items");

    for (size_t i = 0; i < json_count(items); i++) {
        AUTO(json) struct json *item = json_clone(json_item(items, i));
        AUTO(text) char *kind = mem_strdup(json_str_at(answer, "kind", ""));
        kind[strlen(kind) - 4] = '\0'; /* List */
        json_set_str(item, "kind", kind);
        json_set_str(item, "apiVersion", json_str_at(answer, "apiVersion", ""));
        seed(p, item);
    }
}

/* Controllers and the person with the recorder wrote status in between: what a GET shows is taken over. */
static void adopt_status(struct replay *p, const struct json *answer)
{
    const struct kind *kind = kind_of(answer);
    struct object *o =
        kind ? store_find(p->rig.store, kind, json_str_at(answer, "metadata.namespace", ""),
                          json_str_at(answer, "metadata.name", ""))
             : NULL;
    AUTO(json) struct json *body = o ? object_parse(o, kind->versions[0]) : NULL;

    if (body && strcmp(kind->name, "Namespace") != 0 && json_get(answer, "status") &&
        !json_same(json_get(body, "status"), json_get(answer, "status"))) {
        json_set(body, "status", json_clone(json_get(answer, "status")));
        change_put(p->rig.api, kind, body);
        store_set_durable(p->rig.store, store_rv(p->rig.store));
    }
}

static void seed_all(struct replay *p, const struct json *answer)
{
    bool shows = strncmp(p->now->request, "GET ", 4) == 0 ||
                 strncmp(p->now->request, "DELETE ", 7) == 0 ||
                 strncmp(p->now->request, "PUT ", 4) == 0;

    if (shows && p->now->status == 200) {
        seed(p, answer);
        seed_items(p, answer);
        seed_deleted(p, answer);
    }
    if (strncmp(p->now->request, "GET ", 4) == 0 && p->now->status == 200) {
        adopt_status(p, answer);
    }
}

/* The recording says that it is not there. */
static void unseed(struct replay *p, const struct json *answer)
{
    char path[512];

    if (strncmp(p->now->request, "GET ", 4) == 0 && p->now->status == 404 && p->forgets &&
        json_at(answer, "details.name")) {
        snprintf(path, sizeof(path), "DELETE %s?gracePeriodSeconds=0", p->now->request + 4);
        rig_call(&p->rig, path, NULL, NULL);
    }
}

/* ---- asking */

/* How many bytes stand before a value that may have to be translated; 0: none begins here. */
static size_t value_begins(const char *text)
{
    static const char *const before[] = {"\"", "resourceVersion=", "continue="};

    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        if (strncmp(text, before[i], strlen(before[i])) == 0) {
            return strlen(before[i]);
        }
    }
    return 0;
}

/* Text with the recording's own values replaced by ours, in quotes and in queries. */
static char *translate(const struct replay *p, const char *text)
{
    struct strbuf out = {0};

    while (*text != '\0') {
        size_t skip = value_begins(text);
        bool quoted = *text == '"';
        if (skip == 0) {
            strbuf_putc(&out, *text++);
            continue;
        }
        size_t n = strcspn(text + skip, quoted ? "\"" : "&");
        AUTO(text) char *theirs = mem_dup(text + skip, n);
        const char *ours = ours_of(p, theirs);
        strbuf_add(&out, text, skip);
        strbuf_puts(&out, ours ? ours : theirs);
        text += skip + n;
        if (quoted && *text == '"') {
            strbuf_putc(&out, *text++);
        }
    }
    return strbuf_take(&out);
}

static unsigned ask(struct replay *p)
{
    AUTO(text) char *request = translate(p, p->now->request);
    AUTO(text) char *body = p->now->body ? translate(p, p->now->body) : NULL;
    const char *type = NULL;

    p->rig.accept = NULL;
    for (unsigned i = 0; i < p->now->header_count; i++) {
        if (strncmp(p->now->headers[i], "Content-Type: ", 14) == 0) {
            type = p->now->headers[i] + 14;
        } else if (strncmp(p->now->headers[i], "Accept: ", 8) == 0) {
            p->rig.accept = p->now->headers[i] + 8;
        }
    }
    unsigned status = rig_call(&p->rig, request, type, body);
    p->rig.accept = NULL; /* it dies with the exchange */
    return status;
}

static void compare_answer(struct replay *p, unsigned status, const struct json *theirs)
{
    AUTO(strbuf) struct strbuf path = {0};

    p->compared++;
    if (status != p->now->status) {
        AUTO(json) struct json *a = json_new_int(p->now->status);
        AUTO(json) struct json *b = json_new_int(status);
        report(p, "status", a, p->rig.body ? p->rig.body : b);
        return;
    }
    if (theirs) {
        strbuf_printf(&path, "%s", ""); /* never without memory */
        compare(p, &path, theirs, p->rig.body);
    }
}

static void replay_one(struct replay *p)
{
    AUTO(json) struct json *theirs = NULL;
    const char *answer = p->now->answer;

    if (p->now->is_protobuf || strstr(p->now->request, "watch=") ||
        strstr(p->now->request, "/watch/") || p->now->status == 0) {
        return;
    }
    if (answer && json_parse(&theirs, answer, strlen(answer), NULL, NULL) < 0) {
        theirs = NULL; /* cut, or no JSON: the status is compared */
    }
    seed_all(p, theirs);
    unseed(p, theirs);
    compare_answer(p, ask(p), theirs);
}

enum { SCRIPT_VECTORS = 4, SCRIPT_NAMESPACES = 3 };

struct script {
    const char *vectors[SCRIPT_VECTORS + 1];       /* one after the other, on one server */
    const char *namespaces[SCRIPT_NAMESPACES + 1]; /* taken for granted */
    /* Between the commands of the recording others ran that it does not show: what it says is absent
     * may be there, and goes. */
    bool forgets;
    bool lies;      /* the test of the test: each recorded status is taken to be another one */
    bool paged;     /* begins with the first page of a list */
    unsigned least; /* exchanges */
};

static void replay_vector(struct replay *p, const char *name, const struct script *s)
{
    char path[128];
    struct recorded e;

    snprintf(path, sizeof(path), "apiserver/%s.http.txt", name);
    struct recording *r = recording_open(path);
    p->vector = name;
    while (recording_next(r, &e)) {
        p->now = &e;
        p->forgets = s->forgets;
        e.status += s->lies;
        replay_one(p);
        p->rig.now_ns += 1000000000u;
    }
    recording_close(r);
}

/* All that the first list would show if it had no limit: its later pages show the rest. */
static void warm_up(struct replay *p, const char *name)
{
    char path[128];
    struct recorded e;
    long first = 0;

    snprintf(path, sizeof(path), "apiserver/%s.http.txt", name);
    struct recording *r = recording_open(path);
    p->vector = name;
    p->now = &e;
    while (recording_next(r, &e)) {
        AUTO(json) struct json *answer = NULL;
        if (!e.answer || json_parse(&answer, e.answer, strlen(e.answer), NULL, NULL) < 0) {
            continue;
        }
        const struct json *items = json_get(answer, "items");
        long rv = atol(json_str_at(answer, "metadata.resourceVersion", "0"));
        first = first > 0 ? first : rv;
        for (size_t i = json_count(items); i > 0 && rv <= first + 1; i--) {
            long item = atol(json_str_at(json_item(items, i - 1), "metadata.resourceVersion", "0"));
            if (item > first) {
                json_remove_item(json_get(answer, "items"), i - 1);
            }
        }
        if (rv <= first + 1) {
            seed_items(p, answer);
        }
    }
    recording_close(r);
}

static unsigned replay(const struct script *s, unsigned *compared)
{
    struct replay *p = mem_new(struct replay);

    rig_start(&p->rig);
    for (unsigned i = 0; s->namespaces[i]; i++) {
        rig_namespace(&p->rig, s->namespaces[i]);
    }
    if (s->paged) {
        warm_up(p, s->vectors[0]);
    }
    for (unsigned i = 0; s->vectors[i]; i++) {
        replay_vector(p, s->vectors[i], s);
    }
    for (size_t i = 0; i < p->alias_count; i++) {
        mem_free(p->aliases[i].theirs);
        mem_free(p->aliases[i].ours);
    }
    unsigned different = p->different;
    *compared = p->compared;
    printf("# %s: %u exchanges compared, %u differences\n", s->vectors[0], p->compared,
           p->different);
    rig_stop(&p->rig);
    mem_free(p);
    return different;
}

#define REPLAY(name, ...)                                                                          \
    TEST(name)                                                                                     \
    {                                                                                              \
        static const struct script script = {__VA_ARGS__};                                         \
        unsigned compared = 0;                                                                     \
        unsigned different = replay(&script, &compared);                                           \
        CHECK_INT(different, 0);                                                                   \
        CHECK(compared >= script.least);                                                           \
    }

TEST(an_answer_unlike_the_recorded_one_is_noticed)
{
    static const struct script script = {
        .vectors = {"kubectl120-edit"}, .namespaces = {"shop"}, .lies = true};
    unsigned compared = 0;

    CHECK(replay(&script, &compared) >= compared && compared > 5);
}

REPLAY(semantics_are_those_recorded, .vectors = {"raw-semantics"}, .namespaces = {"rawns"},
       .least = 50)
REPLAY(negotiation_is_as_recorded, .vectors = {"raw-negotiation"}, .least = 40)
REPLAY(kubectl_applies,
       .vectors = {"kubectl135-apply-create", "kubectl135-apply-unchanged",
                   "kubectl135-apply-changed", "kubectl135-apply-server-side"},
       .least = 40)
REPLAY(kubectl_meets_conflicts,
       .vectors = {"kubectl120-apply-server-side", "kubectl120-apply-conflict"},
       .namespaces = {"shop"}, .least = 8)
REPLAY(kubectl_is_told_what_is_invalid, .vectors = {"kubectl135-errors-invalid"}, .least = 40)
REPLAY(kubectl_patches, .vectors = {"kubectl135-patch"}, .namespaces = {"shop"}, .least = 30)
REPLAY(kubectl_replaces, .vectors = {"kubectl135-replace"}, .least = 12)
REPLAY(kubectl_deletes, .vectors = {"kubectl135-delete"}, .forgets = true, .least = 20)
REPLAY(kubectl_labels_and_annotates, .vectors = {"kubectl120-label-annotate"}, .least = 15)
REPLAY(kubectl_selects_by_labels, .vectors = {"kubectl120-get-label-selectors"},
       .namespaces = {"shop"}, .least = 10)
REPLAY(kubectl_selects_by_fields, .vectors = {"kubectl135-get-field-selectors"},
       .namespaces = {"shop"}, .least = 15)
REPLAY(kubectl_is_told_of_unknown_fields, .vectors = {"kubectl135-validation-unknown-field"},
       .forgets = true, .least = 30)
REPLAY(kubectl_edits, .vectors = {"kubectl120-edit"}, .namespaces = {"shop"}, .least = 6)
REPLAY(tables_are_as_recorded, .vectors = {"raw-tables"}, .namespaces = {"shop"}, .least = 15)
REPLAY(python_writes, .vectors = {"python-crud"}, .least = 20)
REPLAY(python_lists, .vectors = {"python-list"}, .paged = true, .least = 12)
