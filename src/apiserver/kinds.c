/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admit.h"
#include "apiserver/columns.h"
#include "apiserver/kind.h"
#include "apiserver/schemas_int.h"

/*
 * Schemas. Fields that nothing here reads and that nobody mistypes often are `any`: their insides
 * are stored as they come. Built-in types follow Kubernetes 1.35, custom ones Istio 1.32 and the
 * Gateway API 1.6.
 */
#define CONDITIONS   SCHEMA_CONDITIONS
#define PORT         SCHEMA_PORT
#define LABELS       SCHEMA_LABELS
#define OBJECT_REF   "{kind namespace name uid apiVersion resourceVersion fieldPath}~"
#define TARGET_REF   "{group kind! name! namespace}"
#define POD_SELECTOR "selector:{matchLabels:" LABELS "}"
#define ISTIO_STATUS "status:any"

static const char schema_namespace[] = "spec:{finalizers:[string]} status:{phase " CONDITIONS "}";

static const char schema_service_account[] =
    "secrets:[" OBJECT_REF "]@name imagePullSecrets:[" SCHEMA_LOCAL_REF
    "] automountServiceAccountToken:bool";

static const char schema_service[] =
    "spec:{type:(ClusterIP|NodePort|LoadBalancer|ExternalName)=ClusterIP clusterIP "
    "clusterIPs:[string] "
    "ports:[{name " SCHEMA_PROTOCOL " port!:" PORT
    " targetPort:intstr nodePort:int(0..65535) appProtocol}]"
    "@port+protocol "
    "selector:" LABELS "~ sessionAffinity:(ClientIP|None)=None sessionAffinityConfig:any "
    "ipFamilies:[(IPv4|IPv6)] ipFamilyPolicy:(SingleStack|PreferDualStack|RequireDualStack) "
    "internalTrafficPolicy:(Cluster|Local)=Cluster externalTrafficPolicy:(Cluster|Local) "
    "externalIPs:[string] externalName publishNotReadyAddresses:bool trafficDistribution "
    "loadBalancerIP loadBalancerClass loadBalancerSourceRanges:[string] "
    "allocateLoadBalancerNodePorts:bool healthCheckNodePort:int}+ "
    "status:{loadBalancer:{ingress:[any]}+ " CONDITIONS "}+";

static const char schema_node[] =
    "spec:{podCIDR podCIDRs:[string]@* providerID unschedulable:bool taints:[any] configSource:any "
    "externalID} "
    "status:{capacity:any allocatable:any phase " SCHEMA_CONDITIONS_TIMED(
        "lastHeartbeatTime") " addresses:[{type! address!}] "
                             "daemonEndpoints:any nodeInfo:any images:[any] volumesInUse:[string] "
                             "volumesAttached:[any] "
                             "config:any runtimeHandlers:[any] features:any "
                             "declaredFeatures:[string]}";

static const char schema_config_map[] = "data:" LABELS " binaryData:" LABELS " immutable:bool";
static const char schema_secret[] =
    "data:" LABELS " stringData:" LABELS " immutable:bool type=Opaque";

static const char schema_event[] =
    "involvedObject!:" OBJECT_REF " reason message source:{component host} firstTimestamp "
    "lastTimestamp count:int type eventTime series:{count:int lastObservedTime} action "
    "related:" OBJECT_REF " reportingComponent reportingInstance";

static const char schema_endpoint_slice[] =
    "addressType!:(IPv4|IPv6|FQDN) "
    "endpoints:[{addresses!:[string] conditions:{ready:bool serving:bool terminating:bool} "
    "hostname "
    "targetRef:" OBJECT_REF " deprecatedTopology:" LABELS " nodeName zone hints:any}] "
    "ports:[{name protocol:(TCP|UDP|SCTP) port:int(0..65535) appProtocol}]";

static const char schema_lease[] =
    "spec:{holderIdentity leaseDurationSeconds:int acquireTime renewTime leaseTransitions:int "
    "strategy preferredHolder}";

static const char schema_crd[] =
    "spec!:{group! names!:any scope!:(Cluster|Namespaced) versions!:[any] "
    "conversion:{strategy! webhook:<any>} "
    "preserveUnknownFields:bool} status:any";

#define SOURCE                                                                                     \
    "{principals:[string] notPrincipals:[string] requestPrincipals:[string] "                      \
    "notRequestPrincipals:[string] namespaces:[string] notNamespaces:[string] ipBlocks:[string] "  \
    "notIpBlocks:[string] remoteIpBlocks:[string] notRemoteIpBlocks:[string] "                     \
    "serviceAccounts:[string] notServiceAccounts:[string] trustDomains:[string] "                  \
    "notTrustDomains:[string]}"
#define OPERATION                                                                                  \
    "{hosts:[string] notHosts:[string] ports:[string] notPorts:[string] methods:[string] "         \
    "notMethods:[string] paths:[string] notPaths:[string]}"

static const char schema_authorization_policy[] =
    "spec:{" POD_SELECTOR " targetRef:" TARGET_REF " targetRefs:[" TARGET_REF "] "
    "action:(ALLOW|DENY|AUDIT|CUSTOM) provider:{name} "
    "rules:[{from:[{source:" SOURCE "}] to:[{operation:" OPERATION "}] "
    "when:[{key! values:[string] notValues:[string]}]}]} " ISTIO_STATUS;

#define MTLS "{mode:(UNSET|DISABLE|PERMISSIVE|STRICT)}"
static const char schema_peer_authentication[] =
    "spec:{" POD_SELECTOR " mtls:" MTLS " portLevelMtls:<" MTLS ">} " ISTIO_STATUS;

static const char schema_request_authentication[] =
    "spec:{" POD_SELECTOR " targetRef:" TARGET_REF " targetRefs:[" TARGET_REF "] "
    "jwtRules:[{issuer! audiences:[string] jwksUri jwks_uri jwks fromHeaders:[{name! prefix}] "
    "fromParams:[string] fromCookies:[string] outputPayloadToHeader forwardOriginalToken:bool "
    "outputClaimToHeaders:[any] timeout spaceDelimitedClaims:[string]}]} " ISTIO_STATUS;

static const char schema_service_entry[] =
    "spec:{hosts!:[string] addresses:[string] "
    "ports:[{number!:" PORT " name! protocol targetPort:" PORT "}]@name "
    "location:(MESH_EXTERNAL|MESH_INTERNAL) "
    "resolution:(NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS) "
    "endpoints:[{address ports:<" PORT "> labels:" LABELS " network locality weight:int "
    "serviceAccount}] "
    "workloadSelector:{labels:" LABELS
    "} exportTo:[string] subjectAltNames:[string]} " ISTIO_STATUS;

static const char schema_workload_entry[] =
    "spec:{address ports:<" PORT "> labels:" LABELS " network locality weight:int "
    "serviceAccount} " ISTIO_STATUS;

static const char schema_gateway[] =
    "spec!:{gatewayClassName! addresses:[any] infrastructure:any backendTLS:any tls:any "
    "defaultScope allowedListeners:any "
    "listeners!:[{name! hostname port!:" PORT " protocol! tls:any "
    "allowedRoutes:{namespaces:{from:(All|Selector|Same|None)=Same selector:any}+ kinds:[any]}+}]"
    "@name} "
    "status:{addresses:[any] " CONDITIONS " listeners:[any]@name attachedListenerSets:int}";

static const char schema_gateway_class[] = "spec!:{controllerName! parametersRef:any description} "
                                           "status:{" CONDITIONS " supportedFeatures:[any]@name}";

static const char schema_token_review[] =
    "spec!:{token audiences:[string]} "
    "status:{authenticated:bool user:{username uid groups:[string] extra:any} audiences:[string] "
    "error}";
static const char schema_access_review[] =
    "spec!:{resourceAttributes:{namespace verb group version resource subresource name "
    "fieldSelector:any labelSelector:any} nonResourceAttributes:{path verb}} "
    "status:any";
static const char schema_rules_review[] = "spec!:{namespace} status:any";
static const char schema_self_review[] = "status:any";

/* A service-account token that the server has issued, by its public half. */
static const char schema_token[] =
    "spec!:{secret! namespace! serviceAccount! serviceAccountUid! pod podUid node "
    "audiences:[string] expires!:int}";

#define OBJECTS  KIND_NAMESPACED
#define RESOURCE (KIND_NAMESPACED | KIND_CUSTOM | KIND_STATUS | KIND_GENERATION)
#define QUESTION KIND_CREATE_ONLY

#define SECURITY_GROUP   .group = "security.istio.io", .versions = {"v1", "v1beta1"}
#define NETWORKING_GROUP .group = "networking.istio.io", .versions = {"v1", "v1beta1", "v1alpha3"}
#define GATEWAY_API      "gateway.networking.k8s.io"
#define GATEWAY_GROUP    .group = GATEWAY_API, .versions = {"v1", "v1beta1"}

const struct kind kind_list[] = {
    {.group = "",
     .versions = {"v1"},
     .plural = "namespaces",
     .singular = "namespace",
     .name = "Namespace",
     .short_names = "ns",
     .flags = KIND_STATUS | KIND_SHOW_DELETED,
     .name_rule = NAME_LABEL,
     .schema = schema_namespace,
     .selectable = {"status.phase"},
     .columns = columns_namespace,
     .admit = admit_namespace},
    {.group = "",
     .versions = {"v1"},
     .plural = "pods",
     .singular = "pod",
     .name = "Pod",
     .short_names = "po",
     .categories = "all",
     .flags = OBJECTS | KIND_STATUS | KIND_GENERATION | KIND_SHOW_DELETED,
     .schema = schema_pod,
     .selectable = {"spec.nodeName", "status.phase", "spec.serviceAccountName", "status.podIP",
                    "spec.restartPolicy", "spec.schedulerName", "spec.hostNetwork",
                    "status.nominatedNodeName", "status.podIPs"},
     .columns = columns_pod,
     .admit = admit_pod},
    {.group = "",
     .versions = {"v1"},
     .plural = "services",
     .singular = "service",
     .name = "Service",
     .short_names = "svc",
     .categories = "all",
     .flags = OBJECTS | KIND_STATUS | KIND_SHOW_DELETED | KIND_PUT_CREATES,
     .name_rule = NAME_LABEL_1035,
     .schema = schema_service,
     .selectable = {"spec.type", "spec.clusterIP", "spec.clusterIPs"},
     .columns = columns_service,
     .admit = admit_service},
    {.group = "",
     .versions = {"v1"},
     .plural = "serviceaccounts",
     .singular = "serviceaccount",
     .name = "ServiceAccount",
     .short_names = "sa",
     .flags = OBJECTS | KIND_SHOW_DELETED,
     .schema = schema_service_account},
    {.group = "",
     .versions = {"v1"},
     .plural = "nodes",
     .singular = "node",
     .name = "Node",
     .short_names = "no",
     .flags = KIND_STATUS,
     .schema = schema_node,
     .selectable = {"spec.unschedulable"},
     .columns = columns_node},
    {.group = "",
     .versions = {"v1"},
     .plural = "configmaps",
     .singular = "configmap",
     .name = "ConfigMap",
     .short_names = "cm",
     .flags = OBJECTS,
     .schema = schema_config_map,
     .columns = columns_data},
    {.group = "",
     .versions = {"v1"},
     .plural = "secrets",
     .singular = "secret",
     .name = "Secret",
     .flags = OBJECTS,
     .schema = schema_secret,
     .selectable = {"type"},
     .columns = columns_secret,
     .admit = admit_secret},
    {.group = "",
     .versions = {"v1"},
     .plural = "events",
     .singular = "event",
     .name = "Event",
     .short_names = "ev",
     .flags = OBJECTS,
     .schema = schema_event,
     .selectable = {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
                    "involvedObject.uid", "reason", "type"},
     .columns = columns_event},
    {.group = "discovery.k8s.io",
     .versions = {"v1"},
     .plural = "endpointslices",
     .singular = "endpointslice",
     .name = "EndpointSlice",
     .flags = OBJECTS | KIND_GENERATION,
     .schema = schema_endpoint_slice,
     .columns = columns_endpoint_slice},
    {.group = "apps",
     .versions = {"v1"},
     .plural = "deployments",
     .singular = "deployment",
     .name = "Deployment",
     .short_names = "deploy",
     .categories = "all",
     .flags = OBJECTS | KIND_STATUS | KIND_GENERATION,
     .schema = schema_deployment,
     .columns = columns_deployment,
     .admit = admit_deployment},
    {.group = "coordination.k8s.io",
     .versions = {"v1"},
     .plural = "leases",
     .singular = "lease",
     .name = "Lease",
     .flags = OBJECTS,
     .schema = schema_lease,
     .columns = columns_lease},
    {.group = "apiextensions.k8s.io",
     .versions = {"v1"},
     .plural = "customresourcedefinitions",
     .singular = "customresourcedefinition",
     .name = "CustomResourceDefinition",
     .short_names = "crd,crds",
     .categories = "api-extensions",
     .flags = KIND_STATUS,
     .schema = schema_crd,
     .columns = columns_crd},

    {SECURITY_GROUP, .plural = "authorizationpolicies", .singular = "authorizationpolicy",
     .name = "AuthorizationPolicy", .short_names = "ap", .categories = "istio-io,security-istio-io",
     .flags = RESOURCE, .schema = schema_authorization_policy,
     .columns = columns_authorization_policy, .admit = admit_authorization_policy},
    {SECURITY_GROUP, .plural = "peerauthentications", .singular = "peerauthentication",
     .name = "PeerAuthentication", .short_names = "pa", .categories = "istio-io,security-istio-io",
     .flags = RESOURCE, .schema = schema_peer_authentication,
     .columns = columns_peer_authentication, .admit = admit_peer_authentication},
    {SECURITY_GROUP, .plural = "requestauthentications", .singular = "requestauthentication",
     .name = "RequestAuthentication", .short_names = "ra",
     .categories = "istio-io,security-istio-io", .flags = RESOURCE,
     .schema = schema_request_authentication, .columns = columns_dated,
     .admit = admit_request_authentication},
    {NETWORKING_GROUP, .plural = "serviceentries", .singular = "serviceentry",
     .name = "ServiceEntry", .short_names = "se", .categories = "istio-io,networking-istio-io",
     .flags = RESOURCE, .schema = schema_service_entry, .columns = columns_service_entry},
    {NETWORKING_GROUP, .plural = "workloadentries", .singular = "workloadentry",
     .name = "WorkloadEntry", .short_names = "we", .categories = "istio-io,networking-istio-io",
     .flags = RESOURCE, .schema = schema_workload_entry, .columns = columns_workload_entry},
    {NETWORKING_GROUP, .plural = "destinationrules", .singular = "destinationrule",
     .name = "DestinationRule", .short_names = "dr", .categories = "istio-io,networking-istio-io",
     .flags = RESOURCE, .schema = schema_destination_rule, .columns = columns_destination_rule,
     .admit = admit_destination_rule},
    {GATEWAY_GROUP, .plural = "gatewayclasses", .singular = "gatewayclass", .name = "GatewayClass",
     .short_names = "gc", .categories = "gateway-api",
     .flags = KIND_CUSTOM | KIND_STATUS | KIND_GENERATION, .schema = schema_gateway_class,
     .columns = columns_gateway_class, .admit = admit_gateway_class},
    {GATEWAY_GROUP, .plural = "gateways", .singular = "gateway", .name = "Gateway",
     .short_names = "gtw", .categories = "gateway-api", .flags = RESOURCE, .schema = schema_gateway,
     .columns = columns_gateway, .admit = admit_gateway},
    {GATEWAY_GROUP, .plural = "httproutes", .singular = "httproute", .name = "HTTPRoute",
     .categories = "gateway-api", .flags = RESOURCE, .schema = schema_http_route,
     .columns = columns_route, .admit = admit_http_route},
    {.group = GATEWAY_API,
     .versions = {"v1"},
     .plural = "grpcroutes",
     .singular = "grpcroute",
     .name = "GRPCRoute",
     .categories = "gateway-api",
     .flags = RESOURCE,
     .schema = schema_grpc_route,
     .columns = columns_route,
     .admit = admit_grpc_route},
    {.group = GATEWAY_API,
     .versions = {"v1", "v1alpha2"},
     .plural = "tcproutes",
     .singular = "tcproute",
     .name = "TCPRoute",
     .categories = "gateway-api",
     .flags = RESOURCE,
     .schema = schema_tcp_route,
     .columns = columns_dated,
     .admit = admit_tcp_route},
    {GATEWAY_GROUP, .plural = "referencegrants", .singular = "referencegrant",
     .name = "ReferenceGrant", .short_names = "refgrant", .categories = "gateway-api",
     .flags = KIND_NAMESPACED | KIND_CUSTOM | KIND_GENERATION, .schema = schema_reference_grant,
     .columns = columns_dated},

    {.group = "authentication.k8s.io",
     .versions = {"v1"},
     .plural = "tokenreviews",
     .singular = "tokenreview",
     .name = "TokenReview",
     .flags = QUESTION,
     .schema = schema_token_review},
    {.group = "authentication.k8s.io",
     .versions = {"v1"},
     .plural = "selfsubjectreviews",
     .singular = "selfsubjectreview",
     .name = "SelfSubjectReview",
     .flags = QUESTION,
     .schema = schema_self_review},
    {.group = "authorization.k8s.io",
     .versions = {"v1"},
     .plural = "selfsubjectaccessreviews",
     .singular = "selfsubjectaccessreview",
     .name = "SelfSubjectAccessReview",
     .flags = QUESTION,
     .schema = schema_access_review},
    {.group = "authorization.k8s.io",
     .versions = {"v1"},
     .plural = "selfsubjectrulesreviews",
     .singular = "selfsubjectrulesreview",
     .name = "SelfSubjectRulesReview",
     .flags = QUESTION,
     .schema = schema_rules_review},

    {.group = "ambit.internal",
     .versions = {"v1"},
     .plural = "tokens",
     .singular = "token",
     .name = "Token",
     .flags = KIND_INTERNAL,
     .schema = schema_token,
     .selectable = {"spec.expires", "spec.node"}},
};

const size_t kind_count = sizeof(kind_list) / sizeof(kind_list[0]);
