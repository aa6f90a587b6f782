/* SPDX-License-Identifier: Apache-2.0 */
/* Istio's DestinationRule, and the Deployment that a waypoint becomes on a cluster. */
#include "apiserver/schemas_int.h"

#define UINT32  "int(0..4294967295)"
#define PERCENT "int(0..100)"
#define HASH                                                                                       \
    "consistentHash:{httpHeaderName httpCookie:{name! path ttl attributes:any} "                   \
    "useSourceIp:bool httpQueryParameterName ringHash:{minimumRingSize:int} "                      \
    "maglev:{tableSize:int} minimumRingSize:int}"
#define BALANCER                                                                                   \
    "loadBalancer:{simple:(UNSPECIFIED|LEAST_CONN|RANDOM|PASSTHROUGH|ROUND_ROBIN|LEAST_REQUEST) "  \
    "" HASH " localityLbSetting:{distribute:[{from to:<" UINT32 ">}] failover:[{from to}] "        \
    "failoverPriority:[string] enabled:bool} warmupDurationSecs warmup:any}"
#define POOL                                                                                       \
    "connectionPool:{tcp:{maxConnections:int connectTimeout "                                      \
    "tcpKeepalive:{probes:" UINT32 " time interval} maxConnectionDuration idleTimeout} "           \
    "http:{http1MaxPendingRequests:int http2MaxRequests:int maxRequestsPerConnection:int "         \
    "maxRetries:int idleTimeout h2UpgradePolicy:(DEFAULT|DO_NOT_UPGRADE|UPGRADE) "                 \
    "useClientProtocol:bool maxConcurrentStreams:int}}"
#define OUTLIER                                                                                    \
    "outlierDetection:{consecutiveErrors:int splitExternalLocalOriginErrors:bool "                 \
    "consecutiveLocalOriginFailures:" UINT32 " consecutiveGatewayErrors:" UINT32                   \
    " consecutive5xxErrors:" UINT32 " interval baseEjectionTime maxEjectionPercent:" PERCENT       \
    " minHealthPercent:" PERCENT "}"
#define TRAFFIC BALANCER " " POOL " " OUTLIER " tls:any"
#define POLICY                                                                                     \
    "trafficPolicy:{" TRAFFIC " portLevelSettings:[{port:{number:" SCHEMA_PORT "} " TRAFFIC        \
    "}] tunnel:any proxyProtocol:any retryBudget:any}"

const char schema_destination_rule[] =
    "spec:{host! " POLICY " subsets:[{name! labels:" SCHEMA_LABELS " " POLICY
    "}] exportTo:[string] workloadSelector:{matchLabels:" SCHEMA_LABELS "}} status:any";
