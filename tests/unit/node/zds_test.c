/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/netns.h"
#include "node/zds_server.h"
#include "t.h"

struct rig {
    struct loop *loop;
    struct zds_server *server;
    struct task owner;
    unsigned wakes;
    char dir[64];
    char path[96];
};

static void on_wake(struct task *t, unsigned why)
{
    (void)why;
    container_of(t, struct rig, owner)->wakes++;
}

static void rig_start(struct rig *g)
{
    *g = (struct rig){.dir = "/tmp/node-zds-XXXXXX"};
    g->loop = loop_new(NULL);
    if (!g->loop || !mkdtemp(g->dir)) {
        exit(1);
    }
    loop_stop_clock(g->loop);
    (void)snprintf(g->path, sizeof(g->path), "%s/ztunnel.sock", g->dir);
    task_init(&g->owner, g->loop, "owner", on_wake);
    if (zds_server_new(g->loop, g->path, &g->owner, &g->server, NULL) < 0) {
        exit(1);
    }
}

static void rig_stop(struct rig *g)
{
    zds_server_free(g->server);
    task_fini(&g->owner);
    loop_free(g->loop);
    rmdir(g->dir);
}

/* Until nothing is left to do. */
static void settle(struct rig *g)
{
    for (int i = 0; i < 200 && loop_turn(g->loop, 0) > 0; i++) {
    }
}

static int proxy_connect(const struct rig *g)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(a.sun_path, g->path, strlen(g->path));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

struct packet {
    uint8_t bytes[ZDS_PACKET_MAX + 1];
    ssize_t len; /* 0 at the end, negative: nothing there */
    unsigned fds;
    struct netns_id netns;
};

static struct packet proxy_read(struct rig *g, int fd)
{
    struct packet p = {.len = -1};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec room = {p.bytes, sizeof(p.bytes)};
    struct msghdr m = {.msg_iov = &room,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};

    settle(g);
    p.len = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = p.len > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c) {
        p.fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < p.fds; i++) {
            int got;
            memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
            if (netns_identify(got, &p.netns, NULL) < 0) {
                p.fds = 99; /* not what may be sent */
            }
            close(got);
        }
    }
    return p;
}

static bool proxy_say(struct rig *g, int fd, const char *bytes, size_t len)
{
    bool sent = send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;

    settle(g);
    return sent;
}

#define SAY(g, fd, literal) proxy_say((g), (fd), (literal), sizeof(literal) - 1)
#define HELLO               "\x08\x01"
#define ACK                 "\x0a\x00"

static const struct zds_workload shop1 = {"uid-41", "pod41", "shop", "sa41"};
static const struct zds_workload shop2 = {"uid-42", "pod42", "shop", "sa42"};

static struct zds_member *join(struct rig *g, const struct zds_workload *w)
{
    int netns;

    if (netns_open_own(&netns, NULL) < 0) {
        return NULL;
    }
    struct zds_member *m = zds_member_new(g->server, w, netns, &g->owner);
    close(netns);
    return m;
}

/* An addition of this name with one descriptor is what p is. */
static bool is_add(const struct packet *p, const struct zds_workload *w)
{
    uint8_t want[ZDS_PACKET_MAX];
    int len = zds_put_add(want, w);

    return p->fds == 1 && p->netns.inode != 0 && p->len == len &&
           memcmp(p->bytes, want, (size_t)len) == 0;
}

static bool is_snapshot_sent(const struct packet *p)
{
    return p->fds == 0 && p->len == 2 && memcmp(p->bytes, "\x1a\x00", 2) == 0;
}

static int proxy_take_over(struct rig *g, unsigned members)
{
    int fd = proxy_connect(g);

    settle(g);
    bool good = SAY(g, fd, HELLO);
    for (unsigned i = 0; i < members; i++) {
        good = good && proxy_read(g, fd).fds == 1 && SAY(g, fd, ACK);
    }
    struct packet end = proxy_read(g, fd);
    good = good && is_snapshot_sent(&end) && SAY(g, fd, ACK);
    if (!good) {
        close(fd);
    }
    return good ? fd : -1;
}

/* ---- recordings */

enum who { PROXY_SAYS, AGENT_SAYS };

struct line {
    enum who who;
    const char *file;
    unsigned fds;
};

static bool play(struct rig *g, int fd, const struct line *l)
{
    char path[128];
    size_t len;

    (void)snprintf(path, sizeof(path), "node/zds/%s.bin", l->file);
    AUTO(text) char *bytes = test_vector(path, &len);
    if (l->who == PROXY_SAYS) {
        return proxy_say(g, fd, bytes, len);
    }
    struct packet p = proxy_read(g, fd);
    return p.fds == l->fds && p.len == (ssize_t)len && memcmp(p.bytes, bytes, len) == 0;
}

static bool play_all(struct rig *g, int fd, const struct line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!play(g, fd, &lines[i])) {
            printf("# line %zu: %s\n", i, lines[i].file);
            return false;
        }
    }
    return true;
}

TEST(the_recorded_conversation_of_a_real_proxy_is_ours_too)
{
    static const struct line snapshot[] = {
        {PROXY_SAYS, "001-a-normal-from-zdshello", 0},
        {AGENT_SAYS, "002-a-normal-to-addworkload-uid-41", 1},
        {PROXY_SAYS, "003-a-normal-from-ack", 0},
        {AGENT_SAYS, "004-a-normal-to-keepworkload-uid-never-added", 0},
        {PROXY_SAYS, "005-a-normal-from-ack", 0},
        {AGENT_SAYS, "006-a-normal-to-snapshotsent", 0},
        {PROXY_SAYS, "007-a-normal-from-ack", 0},
    };
    static const struct line later[] = {
        {AGENT_SAYS, "008-a-normal-to-addworkload-uid-42", 1},
        {PROXY_SAYS, "009-a-normal-from-ack", 0},
    };
    static const struct line removal[] = {
        {AGENT_SAYS, "016-a-normal-to-delworkload-known", 0},
        {PROXY_SAYS, "017-a-normal-from-ack", 0},
    };
    static const struct line refusal[] = {
        {AGENT_SAYS, "022-a-normal-to-addworkload-where-port-15008-is-taken", 1},
        {PROXY_SAYS, "023-a-normal-from-nack", 0},
    };
    const struct zds_workload gone = {"uid-gone", "x", "y", "z"};
    const struct zds_workload taken = {"uid-43", "pod43", "shop", "sa43"};
    struct rig g;

    rig_start(&g);
    struct zds_member *a = join(&g, &shop1);
    struct zds_member *kept = zds_member_new(g.server, &gone, -1, &g.owner);
    zds_server_open(g.server);
    int fd = proxy_connect(&g);
    bool good = play_all(&g, fd, snapshot, ARRAY_LEN(snapshot));
    enum zds_standing first = zds_member_standing(a);
    enum zds_standing waits = zds_member_standing(kept);
    struct zds_member *b = join(&g, &shop2);
    good = good && play_all(&g, fd, later, ARRAY_LEN(later));
    enum zds_standing second = zds_member_standing(b);
    zds_member_leave(b);
    good = good && play_all(&g, fd, removal, ARRAY_LEN(removal));
    enum zds_standing left = zds_member_standing(b);
    struct zds_member *c = join(&g, &taken);
    good = good && play_all(&g, fd, refusal, ARRAY_LEN(refusal));
    enum zds_standing third = zds_member_standing(c);
    bool words = strstr(zds_member_refusal(c), "failure to start proxy : Bind([::]:15008") != NULL;
    close(fd);
    zds_member_free(a);
    zds_member_free(b);
    zds_member_free(c);
    zds_member_free(kept);
    rig_stop(&g);
    CHECK(good);
    CHECK_INT(first, ZDS_SERVED);
    CHECK_INT(waits, ZDS_WAITING);
    CHECK_INT(second, ZDS_SERVED);
    CHECK_INT(left, ZDS_LEFT);
    CHECK_INT(third, ZDS_REFUSED);
    CHECK(words);
}

TEST(every_recorded_refusal_is_read_as_one)
{
    static const char *const files[] = {
        "023-a-normal-from-nack",
        "025-b-no-descriptor-from-nack",
        "030-c-two-descriptors-from-nack",
        "037-d-garbage-from-nack",
        "042-e-empty-oneof-from-nack",
        "047-f-too-long-from-nack",
        "052-g-descriptor-on-del-from-nack",
        "057-h-not-a-netns-from-nack",
        "061-i-no-info-from-nack",
        "066-j-keep-late-from-nack",
        "071-k-second-snapshot-from-nack",
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[128];
        size_t len;
        struct diag why = {0};
        (void)snprintf(path, sizeof(path), "node/zds/%s.bin", files[i]);
        AUTO(text) char *bytes = test_vector(path, &len);
        CHECK_INT(zds_read_response((const uint8_t *)bytes, len, &why), -ERR_DENIED);
        CHECK(strncmp(why.text, "failure to ", 11) == 0);
    }
}

TEST(packets_that_are_no_answers_are_told_apart)
{
    CHECK_INT(zds_read_response((const uint8_t *)ACK, 2, NULL), 0);
    CHECK_INT(zds_read_response((const uint8_t *)"", 0, NULL), -ERR_SYNTAX);
    CHECK_INT(zds_read_response((const uint8_t *)"\xff\xff", 2, NULL), -ERR_SYNTAX);
    CHECK_INT(zds_read_response((const uint8_t *)"\x4a\x00", 2, NULL), -ERR_SYNTAX);
    CHECK_INT(zds_read_hello((const uint8_t *)HELLO, 2), 0);
    CHECK_INT(zds_read_hello((const uint8_t *)"\x08\x02", 2), -ERR_VERSION);
    CHECK_INT(zds_read_hello((const uint8_t *)"", 0), -ERR_VERSION);
    CHECK_INT(zds_read_hello((const uint8_t *)"\x08", 1), -ERR_SYNTAX);
}

TEST(a_workload_that_does_not_fit_into_a_packet_is_no_member)
{
    char name[ZDS_PACKET_MAX];
    struct zds_workload big = {"uid", name, "ns", "sa"};
    struct rig g;

    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    rig_start(&g);
    struct zds_member *m = zds_member_new(g.server, &big, -1, &g.owner);
    rig_stop(&g);
    CHECK(m == NULL);
}

/* ---- life of connections */

TEST(proxies_wait_until_the_membership_is_complete)
{
    struct rig g;

    rig_start(&g);
    int fd = proxy_connect(&g);
    bool said = SAY(&g, fd, HELLO);
    struct packet early = proxy_read(&g, fd);
    struct zds_member *m = join(&g, &shop1);
    zds_server_open(g.server);
    struct packet add = proxy_read(&g, fd);
    close(fd);
    zds_member_free(m);
    rig_stop(&g);
    CHECK(said);
    CHECK(early.len < 0);
    CHECK(is_add(&add, &shop1));
}

TEST(a_new_generation_gets_all_later_additions_go_to_it_and_removals_to_both)
{
    struct rig g;

    rig_start(&g);
    zds_server_open(g.server);
    struct zds_member *a = join(&g, &shop1);
    int old = proxy_take_over(&g, 1);
    int new = proxy_take_over(&g, 1);
    unsigned both = zds_server_proxies(g.server);
    struct zds_member *b = join(&g, &shop2);
    struct packet add = proxy_read(&g, new);
    struct packet nothing = proxy_read(&g, old);
    bool said = SAY(&g, new, ACK);
    zds_member_leave(b);
    struct packet del_new = proxy_read(&g, new);
    struct packet del_old = proxy_read(&g, old);
    said = said && SAY(&g, new, ACK);
    enum zds_standing half = zds_member_standing(b);
    said = said && SAY(&g, old, ACK);
    enum zds_standing whole = zds_member_standing(b);
    close(old);
    settle(&g);
    unsigned one = zds_server_proxies(g.server);
    close(new);
    zds_member_free(a);
    zds_member_free(b);
    rig_stop(&g);
    CHECK(said);
    CHECK_INT(both, 2);
    CHECK(is_add(&add, &shop2));
    CHECK(nothing.len < 0);
    CHECK_INT(del_new.len, 10);
    CHECK_INT(del_old.len, 10);
    CHECK_INT(half, ZDS_LEAVING);
    CHECK_INT(whole, ZDS_LEFT);
    CHECK_INT(one, 1);
}

TEST(when_the_newest_dies_the_one_before_learns_what_it_missed)
{
    struct rig g;

    rig_start(&g);
    zds_server_open(g.server);
    int old = proxy_take_over(&g, 0);
    int new = proxy_take_over(&g, 0);
    struct zds_member *m = join(&g, &shop1);
    struct packet add = proxy_read(&g, new);
    close(new);
    struct packet again = proxy_read(&g, old);
    bool said = SAY(&g, old, ACK);
    enum zds_standing served = zds_member_standing(m);
    close(old);
    zds_member_free(m);
    rig_stop(&g);
    CHECK(is_add(&add, &shop1));
    CHECK(is_add(&again, &shop1));
    CHECK(said);
    CHECK_INT(served, ZDS_SERVED);
}

/* Behind SnapshotSent it would be a new start: the proxy drops whom the snapshot did not name. */
TEST(an_addition_asked_for_twice_keeps_its_place_in_the_snapshot)
{
    struct rig g;

    rig_start(&g);
    zds_server_open(g.server);
    struct zds_member *a = join(&g, &shop1);
    struct zds_member *b = join(&g, &shop2);
    int fd = proxy_connect(&g);
    settle(&g);
    bool said = SAY(&g, fd, HELLO);
    int again = zds_member_add(b, -1);
    struct packet first = proxy_read(&g, fd);
    said = said && SAY(&g, fd, ACK);
    struct packet second = proxy_read(&g, fd);
    said = said && SAY(&g, fd, ACK);
    struct packet end = proxy_read(&g, fd);
    said = said && SAY(&g, fd, ACK);
    struct packet nothing = proxy_read(&g, fd);
    close(fd);
    zds_member_free(a);
    zds_member_free(b);
    rig_stop(&g);
    CHECK(said);
    CHECK_INT(again, 0);
    CHECK(is_add(&first, &shop1));
    CHECK(is_add(&second, &shop2));
    CHECK(is_snapshot_sent(&end));
    CHECK(nothing.len < 0);
}

TEST(a_namespace_found_later_turns_keep_into_add)
{
    struct rig g;
    int netns;

    rig_start(&g);
    zds_server_open(g.server);
    struct zds_member *m = zds_member_new(g.server, &shop1, -1, &g.owner);
    int fd = proxy_connect(&g);
    settle(&g);
    bool said = SAY(&g, fd, HELLO);
    struct packet keep = proxy_read(&g, fd);
    CHECK_INT(netns_open_own(&netns, NULL), 0);
    int r = zds_member_add(m, netns);
    close(netns);
    said = said && SAY(&g, fd, ACK); /* of Keep, not of Add */
    enum zds_standing kept = zds_member_standing(m);
    struct packet end = proxy_read(&g, fd);
    said = said && SAY(&g, fd, ACK);
    struct packet add = proxy_read(&g, fd);
    said = said && SAY(&g, fd, ACK);
    enum zds_standing served = zds_member_standing(m);
    close(fd);
    zds_member_free(m);
    rig_stop(&g);
    CHECK(said);
    CHECK_INT(r, 0);
    CHECK_INT(keep.bytes[0], 0x2a);
    CHECK_INT(kept, ZDS_WAITING);
    CHECK(is_snapshot_sent(&end));
    CHECK(is_add(&add, &shop1));
    CHECK_INT(served, ZDS_SERVED);
}

TEST(a_proxy_that_does_not_answer_in_time_is_disconnected_and_served_anew)
{
    struct rig g;

    rig_start(&g);
    zds_server_open(g.server);
    int fd = proxy_take_over(&g, 0);
    struct zds_member *m = join(&g, &shop1);
    struct packet add = proxy_read(&g, fd);
    loop_advance(g.loop, ZDS_ANSWER_MS - 1);
    settle(&g);
    unsigned before = zds_server_proxies(g.server);
    loop_advance(g.loop, 1);
    settle(&g);
    unsigned after = zds_server_proxies(g.server);
    enum zds_standing waiting = zds_member_standing(m);
    int again = proxy_take_over(&g, 1);
    enum zds_standing served = zds_member_standing(m);
    close(fd);
    close(again);
    zds_member_free(m);
    rig_stop(&g);
    CHECK(is_add(&add, &shop1));
    CHECK_INT(before, 1);
    CHECK_INT(after, 0);
    CHECK_INT(waiting, ZDS_WAITING);
    CHECK(again >= 0);
    CHECK_INT(served, ZDS_SERVED);
}

TEST(a_removal_ends_with_the_last_proxy_even_if_that_one_dies)
{
    struct rig g;

    rig_start(&g);
    zds_server_open(g.server);
    struct zds_member *m = join(&g, &shop1);
    int fd = proxy_take_over(&g, 1);
    zds_member_leave(m);
    struct packet del = proxy_read(&g, fd);
    unsigned wakes = g.wakes;
    close(fd);
    settle(&g);
    enum zds_standing left = zds_member_standing(m);
    bool woken = g.wakes > wakes;
    zds_member_free(m);
    rig_stop(&g);
    CHECK_INT(del.len, 10);
    CHECK_INT(left, ZDS_LEFT);
    CHECK(woken);
}

/* Each is what a proxy must not say in that place: the connection ends, nothing else. */
TEST(a_proxy_that_breaks_the_protocol_is_disconnected)
{
    static const struct {
        const char *name;
        const char *first;
        size_t first_len;
        const char *second;
        size_t second_len;
    } cases[] = {
        {"no hello", "", 0, NULL, 0},
        {"hello of another version", "\x08\x07", 2, NULL, 0},
        {"garbage", "\xff\xff\xff", 3, NULL, 0},
        {"an answer before hello", ACK, 2, NULL, 0},
        {"speaks unasked", HELLO, 2, "\x0a\x00", 2},
        {"refuses the snapshot", HELLO, 2, "\x0a\x03\x0a\x01x", 5},
        {"garbage as answer", HELLO, 2, "\xff", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig g;
        rig_start(&g);
        zds_server_open(g.server);
        int fd = proxy_connect(&g);
        settle(&g);
        bool said = proxy_say(&g, fd, cases[i].first, cases[i].first_len);
        for (int n = 0; said && cases[i].second && n < 2; n++) {
            (void)proxy_read(&g, fd);
            said = proxy_say(&g, fd, cases[i].second, cases[i].second_len) || n == 1;
        }
        struct packet end = proxy_read(&g, fd);
        while (end.len > 0) {
            end = proxy_read(&g, fd);
        }
        unsigned left = zds_server_proxies(g.server);
        close(fd);
        rig_stop(&g);
        if (!said || end.len != 0 || left != 0) {
            printf("# %s\n", cases[i].name);
        }
        CHECK(said);
        CHECK_INT(end.len, 0);
        CHECK_INT(left, 0);
    }
}

TEST(connections_that_come_too_fast_wait_for_the_next_second)
{
    enum { MANY = ZDS_ACCEPTS_PER_S + 2 };
    struct rig g;
    int fd[MANY];
    unsigned now = 0;
    unsigned later = 0;

    rig_start(&g);
    zds_server_open(g.server);
    for (int i = 0; i < MANY; i++) {
        fd[i] = proxy_connect(&g);
        (void)SAY(&g, fd[i], HELLO);
    }
    now = zds_server_proxies(g.server);
    loop_advance(g.loop, 1000);
    settle(&g);
    later = zds_server_proxies(g.server);
    for (int i = 0; i < MANY; i++) {
        close(fd[i]);
    }
    rig_stop(&g);
    CHECK_INT(now, ZDS_ACCEPTS_PER_S);
    CHECK_INT(later, MANY);
}

TEST(the_socket_is_for_its_owner_alone_and_goes_with_the_agent)
{
    struct rig g;
    struct stat s;

    rig_start(&g);
    int r = stat(g.path, &s);
    rig_stop(&g);
    CHECK_INT(r, 0);
    CHECK_INT(s.st_mode & 0777, 0600);
    CHECK_INT(stat(g.path, &s), -1);
}

TEST(descriptors_are_back_to_what_they_were)
{
    int before = test_fd_count();
    struct rig g;

    rig_start(&g);
    zds_server_open(g.server);
    struct zds_member *a = join(&g, &shop1);
    struct zds_member *b = join(&g, &shop2);
    int fd = proxy_take_over(&g, 2);
    zds_member_leave(a);
    struct packet del = proxy_read(&g, fd);
    zds_member_free(a);
    close(fd);
    zds_member_free(b);
    rig_stop(&g);
    CHECK_INT(del.len, 10);
    CHECK_INT(test_fd_count(), before);
}
