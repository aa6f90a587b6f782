/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of each kind come and go: one file a kind, most of them. Items are freed when theirs goes. */
#pragma once

#include "codec/json.h"
#include "model/l7_route.h"

struct gateway_item;
struct index;
struct l7_policy_item;
struct peer_item;
struct pod_item;
struct policy_item;
struct route_item;
struct rule_item;
struct service_item;
struct slice_item;

void index_put_namespace(struct index *x, const struct json *object);
void index_remove_namespace(struct index *x, const char *name);
void index_put_node(struct index *x, const struct json *object);
void index_remove_node(struct index *x, const char *name);
void index_put_pod(struct index *x, const struct json *object);
void index_remove_pod(struct index *x, const char *ns, const char *name);
void index_put_service(struct index *x, const struct json *object);
void index_remove_service(struct index *x, const char *ns, const char *name);
void index_put_slice(struct index *x, const struct json *object);
void index_remove_slice(struct index *x, const char *ns, const char *name);
void index_put_authorization(struct index *x, const struct json *object);
void index_remove_authorization(struct index *x, const char *ns, const char *name);
void index_put_peer(struct index *x, const struct json *object);
void index_remove_peer(struct index *x, const char *ns, const char *name);

void pod_item_free(struct index *x, struct pod_item *p);
void slice_item_free(struct index *x, struct slice_item *s);
void policy_item_free(struct index *x, struct policy_item *p);
void peer_item_free(struct index *x, struct peer_item *p);

void index_put_class(struct index *x, const struct json *object);
void index_remove_class(struct index *x, const char *name);
void index_put_gateway(struct index *x, const struct json *object);
void index_remove_gateway(struct index *x, const char *ns, const char *name);
void index_put_route(struct index *x, enum l7_route_kind kind, const struct json *object);
void index_remove_route(struct index *x, enum l7_route_kind kind, const char *ns, const char *name);
void index_put_grant(struct index *x, const struct json *object);
void index_remove_grant(struct index *x, const char *ns, const char *name);
void index_put_rule(struct index *x, const struct json *object);
void index_remove_rule(struct index *x, const char *ns, const char *name);

void route_item_free(struct index *x, struct route_item *r);
void l7_policy_item_free(struct index *x, struct l7_policy_item *p);
void rule_item_free(struct index *x, struct rule_item *r);

/* ---- settling: each translates one item and publishes what came of it */

void settle_pod(struct index *x, struct pod_item *p);
void settle_service(struct index *x, struct service_item *s);
void settle_slice(struct index *x, struct slice_item *s);
void settle_peer(struct index *x, struct peer_item *p);
void settle_l7_service(struct index *x, struct service_item *s);
void settle_gateway(struct index *x, struct gateway_item *g);
void settle_route(struct index *x, struct route_item *r);
void settle_l7_policy(struct index *x, struct l7_policy_item *p);

/* The targets of a slice follow whether its service has a selector. */
void slice_attach(struct index *x, struct slice_item *s);
void slice_detach(struct index *x, struct slice_item *s);
bool service_is_selectorless(const struct service_item *s);
/* At the end: what only gateways that are there still hold. */
void gateways_drop(struct index *x);
