/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/status_facts.h"
#include "codec/json.h"
#include "t.h"

enum { NOW_S = 1795694400 }; /* 2026-11-26T12:00:00Z */

static struct json *read_json(const char *text)
{
    struct json *j = NULL;

    return json_parse(&j, text, strlen(text), NULL, NULL) < 0 ? NULL : j;
}

/* What a node in order says. */
static const char good[] = "{\"controlPlane\":{\"connected\":true},\"workloadState\":{\"u\":{"
                           "\"state\":\"Up\",\"info\":{\"name\":\"a\",\"namespace\":\"s\"}}}}";

#define CERT(from, until, root_until)                                                              \
    "{\"certificates\":[{\"identity\":\"spiffe://d/ns/s/sa/a\",\"state\":\"Available\","           \
    "\"certChain\":[{\"validFrom\":\"" from "\",\"expirationTime\":\"" until "\"}],"               \
    "\"rootCerts\":[{\"validFrom\":\"2026-01-01T00:00:00Z\",\"expirationTime\":\"" root_until      \
    "\"}]}]}"

struct row {
    const char *what;
    struct node_facts facts; /* json members are set from the texts below */
    const char *dump;
    const char *open;
    const char *agent;
    const char *local;
    const char *kept;
    const char *codes; /* of the findings, in order */
    enum answer answer;
    enum answer strict;
};

#define READY .facts = {.is_ready = true, .ready = "ready"}

static const struct row rows[] = {
    {"in order", READY, good, "[{\"mutual_tls\":true}]", "{\"ready\":true}", "[]", "[]", "",
     ANSWER_YES, ANSWER_YES},
    {"a proxy of another make says nothing of its control plane", READY, "{}", NULL, NULL, NULL,
     NULL, "", ANSWER_YES, ANSWER_YES},
    {"no proxy", .facts = {.proxy_error = "refused"}, NULL, NULL, NULL, NULL, NULL, "A101",
     ANSWER_UNKNOWN, ANSWER_UNKNOWN},
    {"proxy not ready", .facts = {.ready = "not ready, pending: state manager"}, good, NULL, NULL,
     NULL, NULL, "A102", ANSWER_NO, ANSWER_NO},
    {"control plane lost", READY, "{\"controlPlane\":{\"connected\":false,\"error\":\"x\"}}", NULL,
     NULL, NULL, NULL, "A103", ANSWER_NO, ANSWER_NO},
    {"no agent", .facts = {.is_ready = true, .agent_error = "refused"}, good, NULL, NULL, NULL,
     NULL, "A104", ANSWER_UNKNOWN, ANSWER_UNKNOWN},
    {"agent not ready", READY, good, NULL, "{\"ready\":false,\"proxies\":0}", NULL, NULL, "A105",
     ANSWER_NO, ANSWER_NO},
    {"pending", READY,
     "{\"workloadState\":{\"u\":{\"state\":\"Pending\",\"info\":{\"name\":\"a\"}},"
     "\"v\":{\"state\":\"Pending\",\"info\":{\"name\":\"b\"}}}}",
     NULL, NULL, NULL, NULL, "A201", ANSWER_NO, ANSWER_NO},
    {"trouble", READY, good, NULL, "{\"ready\":true}",
     "[{\"name\":\"a\",\"trouble\":\"no rules\"},{\"name\":\"b\"}]", "[]", "A202", ANSWER_NO,
     ANSWER_NO},
    {"ends again and again", READY, good, NULL, "{\"ready\":true}",
     "[{\"name\":\"a\",\"state\":\"waiting\",\"restarts\":3,\"trouble\":\"ended with status 1\"}]",
     "[]", "A203", ANSWER_NO, ANSWER_NO},
    {"rules that were put back", READY, good, NULL,
     "{\"ready\":true,\"repaired\":[{\"namespace\":\"s\",\"name\":\"a\",\"times\":2,"
     "\"last_s\":1795694100}],\"host_repaired\":{\"times\":1,\"last_s\":1795694399}}",
     "[]", "[]", "A204 A205", ANSWER_YES, ANSWER_NO},
    {"rules that were put back two days ago", READY, good, NULL,
     "{\"ready\":true,\"repaired\":[{\"namespace\":\"s\",\"name\":\"a\",\"times\":2,"
     "\"last_s\":1795521600}],\"host_repaired\":{\"times\":1,\"last_s\":1795521600}}",
     "[]", "[]", "", ANSWER_YES, ANSWER_YES},
    {"more pods than there is room for", READY, good, NULL,
     "{\"ready\":true,\"pods_max\":1024,\"turned_away\":3}", "[]", "[]", "A206", ANSWER_NO,
     ANSWER_NO},
    {"room for all pods", READY, good, NULL, "{\"ready\":true,\"pods_max\":1024,\"turned_away\":0}",
     "[]", "[]", "", ANSWER_YES, ANSWER_YES},
    {"broken policy", READY,
     "{\"policies\":[{\"name\":\"p\",\"namespace\":\"s\",\"broken\":true}]}", NULL, NULL, NULL,
     NULL, "A301", ANSWER_NO, ANSWER_NO},
    {"policy named and not known", READY,
     "{\"policies\":[{\"name\":\"p\",\"namespace\":\"s\"}],\"workloads\":["
     "{\"name\":\"a\",\"authorizationPolicies\":[\"s/p\",\"s/q\"]},"
     "{\"name\":\"b\",\"authorizationPolicies\":[\"s/q\"]}]}",
     NULL, NULL, NULL, NULL, "A302", ANSWER_NO, ANSWER_NO},
    {"expired", READY, CERT("2026-11-24T12:00:00Z", "2026-11-25T12:00:00Z", "2036-01-01T00:00:00Z"),
     NULL, NULL, NULL, NULL, "A401", ANSWER_NO, ANSWER_NO},
    {"no certificate", READY,
     "{\"certificates\":[{\"identity\":\"i\",\"state\":\"Unavailable: no CA\"}]}", NULL, NULL, NULL,
     NULL, "A401", ANSWER_NO, ANSWER_NO},
    {"first certificate on its way", READY,
     "{\"certificates\":[{\"identity\":\"i\",\"state\":\"Initializing\"}]}", NULL, NULL, NULL, NULL,
     "", ANSWER_YES, ANSWER_YES},
    {"leaf near its end", READY,
     CERT("2026-11-25T13:00:00Z", "2026-11-26T13:00:00Z", "2036-01-01T00:00:00Z"), NULL, NULL, NULL,
     NULL, "A402", ANSWER_YES, ANSWER_NO},
    {"root near its end", READY,
     CERT("2026-11-26T11:00:00Z", "2026-11-27T11:00:00Z", "2026-11-30T00:00:00Z"), NULL, NULL, NULL,
     NULL, "A403", ANSWER_YES, ANSWER_NO},
    {"plaintext through the proxy", READY, good, "[{\"mutual_tls\":false},{\"mutual_tls\":true}]",
     NULL, NULL, NULL, "A501", ANSWER_YES, ANSWER_NO},
    {"plaintext past the proxy", READY, good, "[]", "{\"ready\":true}", "[]",
     "[{\"secured\":\"PLAINTEXT\",\"note\":\"older than the mesh\"}]", "A501", ANSWER_YES,
     ANSWER_NO},
    {"a problem outweighs what is not known", .facts = {.ready = "no", .agent_error = "refused"},
     good, NULL, NULL, NULL, NULL, "A102 A104", ANSWER_NO, ANSWER_NO},
};

static void list_codes(const struct findings *f, struct strbuf *out)
{
    AUTO(json) struct json *all = findings_to_json(f);

    for (size_t i = 0; i < json_count(all); i++) {
        strbuf_printf(out, "%s%s", i > 0 ? " " : "", json_str_at(json_item(all, i), "code", ""));
    }
}

static void judge(const struct row *r, struct findings *f, struct status_counts *counts)
{
    const char *const texts[] = {r->dump, r->open, r->agent, r->local, r->kept};
    struct json *parts[5];
    struct node_facts facts = r->facts;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = texts[i] ? read_json(texts[i]) : NULL;
    }
    facts.name = "n1";
    facts.dump = parts[0];
    facts.open = parts[1];
    facts.agent = parts[2];
    facts.local = parts[3];
    facts.kept = parts[4];
    status_of_nodes(&facts, 1, NOW_S, f, counts);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        json_unref(parts[i]);
    }
}

TEST(every_state_of_a_node_has_its_finding_and_its_exit_status)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct status_counts counts = {0};
        struct findings f;
        AUTO(strbuf) struct strbuf codes = {0};
        findings_init(&f);
        judge(&rows[i], &f, &counts);
        list_codes(&f, &codes);
        enum answer answer = findings_answer(&f, false);
        enum answer strict = findings_answer(&f, true);
        const char *verdict = findings_verdict(&f);
        findings_fini(&f);
        (void)printf("# %s\n", rows[i].what);
        CHECK_STR(strbuf_text(&codes), rows[i].codes);
        CHECK_INT(answer, rows[i].answer);
        CHECK((strcmp(verdict, "problem") == 0) == (answer == ANSWER_NO));
        CHECK((strcmp(verdict, "unknown") == 0) == (answer == ANSWER_UNKNOWN));
        CHECK_INT(strict, rows[i].strict);
    }
}

TEST(a_protected_connection_between_nodes_is_counted_once_and_plaintext_at_both_ends)
{
#define RECORD(reporter, tls)                                                                      \
    "{\"reporter\":\"" reporter "\",\"mutual_tls\":" tls ",\"source_namespace\":\"s\","            \
    "\"src.pod\":\"a\"}"
    AUTO(json) struct json *dump = read_json(good); /* s/a runs on the first node */
    AUTO(json)
    struct json *here = read_json("[" RECORD("source", "true") "," RECORD("source", "false") "]");
    AUTO(json)
    struct json *there = read_json("[" RECORD("destination", "true") "," RECORD(
        "destination",
        "false") ","
                 "{\"reporter\":\"destination\",\"mutual_tls\":true,\"src.pod\":\"far\"}]");
    struct node_facts nodes[] = {{.name = "n1", .is_ready = true, .dump = dump, .open = here},
                                 {.name = "n2", .is_ready = true, .open = there}};
    struct status_counts counts = {0};
    struct findings f;

    findings_init(&f);
    status_of_nodes(nodes, 2, NOW_S, &f, &counts);
    findings_fini(&f);
    CHECK_INT(counts.mtls, 2);
    CHECK_INT(counts.plain, 2);
}

TEST(the_sentence_counts_and_never_claims_what_nobody_said)
{
    static const struct {
        struct status_counts c;
        const char *text;
    } sentences[] = {
        {{.nodes = 2}, "no node proxy answers (2 asked)"},
        {{.nodes = 1, .nodes_answering = 1}, "0 workloads captured on 1 node; no open connection"},
        {{.nodes = 2, .nodes_answering = 2, .workloads = 3, .mtls = 14},
         "3 workloads captured on 2 nodes; 14 open connections, all mutual TLS"},
        {{.nodes = 2, .nodes_answering = 1, .workloads = 1, .pending = 1, .mtls = 4, .plain = 1},
         "1 workload captured on 1 node, 1 pending; 1 of 5 open connections in PLAINTEXT; 1 of 2 "
         "nodes do not answer"},
    };

    for (size_t i = 0; i < ARRAY_LEN(sentences); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        status_sentence(&sentences[i].c, &b);
        CHECK_STR(strbuf_text(&b), sentences[i].text);
    }
}

TEST(a_policy_whose_condition_is_false_is_said)
{
    AUTO(json)
    struct json *items = read_json(
        "[{\"metadata\":{\"name\":\"p\",\"namespace\":\"s\"},\"status\":{\"conditions\":["
        "{\"type\":\"ZtunnelAccepted\",\"status\":\"False\",\"reason\":\"UnsupportedValue\","
        "\"message\":\"rules[0] needs HTTP\"},{\"type\":\"Other\",\"status\":\"True\"}]}},"
        "{\"metadata\":{\"name\":\"q\",\"namespace\":\"s\"},\"status\":{\"conditions\":["
        "{\"type\":\"WaypointAccepted\",\"status\":\"True\",\"reason\":\"PartiallyInvalid\"}]}},"
        "{\"metadata\":{\"name\":\"r\",\"namespace\":\"s\"},\"status\":{}}]");
    struct findings f;
    AUTO(strbuf) struct strbuf b = {0};

    findings_init(&f);
    status_of_policies(items, "authorizationpolicy", &f);
    findings_print(&f, false, &b);
    unsigned bad = findings_count(&f, LEVEL_BAD);
    findings_fini(&f);
    CHECK_INT(bad, 2);
    CHECK_STR(strbuf_text(&b),
              "PROBLEM A303: policy s/p: ZtunnelAccepted is False (UnsupportedValue)\n"
              "    rules[0] needs HTTP\n"
              "    fix: ambit get authorizationpolicy p -n s -o yaml\n"
              "PROBLEM A303: policy s/q: WaypointAccepted is True (PartiallyInvalid)\n"
              "    fix: ambit get authorizationpolicy q -n s -o yaml\n");
}

TEST(a_route_that_cannot_be_followed_is_said_and_one_without_a_waypoint_is_not)
{
    AUTO(json)
    struct json *items = read_json(
        "[{\"metadata\":{\"name\":\"r\",\"namespace\":\"s\"},\"status\":{\"parents\":[{"
        "\"conditions\":[{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":\"Accepted\"},"
        "{\"type\":\"ResolvedRefs\",\"status\":\"False\",\"reason\":\"BackendNotFound\","
        "\"message\":\"no nope\"},{\"type\":\"ResolvedWaypoints\",\"status\":\"False\","
        "\"reason\":\"x\"}]},{\"conditions\":[{\"type\":\"PartiallyInvalid\",\"status\":"
        "\"True\",\"reason\":\"UnsupportedValue\"}]}]}}]");
    struct findings f;
    AUTO(strbuf) struct strbuf b = {0};

    findings_init(&f);
    status_of_routes(items, "httproute", &f);
    findings_print(&f, false, &b);
    findings_fini(&f);
    CHECK_STR(strbuf_text(&b),
              "PROBLEM A304: httproute s/r: ResolvedRefs is False (BackendNotFound)\n"
              "    no nope\n"
              "    fix: ambit get httproute r -n s -o yaml\n"
              "PROBLEM A304: httproute s/r: PartiallyInvalid is True (UnsupportedValue)\n"
              "    fix: ambit get httproute r -n s -o yaml\n");
}

TEST(waypoints_that_do_not_serve_or_do_not_exist_are_said)
{
    AUTO(json)
    struct json *waypoints = read_json(
        "[{\"namespace\":\"s\",\"name\":\"good\",\"verdict\":\"ready\"},"
        "{\"namespace\":\"s\",\"name\":\"bad\",\"verdict\":\"not ready\",\"replicas\":\"0/1\","
        "\"message\":\"no endpoint\"}]");
    AUTO(json)
    struct json *users = read_json(
        "[{\"metadata\":{\"name\":\"s\",\"labels\":{\"istio.io/use-waypoint\":\"good\"}}},"
        "{\"metadata\":{\"name\":\"t\",\"labels\":{\"istio.io/use-waypoint\":\"good\"}}},"
        "{\"metadata\":{\"name\":\"u\",\"labels\":{\"istio.io/use-waypoint\":\"none\"}}},"
        "{\"metadata\":{\"name\":\"w\",\"namespace\":\"t\",\"labels\":{\"istio.io/use-waypoint\":"
        "\"bad\",\"istio.io/use-waypoint-namespace\":\"s\"}}}]");
    struct findings f;
    AUTO(strbuf) struct strbuf b = {0};

    findings_init(&f);
    status_of_waypoints(waypoints, users, &f);
    findings_print(&f, false, &b);
    findings_fini(&f);
    CHECK_STR(strbuf_text(&b),
              "PROBLEM A601: waypoint s/bad: 0/1 of its replicas ready\n"
              "    no endpoint\n"
              "    fix: ambit waypoint status bad -n s\n"
              "PROBLEM A602: namespace t names waypoint t/good, which does not exist\n"
              "    fix: ambit waypoint apply -n t --name good --wait\n");
}

TEST(problems_are_printed_before_warnings_and_evidence_is_cut)
{
    struct findings f;
    AUTO(strbuf) struct strbuf b = {0};

    findings_init(&f);
    struct finding *x = findings_add(&f, FINDING_A501, "%d plain", 25);
    for (int i = 0; i < 25; i++) {
        finding_evidence(x, "line %d", i);
    }
    finding_fix(findings_add(&f, FINDING_A103, "lost"), "do %s", "it");
    CHECK_STR(findings_verdict(&f), "problem");
    findings_print(&f, false, &b);
    findings_fini(&f);
    CHECK(strstr(strbuf_text(&b), "PROBLEM A103: lost\n    fix: do it\nWARNING A501: 25 plain\n") ==
          strbuf_text(&b));
    CHECK(strstr(strbuf_text(&b), "    line 19\n    and 5 more (-o json shows all)\n"));
}

TEST(every_code_can_be_explained_without_a_network)
{
    AUTO(strbuf) struct strbuf index = {0};
    AUTO(strbuf) struct strbuf text = {0};

    finding_index(&index);
    struct slice rest = {strbuf_text(&index), index.len};
    struct slice line;
    unsigned n = 0;
    while (slice_cut(rest, '\n', &line, &rest)) {
        char code[5] = {line.p[2], line.p[3], line.p[4], line.p[5], '\0'};
        strbuf_clear(&text);
        CHECK(finding_explain(code, &text));
        CHECK(strlen(strbuf_text(&text)) > 80);
        n++;
    }
    CHECK_INT(n, FINDING_CODES);
    CHECK(finding_explain("a501", &text));
    CHECK(!finding_explain("A999", &text));
}
