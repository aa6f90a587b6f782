/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/cert_json.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/base64.h"

static struct json *time_json(int64_t s)
{
    char text[CLOCK_TEXT];

    clock_format((uint64_t)s * 1000000000u, text, sizeof(text));
    (void)snprintf(text + 19, sizeof(text) - 19, "Z"); /* seconds are enough */
    return json_new_str(text);
}

static struct json *cert_json(const struct cert_facts *f)
{
    struct json *o = json_new_object();
    AUTO(strbuf) struct strbuf pem = {0};

    base64_encode(&pem, f->pem, strlen(f->pem));
    json_set_str(o, "pem", strbuf_text(&pem));
    json_set_str(o, "serialNumber", f->serial);
    json_set(o, "validFrom", time_json(f->not_before_s));
    json_set(o, "expirationTime", time_json(f->not_after_s));
    return o;
}

static struct json *cert_view_json(const struct cert_view *v)
{
    struct json *o = json_new_object();
    struct json *chain = json_new_array();
    struct json *roots = json_new_array();
    AUTO(strbuf) struct strbuf state = {0};

    for (unsigned i = 0; v->credential && i < credential_chain_count(v->credential); i++) {
        json_append(chain, cert_json(credential_chain_facts(v->credential, i)));
    }
    struct trust *t = v->credential ? credential_trust(v->credential) : NULL;
    for (unsigned i = 0; t && i < trust_count(t); i++) {
        json_append(roots, cert_json(trust_facts(t, i)));
    }
    strbuf_puts(&state, v->state);
    if (strcmp(v->state, "Unavailable") == 0) {
        strbuf_printf(&state, ": %s", v->error->text);
    }
    json_set_str(o, "identity", v->identity->uri);
    json_set_str(o, "state", strbuf_text(&state));
    json_set(o, "certChain", chain);
    json_set(o, "rootCerts", roots);
    return o;
}

struct json *cert_manager_json(const struct cert_manager *m)
{
    struct json *all = json_new_array();
    struct cert_cursor c = {0};
    struct cert_view v;

    while (cert_manager_each(m, &c, &v)) {
        json_append(all, cert_view_json(&v));
    }
    return all;
}
