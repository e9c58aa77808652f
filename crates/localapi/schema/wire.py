#!/usr/bin/env python3
"""Records wire.txt, the numbers that the fields of built-in kinds have in protobuf, from the Go sources of their types:
./wire.py "$(go list -m -f '{{.Dir}}' k8s.io/api)" "$(go list -m -f '{{.Dir}}' k8s.io/apimachinery)" > wire.txt

One line per struct: `name field=number:type …`, with the types of record.py and these besides: T a time with microseconds,
w a message that is written as the list in its first field. A trailing `?` marks a field that is absent when it is zero,
a leading `!` a struct whose fields stand in the one around it.
"""
import pathlib, re, sys

GROUPS = {
    "core": "v1", "apps": "v1", "batch": "v1", "autoscaling": "v1 v2", "coordination": "v1", "discovery": "v1",
    "events": "v1", "flowcontrol": "v1", "networking": "v1", "node": "v1", "policy": "v1", "rbac": "v1",
    "scheduling": "v1", "storage": "v1", "admissionregistration": "v1", "authentication": "v1", "authorization": "v1",
}
EXTRA = [
    "authentication.v1.TokenRequest", "authentication.v1.TokenReview", "authentication.v1.SelfSubjectReview",
    "authorization.v1.SelfSubjectAccessReview", "authorization.v1.SubjectAccessReview",
    "authorization.v1.LocalSubjectAccessReview", "authorization.v1.SelfSubjectRulesReview",
    "autoscaling.v1.Scale", "policy.v1.Eviction", "events.v1.Event", "meta.v1.DeleteOptions",
]
PACKAGES = {"v1": "core.v1", "metav1": "meta.v1", "corev1": "core.v1", "apiv1": "core.v1"}
KNOWN = {
    "string": "s", "bool": "b", "int": "i", "int32": "i", "int64": "i", "float64": "n", "[]byte": "y", "byte": "y",
    "meta.v1.Time": "t", "meta.v1.MicroTime": "T", "resource.Quantity": "q", "intstr.IntOrString": "x",
    "runtime.RawExtension": "o", "meta.v1.FieldsV1": "o", "types.UID": "s", "types.NodeName": "s",
}
api, machinery = map(pathlib.Path, sys.argv[1:])
sources = {f"{group}.{version}": api / group / version for group, versions in GROUPS.items() for version in versions.split()}
sources["meta.v1"] = machinery / "pkg/apis/meta/v1"
structs, names = {}, {}
for package, folder in sources.items():
    for file in sorted(folder.glob("*types*.go")):
        text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.S)
        for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
            structs[f"{package}.{name}"] = body
        for name, of in re.findall(r"^type (\w+) ([\[\]\w.*]+)$", text, re.M):
            names[f"{package}.{name}"] = of


def full(package, name):
    head, _, tail = name.rpartition(".")
    return f"{PACKAGES.get(head, head) if head else package}.{tail}" if head or name not in KNOWN else name


def type_of(package, text):
    text = text.lstrip("*")
    if text in KNOWN:
        return KNOWN[text]
    if text.startswith("[]"):
        return "[]" + type_of(package, text[2:])
    if found := re.fullmatch(r"map\[[\w.]+\](.+)", text):
        return "{}" + type_of(package, found[1])
    name = full(package, text)
    if name in KNOWN:
        return KNOWN[name]
    if name in structs:
        if name not in seen:
            seen.add(name)
            wanted.append(name)
        return "@" + name
    of = type_of(name.rpartition(".")[0], names[name])
    return "w" if of.startswith("[]") and text.endswith("ExtraValue") else of


kinds = [line.split(" ")[0].rstrip("~") for line in (pathlib.Path(__file__).parent / "builtin.txt").read_text().splitlines()]
wanted = [kind for kind in kinds if kind in structs] + [kind for kind in EXTRA if kind not in kinds]
seen = set(wanted)
for name in wanted:
    line = [name]
    package = name.rpartition(".")[0]
    for of, tags in re.findall(r"^\s*(?:\w+\s+)?([\[\]\w.*]+)\s+`(.*)`", structs[name], re.M):
        number = re.search(r'protobuf:"\w+,(\d+),', tags)
        json = re.search(r'json:"(\w*),?([^"]*)"', tags)
        if not number or not json:
            continue
        kind = type_of(package, of)
        if not json[1]:
            line.append(f"!={number[1]}:{kind}")
            continue
        zero = "?" if "omit" in json[2] and not of.startswith("*") else ""
        line.append(f"{json[1]}={number[1]}:{kind}{zero}")
    print(" ".join(line))
