/* SPDX-License-Identifier: Apache-2.0 */
#include "node/agent.h"

#include <stdio.h>
#include <string.h>

#include "t.h"
#include "world.h"

/* In, out, in again, gone: every step there is. */
static bool live_a_life(struct world *w)
{
    bool good = world_reach(w, ENROLMENT_OUT);

    world_label(w, true);
    good = good && world_reach(w, ENROLMENT_IN) && w->kernel == RULES_CAPTURING && w->announced;
    w->carried = 1;
    world_label(w, false);
    good = good && world_reach(w, ENROLMENT_LEAVING);
    world_pass(w, 60);
    good = good && world_reach(w, ENROLMENT_LEAVING);
    w->carried = 0;
    good = good && world_reach(w, ENROLMENT_OUT) && w->kernel == RULES_NONE && !w->announced;
    world_pass(w, 20); /* a proxy that was away at that moment hears of it when it is back */
    good = good && !w->served;
    world_label(w, true);
    good = good && world_reach(w, ENROLMENT_IN);
    w->carried = 1;
    world_delete(w);
    good = good && world_reach(w, ENROLMENT_OVER);
    world_pass(w, 20); /* as above */
    return good && !w->served;
}

static int calls_of_a_life(void)
{
    struct world w;

    world_start(&w);
    bool good = live_a_life(&w) && !w.broken;
    int calls = w.calls;
    if (w.broken) {
        printf("# %s:%s\n", w.broken, w.trace);
    }
    world_stop(&w);
    return good ? calls : -1;
}

TEST(a_pod_joins_leaves_and_joins_again_in_order)
{
    CHECK(calls_of_a_life() > 15);
}

/* Nothing the kernel, the API or the proxy may refuse leaves a pod captured where nobody listens, or
 * announced without proof, or cuts a connection; and the pod gets where it should. */
static int survive(int fail_at, enum fault fault)
{
    struct world w;

    world_start(&w);
    w.fail_at = fail_at;
    w.fault = fault;
    bool good = live_a_life(&w) && !w.broken;
    if (!good) {
        printf("# call %d fails (%d): %s:%s\n", fail_at, fault, w.broken ? w.broken : "stuck",
               w.trace);
    }
    world_stop(&w);
    return good;
}

TEST(whatever_call_fails_once_the_pod_is_never_half_in)
{
    int calls = calls_of_a_life();

    CHECK(calls > 0);
    for (int i = 0; i < calls; i++) {
        CHECK(survive(i, FAULT_ERROR));
    }
}

TEST(whenever_the_proxys_connection_is_lost_the_pod_is_never_half_in)
{
    int calls = calls_of_a_life();

    CHECK(calls > 0);
    for (int i = 0; i < calls; i++) {
        CHECK(survive(i, FAULT_LOST_PROXY));
    }
}

/* A new agent finds its way from what is in the kernel and the API. */
TEST(wherever_the_agent_dies_the_next_one_goes_on)
{
    int calls = calls_of_a_life();

    CHECK(calls > 0);
    for (int i = 0; i < calls; i++) {
        struct world w;
        world_start(&w);
        w.stop_at = i;
        bool good = live_a_life(&w) && !w.broken;
        if (!good) {
            printf("# dies after call %d: %s:%s\n", i, w.broken ? w.broken : "stuck", w.trace);
        }
        world_stop(&w);
        CHECK(good);
    }
}

TEST(labels_that_flip_fifty_times_cut_no_connection)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool good = world_reach(&w, ENROLMENT_IN);
    w.carried = 3;
    for (int i = 0; good && i < 50; i++) {
        world_label(&w, i % 2 != 0);
        world_pass(&w, 7 * i % 60);
    }
    world_label(&w, true);
    good = good && world_reach(&w, ENROLMENT_IN) && !w.broken;
    const char *broken = w.broken;
    world_stop(&w);
    CHECK_STR(broken ? broken : "", "");
    CHECK(good);
}

TEST(a_pod_that_was_unlabelled_while_no_agent_ran_leaves_in_order)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool joined = world_reach(&w, ENROLMENT_IN);
    w.carried = 1;
    world_agent_kill(&w);
    w.labelled = false;
    world_agent_start(&w);
    bool leaving = world_reach(&w, ENROLMENT_LEAVING);
    bool served = w.served;
    w.carried = 0;
    bool out = world_reach(&w, ENROLMENT_OUT);
    const char *broken = w.broken;
    world_stop(&w);
    CHECK(joined);
    CHECK(leaving);
    CHECK(served);
    CHECK(out);
    CHECK_STR(broken ? broken : "", "");
}

TEST(rules_that_were_taken_away_inside_a_pod_are_put_back_and_counted)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool in = world_reach(&w, ENROLMENT_IN);
    for (int minute = 0; minute < 2; minute++) { /* all is as it was */
        loop_advance(w.loop, ENROLMENT_CHECK_MS);
        world_pass(&w, 60);
    }
    uint64_t untouched = agent_counts(w.agent).repairs;
    w.kernel = RULES_OTHER;
    loop_advance(w.loop, ENROLMENT_CHECK_MS);
    world_pass(&w, 60);
    uint64_t repaired = agent_counts(w.agent).repairs;
    bool back = w.kernel == RULES_CAPTURING && world_reach(&w, ENROLMENT_IN);
    world_stop(&w);
    CHECK(in);
    CHECK_INT(untouched, 0);
    CHECK_INT(repaired, 1);
    CHECK(back);
}

TEST(rules_that_were_taken_away_from_the_host_are_counted_apart)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool in = world_reach(&w, ENROLMENT_IN);
    w.host_gone = true;
    loop_advance(w.loop, ENROLMENT_CHECK_MS);
    world_pass(&w, 60);
    struct agent_counts c = agent_counts(w.agent);
    bool still = world_reach(&w, ENROLMENT_IN);
    world_stop(&w);
    CHECK(in);
    CHECK_INT(c.repairs, 1);
    CHECK_INT(c.host_repairs.count, 1);
    CHECK(c.host_repairs.last_s > 0);
    CHECK(still);
}

/* As a pod of a StatefulSet that was made again while the API was away: only the new one is shown. */
TEST(a_pod_of_the_same_name_ends_the_one_before)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool in = world_reach(&w, ENROLMENT_IN);
    w.uid = "uid-2";
    world_show(&w);
    bool over = world_reach(&w, ENROLMENT_OVER); /* of uid-1 */
    world_pass(&w, 60);
    bool gone = !agent_find(w.agent, "uid-1");
    bool there = agent_find(w.agent, "uid-2");
    world_stop(&w);
    CHECK(in);
    CHECK(over);
    CHECK(gone);
    CHECK(there);
}

static struct agent_counts counts_after(struct world *w, int steps)
{
    world_pass(w, steps);
    return agent_counts(w->agent);
}

TEST(a_pod_beyond_the_limit_is_counted_and_taken_in_when_another_ends)
{
    struct world w;
    struct agent_counts c[4];

    world_start_among(&w, AGENT_PODS_MAX);
    world_label(&w, true);
    c[0] = counts_after(&w, 5);
    world_show(&w); /* is told of again */
    c[1] = counts_after(&w, 5);
    world_delete(&w);
    c[2] = counts_after(&w, 5);
    w.deleted = false;
    world_show(&w);
    c[3] = counts_after(&w, 5);
    bool out = !w.served && w.kernel == RULES_NONE;
    w.others_gone = 1;
    task_wake(w.reader, WAKE_CHILD);
    bool in = world_reach(&w, ENROLMENT_IN);
    struct agent_counts last = agent_counts(w.agent);
    const char *broken = w.broken;
    world_stop(&w);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(c[i].pods, AGENT_PODS_MAX);
        CHECK_INT(c[i].turned_away, i == 2 ? 0 : 1);
    }
    CHECK(out);
    CHECK(in);
    CHECK(!broken);
    CHECK_INT(last.pods, AGENT_PODS_MAX);
    CHECK_INT(last.turned_away, 0);
    CHECK_INT(last.members, 1);
}

/* As when its sandbox died: another network namespace, in which nothing is captured. */
TEST(a_pod_that_comes_back_at_another_address_is_captured_there)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool in = world_reach(&w, ENROLMENT_IN);
    w.kernel = RULES_NONE;
    w.host = 2;
    world_show(&w);
    world_pass(&w, 200);
    bool again = world_reach(&w, ENROLMENT_IN);
    bool captured = w.kernel == RULES_CAPTURING && w.served && w.proved;
    uint64_t repairs = agent_counts(w.agent).repairs;
    unsigned pods = agent_counts(w.agent).pods;
    world_stop(&w);
    CHECK(in);
    CHECK(again);
    CHECK(captured);
    CHECK_INT(repairs, 0); /* nobody has changed anything */
    CHECK_INT(pods, 1);
}

/* Somebody takes the annotation away, while the agent is busy with the pod's rules. */
TEST(an_annotation_that_is_lost_at_a_bad_moment_comes_back)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool in = world_reach(&w, ENROLMENT_IN);
    world_show(&w);
    world_pass(&w, 20);
    w.fail_at = w.calls; /* of the next look at the rules */
    loop_advance(w.loop, ENROLMENT_CHECK_MS);
    bool busy = false;
    for (int i = 0; i < 1000 && !busy; i++) {
        world_pass(&w, 1);
        busy = strcmp(enrolment_step_name(agent_find(w.agent, "uid-1")), "retry") == 0;
    }
    w.announced = false;
    world_show(&w);
    world_pass(&w, 200);
    bool back = w.announced && world_reach(&w, ENROLMENT_IN);
    world_stop(&w);
    CHECK(in);
    CHECK(busy);
    CHECK(back);
}

TEST(connections_that_never_end_hold_a_leaving_pod_for_ten_minutes)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool joined = world_reach(&w, ENROLMENT_IN);
    w.carried = 1;
    world_label(&w, false);
    world_pass(&w, 100);
    bool leaving = world_reach(&w, ENROLMENT_LEAVING);
    for (int minute = 0; minute < 9; minute++) {
        loop_advance(w.loop, 60000);
        leaving = leaving && world_reach(&w, ENROLMENT_LEAVING);
    }
    bool served = w.served;
    loop_advance(w.loop, 60000);
    bool out = world_reach(&w, ENROLMENT_OUT);
    world_stop(&w);
    CHECK(joined);
    CHECK(leaving);
    CHECK(served);
    CHECK(out);
}

/* The test's own eye: a proxy that loses the pod by itself is noticed as broken. */
TEST(the_world_notices_what_must_not_be)
{
    struct world w;

    world_start(&w);
    world_label(&w, true);
    bool joined = world_reach(&w, ENROLMENT_IN);
    const char *before = w.broken;
    w.served = false;
    loop_advance(w.loop, ENROLMENT_CHECK_MS);
    world_pass(&w, 20);
    const char *after = w.broken;
    world_stop(&w);
    CHECK(joined);
    CHECK(!before);
    CHECK(after);
}
