/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/published.h"

#include <string.h>

#include "codec/yaml.h"
#include "t.h"

#define ADDRESS "type.googleapis.com/istio.workload.Address"

/* Each document an answer. */
static struct published *read_answers(const char *text)
{
    AUTO(json) struct json *answers = NULL;

    return yaml_parse_all(&answers, text, strlen(text), NULL) == 0 ? published_of(answers) : NULL;
}

TEST(what_an_older_program_cannot_read_is_said_with_its_answers)
{
    AUTO(strbuf) struct strbuf waypoint = {0};
    AUTO(strbuf) struct strbuf other = {0};
    AUTO(strbuf) struct strbuf layer4 = {0};
    AUTO(published)
    struct published *p =
        read_answers("items:\n"
                     "- {type: type.googleapis.com/ambit.v9.Later, name: shop/gate/x, value: ''}\n"
                     "- {type: type.googleapis.com/ambit.v9.Later, name: shop/gate/y, value: ''}\n"
                     "- {type: " ADDRESS ", name: a, value: 'no base64'}\n"
                     "replicas: [{gateway: shop/gate, current: true}]\n");

    CHECK(p && published_gateway(p, "shop/gate"));
    published_replicas(published_gateway(p, "shop/gate"), &waypoint);
    CHECK_STR(strbuf_text(&waypoint),
              "as the control plane publishes it; 1 of 1 replica runs this version; without 2 "
              "resources that this version of ambit cannot read");
    published_layer4(p, &layer4);
    CHECK_STR(strbuf_text(&layer4), "as the control plane publishes it; without 1 resource that "
                                    "this version of ambit cannot read");
    AUTO(published) struct published *good = read_answers("{items: [], replicas: []}\n");
    CHECK(good);
    published_layer4(good, &other);
    CHECK_STR(strbuf_text(&other), "as the control plane publishes it");
}
