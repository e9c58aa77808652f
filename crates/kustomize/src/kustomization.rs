//! The kustomization file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_manifest::yaml;

use crate::decode::{Shape, decode};
use crate::error::{Error, Result, bad};
use crate::options::Warning;

const KUSTOMIZATION_VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT_VERSION: &str = "kustomize.config.k8s.io/v1alpha1";

use Shape::{Any, Flag, List, Struct, Text, Texts, Whole};

static SPEC: Shape =
    Struct(&[("group", Text), ("version", Text), ("kind", Text), ("path", Text), ("create", Flag)], "FieldSpec");
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

pub(crate) static KUSTOMIZATION: Shape = Struct(
    &[
        ("apiVersion", Text),
        ("kind", Text),
        (
            "metadata",
            Struct(
                &[("name", Text), ("namespace", Text), ("labels", Texts(&Text)), ("annotations", Texts(&Text))],
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

/// Picks resources by patterns of their identity.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Selector {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) annotation_selector: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) label_selector: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PatchOptions {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_name_change: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_kind_change: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Patch {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) patch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Selector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<PatchOptions>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) tag_suffix: String,
    pub(crate) new_tag: String,
    pub(crate) digest: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Label {
    pub(crate) pairs: BTreeMap<String, String>,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) fields: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    pub(crate) create: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Source {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) field_path: String,
    pub(crate) options: Option<FieldOptions>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Target {
    pub(crate) select: Option<Selector>,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: Option<FieldOptions>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Replacement {
    pub(crate) source: Option<Source>,
    pub(crate) source_value: Option<String>,
    pub(crate) targets: Option<Vec<Target>>,
    pub(crate) path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

/// Arguments of both generators; `kind` is a Secret's type.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Generator {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) behavior: String,
    pub(crate) literals: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) envs: Vec<String>,
    pub(crate) env: String,
    pub(crate) options: Option<GeneratorOptions>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObjectReference {
    pub(crate) api_version: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FieldReference {
    #[serde(alias = "fieldPath")]
    pub(crate) fieldpath: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Var {
    pub(crate) name: String,
    pub(crate) objref: ObjectReference,
    pub(crate) fieldref: FieldReference,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LegacySortOptions {
    pub(crate) order_first: Vec<String>,
    pub(crate) order_last: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SortOptions {
    pub(crate) order: String,
    pub(crate) legacy_sort_options: Option<LegacySortOptions>,
}

/// A decoded kustomization file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Kustomization {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: Option<Value>,
    pub(crate) openapi: BTreeMap<String, String>,
    pub(crate) name_prefix: String,
    pub(crate) name_suffix: String,
    pub(crate) namespace: String,
    pub(crate) common_labels: BTreeMap<String, String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) common_annotations: BTreeMap<String, String>,
    pub(crate) patches_strategic_merge: Vec<String>,
    #[serde(rename = "patchesJson6902")]
    pub(crate) patches_json6902: Vec<Patch>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) images: Vec<Image>,
    pub(crate) image_tags: Vec<Image>,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) vars: Vec<Var>,
    pub(crate) sort_options: Option<SortOptions>,
    pub(crate) resources: Vec<String>,
    pub(crate) components: Vec<String>,
    pub(crate) crds: Vec<String>,
    pub(crate) bases: Vec<String>,
    pub(crate) config_map_generator: Vec<Generator>,
    pub(crate) secret_generator: Vec<Generator>,
    pub(crate) helm_globals: Option<Value>,
    pub(crate) helm_charts: Vec<Value>,
    pub(crate) helm_chart_inflation_generator: Vec<Value>,
    pub(crate) generator_options: Option<GeneratorOptions>,
    pub(crate) configurations: Vec<String>,
    pub(crate) generators: Vec<String>,
    pub(crate) transformers: Vec<String>,
    pub(crate) validators: Vec<String>,
    pub(crate) build_metadata: Vec<String>,
}

/// Old fields and what takes their place.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("bases", "resources", ""),
    ("commonLabels", "labels", ""),
    ("imageTags", "images", ""),
    ("patchesJson6902", "patches", ""),
    ("patchesStrategicMerge", "patches", ""),
    ("vars", "replacements", "[EXPERIMENTAL] "),
];

impl Kustomization {
    /// Reads a kustomization file; `shown` is its directory as messages name it.
    pub(crate) fn parse(
        bytes: &[u8],
        limits: yaml::Limits,
        directory: &str,
        shown: &str,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        let value = yaml::read_text(bytes)
            .and_then(|text| yaml::parse_v2_json(text, limits))
            .map_err(|error| Error::invalid(format!("invalid Kustomization: {error}")))?;
        let value = decode(value, &KUSTOMIZATION, "Kustomization").map_err(|e| e.wrap("invalid Kustomization"))?;
        for (old, new, note) in DEPRECATED {
            if value.get(old).is_some() {
                warnings.push(Warning {
                    message: format!(
                        "# Warning: '{old}' is deprecated. Please use '{new}' instead. {note}Run 'kustomize edit fix' to update your Kustomization automatically."
                    ),
                    directory: Some(directory.to_owned()),
                });
            }
        }
        let has_content =
            value.as_object().is_some_and(|map| map.keys().any(|key| key != "apiVersion" && key != "kind"));
        let mut kustomization = match value {
            Value::Null => Self::default(),
            value => serde_json::from_value::<Self>(value)
                .map_err(|error| bad!("invalid Kustomization: json: {error}"))?,
        };
        kustomization.fix();
        if !has_content {
            return Err(bad!("kustomization.yaml is empty"));
        }
        kustomization.enforce(shown)?;
        Ok(kustomization)
    }

    fn fix(&mut self) {
        if self.kind.is_empty() {
            self.kind = "Kustomization".into();
        }
        if self.api_version.is_empty() {
            let version = if self.is_component() { COMPONENT_VERSION } else { KUSTOMIZATION_VERSION };
            self.api_version = version.into();
        }
        self.resources.append(&mut self.bases);
        self.images.append(&mut self.image_tags);
        for generator in self.config_map_generator.iter_mut().chain(&mut self.secret_generator) {
            generator.fix();
        }
        let old = std::mem::take(&mut self.helm_chart_inflation_generator);
        self.helm_charts.extend(old);
    }

    pub(crate) fn is_component(&self) -> bool {
        self.kind == "Component"
    }

    fn enforce(&self, shown: &str) -> Result<()> {
        let mut errors = Vec::new();
        if !matches!(self.kind.as_str(), "Kustomization" | "Component") {
            errors.push("kind should be Kustomization or Component".to_owned());
        }
        let version = if self.is_component() { COMPONENT_VERSION } else { KUSTOMIZATION_VERSION };
        if self.api_version != version {
            errors.push(format!("apiVersion for {} should be {version}", self.kind));
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(bad!("Failed to read kustomization file under {shown}:\n{}", errors.join("\n")))
    }

    pub(crate) fn has_metadata_option(&self, option: &str) -> bool {
        self.build_metadata.iter().any(|word| word == option)
    }
}

impl Generator {
    /// Moves the old `env` into `envs`.
    pub(crate) fn fix(&mut self) {
        if !self.env.is_empty() {
            self.envs.push(std::mem::take(&mut self.env));
        }
    }
}
