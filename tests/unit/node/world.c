/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/zds_msg.h"

static struct world *the_world; /* the table of blocking calls has no place for it */

/* Called with the lock held. */
static void check(struct world *w)
{
    if (w->deleted) {
        return; /* nobody runs there any more */
    }
    if (w->kernel == RULES_CAPTURING && !w->served) {
        w->broken = "captured where no proxy listens";
    }
    if (w->announced && (w->kernel != RULES_CAPTURING || !w->served || !w->proved)) {
        w->broken = "announced without proof";
    }
}

static bool is_fault(struct world *w, const char *what)
{
    int n = w->calls++;
    size_t len = strlen(w->trace);

    (void)snprintf(w->trace + len, sizeof(w->trace) - len, " %d:%s%s", n, what,
                   n == w->fail_at ? "!" : "");
    w->stopping |= n == w->stop_at;
    return n == w->fail_at;
}

/* ---- the kernel */

static int begin(const char *what)
{
    struct world *w = the_world;

    (void)pthread_mutex_lock(&w->lock);
    return is_fault(w, what) ? -EIO : 0;
}

static int end(int r)
{
    struct world *w = the_world;

    check(w);
    (void)pthread_mutex_unlock(&w->lock);
    return r;
}

static int fake_find(const struct pod *pod, const char *netns_dir, int *out_netns, struct diag *why)
{
    int r = begin("find");

    (void)pod, (void)netns_dir;
    if (r == 0) {
        *out_netns = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    return end(r < 0 ? FAIL(why, r, "fault") : 0);
}

static int fake_inspect(int netns, const struct rules *rules, enum rules_state *out,
                        struct diag *why)
{
    int r = begin("inspect");

    (void)netns, (void)rules;
    *out = the_world->kernel;
    return end(r < 0 ? FAIL(why, r, "fault") : 0);
}

static int fake_install(int netns, const struct pod *pod, const struct rules *rules,
                        struct diag *why)
{
    int r = begin("install");

    (void)netns, (void)pod, (void)rules;
    if (r == 0) {
        the_world->kernel = RULES_CAPTURING;
        r = the_world->host_gone;
        the_world->host_gone = false;
    }
    return end(r < 0 ? FAIL(why, r, "fault") : r);
}

static int fake_prove(int netns, const struct rules *rules, struct diag *why)
{
    int r = begin("prove");
    struct world *w = the_world;

    (void)netns, (void)rules;
    if (w->kernel != RULES_CAPTURING || !w->served) {
        r = -ERR_UNAVAILABLE;
    }
    w->proved |= r == 0;
    return end(r < 0 ? FAIL(why, r, "fault") : 0);
}

static int fake_leave(int netns, const struct rules *rules, struct diag *why)
{
    int r = begin("leave");
    struct world *w = the_world;

    (void)netns, (void)rules;
    if (r == 0 && w->kernel == RULES_NONE) {
        r = -ENOENT;
    } else if (r == 0) {
        w->kernel = RULES_LEAVING;
        w->proved = false;
    }
    return end(r < 0 ? FAIL(why, r, "fault") : 0);
}

static int fake_count(int netns, unsigned *out, struct diag *why)
{
    int r = begin("count");

    (void)netns;
    *out = the_world->carried;
    return end(r < 0 ? FAIL(why, r, "fault") : 0);
}

static int fake_remove(int netns, const struct pod *pod, const struct rules *rules,
                       struct diag *why)
{
    int r = begin("remove");
    struct world *w = the_world;

    (void)netns, (void)pod, (void)rules;
    if (r == 0) {
        w->kernel = RULES_NONE;
        w->proved = false;
    }
    return end(r < 0 ? FAIL(why, r, "fault") : 0);
}

static const struct capture_ops fake_kernel = {
    .find = fake_find,
    .inspect = fake_inspect,
    .install = fake_install,
    .prove = fake_prove,
    .leave = fake_leave,
    .count = fake_count,
    .remove = fake_remove,
};

/* ---- the API */

struct pod_write {
    struct world *world;
    struct task *task;
    bool enabled;
    int asked; /* the first answer is: later */
};

static void source_own(struct pod_source *s, struct task *t)
{
    container_of(s, struct world, source)->reader = t;
}

static struct pod *make_pod(const struct world *w)
{
    struct pod *p = mem_new(struct pod);

    p->uid = mem_strdup(w->uid);
    p->namespace = mem_strdup("shop");
    p->name = mem_strdup("cart");
    p->service_account = mem_strdup("cart");
    p->is_announced = w->announced;
    p->ips[0] = (struct ip){.family = IP_V4, .bytes = {10, 0, 0, w->host}};
    p->ip_count = 1;
    return p;
}

static struct pod *make_other(unsigned number)
{
    struct pod *p = mem_new(struct pod);
    char text[32];

    (void)snprintf(text, sizeof(text), "other-%u", number);
    p->uid = mem_strdup(text);
    p->namespace = mem_strdup("crowd");
    p->name = mem_strdup(text);
    p->service_account = mem_strdup("default");
    return p;
}

static bool tell_of_others(struct world *w, struct pod_event *out)
{
    if (w->others_told < w->others) {
        *out = (struct pod_event){.kind = POD_EVENT_POD, .pod = make_other(w->others_told++)};
        return true;
    }
    if (w->others_gone_told < w->others_gone) {
        *out = (struct pod_event){.kind = POD_EVENT_POD_GONE,
                                  .pod = make_other(w->others_gone_told++)};
        return true;
    }
    return false;
}

static int source_next(struct pod_source *s, struct pod_event *out)
{
    struct world *w = container_of(s, struct world, source);

    if (tell_of_others(w, out)) {
        return 1;
    }
    if (w->namespace_changed) {
        w->namespace_changed = false;
        *out = (struct pod_event){.kind = POD_EVENT_NAMESPACE, .namespace = "shop"};
        memcpy(out->mode, w->labelled ? "ambient" : "", w->labelled ? 8 : 1);
        return 1;
    }
    if (w->pod_changed) {
        w->pod_changed = false;
        out->kind = w->deleted ? POD_EVENT_POD_GONE : POD_EVENT_POD;
        (void)pthread_mutex_lock(&w->lock);
        out->pod = make_pod(w);
        (void)pthread_mutex_unlock(&w->lock);
        return 1;
    }
    if (!w->told_synced) {
        w->told_synced = true;
        out->kind = POD_EVENT_SYNCED;
        return 1;
    }
    return -EAGAIN;
}

static struct pod_write *source_announce(struct pod_source *s, struct task *t,
                                         const struct pod *pod, bool enabled)
{
    struct pod_write *write = mem_new(struct pod_write);

    (void)pod;
    write->world = container_of(s, struct world, source);
    write->task = t;
    write->enabled = enabled;
    return write;
}

static int source_result(struct pod_write *write, struct diag *why)
{
    struct world *w = write->world;

    if (write->asked++ == 0) {
        task_wake(write->task, WAKE_CHILD);
        return -EAGAIN;
    }
    (void)pthread_mutex_lock(&w->lock);
    int r = is_fault(w, write->enabled ? "announce" : "silence")
                ? FAIL(why, -ERR_UNAVAILABLE, "fault")
                : 0;
    if (r == 0) {
        w->announced = write->enabled;
    }
    check(w);
    (void)pthread_mutex_unlock(&w->lock);
    return r;
}

static void source_drop(struct pod_write *write)
{
    mem_free(write);
}

static const struct pod_source_ops source_ops = {
    .own = source_own,
    .next = source_next,
    .announce = source_announce,
    .result = source_result,
    .drop = source_drop,
};

/* ---- the proxy: it remembers its pod over connections, as the real one does */

static void proxy_connect(struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(a.sun_path, w->path, strlen(w->path));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        send(fd, "\x08\x01", 2, MSG_NOSIGNAL) < 0) {
        close(fd);
        return;
    }
    w->proxy = fd;
    w->snapshot = true;
    w->mentioned = false;
}

static void proxy_lose(struct world *w)
{
    if (w->proxy >= 0) {
        close(w->proxy);
    }
    w->proxy = -1;
}

static void stop_serving(struct world *w)
{
    if (w->served && w->carried > 0 && !w->deleted) {
        w->broken = "connections were cut";
    }
    w->served = false;
}

enum { ADD_TAG = 0x0a, DEL_TAG = 0x12, SNAPSHOT_TAG = 0x1a, KEEP_TAG = 0x2a };

static void proxy_obey(struct world *w, uint8_t tag)
{
    if (tag == ADD_TAG) {
        w->served = true;
        w->mentioned = true;
    } else if (tag == KEEP_TAG) {
        w->mentioned = true;
    } else if (tag == DEL_TAG) {
        stop_serving(w);
    } else if (tag == SNAPSHOT_TAG && !w->mentioned) {
        stop_serving(w);
    }
    check(w);
}

static void proxy_answer(struct world *w, uint8_t tag)
{
    static const char *const names[] = {"add", "del", "snapshot", "", "keep"};
    bool fault = is_fault(w, names[tag >> 3 == 1 ? 0 : tag >> 3 == 2 ? 1 : tag >> 3 == 3 ? 2 : 4]);
    ssize_t sent;

    if (fault && w->fault == FAULT_LOST_PROXY) {
        proxy_lose(w);
        return;
    }
    if (fault && tag == ADD_TAG) {
        sent = send(w->proxy, "\x0a\x04\x0a\x02no", 6, MSG_NOSIGNAL);
    } else {
        proxy_obey(w, tag);
        sent = send(w->proxy, "\x0a\x00", 2, MSG_NOSIGNAL);
    }
    if (sent < 0) {
        proxy_lose(w);
    }
}

static bool proxy_pump(struct world *w)
{
    uint8_t packet[ZDS_PACKET_MAX];

    if (w->proxy < 0) {
        proxy_connect(w);
        return w->proxy >= 0;
    }
    ssize_t n = recv(w->proxy, packet, sizeof(packet), MSG_DONTWAIT);
    if (n == 0) {
        proxy_lose(w);
        return true;
    }
    if (n < 0) {
        return false;
    }
    (void)pthread_mutex_lock(&w->lock);
    proxy_answer(w, packet[0]);
    (void)pthread_mutex_unlock(&w->lock);
    return true;
}

/* ---- the whole */

void world_start(struct world *w)
{
    world_start_among(w, 0);
}

void world_start_among(struct world *w, unsigned others)
{
    *w = (struct world){.dir = "/tmp/node-agent-XXXXXX",
                        .uid = "uid-1",
                        .host = 1,
                        .others = others,
                        .fail_at = -1,
                        .stop_at = -1,
                        .proxy = -1,
                        .source.ops = &source_ops};
    the_world = w;
    (void)pthread_mutex_init(&w->lock, NULL);
    w->loop = loop_new(NULL);
    w->jobs = jobs_new(1, 16, 16, NULL);
    if (!w->loop || !w->jobs || !mkdtemp(w->dir)) {
        exit(1);
    }
    loop_stop_clock(w->loop);
    (void)snprintf(w->path, sizeof(w->path), "%s/zds.sock", w->dir);
    world_agent_start(w);
}

void world_agent_start(struct world *w)
{
    struct agent_config c = {.loop = w->loop,
                             .jobs = w->jobs,
                             .capture = &fake_kernel,
                             .source = &w->source,
                             .zds_path = w->path,
                             .netns_dir = w->dir};

    w->told_synced = false;
    w->others_told = 0;
    w->others_gone_told = 0;
    w->namespace_changed = true;
    w->pod_changed = !w->deleted;
    w->stopping = false;
    if (agent_new(&c, &w->agent, NULL) < 0) {
        exit(1);
    }
}

void world_agent_kill(struct world *w)
{
    agent_free(MOVE(w->agent));
    proxy_lose(w);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(w->loop, 1); /* work under way ends by itself */
    }
}

void world_stop(struct world *w)
{
    world_agent_kill(w);
    jobs_free(w->jobs);
    loop_free(w->loop);
    (void)pthread_mutex_destroy(&w->lock);
    rmdir(w->dir);
}

void world_label(struct world *w, bool on)
{
    w->labelled = on;
    w->namespace_changed = true;
    task_wake(w->reader, WAKE_CHILD);
}

void world_delete(struct world *w)
{
    w->deleted = true;
    world_show(w);
}

void world_show(struct world *w)
{
    w->pod_changed = true;
    task_wake(w->reader, WAKE_CHILD);
}

enum enrolment_standing world_standing(struct world *w)
{
    const struct enrolment *e = agent_find(w->agent, "uid-1");

    return e ? enrolment_standing(e) : ENROLMENT_OVER;
}

static bool is_idle(struct world *w)
{
    struct jobs_stats s = jobs_stats(w->jobs);

    return s.queued == 0 && s.running == 0;
}

static void one_step(struct world *w)
{
    bool busy = loop_turn(w->loop, 0) > 0;

    busy |= proxy_pump(w);
    if (is_idle(w) && !busy) {
        loop_advance(w->loop, 100);
    }
    while (!is_idle(w)) { /* however long the machine takes for it: no time passes meanwhile */
        (void)loop_turn(w->loop, 1);
    }
    (void)pthread_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    (void)pthread_mutex_unlock(&w->lock);
    if (stopping) {
        world_agent_kill(w);
        w->stop_at = -1;
        world_agent_start(w);
    }
}

void world_pass(struct world *w, int steps)
{
    for (int i = 0; i < steps; i++) {
        one_step(w);
    }
}

bool world_reach(struct world *w, enum enrolment_standing s)
{
    uint64_t deadline = loop_now_ms(w->loop) + 60000;

    while (loop_now_ms(w->loop) < deadline) {
        one_step(w);
        if (world_standing(w) == s && is_idle(w)) {
            return true;
        }
    }
    printf("# stands at %s:%s\n",
           agent_find(w->agent, "uid-1") ? enrolment_step_name(agent_find(w->agent, "uid-1")) : "-",
           w->trace);
    return false;
}
