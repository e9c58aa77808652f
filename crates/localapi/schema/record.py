#!/usr/bin/env python3
"""Records builtin.txt from a real API server: kubectl get --raw /openapi/v2 | ./record.py > builtin.txt

One line per definition: `name[~] field[!]:type[^merge] …`, a trailing `~` marking an atomic object.
Types: s string, i integer, n number, b boolean, y bytes, t time, q quantity, x int-or-string, o anything,
@name a definition (@+name granular whatever the definition says), {}T map, {~}T atomic map,
[]T atomic list, [s]T set, [k,l]T list keyed by k and l.
`!` marks a required field; `^key` strategic merge by key, `^` of primitives, `^^` retainKeys.
"""
import json, sys

KINDS = """
core.v1: ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate
 ReplicationController ResourceQuota Secret Service ServiceAccount
apps.v1: ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet
batch.v1: CronJob Job
autoscaling.v2: HorizontalPodAutoscaler
coordination.v1: Lease
discovery.v1: EndpointSlice
flowcontrol.v1: FlowSchema PriorityLevelConfiguration
networking.v1: Ingress IngressClass NetworkPolicy
node.v1: RuntimeClass
policy.v1: PodDisruptionBudget
rbac.v1: ClusterRole ClusterRoleBinding Role RoleBinding
scheduling.v1: PriorityClass
storage.v1: StorageClass
admissionregistration.v1: MutatingWebhookConfiguration ValidatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
"""
PREFIX = "io.k8s."
SCALAR = {
    "api.resource.Quantity": "q", "util.intstr.IntOrString": "x", "meta.v1.Time": "t", "meta.v1.MicroTime": "t",
    "runtime.RawExtension": "o", "meta.v1.FieldsV1": "o",
    "apiextensions.v1.JSON": "o", "apiextensions.v1.JSONSchemaPropsOrBool": "o",
    "apiextensions.v1.JSONSchemaPropsOrArray": "o", "apiextensions.v1.JSONSchemaPropsOrStringArray": "o",
}
definitions = json.load(sys.stdin)["definitions"]


def short(name):
    for prefix in ("io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s.apimachinery.pkg.", "io.k8s.apiextensions-apiserver.pkg.apis."):
        if name.startswith(prefix):
            return name[len(prefix):]
    return name


full = {short(name): name for name in definitions}
wanted = ["apiextensions.v1.CustomResourceDefinition"]
group = ""
for word in KINDS.split():
    if word.endswith(":"):
        group = word[:-1]
    else:
        wanted.append(f"{group}.{word}")
seen = set(wanted)


def type_of(schema):
    if "$ref" in schema:
        name = short(schema["$ref"].split("/")[-1])
        if name in SCALAR:
            return SCALAR[name]
        if name not in seen:
            seen.add(name)
            wanted.append(name)
        return ("@+" if schema.get("x-kubernetes-map-type") == "granular" else "@") + name
    kind = schema.get("type")
    if kind == "array":
        how = schema.get("x-kubernetes-list-type", "atomic")
        keys = {"atomic": "", "set": "s", "map": ",".join(schema.get("x-kubernetes-list-map-keys", []))}[how]
        return f"[{keys}]" + type_of(schema["items"])
    if kind == "object" and "additionalProperties" in schema:
        return ("{~}" if schema.get("x-kubernetes-map-type") == "atomic" else "{}") + type_of(schema["additionalProperties"])
    if kind == "string":
        return {"byte": "y", "int-or-string": "x", "date-time": "t"}.get(schema.get("format"), "s")
    return {"integer": "i", "number": "n", "boolean": "b"}.get(kind, "o")


while wanted:
    name = wanted.pop(0)
    schema = definitions[full[name]]
    line = [name + ("~" if schema.get("x-kubernetes-map-type") == "atomic" else "")]
    required = set(schema.get("required", []))
    for field, value in sorted(schema.get("properties", {}).items()):
        if name == "apiextensions.v1.JSONSchemaProps":
            line.append(f"{field}:o")
            continue
        merge = ""
        strategy = value.get("x-kubernetes-patch-strategy", "")
        if "merge" in strategy:
            merge = "^" + value.get("x-kubernetes-patch-merge-key", "")
        if "retainKeys" in strategy:
            merge += "^^"
        line.append(field + ("!" if field in required else "") + ":" + type_of(value) + merge)
    print(" ".join(line))
