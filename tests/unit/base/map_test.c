/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/mem.h"
#include "t.h"

struct item {
    struct map_node node;
    unsigned key;
};

static struct item *find(const struct map *m, unsigned key)
{
    for (struct map_node *n = map_find(m, map_hash(&key, sizeof(key))); n; n = map_find_next(n)) {
        struct item *i = container_of(n, struct item, node);
        if (i->key == key) {
            return i;
        }
    }
    return NULL;
}

TEST(what_was_put_in_is_found_until_it_is_taken_out)
{
    enum { N = 5000 };
    struct item *items = mem_array(N, sizeof(*items));
    struct map m;
    unsigned found = 0;
    unsigned seen = 0;

    map_init(&m);
    for (unsigned i = 0; i < N; i++) {
        items[i].key = i;
        map_insert(&m, &items[i].node, map_hash(&i, sizeof(i)));
    }
    for (unsigned i = 0; i < N; i += 2) {
        map_remove(&m, &items[i].node);
    }
    for (unsigned i = 0; i < N; i++) {
        found += find(&m, i) == &items[i] && i % 2 == 1;
    }
    map_for_each (n, &m) {
        seen++;
        map_remove(&m, n);
    }
    map_fini(&m);
    mem_free(items);
    CHECK_INT(found, N / 2);
    CHECK_INT(seen, N / 2);
    CHECK_INT(m.count, 0);
}

TEST(hashes_of_short_keys_differ)
{
    CHECK(map_hash("a", 1) != map_hash("b", 1));
    CHECK(map_hash("", 0) != map_hash("\0", 1));
    CHECK(map_hash_str("abcdefgh") != map_hash_str("abcdefgi"));
}
