/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/published.h"
#include "cli/route_view.h"
#include "cli/rows.h"
#include "cli/waypoint_ask.h"
#include "codec/json.h"
#include "obs/l7_json.h"

static const struct row_column columns[] = {{"SERVICE", "service", CELL_TEXT, true},
                                            {"PORT", "port", CELL_TEXT, false},
                                            {"PROTOCOL", "protocol", CELL_TEXT, true},
                                            {"MATCH", "match", CELL_TEXT, false},
                                            {"BACKENDS", "backends", CELL_TEXT, false},
                                            {"ROUTE", "route", CELL_TEXT, false},
                                            {"RULE", "rule", CELL_TEXT, true},
                                            {"TIMEOUT", "timeout_ms", CELL_SPAN_MS, false},
                                            {"RETRIES", "retries", CELL_TEXT, true},
                                            {"STATE", "state", CELL_TEXT, false},
                                            {"KIND", "kind", CELL_TEXT, true},
                                            {"FILTERS", "filters", CELL_TEXT, false},
                                            {0}};

struct found {
    struct json *rows;
    struct strbuf policies;
    struct json *tables; /* of each waypoint: what it said of the service, to compare replicas */
    bool named;          /* one service was asked for */
    bool differ;
    struct strbuf source; /* empty: the waypoints have said it */
    bool unknown;         /* the control plane has no such service */
};

/* The operand's parts; without a namespace -n's, or none. */
struct wanted {
    struct strbuf ns;
    const char *name; /* "": any */
};

static void wanted_of(const struct cli *c, struct wanted *out)
{
    const char *word = c->args.operand_count > 0 ? c->args.operands[0] : "";
    const char *ns = args_text(&c->args, "namespace");
    const char *slash = strchr(word, '/');

    *out = (struct wanted){.name = slash ? slash + 1 : word};
    if (slash) {
        strbuf_add(&out->ns, word, (size_t)(slash - word));
    } else {
        strbuf_puts(&out->ns, ns ? ns : "");
    }
}

static bool is_wanted(const struct cli *c, const struct json *service)
{
    const char *ns = args_text(&c->args, "namespace");
    const char *key = json_str_at(service, "service", "");

    if (!json_bool_at(service, "served", false)) {
        return false;
    }
    if (c->args.operand_count > 0) {
        return route_view_is_named(key, c->args.operands[0], ns);
    }
    return !ns || (strncmp(key, ns, strlen(ns)) == 0 && key[strlen(ns)] == '/');
}

/* Replicas of one waypoint say the same, so the first one's rows are shown. */
static void take_service(const char *waypoint, const struct json *service, struct found *f)
{
    AUTO(strbuf) struct strbuf key = {0};
    AUTO(strbuf) struct strbuf policies = {0};

    strbuf_printf(&key, "%s %s", waypoint, json_str_at(service, "service", ""));
    const struct json *before = json_get(f->tables, strbuf_text(&key));
    if (before) {
        f->differ = f->differ || !json_same(before, service);
        return;
    }
    json_set(f->tables, strbuf_text(&key), json_ref(service));
    route_view_service(service, waypoint, f->rows);
    route_view_policies(service, &policies);
    if (policies.len > 0) {
        const char *of = f->named ? "" : json_str_at(service, "service", "");
        strbuf_printf(&f->policies, "policies%s%s:\n%s", *of ? " of " : "", of, policies.p);
    }
}

/* How many of its services are wanted. */
static size_t take_dump(const struct cli *c, const char *waypoint, const struct json *dump,
                        struct found *f)
{
    const struct json *all = json_get(dump, "bound");
    size_t taken = 0;

    for (size_t i = 0; i < json_count(all); i++) {
        if (is_wanted(c, json_item(all, i))) {
            take_service(waypoint, json_item(all, i), f);
            taken++;
        }
    }
    return taken;
}

/* ANSWER_YES: all of them have answered. */
static enum answer ask_replicas(struct cli *c, const struct waypoint_places *places,
                                struct found *f, struct strbuf *trouble)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};

    for (unsigned i = 0; i < places->count; i++) {
        const struct waypoint_place *p = &places->at[i];
        AUTO(json) struct json *dump = NULL;
        AUTO(strbuf) struct strbuf waypoint = {0};
        if (node_page_blocking(&p->where, "/config_dump", args_ms(&c->args, "timeout"), &dump,
                               &why) < 0) {
            strbuf_printf(trouble, "%swaypoint %s: %s", trouble->len > 0 ? "; " : "", p->pod,
                          why.text);
            answer = ANSWER_UNKNOWN;
            continue;
        }
        strbuf_printf(&waypoint, "%s/%s", p->ns, p->gateway);
        (void)take_dump(c, strbuf_text(&waypoint), dump, f); /* the rows tell */
    }
    return answer;
}

static bool is_unknown(const struct wanted *w, const struct published *p)
{
    struct world_cursor at = {0};
    const struct service *s;

    while ((s = world_each_service(p->world, &at))) {
        if (strcmp(s->ns, strbuf_text(&w->ns)) == 0 &&
            (strcmp(s->name, w->name) == 0 || strcmp(s->hostname, w->name) == 0)) {
            return false;
        }
    }
    return *w->name && w->ns.len > 0;
}

/* The configuration's answer. 0: there is one, whatever it has. */
static int ask_control(struct cli *c, const struct wanted *w, struct found *f,
                       struct strbuf *trouble)
{
    const char *ns = strbuf_text(&w->ns);
    AUTO(published) struct published *p = NULL;
    struct diag why = {0};

    int r = published_read_blocking(c, &ns, w->ns.len > 0 ? 1 : 0, &p, &why);
    if (r < 0) {
        strbuf_printf(trouble, "; and the control plane: %s", why.text);
        return r;
    }
    for (size_t i = 0; i < p->gateway_count; i++) {
        AUTO(json) struct json *dump = json_new_object();
        l7_json(dump, p->gateways[i].l7);
        if (take_dump(c, p->gateways[i].name, dump, f) > 0) {
            strbuf_puts(&f->source, f->source.len > 0 ? "; " : "");
            published_replicas(&p->gateways[i], &f->source);
        }
    }
    f->unknown = is_unknown(w, p);
    return 0;
}

/* Rows of one service need not say which. */
static bool has_several(const struct json *rows)
{
    const char *first = json_str_at(json_item(rows, 0), "service", "");

    for (size_t i = 1; i < json_count(rows); i++) {
        if (strcmp(json_str_at(json_item(rows, i), "service", ""), first) != 0) {
            return true;
        }
    }
    return false;
}

static enum answer show(struct cli *c, const struct found *f)
{
    AUTO(strbuf) struct strbuf verdict = {0};
    struct row_column shown[ARRAY_LEN(columns)];

    bool good = route_view_verdict(f->rows, &verdict);
    if (f->source.len > 0) {
        strbuf_printf(&verdict, "; %s", f->source.p);
    }
    memcpy(shown, columns, sizeof(columns));
    shown[0].wide = !has_several(f->rows);
    node_rows_show(c, strbuf_text(&verdict), f->rows, shown);
    if (!cli_wants_json(c) && f->policies.len > 0) {
        AUTO(strbuf) struct strbuf b = {0};
        strbuf_puts(&b, f->policies.p);
        term_out(&c->term, &b);
    }
    if (f->differ) {
        (void)cli_fail(c, ANSWER_YES, NULL, "replicas do not say the same yet; the first is shown");
    }
    return good ? ANSWER_YES : ANSWER_NO;
}

static enum answer none(struct cli *c, const struct wanted *w, const struct found *f)
{
    AUTO(strbuf) struct strbuf fix = {0};
    const char *word = *w->name ? c->args.operands[0] : "any service";
    const char *ns = w->ns.len > 0 ? strbuf_text(&w->ns) : "NAMESPACE";

    if (f->unknown) {
        strbuf_printf(&fix, "ambit get services -n %s", ns);
        return cli_fail(c, ANSWER_NO, strbuf_text(&fix), "there is no service %s in namespace %s",
                        w->name, ns);
    }
    strbuf_printf(&fix, "ambit label svc %s -n %s istio.io/use-waypoint=WAYPOINT",
                  *w->name ? w->name : "NAME", ns);
    return cli_fail(c, ANSWER_NO, strbuf_text(&fix), "no waypoint serves %s: %s traffic is layer 4",
                    word, *w->name ? "its" : "all");
}

static enum answer cannot_tell(struct cli *c, int r, const struct strbuf *trouble)
{
    const char *fix = r == -ERR_UNSUPPORTED
                          ? "kubectl port-forward -n NAMESPACE pod/REPLICA 15000 & "
                            "ambit routes SERVICE --waypoint-admin 127.0.0.1:15000"
                          : "ambit routes SERVICE --kubeconfig FILE";

    return cli_fail(c, ANSWER_UNKNOWN, cli_fix(c, r, fix), "%s", strbuf_text(trouble));
}

/* Those that run here, else what they are told. */
static enum answer find(struct cli *c, const struct waypoint_places *places, const struct wanted *w,
                        struct found *f)
{
    AUTO(strbuf) struct strbuf trouble = {0};
    enum answer answer = ask_replicas(c, places, f, &trouble);
    bool named = args_has(&c->args, "waypoint-admin");

    if (json_count(f->rows) > 0) {
        enum answer shown = show(c, f);
        return answer == ANSWER_YES ? shown : cannot_tell(c, 0, &trouble);
    }
    if (named && answer == ANSWER_UNKNOWN) {
        return cli_fail(c, ANSWER_UNKNOWN, "ambit waypoint status -A", "%s", strbuf_text(&trouble));
    }
    if (!named && trouble.len == 0) {
        strbuf_puts(&trouble, places->trouble < 0
                                  ? "only root may ask whether waypoints run here"
                                  : "no replica of a waypoint that serves it runs here");
    }
    int r = named ? 0 : ask_control(c, w, f, &trouble);
    if (r < 0) {
        return cannot_tell(c, places->trouble < 0 ? places->trouble : r, &trouble);
    }
    if (json_count(f->rows) > 0) {
        return show(c, f);
    }
    return none(c, w, f);
}

static enum answer run(struct cli *c)
{
    struct found f = {
        .rows = json_new_array(), .tables = json_new_object(), .named = c->args.operand_count > 0};
    struct waypoint_places places;
    struct wanted wanted;
    struct diag why = {0};
    enum answer answer;

    wanted_of(c, &wanted);
    if (waypoints_find_blocking(c, NULL, NULL, &places, &why) < 0) {
        answer = nodes_fail(c, &why);
    } else {
        answer = find(c, &places, &wanted, &f);
        waypoint_places_fini(&places);
    }
    json_unref(f.rows);
    json_unref(f.tables);
    strbuf_fini(&f.policies);
    strbuf_fini(&f.source);
    strbuf_fini(&wanted.ns);
    return answer;
}

static const struct arg_option own[] = {
    {"timeout", 0, ARG_DURATION, "TIME", "5s", "give up on a node or a waypoint after this long"},
    {0}};
static const struct arg_option *const tables[] = {
    own,          options_waypoint, options_filter, options_output,
    options_node, options_kube,     options_common, NULL};

const struct command cmd_routes = {
    .name = "routes",
    .operands = "[SERVICE]",
    .summary = "routes of a service as its waypoint has compiled them",
    .about =
        "The waypoint itself is asked, so this is what happens, not what was wished. Where none "
        "that serves it runs here, or only root may ask it, the answer is made of what the control "
        "plane publishes, compiled as a waypoint does it; it says how many replicas run that, and "
        "takes an administrator's kubeconfig. The first match from the top counts. `/a/...` is a "
        "prefix, `~` a regular expression, `x-user=jane` a header, `?debug=1` a query parameter. A "
        "port without routes goes straight to the endpoints. Exit status 1 when no waypoint serves "
        "it or a match cannot be followed (STATE), 3 when nobody could be asked.",
    .examples = "ambit routes shop/cart\tin which order are they tried, and where do they lead?\n"
                "ambit routes -n shop -o wide\tall of a namespace\n"
                "ambit routes shop/cart --kubeconfig admin.conf\tfrom any machine\n"
                "ambit routes cart --waypoint-admin 127.0.0.1:15000\ta waypoint elsewhere, through "
                "a tunnel",
    .tables = tables,
    .operands_max = 1,
    .run = run};
