//! The fields a kustomization file may have.

use crate::decode::Shape;

use Shape::{Any, Flag, List, Struct, Text, Texts, Whole};

static SPEC: Shape = Struct(
    &[("group", Text), ("version", Text), ("kind", Text), ("path", Text), ("create", Flag)],
    "FieldSpec",
);
static SELECTOR_FIELDS: &[(&str, Shape)] = &[
    ("group", Text),
    ("version", Text),
    ("kind", Text),
    ("name", Text),
    ("namespace", Text),
    ("annotationSelector", Text),
    ("labelSelector", Text),
];
static SELECTOR: Shape = Struct(SELECTOR_FIELDS, "Selector");
static PATCH: Shape = Struct(
    &[
        ("path", Text),
        ("patch", Text),
        ("target", Struct(SELECTOR_FIELDS, "Selector")),
        ("options", Struct(&[("allowNameChange", Flag), ("allowKindChange", Flag)], "PatchArgs")),
    ],
    "Patch",
);
static IMAGE: Shape = Struct(
    &[("name", Text), ("newName", Text), ("tagSuffix", Text), ("newTag", Text), ("digest", Text)],
    "Image",
);
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
static REPLACEMENT: Shape = Struct(
    &[
        (
            "source",
            Struct(
                &[
                    ("group", Text),
                    ("version", Text),
                    ("kind", Text),
                    ("name", Text),
                    ("namespace", Text),
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
static REPLICA: Shape = Struct(&[("name", Text), ("count", Whole)], "Replica");

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
        ("helmGlobals", Any),
        ("helmCharts", List(&Any, "types.HelmChart")),
        ("helmChartInflationGenerator", List(&Any, "types.HelmChartArgs")),
        ("generatorOptions", Struct(GENERATOR_OPTIONS, "GeneratorOptions")),
        ("configurations", List(&Text, "string")),
        ("generators", List(&Text, "string")),
        ("transformers", List(&Text, "string")),
        ("validators", List(&Text, "string")),
        ("buildMetadata", List(&Text, "string")),
    ],
    "Kustomization",
);
