//! The fields a kustomization file may have.

use crate::decode::Shape;

use Shape::{Any, Embedded, Flag, List, Struct, Text, Texts, Whole, Written};

const INNER: Shape = Embedded(&Text);

static SPEC: Shape = Struct(
    &[("group", INNER), ("version", INNER), ("kind", INNER), ("path", Text), ("create", Flag)],
    "FieldSpec",
);
static SELECTOR_FIELDS: &[(&str, Shape)] = &[
    ("group", INNER),
    ("version", INNER),
    ("kind", INNER),
    ("name", INNER),
    ("namespace", INNER),
    ("annotationSelector", Text),
    ("labelSelector", Text),
];
static SELECTOR: Shape = Struct(SELECTOR_FIELDS, "Selector");
static PATCH_FIELDS: &[(&str, Shape)] = &[
    ("path", Text),
    ("patch", Text),
    ("target", Struct(SELECTOR_FIELDS, "Selector")),
    ("options", Struct(&[("allowNameChange", Flag), ("allowKindChange", Flag)], "PatchArgs")),
];
static PATCH: Shape = Struct(PATCH_FIELDS, "Patch");
static IMAGE_FIELDS: &[(&str, Shape)] =
    &[("name", Text), ("newName", Text), ("tagSuffix", Text), ("newTag", Text), ("digest", Text)];
static IMAGE: Shape = Struct(IMAGE_FIELDS, "Image");
static FIELD_OPTIONS: &[(&str, Shape)] =
    &[("delimiter", Text), ("index", Whole), ("encoding", Text), ("create", Flag)];
static TARGET: Shape = Struct(
    &[
        ("select", Struct(SELECTOR_FIELDS, "Selector")),
        ("reject", List(&SELECTOR, "*types.Selector")),
        ("fieldPaths", List(&Text, "string")),
        ("options", Struct(FIELD_OPTIONS, "FieldOptions")),
    ],
    "TargetSelector",
);
pub(crate) static REPLACEMENT: Shape = Struct(
    &[
        (
            "source",
            Struct(
                &[
                    ("group", INNER),
                    ("version", INNER),
                    ("kind", INNER),
                    ("name", INNER),
                    ("namespace", INNER),
                    ("fieldPath", Text),
                    ("options", Struct(FIELD_OPTIONS, "FieldOptions")),
                ],
                "SourceSelector",
            ),
        ),
        ("sourceValue", Text),
        ("targets", List(&TARGET, "*types.TargetSelector")),
        ("path", Text),
    ],
    "ReplacementField",
);
static GENERATOR_OPTIONS: &[(&str, Shape)] = &[
    ("labels", Texts(&Text)),
    ("annotations", Texts(&Text)),
    ("disableNameSuffixHash", Flag),
    ("immutable", Flag),
];
static CONFIG_MAP: Shape = Struct(
    &[
        ("namespace", Text),
        ("name", Text),
        ("behavior", Text),
        ("literals", List(&Text, "string")),
        ("files", List(&Text, "string")),
        ("envs", List(&Text, "string")),
        ("env", Text),
        ("options", Struct(GENERATOR_OPTIONS, "GeneratorOptions")),
    ],
    "ConfigMapArgs",
);
static SECRET: Shape = Struct(
    &[
        ("namespace", Text),
        ("name", Text),
        ("behavior", Text),
        ("literals", List(&Text, "string")),
        ("files", List(&Text, "string")),
        ("envs", List(&Text, "string")),
        ("env", Text),
        ("options", Struct(GENERATOR_OPTIONS, "GeneratorOptions")),
        ("type", Text),
    ],
    "SecretArgs",
);
static VAR: Shape = Struct(
    &[
        ("name", Text),
        (
            "objref",
            Struct(
                &[
                    ("apiVersion", Text),
                    ("group", Text),
                    ("version", Text),
                    ("kind", Text),
                    ("name", Text),
                    ("namespace", Text),
                ],
                "Target",
            ),
        ),
        ("fieldref", Struct(&[("fieldpath", Text), ("fieldPath", Text)], "FieldSelector")),
    ],
    "Var",
);
static LABEL: Shape = Struct(
    &[
        ("pairs", Texts(&Text)),
        ("includeSelectors", Flag),
        ("includeTemplates", Flag),
        ("fields", List(&SPEC, "types.FieldSpec")),
    ],
    "Label",
);
static REPLICA_FIELDS: &[(&str, Shape)] = &[("name", Text), ("count", Whole)];
static REPLICA: Shape = Struct(REPLICA_FIELDS, "Replica");
static HELM_CHART: Shape = Struct(
    &[
        ("name", Text),
        ("version", Text),
        ("repo", Text),
        ("releaseName", Text),
        ("namespace", Text),
        ("additionalValuesFiles", List(&Text, "string")),
        ("valuesFile", Text),
        ("valuesInline", Texts(&Any)),
        ("valuesMerge", Text),
        ("includeCRDs", Flag),
        ("skipHooks", Flag),
        ("apiVersions", List(&Text, "string")),
        ("kubeVersion", Text),
        ("nameTemplate", Text),
        ("skipTests", Flag),
        ("debug", Flag),
        ("devel", Flag),
    ],
    "HelmChart",
);
static OLD_HELM_CHART: Shape = Struct(
    &[
        ("chartName", Text),
        ("chartVersion", Text),
        ("chartRepoUrl", Text),
        ("chartHome", Text),
        ("chartRepoName", Text),
        ("helmBin", Text),
        ("helmHome", Text),
        ("values", Text),
        ("valuesLocal", Texts(&Any)),
        ("valuesMerge", Text),
        ("releaseName", Text),
        ("releaseNamespace", Text),
        ("extraArgs", List(&Text, "string")),
    ],
    "HelmChartArgs",
);

static REFERRERS: Shape = Struct(
    &[("group", INNER), ("version", INNER), ("kind", INNER), ("fieldSpecs", List(&SPEC, "types.FieldSpec"))],
    "NameBackReferences",
);

/// A file named under `configurations`.
pub(crate) static CONFIGURATION: Shape = Struct(
    &[
        ("namePrefix", List(&SPEC, "types.FieldSpec")),
        ("nameSuffix", List(&SPEC, "types.FieldSpec")),
        ("namespace", List(&SPEC, "types.FieldSpec")),
        ("commonLabels", List(&SPEC, "types.FieldSpec")),
        ("labels", List(&SPEC, "types.FieldSpec")),
        ("templateLabels", List(&SPEC, "types.FieldSpec")),
        ("commonAnnotations", List(&SPEC, "types.FieldSpec")),
        ("nameReference", List(&REFERRERS, "builtinconfig.NameBackReferences")),
        ("varReference", List(&SPEC, "types.FieldSpec")),
        ("images", List(&SPEC, "types.FieldSpec")),
        ("replicas", List(&SPEC, "types.FieldSpec")),
    ],
    "TransformerConfig",
);

/// The whole file.
pub(crate) static KUSTOMIZATION: Shape = Struct(
    &[
        ("apiVersion", Text),
        ("kind", Text),
        (
            "metadata",
            Struct(
                &[
                    ("name", Text),
                    ("namespace", Text),
                    ("labels", Texts(&Text)),
                    ("annotations", Texts(&Text)),
                ],
                "ObjectMeta",
            ),
        ),
        ("openapi", Texts(&Text)),
        ("namePrefix", Text),
        ("nameSuffix", Text),
        ("namespace", Text),
        ("commonLabels", Texts(&Text)),
        ("labels", List(&LABEL, "types.Label")),
        ("commonAnnotations", Texts(&Text)),
        ("patchesStrategicMerge", List(&Text, "types.PatchStrategicMerge")),
        ("patchesJson6902", List(&PATCH, "types.Patch")),
        ("patches", List(&PATCH, "types.Patch")),
        ("images", List(&IMAGE, "types.Image")),
        ("imageTags", List(&IMAGE, "types.Image")),
        ("replacements", List(&REPLACEMENT, "types.ReplacementField")),
        ("replicas", List(&REPLICA, "types.Replica")),
        ("vars", List(&VAR, "types.Var")),
        (
            "sortOptions",
            Struct(
                &[
                    ("order", Text),
                    (
                        "legacySortOptions",
                        Struct(
                            &[("orderFirst", List(&Text, "string")), ("orderLast", List(&Text, "string"))],
                            "LegacySortOptions",
                        ),
                    ),
                ],
                "SortOptions",
            ),
        ),
        ("resources", List(&Text, "string")),
        ("components", List(&Text, "string")),
        ("crds", List(&Text, "string")),
        ("bases", List(&Text, "string")),
        ("configMapGenerator", List(&CONFIG_MAP, "types.ConfigMapArgs")),
        ("secretGenerator", List(&SECRET, "types.SecretArgs")),
        ("helmGlobals", Struct(&[("chartHome", Text), ("configHome", Text)], "HelmGlobals")),
        ("helmCharts", List(&HELM_CHART, "types.HelmChart")),
        ("helmChartInflationGenerator", List(&OLD_HELM_CHART, "types.HelmChartArgs")),
        ("generatorOptions", Struct(GENERATOR_OPTIONS, "GeneratorOptions")),
        ("configurations", List(&Text, "string")),
        ("generators", List(&Text, "string")),
        ("transformers", List(&Text, "string")),
        ("validators", List(&Text, "string")),
        ("buildMetadata", List(&Text, "string")),
    ],
    "Kustomization",
);

const SPECS: Shape = List(&SPEC, "types.FieldSpec");
const SELECTOR_OF_ONE: Shape = Struct(SELECTOR_FIELDS, "Selector");
const SERVICE_ACCOUNT: Shape = Struct(&[("name", Text), ("projectId", Text)], "ServiceAccount");
const KUBERNETES_SERVICE: Shape = Struct(&[("name", Text), ("namespace", Text)], "KubernetesService");
static VALUE_TARGET: Shape =
    Struct(&[("selector", SELECTOR_OF_ONE), ("fieldPath", Text), ("filePathPosition", Whole)], "Target");
const VALUE_TARGETS: Shape = List(&VALUE_TARGET, "builtins.Target");

/// A file of places to add a value at.
pub(crate) static VALUE_TARGETS_FILE: Shape = Struct(&[("targets", VALUE_TARGETS)], "");

/// What the built-in plugins may be told, by kind. What else stands there is passed over.
static PLUGINS: &[(&str, Shape)] = &[
    (
        "AnnotationsTransformer",
        Struct(&[("annotations", Texts(&Text)), ("fieldSpecs", SPECS)], "AnnotationsTransformerPlugin"),
    ),
    ("ConfigMapGenerator", Embedded(&CONFIG_MAP)),
    (
        "IAMPolicyGenerator",
        Embedded(&Struct(
            &[
                ("cloud", Text),
                ("kubernetesService", KUBERNETES_SERVICE),
                ("serviceAccount", SERVICE_ACCOUNT),
            ],
            "IAMPolicyGeneratorPlugin",
        )),
    ),
    (
        "ImageTagTransformer",
        Struct(
            &[("imageTag", Struct(IMAGE_FIELDS, "Image")), ("fieldSpecs", SPECS)],
            "ImageTagTransformerPlugin",
        ),
    ),
    (
        "LabelTransformer",
        Struct(&[("labels", Texts(&Text)), ("fieldSpecs", SPECS)], "LabelTransformerPlugin"),
    ),
    (
        "NamespaceTransformer",
        Struct(
            &[("fieldSpecs", SPECS), ("unsetOnly", Flag), ("setRoleBindingSubjects", Text)],
            "NamespaceTransformerPlugin",
        ),
    ),
    (
        "PatchJson6902Transformer",
        Struct(
            &[("target", SELECTOR_OF_ONE), ("path", Text), ("jsonOp", Text)],
            "PatchJson6902TransformerPlugin",
        ),
    ),
    (
        "PatchStrategicMergeTransformer",
        Struct(
            &[("paths", List(&Text, "types.PatchStrategicMerge")), ("patches", Text)],
            "PatchStrategicMergeTransformerPlugin",
        ),
    ),
    ("PatchTransformer", Struct(PATCH_FIELDS, "PatchTransformerPlugin")),
    (
        "PrefixSuffixTransformer",
        Struct(&[("prefix", Written), ("suffix", Written), ("fieldSpecs", SPECS)], "PrefixTransformerPlugin"),
    ),
    ("PrefixTransformer", Struct(&[("prefix", Written), ("fieldSpecs", SPECS)], "PrefixTransformerPlugin")),
    (
        "ReplacementTransformer",
        Struct(
            &[("replacements", List(&Embedded(&REPLACEMENT), "types.ReplacementField"))],
            "ReplacementTransformerPlugin",
        ),
    ),
    (
        "ReplicaCountTransformer",
        Struct(
            &[("replica", Struct(REPLICA_FIELDS, "Replica")), ("fieldSpecs", SPECS)],
            "ReplicaCountTransformerPlugin",
        ),
    ),
    ("SecretGenerator", Embedded(&SECRET)),
    ("SuffixTransformer", Struct(&[("suffix", Written), ("fieldSpecs", SPECS)], "SuffixTransformerPlugin")),
    (
        "ValueAddTransformer",
        Struct(
            &[("value", Text), ("targets", VALUE_TARGETS), ("targetFilePath", Text)],
            "ValueAddTransformerPlugin",
        ),
    ),
];

/// The settings of a built-in plugin and their type's name.
pub(crate) fn plugin(kind: &str) -> Option<(&'static Shape, &'static str)> {
    let shape = PLUGINS.iter().find_map(|(name, shape)| (*name == kind).then_some(shape))?;
    match shape {
        Struct(_, name) | Embedded(Struct(_, name)) => Some((shape, name)),
        _ => None,
    }
}
