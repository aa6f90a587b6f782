/* SPDX-License-Identifier: Apache-2.0 */
#include "control/published.h"

#include <string.h>

#include "codec/base64.h"
#include "codec/json.h"
#include "io/loop.h"
#include "t.h"

struct lab {
    struct loop *loop;
    struct catalog *catalogs[ADS_TYPES];
    struct ads_server *ads;
    struct published_sources sources;
};

static const struct {
    enum ads_type type;
    const char *name;
} entries[] = {
    {ADS_ADDRESS, "Kubernetes//Pod/shop/web"},
    {ADS_ADDRESS, "shop/cart.shop.svc.cluster.local"},
    {ADS_ADDRESS, "Kubernetes//Pod/other/shop"},
    {ADS_ADDRESS, "Kubernetes//Pod/shopping/web"},
    {ADS_AUTHORIZATION, "root/everybody"},
    {ADS_AUTHORIZATION, "other/p"},
    {ADS_L7_BINDING, "infra/way/shop/cart.shop.svc.cluster.local"},
    {ADS_L7_POLICY, "shop/way/AuthorizationPolicy/shop/p"},
    {ADS_L7_ROUTE, "infra/way/other/x.other.svc.cluster.local/80/HTTPRoute/other/r/0"},
};

static void begin(struct lab *lab)
{
    *lab = (struct lab){.loop = loop_new(NULL)};
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        lab->catalogs[t] = catalog_new(ads_type_urls[t], true);
    }
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        (void)catalog_put(lab->catalogs[entries[i].type], entries[i].name,
                          slice_of(entries[i].name)); /* new */
    }
    (void)catalog_put(lab->catalogs[ADS_ADDRESS], "shop/gone", slice_of("x")); /* new */
    (void)catalog_remove(lab->catalogs[ADS_ADDRESS], "shop/gone");             /* it is there */
    lab->ads = ads_server_new(lab->loop, lab->catalogs, NULL);
    lab->sources = (struct published_sources){lab->catalogs, lab->ads, "root"};
}

static void end(struct lab *lab)
{
    ads_server_free(lab->ads);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        catalog_free(lab->catalogs[t]);
    }
    loop_free(lab->loop);
}

static bool has(const struct json *items, size_t entry)
{
    for (size_t i = 0; i < json_count(items); i++) {
        const struct json *o = json_item(items, i);
        AUTO(strbuf) struct strbuf value = {0};
        base64_encode(&value, entries[entry].name, strlen(entries[entry].name));
        if (strcmp(json_str_at(o, "name", ""), entries[entry].name) == 0) {
            return strcmp(json_str_at(o, "type", ""), ads_type_urls[entries[entry].type]) == 0 &&
                   strcmp(json_str_at(o, "value", ""), strbuf_text(&value)) == 0;
        }
    }
    return false;
}

TEST(a_namespace_gets_what_may_concern_it)
{
    static const struct {
        const char *path;
        const char *there; /* a digit an entry */
    } rows[] = {{"published", "111111111"},
                {"namespaces/shop/published", "111010110"},
                {"namespaces/infra/published", "000010101"},
                {"namespaces/nothing/published", "000010000"}};
    struct lab lab;

    begin(&lab);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        AUTO(json) struct json *j = NULL;
        unsigned status = 200;
        size_t count = 0;
        published_render(&lab.sources, rows[i].path, &status, &text);
        CHECK_INT(status, 200);
        CHECK_INT(json_parse(&j, text.p, text.len, NULL, NULL), 0);
        for (size_t k = 0; k < ARRAY_LEN(entries); k++) {
            CHECK_INT(has(json_get(j, "items"), k), rows[i].there[k] == '1');
            count += rows[i].there[k] == '1';
        }
        CHECK_INT(json_count(json_get(j, "items")), count);
        CHECK_INT(json_count(json_get(j, "replicas")), 0);
    }
    end(&lab);
}

TEST(other_paths_are_not_there)
{
    static const char *const paths[] = {"",
                                        "nothing",
                                        "published/x",
                                        "namespaces/published",
                                        "namespaces//published",
                                        "namespaces/shop/published/x",
                                        "pods/shop/published"};
    struct lab lab;

    begin(&lab);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        unsigned status = 200;
        published_render(&lab.sources, paths[i], &status, &text);
        CHECK_INT(status, 404);
    }
    end(&lab);
}
