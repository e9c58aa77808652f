//! The kustomization file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_manifest::yaml;

use crate::decode::decode;
use crate::error::{Result, bad};
pub(crate) use crate::fields::KUSTOMIZATION;
use crate::node;
use crate::options::Warning;
use crate::session::unreadable;

const KUSTOMIZATION_VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT_VERSION: &str = "kustomize.config.k8s.io/v1alpha1";

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

impl Selector {
    /// How much there is to compare an object with.
    pub(crate) fn weight(&self) -> usize {
        let values = |text: &str| text.bytes().filter(|byte| *byte == b',').count();
        1 + values(&self.label_selector) + values(&self.annotation_selector)
    }
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

impl Patch {
    /// What names it in the file.
    pub(crate) fn word(&self) -> &str {
        if self.path.is_empty() { &self.patch } else { &self.path }
    }
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

impl Target {
    /// How much there is to do for an object.
    pub(crate) fn weight(&self) -> usize {
        let selectors = self.select.iter().chain(&self.reject).map(Selector::weight);
        selectors.sum::<usize>() + self.field_paths.len()
    }
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

/// Fields that are no transformer's or generator's configuration.
const NOT_CONFIGURATION: [&str; 8] = [
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
];

/// Transformers and generators get their configuration as text, which they read once more.
fn configured(mut value: Value) -> Result<Value> {
    let Some(fields) = value.as_object_mut() else { return Ok(value) };
    for (name, field) in fields {
        if !NOT_CONFIGURATION.contains(&name.as_str()) {
            *field = node::reread(field.take())?;
        }
    }
    Ok(value)
}

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
            .map_err(|error| unreadable(error).wrap("invalid Kustomization").concerning(shown))?;
        let value =
            decode(value, &KUSTOMIZATION, "Kustomization").map_err(|e| e.wrap("invalid Kustomization"))?;
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
            value => serde_json::from_value::<Self>(configured(value)?)
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
        for old in std::mem::take(&mut self.helm_chart_inflation_generator) {
            self.add_old_chart(&old);
        }
    }

    /// Takes a chart over from the field that was replaced by two others.
    fn add_old_chart(&mut self, old: &Value) {
        const FIELDS: [(&str, &str); 7] = [
            ("chartName", "name"),
            ("chartVersion", "version"),
            ("chartRepoUrl", "repo"),
            ("values", "valuesFile"),
            ("valuesLocal", "valuesInline"),
            ("valuesMerge", "valuesMerge"),
            ("releaseName", "releaseName"),
        ];
        let take = |fields: &[(&str, &str)]| -> serde_json::Map<String, Value> {
            let given = |(from, to): &(&str, &str)| Some(((*to).to_owned(), old.get(*from)?.clone()));
            fields.iter().filter_map(given).collect()
        };
        self.helm_charts.push(Value::Object(take(&FIELDS)));
        let globals = take(&[("helmHome", "configHome"), ("chartHome", "chartHome")]);
        if !globals.is_empty() {
            let all = self.helm_globals.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(all) = all.as_object_mut() {
                all.extend(globals);
            }
        }
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
