/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/serve.h"

#include <string.h>
#include <strings.h>

#include "apiserver/secret.h"
#include "apiserver/session_int.h"
#include "base/clock.h"
#include "base/mem.h"

struct user {
    struct list node;
    char *token;
    char *name;
    char **groups; /* NULL-terminated */
    char *home;    /* the node it stands for */
    struct api_user is;
};

struct serve {
    struct task task;
    struct timer tick;
    struct loop *loop;
    struct api *api;
    struct http_server *http;
    struct list users;
    size_t user_count;
    struct list sessions;
    struct extra extra; /* zeroed: none */
    struct list asks;   /* of it, under way */
};

static void user_free(struct user *u)
{
    for (size_t i = 0; u->groups && u->groups[i]; i++) {
        mem_free(u->groups[i]);
    }
    mem_free(u->groups);
    mem_free_secret(u->token, slice_of(u->token).len);
    mem_free(u->name);
    mem_free(u->home);
    mem_free(u);
}

static char **copy_groups(const char *const *groups)
{
    size_t n = 0;

    while (groups && groups[n]) {
        n++;
    }
    char **copy = mem_array(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++) {
        copy[i] = mem_strdup(groups[i]);
    }
    return copy;
}

/* What was opened with another token does not outlive it. */
static void drop_user(struct serve *s, const char *name, const char *token)
{
    list_for_each_safe (n, &s->users) {
        struct user *u = container_of(n, struct user, node);
        if (strcmp(u->name, name) == 0) {
            if (!secret_equal(slice_of(u->token), slice_of(token))) {
                session_end_watches_of(&s->sessions, name);
            }
            list_remove(n);
            user_free(u);
            s->user_count--;
        }
    }
}

int serve_add_user(struct serve *s, const struct serve_user *user)
{
    drop_user(s, user->name, user->token);
    if (s->user_count == SERVE_USERS_MAX) {
        return -ERR_LIMIT;
    }
    struct user *u = mem_new(struct user);
    u->token = mem_strdup(user->token);
    u->name = mem_strdup(user->name);
    u->home = user->node ? mem_strdup(user->node) : NULL;
    u->groups = copy_groups(user->groups);
    u->is = (struct api_user){.name = u->name,
                              .groups = (const char *const *)u->groups,
                              .node = u->home,
                              .is_admin = user->is_admin};
    list_append(&s->users, &u->node);
    s->user_count++;
    return 0;
}

static const struct api_user anonymous = {.name = "system:anonymous", .is_anonymous = true};

/* All users are looked at, so that the time tells nothing. Several Authorization fields: none counts. */
const struct api_user *serve_find_user(struct serve *s, const struct message *head)
{
    struct slice value;
    struct slice scheme;
    struct slice token;
    const struct api_user *found = &anonymous;

    if (!message_find(head, "authorization", &value) ||
        message_find_next(head, "authorization",
                          (unsigned)message_find_next(head, "authorization", 0) + 1) >= 0 ||
        !slice_cut(slice_trim(value), ' ', &scheme, &token) || scheme.len != 6 ||
        strncasecmp(scheme.p, "bearer", 6) != 0) {
        return found;
    }
    token = slice_trim(token);
    list_for_each (n, &s->users) {
        const struct user *u = container_of(n, struct user, node);
        if (secret_equal(slice_of(u->token), token)) {
            found = &u->is;
        }
    }
    return found;
}

struct api *serve_api(struct serve *s)
{
    return s->api;
}

struct loop *serve_loop(struct serve *s)
{
    return s->loop;
}

const struct extra *serve_get_extra(const struct serve *s)
{
    return &s->extra;
}

struct list *serve_asks(struct serve *s)
{
    return &s->asks;
}

void serve_extra(struct serve *s, const struct extra *e)
{
    s->extra = *e;
}

static void run(struct task *t, unsigned why)
{
    struct serve *s = container_of(t, struct serve, task);
    struct exchange *x = NULL;

    if (why & (WAKE_TIMER | WAKE_START)) {
        api_tick(s->api, clock_wall_ns());
        timer_set(&s->tick, t, SERVE_TICK_MS);
    }
    while (http_server_next(s->http, &x) == 1) {
        session_start(s, &s->sessions, x);
    }
}

struct serve *serve_new(struct loop *l, struct api *api, const struct http_server_options *http)
{
    struct serve *s = mem_new(struct serve);

    s->loop = l;
    s->api = api;
    list_init(&s->users);
    list_init(&s->sessions);
    list_init(&s->asks);
    task_init(&s->task, l, "api server", run);
    s->http = http_server_new(l, http, &s->task);
    task_wake(&s->task, WAKE_START);
    return s;
}

int serve_listen(struct serve *s, int take_fd, struct diag *why)
{
    return http_server_listen(s->http, take_fd, why);
}

void serve_free(struct serve *s)
{
    if (!s) {
        return;
    }
    session_end_all(&s->sessions);
    extra_end_all(&s->asks);
    http_server_free(s->http);
    timer_clear(&s->tick);
    task_fini(&s->task);
    list_for_each_safe (n, &s->users) {
        list_remove(n);
        user_free(container_of(n, struct user, node));
    }
    mem_free(s);
}
