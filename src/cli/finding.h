/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command has found out, in the order people need it: the verdict first, then the evidence,
 * then the one command that puts it right. Each kind of finding has a stable code, a level and an
 * explanation (`ambit help A101`), in one table. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "base/str.h"

struct json;

/* Exit statuses. "Cannot tell" is never 0. */
enum answer { ANSWER_YES = 0, ANSWER_NO = 1, ANSWER_USAGE = 2, ANSWER_UNKNOWN = 3 };

/* The worst of a command's findings is its verdict: a known problem outweighs what is not known. */
enum level { LEVEL_OK, LEVEL_WARN, LEVEL_UNKNOWN, LEVEL_BAD };

/* code, level, title, explanation */
#define FINDING_TABLE(X)                                                                           \
    X(A101, LEVEL_UNKNOWN, "a node proxy does not answer",                                         \
      "The admin endpoint of the node proxy (127.0.0.1:15000 on its node) did not answer. While "  \
      "the proxy is down, captured workloads cannot open connections: they fail closed. "          \
      "Nothing leaves them in the clear.")                                                         \
    X(A102, LEVEL_BAD, "a node proxy is not ready",                                                \
      "The proxy runs and still waits for something: `state manager` is the control plane's "      \
      "first answer, `workload proxy manager` is the node agent's list of pods.")                  \
    X(A103, LEVEL_BAD, "the control plane is not connected",                                       \
      "The proxy goes on with what it knows: existing policy and identities stay in force. New "   \
      "workloads, changed policies and new certificates wait until the connection is back.")       \
    X(A104, LEVEL_UNKNOWN, "a node agent does not answer",                                         \
      "The node agent's socket did not answer. Captured workloads go on; no workload can join, "   \
      "leave or be started on that node meanwhile.")                                               \
    X(A105, LEVEL_BAD, "a node agent is not ready",                                                \
      "The agent has not yet seen every pod, or no node proxy is connected to it.")                \
    X(A106, LEVEL_UNKNOWN, "the API does not answer",                                              \
      "What the control plane says of policies, routes and waypoints is in the API's objects, "    \
      "and they could not be read. The nodes have answered for themselves.")                       \
    X(A201, LEVEL_BAD, "a workload is not in the mesh yet",                                        \
      "The node proxy knows the workload and has not opened its listeners, or the agent is still " \
      "on the way. Its connections are refused or still plain until that is done.")                \
    X(A202, LEVEL_BAD, "a workload has trouble joining or leaving",                                \
      "The node agent has tried and says what failed; it goes on trying.")                         \
    X(A203, LEVEL_BAD, "a workload keeps ending",                                                  \
      "Its command has ended and is started again after a pause, as --restart asks. What it says " \
      "of the reason is in its log, which `ambit ps -o wide` names.")                              \
    X(A204, LEVEL_WARN, "the rules of a workload were changed",                                    \
      "Somebody has changed the rules that lead the workload's traffic through the node proxy: "   \
      "it has CAP_NET_ADMIN, or root of the node has done it. The node agent looks once a "        \
      "minute and has put them back; until then the workload could go without the mesh and its "   \
      "own policies, nobody else could. Shown for a day.")                                         \
    X(A205, LEVEL_WARN, "the node's rules for health probes were taken away",                      \
      "The node agent has put them back. Until then health probes of the node were refused by "    \
      "workloads that take mutual TLS alone. Mostly a firewall's reload does it, with `flush "     \
      "ruleset`: let it flush its own tables. Shown for a day.")                                   \
    X(A206, LEVEL_BAD, "a node has more pods than its agent takes",                                \
      "Those that came last are kept out of the mesh: nothing captures their traffic, and who "    \
      "takes mutual TLS alone refuses them. They join by themselves when others of the node end. " \
      "Kubernetes gives a node 110 pods unless the kubelet is told otherwise (maxPods): keep it "  \
      "below the agent's limit and start the rest on other nodes.")                                \
    X(A301, LEVEL_BAD, "a policy is broken and fails closed",                                      \
      "A version of the policy could not be decoded and no older one is held. Until a good "       \
      "version comes, every workload it applies to refuses new connections.")                      \
    X(A302, LEVEL_BAD, "a policy is named and not known",                                          \
      "A workload names a policy that the proxy has not received. New connections to it wait "     \
      "two seconds for the policy and are then refused.")                                          \
    X(A303, LEVEL_BAD, "a policy was not accepted as written",                                     \
      "It names what does not exist, or has values or fields that cannot be enforced where it "    \
      "applies: what could not be translated denies. The status of the object says which field "   \
      "is meant. A DestinationRule that was not accepted has no effect.")                          \
    X(A304, LEVEL_BAD, "a route was not accepted as written",                                      \
      "A rule names a backend that does not exist, or one of another namespace without a "         \
      "ReferenceGrant, or has something that the waypoint does not know. Requests that it draws "  \
      "are answered 500, or the rule is left out. The status of the object says which field is "   \
      "meant, `ambit routes SERVICE` what has come of it.")                                        \
    X(A401, LEVEL_BAD, "a certificate is missing or has expired",                                  \
      "Without a valid certificate the workload cannot open or accept mutual TLS connections.")    \
    X(A402, LEVEL_WARN, "a certificate is near its end",                                           \
      "Certificates are renewed at half of their life. One that has less than a fifth left has "   \
      "missed several renewals: look at the CA before it expires.")                                \
    X(A403, LEVEL_WARN, "a root certificate is near its end",                                      \
      "When the root expires, every certificate below it does. Replace it in good time.")          \
    X(A501, LEVEL_WARN, "connections run in plaintext",                                            \
      "They are open now and not protected by mutual TLS: opened before the workload joined and "  \
      "kept as they are, or to or from a peer outside the mesh. Those that were kept end when "    \
      "one of their applications closes them; a restart of the client replaces them.")             \
    X(A601, LEVEL_BAD, "a waypoint is not ready",                                                  \
      "No replica of it serves, or the control plane has not taken it up. Services that layer-7 "  \
      "policies protect are refused until it is ready; nothing gets past it.")                     \
    X(A602, LEVEL_BAD, "a waypoint is named and does not exist",                                   \
      "A namespace or a service has the label istio.io/use-waypoint with a name that no Gateway "  \
      "has. Services that layer-7 policies protect are refused; others are reached directly.")

/* clang-format off */
enum finding_code {
#define FINDING_ENUM(code, level, title, text) FINDING_##code,
    FINDING_TABLE(FINDING_ENUM)
#undef FINDING_ENUM
    FINDING_CODES
};
/* clang-format on */

struct finding;
struct findings {
    struct list all; /* private */
};

void findings_init(struct findings *f);
void findings_fini(struct findings *f);

struct finding *findings_add(struct findings *f, enum finding_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void finding_evidence(struct finding *x, const char *fmt, ...) PRINTF_LIKE(2, 3); /* one line */
void finding_fix(struct finding *x, const char *fmt, ...) PRINTF_LIKE(2, 3);      /* a command */

/* Every fix becomes what put makes of it. */
void findings_put_fixes(struct findings *f, const void *ctx,
                        void (*put)(const void *ctx, const char *fix, struct strbuf *out));

unsigned findings_count(const struct findings *f, enum level level);
/* strict: warnings count as well. */
enum answer findings_answer(const struct findings *f, bool strict);
/* "ok", "warning", "problem", "unknown": of the worst. */
const char *findings_verdict(const struct findings *f);
void findings_print(const struct findings *f, bool colour, struct strbuf *out);
/* "OK", "PROBLEM" and so on, of the worst. */
void findings_headline(const struct findings *f, bool colour, struct strbuf *out);
/* [{"code", "level", "title", "text", "evidence": [...], "fix"}]; the caller's. */
struct json *findings_to_json(const struct findings *f);

/* The explanation of a code like "A101"; false: there is none. */
bool finding_explain(const char *code, struct strbuf *out);
/* All codes, one a line. */
void finding_index(struct strbuf *out);
