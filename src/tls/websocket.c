/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/websocket.h"

#include <errno.h>
#include <openssl/evp.h>

#include "codec/base64.h"

int websocket_accept(struct slice key, struct strbuf *out)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    AUTO(strbuf) struct strbuf text = {0};
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    strbuf_add(&text, key.p, key.len);
    strbuf_puts(&text, guid);
    if (EVP_Digest(text.p, text.len, hash, &len, EVP_sha1(), NULL) != 1) {
        return -ENOMEM;
    }
    base64_encode(out, hash, len);
    return 0;
}
