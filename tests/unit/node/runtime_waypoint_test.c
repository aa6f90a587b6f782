/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "node/runtime.h"
#include "runtime_rig.h"
#include "t.h"

TEST(a_pod_that_asks_for_a_waypoint_gets_one_with_a_token_that_is_ready_when_it_says_so)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "ambient");
    waypoint_install(&g);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = waypoint_await_ready(&g, "cart", true);
    int phase = fake_api_phase(&g.api, "cart");
    unsigned captured = fake_proxy_pods(&g.proxy);
    fake_api_unask(&g.api, "cart");
    bool told = waypoint_await_ready(&g, "cart", false);
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
    runtime_rig_stop(&g);
    CHECK(ready);
    CHECK_INT(phase, POD_RUNNING);
    CHECK_INT(captured, 0);
    CHECK(told);
    CHECK(gone);
    CHECK(clean);
}

TEST(a_waypoint_that_dies_is_not_ready_and_comes_back_at_its_address)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    waypoint_install(&g);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = waypoint_await_ready(&g, "cart", true);
    struct ip before = local_pod_record(runtime_find(g.runtime, "shop", "cart"))->ips[0];
    waypoint_crash(&g, "cart");
    bool down = waypoint_await_ready(&g, "cart", false);
    bool back = waypoint_await_ready(&g, "cart", true);
    const struct local_record *r = local_pod_record(runtime_find(g.runtime, "shop", "cart"));
    bool same = ip_equal(&before, &r->ips[0]);
    unsigned restarts = r->restarts;
    fake_api_unask(&g.api, "cart");
    bool gone = await_gone(&g, "cart");
    runtime_rig_stop(&g);
    CHECK(ready);
    CHECK(down);
    CHECK(back);
    CHECK(same);
    CHECK_INT(restarts, 1);
    CHECK(gone);
}

TEST(a_waypoint_survives_the_agent_and_goes_if_its_pod_went_meanwhile)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    waypoint_install(&g);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = waypoint_await_ready(&g, "cart", true);
    pid_t shim = local_pod_record(runtime_find(g.runtime, "shop", "cart"))->shim;
    runtime_rig_agent_stop(&g);
    runtime_rig_agent_start(&g);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (g.api.tokens < 2 && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    bool kept = fake_api_is_ready(&g.api, "cart") && kill(shim, 0) == 0 &&
                runtime_find(g.runtime, "shop", "cart");
    unsigned tokens = g.api.tokens;
    runtime_rig_agent_stop(&g);
    fake_api_unask(&g.api, "cart");
    runtime_rig_agent_start(&g);
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
    runtime_rig_stop(&g);
    CHECK(ready);
    CHECK(kept);
    CHECK_INT(tokens, 2); /* a new agent does not know how old the first one is */
    CHECK(gone);
    CHECK(clean);
}

TEST(a_token_is_renewed_at_half_of_its_life)
{
    enum { HALF_S = 20000, NEARLY_S = 19000 }; /* what lies between them no machine takes */
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    g.api.token_life_s = 2 * HALF_S;
    waypoint_install(&g);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = waypoint_await_ready(&g, "cart", true);
    loop_advance(g.loop, NEARLY_S * 1000);
    for (int i = 0; i < 20; i++) {
        runtime_rig_turn(&g);
    }
    unsigned early = g.api.tokens;
    loop_advance(g.loop, (HALF_S - NEARLY_S) * 1000);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (g.api.tokens < 2 && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    unsigned tokens = g.api.tokens;
    bool still = waypoint_await_ready(&g, "cart", true);
    fake_api_unask(&g.api, "cart");
    bool gone = await_gone(&g, "cart");
    runtime_rig_stop(&g);
    CHECK(ready);
    CHECK_INT(early, 1);
    CHECK_INT(tokens, 2);
    CHECK(still);
    CHECK(gone);
}

TEST(what_cannot_start_is_tried_again_and_its_pod_stays)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    chmod(g.dir, 0711);
    fake_api_ask_waypoint(&g.api, "cart"); /* there is no program yet */
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!runtime_find(g.runtime, "shop", "cart") && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    bool failed = await_gone(&g, "cart");
    bool there = fake_api_phase(&g.api, "cart") >= 0;
    bool said = strstr(fake_api_trouble(&g.api, "cart"), g.program) != NULL;
    waypoint_install(&g);
    bool ready = waypoint_await_ready(&g, "cart", true);
    bool forgotten = fake_api_trouble(&g.api, "cart")[0] == '\0';
    fake_api_unask(&g.api, "cart");
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
    runtime_rig_stop(&g);
    CHECK(said);
    CHECK(forgotten);
    CHECK(failed);
    CHECK(there);
    CHECK(ready);
    CHECK(gone);
    CHECK(clean);
}

TEST(whatever_request_for_a_waypoint_fails_once_it_gets_ready_and_goes)
{
    for (int at = 0; at < 6; at++) {
        struct runtime_rig g;
        runtime_rig_start(&g, "");
        waypoint_install(&g);
        g.api.fail_at = at;
        fake_api_ask_waypoint(&g.api, "cart");
        bool ready = waypoint_await_ready(&g, "cart", true);
        fake_api_unask(&g.api, "cart");
        bool gone = await_gone(&g, "cart");
        bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
        runtime_rig_stop(&g);
        CHECK(ready);
        CHECK(gone);
        CHECK(clean);
    }
}

TEST(a_node_that_is_taken_down_starts_no_waypoint_any_more)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    waypoint_install(&g);
    struct client c = client_open(&g);
    client_send(&c, "{\"op\":\"hold\"}\n");
    bool held = await(&g, &c, "\"held\"");
    client_close(&c);
    fake_api_ask_waypoint(&g.api, "cart");
    for (int i = 0; i < 100; i++) {
        runtime_rig_turn(&g);
    }
    bool started = runtime_find(g.runtime, "shop", "cart") != NULL;
    runtime_rig_stop(&g);
    CHECK(held);
    CHECK(!started);
}

TEST(nobody_asks_over_the_socket_for_a_waypoint)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send(&c, "{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\","
                    "\"command\":[\"true\"],\"waypoint\":\"way\"}}\n");
    bool refused = await(&g, &c, "come from the API");
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(refused);
}
