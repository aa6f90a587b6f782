/* SPDX-License-Identifier: Apache-2.0 */
/* Small meshes for tests, written as text: lists are separated by commas, everything may be left
 * out. A wrong text exits: a test must not pass because its mesh was empty. */
#pragma once

#include "model/intern.h"
#include "model/world.h"

struct mesh {
    struct intern *pool;
    const struct world *world;
    struct world_delta *delta;
};

struct pod {
    const char *uid;     /* NULL: "c//Pod/NS/NAME" */
    const char *name;    /* NULL: "p" */
    const char *ns;      /* NULL: "shop" */
    const char *sa;      /* NULL: "NAME-sa" */
    const char *ips;     /* "10.0.0.1,fd00::1" */
    const char *network; /* as the following, NULL: "" */
    const char *node, *hostname, *region, *zone, *subzone, *cluster, *version;
    const char *services; /* "shop/web.local=80:8080 81:81,shop/other.local" */
    const char *policies; /* "shop/a,shop/b" */
    const char *waypoint; /* "NETWORK|IP:PORT" or "NS/HOSTNAME:PORT" */
    const char *gateway;  /* the same form: the network gateway */
    bool hbone, unhealthy, host_network;
    int weight; /* 0: 1; negative: never picked */
    enum app_tunnel tunnel;
    uint16_t tunnel_port;
};

struct svc {
    const char *ns;    /* NULL: "shop" */
    const char *host;  /* NULL: "web.local" */
    const char *vips;  /* "|10.96.0.1,net2|10.97.0.0/16": NETWORK|PREFIX */
    const char *ports; /* "80:8080,443:0" */
    const char *sans;
    const char *waypoint;
    const char *weighted; /* "3*shop/wp.local:15008,1*|10.0.0.9:15008" */
    const char *scopes;   /* letters of Region Zone Subzone Node Cluster network(W) */
    const char *version;
    enum balance_mode mode;
    enum ip_families families;
    bool any_health, canonical, hidden;
};

void mesh_init(struct mesh *m);
void mesh_fini(struct mesh *m);
static inline void mesh_release(struct mesh m)
{
    mesh_fini(&m);
}
AUTO_DEFINE(mesh, struct mesh, mesh_release);

/* The caller's. */
const struct workload *mesh_make_pod(struct mesh *m, const struct pod *p);
const struct service *mesh_make_svc(struct mesh *m, const struct svc *s);

/* Into the open delta; what the put answered. */
bool mesh_pod(struct mesh *m, const struct pod *p);
bool mesh_svc(struct mesh *m, const struct svc *s);
/* Takes p. */
bool mesh_policy(struct mesh *m, const struct policy *p);
/* The delta becomes the world. */
void mesh_commit(struct mesh *m);

struct ip mesh_ip(const char *text);
