/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node_facts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "codec/json.h"
#include "io/netns.h"
#include "podnet.h"
#include "t.h"

static struct json *facts(int ns, const char *server)
{
    NETNS_VISIT(visit);

    return netns_enter_blocking(&visit, ns, NULL) < 0 ? NULL : node_facts_blocking(server);
}

static const char *address(const struct json *facts, const char *type)
{
    const struct json *all = json_get(facts, "addresses");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), type) == 0) {
            return json_str_at(json_item(all, i), "address", "");
        }
    }
    return "none";
}

TEST(the_address_is_the_one_from_which_the_server_is_reached)
{
    static const char *const elsewhere[] = {"https://127.0.0.1:6443", "https://[::1]:6443",
                                            "https://api.example:6443", "nonsense"};
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(strbuf) struct strbuf url = {0};
    struct ip to4 = podnet_node_ip(IP_V4);
    struct ip to6 = podnet_node_ip(IP_V6);
    struct ip own4 = podnet_pod_ip(IP_V4);
    struct ip own6 = podnet_pod_ip(IP_V6);
    char text[IP_TEXT];
    char own[IP_TEXT];

    strbuf_printf(&url, "https://%s:6443", ip_format(&to4, text));
    AUTO(json) struct json *four = facts(n.pod, strbuf_text(&url));
    CHECK_STR(address(four, "InternalIP"), ip_format(&own4, own));
    strbuf_clear(&url);
    strbuf_printf(&url, "https://[%s]:6443", ip_format(&to6, text));
    AUTO(json) struct json *six = facts(n.pod, strbuf_text(&url));
    CHECK_STR(address(six, "InternalIP"), ip_format(&own6, own));
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) { /* by the way out */
        AUTO(json) struct json *out = facts(n.pod, elsewhere[i]);
        CHECK_STR(address(out, "InternalIP"), ip_format(&own4, own));
    }
    mem_free(podnet_run(
        n.pod, "ip link set lo up; ip route flush table main; ip -6 route flush table main"));
    AUTO(json) struct json *alone = facts(n.pod, "https://127.0.0.1:6443");
    CHECK_STR(address(alone, "InternalIP"), "none");
    CHECK(strcmp(address(alone, "Hostname"), "none") != 0);
}

TEST(the_system_and_its_size_are_told)
{
    AUTO(json) struct json *f = node_facts_blocking("https://127.0.0.1:6443");
    struct utsname u;

    CHECK_INT(uname(&u), 0);
    CHECK_STR(json_str_at(f, "nodeInfo.kernelVersion", ""), u.release);
    CHECK_STR(json_str_at(f, "nodeInfo.operatingSystem", ""), "linux");
    CHECK_STR(json_str_at(f, "nodeInfo.kubeletVersion", ""), "v" AMBIT_VERSION "+ambit");
    CHECK_INT(strlen(json_str_at(f, "nodeInfo.bootID", "")), 36);
    CHECK(json_str_at(f, "nodeInfo.osImage", "\"")[0] != '"');
    CHECK(strtol(json_str_at(f, "capacity.cpu", ""), NULL, 10) > 0);
    const char *memory = json_str_at(f, "allocatable.memory", "");
    CHECK(strtol(memory, NULL, 10) > 0 && strstr(memory, "Ki"));
}
