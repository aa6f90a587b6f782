/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/aead.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "t.h"

enum { LINE_BYTES = 4096 };

struct vector {
    enum aead_kind kind;
    uint8_t key[AEAD_KEY_MAX], nonce[AEAD_NONCE_BYTES], tag[AEAD_TAG_BYTES];
    uint8_t aad[LINE_BYTES], plain[LINE_BYTES], sealed[LINE_BYTES];
    size_t aad_len, len;
    bool forged;
};

static unsigned nibble(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static size_t unhex(struct slice s, uint8_t *out)
{
    if (slice_is(s, "-") || slice_is(s, "forged")) {
        return 0;
    }
    for (size_t i = 0; i < s.len / 2; i++) {
        out[i] = (uint8_t)(nibble(s.p[2 * i]) << 4 | nibble(s.p[2 * i + 1]));
    }
    return s.len / 2;
}

static void parse(struct slice line, struct vector *v)
{
    struct slice f[6];

    for (int i = 0; i < 6; i++) {
        (void)slice_cut(line, ' ', &f[i], &line);
    }
    v->kind = unhex(f[0], v->key) == 16 ? AEAD_AES_128_GCM : AEAD_AES_256_GCM;
    (void)unhex(f[1], v->nonce);
    v->aad_len = unhex(f[2], v->aad);
    v->forged = slice_is(f[3], "forged");
    (void)unhex(f[3], v->plain);
    v->len = unhex(f[4], v->sealed);
    (void)unhex(f[5], v->tag);
}

/* Both back ends, whichever this machine has; at least EVP. */
static int make(struct aead **out, const struct vector *v, enum aead_backend b)
{
    return aead_new(out, v->kind, b, v->key, NULL);
}

static bool opens(const struct vector *v, enum aead_backend b)
{
    uint8_t data[LINE_BYTES];
    struct aead_text text = {v->nonce, v->aad, v->aad_len, data, v->len};
    AUTO(aead) struct aead *a = NULL;

    if (make(&a, v, b) < 0) {
        return false;
    }
    memcpy(data, v->sealed, v->len);
    return aead_open(a, &text, v->tag) == 0 && memcmp(data, v->plain, v->len) == 0;
}

static bool seals(const struct vector *v, enum aead_backend b)
{
    uint8_t data[LINE_BYTES];
    uint8_t tag[AEAD_TAG_BYTES];
    struct aead_text text = {v->nonce, v->aad, v->aad_len, data, v->len};
    AUTO(aead) struct aead *a = NULL;

    if (make(&a, v, b) < 0) {
        return false;
    }
    memcpy(data, v->plain, v->len);
    return aead_seal(a, &text, tag) == 0 && memcmp(data, v->sealed, v->len) == 0 &&
           memcmp(tag, v->tag, sizeof(tag)) == 0;
}

/* How many vectors agree, or minus the line of the first that does not. */
static int check_file(const char *file, enum aead_backend b)
{
    struct slice rest = slice_of(file);
    struct slice line;
    int at = 0;
    int good = 0;

    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest);
        at++;
        if (line.len == 0 || line.p[0] == '#') {
            continue;
        }
        static struct vector v;
        v = (struct vector){0};
        parse(line, &v);
        bool fine = v.forged ? !opens(&v, b) : opens(&v, b) && seals(&v, b);
        if (!fine) {
            return -at;
        }
        good++;
    }
    return good;
}

static bool have_ipsecmb(void)
{
    uint8_t key[16] = {0};
    AUTO(aead) struct aead *a = NULL;

    return aead_new(&a, AEAD_AES_128_GCM, AEAD_IPSECMB, key, NULL) == 0;
}

static bool cpu_suits(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") &&
           __builtin_cpu_supports("avx");
#else
    return false;
#endif
}

/* Else what follows would compare EVP with itself. */
TEST(the_fast_back_end_is_there_where_the_cpu_suits_it)
{
    CHECK(have_ipsecmb() || !cpu_suits());
}

TEST(published_vectors_hold_for_each_back_end)
{
    char *file = test_vector("tls/aes-gcm.txt", NULL);
    int evp = check_file(file, AEAD_EVP);
    int mb = have_ipsecmb() ? check_file(file, AEAD_IPSECMB) : evp;

    free(file);
    CHECK_INT(evp, 150);
    CHECK_INT(mb, 150);
}

TEST(back_ends_agree_on_random_lengths)
{
    enum { LONGEST = 16641 };
    struct rand_seq seq;
    static uint8_t one[LONGEST];
    static uint8_t two[LONGEST];
    static uint8_t sealed[LONGEST];

    rand_seq_init(&seq, 1);
    for (int i = 0; i < 2000; i++) {
        enum aead_kind kind = i % 2 ? AEAD_AES_128_GCM : AEAD_AES_256_GCM;
        size_t len = i < 1100 ? (size_t)i : rand_seq_below(&seq, LONGEST);
        uint8_t key[AEAD_KEY_MAX], nonce[AEAD_NONCE_BYTES], aad[32], tag1[16], tag2[16];
        AUTO(aead) struct aead *a = NULL;
        AUTO(aead) struct aead *b = NULL;

        rand_bytes(key, sizeof(key));
        rand_bytes(nonce, sizeof(nonce));
        rand_bytes(one, len);
        memcpy(two, one, len);
        size_t aad_len = rand_seq_below(&seq, sizeof(aad));
        rand_bytes(aad, sizeof(aad));
        CHECK_INT(aead_new(&a, kind, AEAD_AUTO, key, NULL), 0);
        CHECK_INT(aead_new(&b, kind, AEAD_EVP, key, NULL), 0);
        struct aead_text ta = {nonce, aad, aad_len, one, len};
        struct aead_text tb = {nonce, aad, aad_len, two, len};
        CHECK_INT(aead_seal(a, &ta, tag1), 0);
        CHECK_INT(aead_seal(b, &tb, tag2), 0);
        CHECK_MEM(one, two, len);
        CHECK_MEM(tag1, tag2, 16);
        /* Each opens what the other sealed: where it stands, and elsewhere. */
        memcpy(sealed, one, len);
        CHECK_INT(aead_open(a, &tb, tag2), 0);
        CHECK_INT(aead_open(b, &ta, tag1), 0);
        CHECK_MEM(one, two, len);
        for (int which = 0; which < 2; which++) {
            memset(two, 0, len);
            tb.from = sealed;
            CHECK_INT(aead_open(which ? a : b, &tb, tag1), 0);
            CHECK_MEM(one, two, len);
        }
    }
}

TEST(any_flipped_bit_is_refused_and_what_was_decrypted_is_wiped)
{
    const enum aead_backend backends[] = {AEAD_AUTO, AEAD_EVP};
    uint8_t key[16] = {7};
    uint8_t nonce[12] = {9};
    uint8_t zero[64] = {0};

    for (unsigned n = 0; n < ARRAY_LEN(backends); n++) {
        AUTO(aead) struct aead *a = NULL;
        CHECK_INT(aead_new(&a, AEAD_AES_128_GCM, backends[n], key, NULL), 0);
        for (int bit = 0; bit < (64 + 16 + 5) * 8; bit++) {
            uint8_t all[64 + 16 + 5]; /* text, tag, additional data: one flip anywhere */
            uint8_t *tag = all + 64;
            uint8_t *aad = all + 80;
            struct aead_text text = {nonce, aad, 5, all, 64};
            memset(all, 0x5a, sizeof(all));
            CHECK_INT(aead_seal(a, &text, tag), 0);
            all[bit / 8] ^= (uint8_t)(1u << bit % 8);
            uint8_t elsewhere[64];
            struct aead_text apart = {nonce, aad, 5, elsewhere, 64, all};
            memset(elsewhere, 0x11, sizeof(elsewhere));
            CHECK_INT(aead_open(a, &apart, tag), -ERR_TLS_RECORD);
            CHECK_MEM(elsewhere, zero, 64);
            CHECK_INT(aead_open(a, &text, tag), -ERR_TLS_RECORD);
            CHECK_MEM(all, zero, 64);
        }
    }
}

TEST(a_context_seals_and_opens_in_any_order)
{
    uint8_t key[32] = {1};
    AUTO(aead) struct aead *a = NULL;

    CHECK_INT(aead_new(&a, AEAD_AES_256_GCM, AEAD_EVP, key, NULL), 0);
    for (uint8_t i = 0; i < 20; i++) {
        uint8_t nonce[12] = {i};
        uint8_t data[100];
        uint8_t tag[16];
        struct aead_text text = {nonce, nonce, 5, data, sizeof(data)};
        memset(data, i, sizeof(data));
        CHECK_INT(aead_seal(a, &text, tag), 0);
        CHECK_INT(aead_open(a, &text, tag), 0);
        CHECK_INT(data[99], i);
    }
}
