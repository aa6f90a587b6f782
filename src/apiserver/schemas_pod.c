/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods and what makes them. Where an object is deep, its upper levels are named although nothing here
 * reads them: kubectl before 1.25 breaks off when it computes a patch three levels below a field of
 * which it knows nothing.
 */
#include "apiserver/schemas_int.h"

#define CONTAINER_FIELDS                                                                           \
    "name! image command:[string] args:[string] workingDir "                                       \
    "ports:[{name containerPort!:" SCHEMA_PORT " hostPort:int(0..65535) hostIP " SCHEMA_PROTOCOL   \
    "}]"                                                                                           \
    "@containerPort+protocol "                                                                     \
    "env:[{name! value valueFrom:any}]@name envFrom:[any] resources:{limits:any requests:any "     \
    "claims:any}+ resizePolicy:[any] restartPolicy restartPolicyRules:[any] "                      \
    "volumeMounts:[any]@mountPath volumeDevices:[any]@devicePath livenessProbe:any "               \
    "readinessProbe:any startupProbe:any lifecycle:{postStart:any preStop:any stopSignal} "        \
    "terminationMessagePath=/dev/termination-log terminationMessagePolicy=File "                   \
    "imagePullPolicy:(Always|IfNotPresent|Never)=IfNotPresent securityContext:any stdin:bool "     \
    "stdinOnce:bool tty:bool"
#define CONTAINERS ":[{" CONTAINER_FIELDS "}]@name "

#define VOLUME                                                                                     \
    "{name! awsElasticBlockStore:any azureDisk:any azureFile:any cephfs:any cinder:any "           \
    "configMap:any csi:any downwardAPI:any emptyDir:any ephemeral:{volumeClaimTemplate:<any>} "    \
    "fc:any flexVolume:any flocker:any gcePersistentDisk:any gitRepo:any glusterfs:any "           \
    "hostPath:any image:any iscsi:any nfs:any persistentVolumeClaim:any "                          \
    "photonPersistentDisk:any portworxVolume:any projected:any quobyte:any rbd:any scaleIO:any "   \
    "secret:any storageos:any vsphereVolume:any}"

#define POD_SPEC                                                                                   \
    "{volumes:[" VOLUME "]@name containers!" CONTAINERS "initContainers" CONTAINERS                \
    "ephemeralContainers:[{" CONTAINER_FIELDS " targetContainerName}]@name "                       \
    "restartPolicy:(Always|OnFailure|Never)=Always "                                               \
    "terminationGracePeriodSeconds:int=30 activeDeadlineSeconds:int dnsPolicy=ClusterFirst "       \
    "nodeSelector:" SCHEMA_LABELS                                                                  \
    "~ serviceAccountName serviceAccount automountServiceAccountToken:bool "                       \
    "nodeName hostNetwork:bool hostPID:bool hostIPC:bool shareProcessNamespace:bool "              \
    "hostUsers:bool securityContext:any imagePullSecrets:[" SCHEMA_LOCAL_REF                       \
    "]@name hostname subdomain hostnameOverride "                                                  \
    "affinity:{nodeAffinity:<any> podAffinity:<any> podAntiAffinity:<any>} "                       \
    "schedulerName=default-scheduler tolerations:[any] hostAliases:[any]@ip "                      \
    "priorityClassName priority:int preemptionPolicy dnsConfig:any readinessGates:[any] "          \
    "runtimeClassName enableServiceLinks:bool overhead:any topologySpreadConstraints:[any] "       \
    "setHostnameAsFQDN:bool os:any schedulingGates:[any]@name resourceClaims:[any]@name "          \
    "resources:any workloadRef:any}"

const char schema_pod[] =
    "spec:" POD_SPEC " "
    "status:{phase:(Pending|Running|Succeeded|Failed|Unknown) " SCHEMA_CONDITIONS_TIMED(
        "lastProbeTime") " message reason nominatedNodeName hostIP hostIPs:[{ip!}] podIP "
                         "podIPs:[{ip!}]@ip startTime "
                         "qosClass resize observedGeneration:int initContainerStatuses:[any] "
                         "containerStatuses:[any] "
                         "ephemeralContainerStatuses:[any] resourceClaimStatuses:[any]@name "
                         "extendedResourceClaimStatus:any allocatedResources:any resources:any}";

const char schema_deployment[] =
    "spec!:{replicas:int(0..2147483647)=1 "
    "selector!:{matchLabels:" SCHEMA_LABELS " matchExpressions:[any]}~ "
    "template!:{" SCHEMA_METADATA " spec:" POD_SPEC "} strategy:any "
    "minReadySeconds:int revisionHistoryLimit:int=10 paused:bool progressDeadlineSeconds:int=600} "
    "status:{observedGeneration:int replicas:int updatedReplicas:int readyReplicas:int "
    "availableReplicas:int unavailableReplicas:int terminatingReplicas:int "
    "collisionCount:int " SCHEMA_CONDITIONS_TIMED("lastUpdateTime") "}";
