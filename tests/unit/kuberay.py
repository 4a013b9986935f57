"""What a manifest of KubeRay may say: the fields of ray.io/v1 as KubeRay 1.6.2's API reference lists them.

A closed list, so that a misspelled field is found without a cluster (KubeRay's own schema drops it without a word).
Kubernetes' own objects inside, such as a pod template, are `object` here; the published schemas look into those.
"""

from __future__ import annotations

from typing import Any

VERSION = "1.6.2"  # https://github.com/ray-project/kuberay, docs/reference/api.md at that tag

_CLUSTER = {
    "upgradeStrategy": {"type": ("Recreate", "None")},
    "authOptions": {"enableK8sTokenAuth": bool, "secretName": str, "mode": ("disabled", "token")},
    "suspend": bool,
    "managedBy": str,
    "autoscalerOptions": {
        "resources": object,
        "image": str,
        "imagePullPolicy": str,
        "securityContext": object,
        "idleTimeoutSeconds": int,
        "upscalingMode": ("Default", "Aggressive", "Conservative"),
        "version": ("v1", "v2"),
        "env": [object],
        "envFrom": [object],
        "volumeMounts": [object],
    },
    "headServiceAnnotations": dict,
    "enableInTreeAutoscaling": bool,
    "gcsFaultToleranceOptions": {
        "redisUsername": object,
        "redisPassword": object,
        "externalStorageNamespace": str,
        "redisAddress": str,
    },
    "headGroupSpec": {
        "template": object,
        "headService": object,
        "enableIngress": bool,
        "resources": dict,
        "labels": dict,
        "rayStartParams": dict,
        "serviceType": str,
    },
    "rayVersion": str,
    "workerGroupSpecs": [
        {
            "suspend": bool,
            "groupName": str,
            "replicas": int,
            "minReplicas": int,
            "maxReplicas": int,
            "idleTimeoutSeconds": int,
            "resources": dict,
            "labels": dict,
            "rayStartParams": dict,
            "template": object,
            "scaleStrategy": {"workersToDelete": [str]},
            "numOfHosts": int,
        }
    ],
}

_DELETION = {"policy": ("DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone")}

_JOB = {
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "rayClusterSpec": _CLUSTER,
    "submitterPodTemplate": object,
    "metadata": dict,
    "clusterSelector": dict,
    "submitterConfig": {"backoffLimit": int},
    "managedBy": str,
    "deletionStrategy": {"onSuccess": _DELETION, "onFailure": _DELETION, "deletionRules": [object]},
    "entrypoint": str,
    "runtimeEnvYAML": str,
    "jobId": str,
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    "entrypointResources": str,
    "entrypointNumCpus": float,
    "entrypointNumGpus": float,
    "ttlSecondsAfterFinished": int,
    "preRunningDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool,
    "suspend": bool,
}

_SERVICE = {
    "rayClusterDeletionDelaySeconds": int,
    "serviceUnhealthySecondThreshold": int,
    "deploymentUnhealthySecondThreshold": int,
    "serveService": object,
    "upgradeStrategy": {
        "type": ("NewClusterWithIncrementalUpgrade", "NewCluster", "None"),
        "clusterUpgradeOptions": {
            "maxSurgePercent": int,
            "stepSizePercent": int,
            "intervalSeconds": int,
            "gatewayClassName": str,
        },
    },
    "managedBy": str,
    "serveConfigV2": str,
    "rayClusterConfig": _CLUSTER,
    "excludeHeadPodFromServeSvc": bool,
}

SPECS: dict[str, Any] = {"RayCluster": _CLUSTER, "RayJob": _JOB, "RayService": _SERVICE}


def faults(value: Any, shape: Any, where: str) -> list[str]:
    """Each place where `value` is not of `shape`, in words."""
    if shape is object:
        return [] if isinstance(value, dict) else [f"{where}: expected an object"]
    if shape is dict:
        plain = isinstance(value, dict) and all(isinstance(item, str) for pair in value.items() for item in pair)
        return [] if plain else [f"{where}: expected strings by name"]
    if isinstance(shape, list):
        return _in_list(value, shape[0], where)
    if isinstance(shape, dict):
        return _in_object(value, shape, where)
    if isinstance(shape, tuple):
        return [] if value in shape else [f"{where}: {value!r} is none of {', '.join(shape)}"]
    return [] if type(value) is shape else [f"{where}: expected {shape.__name__}, found {value!r}"]


def _in_list(value: Any, shape: Any, where: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{where}: expected a list"]
    return [fault for at, item in enumerate(value) for fault in faults(item, shape, f"{where}[{at}]")]


def _in_object(value: Any, shape: dict[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: expected an object"]
    unknown = [f"{where}.{name}: KubeRay {VERSION} has no such field" for name in value if name not in shape]
    known = [name for name in value if name in shape]
    return unknown + [fault for name in known for fault in faults(value[name], shape[name], f"{where}.{name}")]


def closed(schema: Any) -> Any:
    """A CRD's schema as JSON Schema that refuses what a cluster would drop: fields it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {name: closed(value) for name, value in schema.items() if not name.startswith("x-") and name != "format"}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        # Of a whole object's metadata CRDs say only that it is there.
        made.setdefault("additionalProperties", False)
    return made
