/* SPDX-License-Identifier: Apache-2.0 */
/* What zds_server.c and zds_conn.c share. */
#pragma once

#include "base/list.h"
#include "base/ref.h"
#include "io/loop.h"
#include "node/zds_server.h"

struct zds_server {
    struct loop *loop;
    struct task *owner;
    struct task task; /* accepts */
    struct fd_watch watch;
    struct timer pace; /* armed while too many connections came at once */
    unsigned accepts;  /* in the second that started at accepts_since_ms */
    uint64_t accepts_since_ms;
    struct list conns; /* in the order they came */
    unsigned conn_count;
    struct list members;
    unsigned member_count;
    char *path;
    bool open;
};

struct zds_member {
    struct list in_server;
    struct ref ref; /* the owner's, and one for each order */
    struct zds_server *server;
    struct task *owner; /* NULL once its owner has freed it */
    struct zds_workload w;
    int netns;
    enum zds_standing standing;
    unsigned dels_due; /* connections that have not answered the removal */
    struct diag refusal;
};

enum zds_order_kind {
    ZDS_ORDER_ADD, /* becomes ZDS_ORDER_KEEP when sent if the namespace is not known */
    ZDS_ORDER_KEEP,
    ZDS_ORDER_DEL,
    ZDS_ORDER_SNAPSHOT_SENT
};

struct zds_order { /* one request, waiting or under way */
    struct list in_conn;
    enum zds_order_kind kind;
    struct zds_member *member; /* counted; NULL for ZDS_ORDER_SNAPSHOT_SENT */
};

enum zds_step {
    ZDS_HELLO, /* nothing heard yet */
    ZDS_IDLE,  /* nothing under way */
    ZDS_SEND,  /* the request does not fit into the socket yet */
    ZDS_ANSWER /* the request is out, its answer is not here */
};

struct zds_conn {
    struct list in_server;
    struct zds_server *server;
    struct task task;
    struct fd_watch watch;
    struct timer limit;
    enum zds_step step;
    struct list orders;          /* waiting */
    struct zds_order *under_way; /* in ZDS_SEND and ZDS_ANSWER */
};

/* zds_conn.c */
void zds_conn_start(struct zds_server *s, int take_fd);
void zds_conn_close(struct zds_conn *c);
/* An addition that is still waiting keeps its place and serves for the new one: behind the snapshot's
 * end it would come too late. */
void zds_conn_order(struct zds_conn *c, enum zds_order_kind kind, struct zds_member *m);
void zds_conn_cancel_add(struct zds_conn *c, const struct zds_member *m);
bool zds_conn_is_ready(const struct zds_conn *c); /* has said hello */

/* zds_server.c: what connections report */
void zds_server_welcome(struct zds_server *s, struct zds_conn *c);
void zds_server_lost(struct zds_server *s, bool was_newest);
bool zds_server_is_newest(const struct zds_server *s, const struct zds_conn *c);
void zds_server_added(struct zds_server *s, struct zds_conn *c, struct zds_member *m, int result,
                      const struct diag *why);
void zds_server_removed(struct zds_member *m);
void zds_member_unref(struct zds_member *m);
