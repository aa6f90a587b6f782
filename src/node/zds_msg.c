/* SPDX-License-Identifier: Apache-2.0 */
#include "node/zds_msg.h"

#include "zds.pb-c.h"

/* protobuf-c has no const strings, but packing only reads them. */
static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static int pack(uint8_t *out, const Zds__WorkloadRequest *m)
{
    size_t len = zds__workload_request__get_packed_size(m);

    return len > ZDS_PACKET_MAX ? -ERR_TOO_LARGE : (int)zds__workload_request__pack(m, out);
}

int zds_put_add(uint8_t out[static ZDS_PACKET_MAX], const struct zds_workload *w)
{
    Zds__WorkloadInfo info;
    Zds__AddWorkload add;
    Zds__WorkloadRequest m;

    zds__workload_info__init(&info);
    zds__add_workload__init(&add);
    zds__workload_request__init(&m);
    info.name = text_of(w->name);
    info.namespace_ = text_of(w->namespace);
    info.service_account = text_of(w->service_account);
    add.uid = text_of(w->uid);
    add.workload_info = &info;
    m.payload_case = ZDS__WORKLOAD_REQUEST__PAYLOAD_ADD;
    m.add = &add;
    return pack(out, &m);
}

int zds_put_keep(uint8_t out[static ZDS_PACKET_MAX], const char *uid)
{
    Zds__KeepWorkload keep;
    Zds__WorkloadRequest m;

    zds__keep_workload__init(&keep);
    zds__workload_request__init(&m);
    keep.uid = text_of(uid);
    m.payload_case = ZDS__WORKLOAD_REQUEST__PAYLOAD_KEEP;
    m.keep = &keep;
    return pack(out, &m);
}

int zds_put_del(uint8_t out[static ZDS_PACKET_MAX], const char *uid)
{
    Zds__DelWorkload del;
    Zds__WorkloadRequest m;

    zds__del_workload__init(&del);
    zds__workload_request__init(&m);
    del.uid = text_of(uid);
    m.payload_case = ZDS__WORKLOAD_REQUEST__PAYLOAD_DEL;
    m.del = &del;
    return pack(out, &m);
}

int zds_put_snapshot_sent(uint8_t out[static ZDS_PACKET_MAX])
{
    Zds__SnapshotSent sent;
    Zds__WorkloadRequest m;

    zds__snapshot_sent__init(&sent);
    zds__workload_request__init(&m);
    m.payload_case = ZDS__WORKLOAD_REQUEST__PAYLOAD_SNAPSHOT_SENT;
    m.snapshot_sent = &sent;
    return pack(out, &m);
}

int zds_read_hello(const uint8_t *packet, size_t len)
{
    Zds__ZdsHello *m = len > ZDS_PACKET_MAX ? NULL : zds__zds_hello__unpack(NULL, len, packet);

    if (!m) {
        return -ERR_SYNTAX;
    }
    int r = m->version == ZDS__VERSION__V1 ? 0 : -ERR_VERSION;
    zds__zds_hello__free_unpacked(m, NULL);
    return r;
}

static int judge(const Zds__WorkloadResponse *m, struct diag *why)
{
    if (m->payload_case != ZDS__WORKLOAD_RESPONSE__PAYLOAD_ACK) {
        return FAIL(why, -ERR_SYNTAX, "response without payload");
    }
    if (m->ack->error[0] != '\0') {
        return FAIL(why, -ERR_DENIED, "%s", m->ack->error);
    }
    return 0;
}

int zds_read_response(const uint8_t *packet, size_t len, struct diag *why)
{
    Zds__WorkloadResponse *m =
        len > ZDS_PACKET_MAX ? NULL : zds__workload_response__unpack(NULL, len, packet);

    if (!m) {
        return FAIL(why, -ERR_SYNTAX, "response does not parse");
    }
    int r = judge(m, why);
    zds__workload_response__free_unpacked(m, NULL);
    return r;
}
