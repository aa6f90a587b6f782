/* SPDX-License-Identifier: Apache-2.0 */
/* The Gateway API's routes and grants, as its CustomResourceDefinitions describe them. */
#include "apiserver/schemas_int.h"

#define PARENT                                                                                     \
    "{group=gateway.networking.k8s.io kind=Gateway namespace name! sectionName port:" SCHEMA_PORT  \
    "}"
#define PARENT_COPY "{group kind namespace name! sectionName port:" SCHEMA_PORT "}"
#define PARENTS     "parentRefs:[" PARENT "] useDefaultGateways:any"
#define STATUS                                                                                     \
    "status:{parents:[{parentRef!:" PARENT_COPY " controllerName! " SCHEMA_CONDITIONS "}]}"

#define TARGET         "group= kind=Service namespace name! port:" SCHEMA_PORT
#define WEIGHT         "weight:int(0..1000000)=1"
#define EXTENSION      "extensionRef:{group! kind! name!}"
#define HEADER_VALUE   "{name! value!}"
#define HEADER_MATCHES "[{type:(Exact|RegularExpression)=Exact name! value!}]@name"
#define HEADER_CHANGE  "{set:[" HEADER_VALUE "]@name add:[" HEADER_VALUE "]@name remove:[string]@*}"
#define HEADER_CHANGES                                                                             \
    "requestHeaderModifier:" HEADER_CHANGE " responseHeaderModifier:" HEADER_CHANGE
#define MIRROR                                                                                     \
    "requestMirror:{backendRef!:{" TARGET "} percent:int(0..100) "                                 \
    "fraction:{numerator!:int(0..2147483647) denominator:int(1..2147483647)=100}}"
#define PATH_CHANGE                                                                                \
    "path:{type!:(ReplaceFullPath|ReplacePrefixMatch) replaceFullPath replacePrefixMatch}"
#define PERSISTENCE                                                                                \
    "sessionPersistence:{sessionName absoluteTimeout idleTimeout type:(Cookie|Header)=Cookie "     \
    "cookieConfig:{lifetimeType:(Permanent|Session)=Session}}"

#define HTTP_FILTERS                                                                               \
    "filters:[{type!:(RequestHeaderModifier|ResponseHeaderModifier|RequestMirror|RequestRedirect|" \
    "URLRewrite|ExtensionRef|CORS|ExternalAuth) " HEADER_CHANGES " " MIRROR " "                    \
    "requestRedirect:{scheme:(http|https) hostname " PATH_CHANGE " port:" SCHEMA_PORT              \
    " statusCode:int(301..308)=302} "                                                              \
    "urlRewrite:{hostname " PATH_CHANGE "} "                                                       \
    "cors:{allowOrigins:[string]@* allowCredentials:bool "                                         \
    "allowMethods:[(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|*)]@* "                   \
    "allowHeaders:[string]@* exposeHeaders:[string]@* maxAge:int(1..2147483647)=5} " EXTENSION     \
    " externalAuth:any}]"

const char schema_http_route[] =
    "spec:{" PARENTS " hostnames:[string] "
    "rules:[{name "
    "matches:[{path:{type:(Exact|PathPrefix|RegularExpression)=PathPrefix value=/} "
    "headers:" HEADER_MATCHES " queryParams:" HEADER_MATCHES " "
    "method:(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH)}] " HTTP_FILTERS
    " backendRefs:[{" TARGET " " WEIGHT " " HTTP_FILTERS "}] "
    "timeouts:{request backendRequest} "
    "retry:{codes:[int(400..599)] attempts:int(0..2147483647) backoff} " PERSISTENCE "}]} " STATUS;

#define GRPC_FILTERS                                                                               \
    "filters:[{type!:(ResponseHeaderModifier|RequestHeaderModifier|RequestMirror|ExtensionRef) "   \
    "" HEADER_CHANGES " " MIRROR " " EXTENSION "}]"

const char schema_grpc_route[] =
    "spec:{" PARENTS " hostnames:[string] "
    "rules:[{name matches:[{method:{type:(Exact|RegularExpression)=Exact service method} "
    "headers:" HEADER_MATCHES "}] " GRPC_FILTERS " backendRefs:[{" TARGET " " WEIGHT
    " " GRPC_FILTERS "}] " PERSISTENCE "}]} " STATUS;

const char schema_tcp_route[] =
    "spec:{" PARENTS " rules!:[{name backendRefs!:[{" TARGET " " WEIGHT "}]}]} " STATUS;

const char schema_reference_grant[] =
    "spec:{from!:[{group! kind! namespace!}] to!:[{group! kind! name}]}";
