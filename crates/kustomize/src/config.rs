//! Which fields the transformers change: the defaults, merged with what `configurations` and `crds` add.

use std::sync::{Arc, LazyLock};

use crate::decode::{decode_typed, json_kind};
use crate::error::{Result, bad};
use crate::fields;
use crate::fieldspec::{FieldSpec, merge_all, merge_one};
use crate::id::Gvk;
use crate::kustomization::Label;
use crate::session::Session;
use crate::sort::sort_key;
use crate::tables;

/// Fields that refer to objects of a kind by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Referrers {
    pub(crate) target: Gvk,
    pub(crate) fields: Vec<FieldSpec>,
}

/// The fields of every transformer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_references: Vec<Referrers>,
    pub(crate) var_references: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
    /// Whether these are the built-in fields and nothing else.
    built_in: bool,
}

impl Config {
    /// The built-in fields, made once for all builds.
    pub(crate) fn defaults() -> Arc<Self> {
        static DEFAULTS: LazyLock<Arc<Config>> = LazyLock::new(|| Arc::new(Config::built_in()));
        DEFAULTS.clone()
    }

    fn built_in() -> Self {
        let common_labels = tables::common_labels();
        let sorted = |mut specs: Vec<FieldSpec>| {
            specs.sort_by_cached_key(|spec| sort_key(&spec.gvk));
            specs
        };
        let mut name_references = tables::references();
        name_references.sort_by_cached_key(|referrers| sort_key(&referrers.target));
        Self {
            name_prefix: vec![FieldSpec::anywhere("metadata/name", false)],
            name_suffix: vec![FieldSpec::anywhere("metadata/name", false)],
            namespace: sorted(tables::specs(tables::NAMESPACE)),
            common_labels: sorted(common_labels),
            labels: Vec::new(),
            template_labels: sorted(tables::specs(tables::LABELS)),
            common_annotations: sorted(tables::specs(tables::ANNOTATIONS)),
            name_references,
            var_references: sorted(tables::variables()),
            images: sorted(tables::specs(tables::IMAGES)),
            replicas: sorted(tables::specs(tables::REPLICAS)),
            built_in: true,
        }
    }

    /// Merges fields that refer to a kind.
    pub(crate) fn add_referrers(&mut self, session: &Session<'_>, more: &Referrers) -> Result<()> {
        session.step(self.name_references.len())?;
        match self.name_references.iter_mut().find(|known| known.target == more.target) {
            Some(known) => merge_all(session, &mut known.fields, &more.fields),
            None => {
                self.name_references.push(more.clone());
                Ok(())
            }
        }
    }

    fn merge(&mut self, session: &Session<'_>, other: &Config) -> Result<()> {
        let lists: [(&str, &mut Vec<FieldSpec>, &[FieldSpec]); 10] = [
            ("NamePrefix", &mut self.name_prefix, &other.name_prefix),
            ("NameSuffix", &mut self.name_suffix, &other.name_suffix),
            ("NameSpace", &mut self.namespace, &other.namespace),
            ("CommonAnnotations", &mut self.common_annotations, &other.common_annotations),
            ("CommonLabels", &mut self.common_labels, &other.common_labels),
            ("Labels", &mut self.labels, &other.labels),
            ("TemplateLabels", &mut self.template_labels, &other.template_labels),
            ("VarReference", &mut self.var_references, &other.var_references),
            ("Images", &mut self.images, &other.images),
            ("Replicas", &mut self.replicas, &other.replicas),
        ];
        for (name, mine, theirs) in lists {
            merge_all(session, mine, theirs)
                .map_err(|e| e.wrap(format!("failed to merge {name} fieldSpec")))?;
        }
        for referrers in &other.name_references {
            self.add_referrers(session, referrers)
                .map_err(|e| e.wrap("failed to merge NameReference fieldSpec"))?;
        }
        // The order decides which of two overlapping entries the next merge keeps.
        self.sort();
        self.built_in = false;
        Ok(())
    }

    /// The union of two configurations, shared where one holds the other.
    pub(crate) fn union(
        session: &Session<'_>,
        left: &Arc<Config>,
        right: &Arc<Config>,
    ) -> Result<Arc<Config>> {
        if (left.built_in && right.built_in) || **right == Config::default() {
            return Ok(left.clone());
        }
        if right.built_in && **left == Config::default() {
            return Ok(right.clone());
        }
        let mut merged = (**left).clone();
        merged.merge(session, right)?;
        Ok(Arc::new(merged))
    }

    /// What is left when these fields are merged into none: one entry may stand for another, or contradict it.
    pub(crate) fn settled(self: &Arc<Self>, session: &Session<'_>) -> Result<Arc<Config>> {
        Self::union(session, &Arc::default(), self)
    }

    fn sort(&mut self) {
        for list in [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.common_annotations,
            &mut self.var_references,
            &mut self.images,
            &mut self.replicas,
        ] {
            list.sort_by_cached_key(|spec| sort_key(&spec.gvk));
        }
        self.name_references.sort_by_cached_key(|referrers| sort_key(&referrers.target));
    }

    /// Reads a file named under `configurations`.
    pub(crate) fn from_json(value: serde_json::Value) -> Result<Self> {
        let mut config = Self::default();
        if value.is_null() {
            return Ok(config);
        }
        if !value.is_object() {
            return Err(bad!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type builtinconfig.TransformerConfig",
                json_kind(&value)
            ));
        }
        let value = decode_typed(value, &fields::CONFIGURATION, "TransformerConfig")?;
        let lists = [
            ("namePrefix", &mut config.name_prefix),
            ("nameSuffix", &mut config.name_suffix),
            ("namespace", &mut config.namespace),
            ("commonLabels", &mut config.common_labels),
            ("labels", &mut config.labels),
            ("templateLabels", &mut config.template_labels),
            ("commonAnnotations", &mut config.common_annotations),
            ("varReference", &mut config.var_references),
            ("images", &mut config.images),
            ("replicas", &mut config.replicas),
        ];
        for (name, list) in lists {
            *list = specs_from_json(value.get(name));
        }
        for entry in value.get("nameReference").and_then(serde_json::Value::as_array).into_iter().flatten() {
            let fields = specs_from_json(entry.get("fieldSpecs"));
            config.name_references.push(Referrers { target: gvk_from_json(entry), fields });
        }
        config.sort();
        Ok(config)
    }
}

fn gvk_from_json(value: &serde_json::Value) -> Gvk {
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
    Gvk { group: text("group"), version: text("version"), kind: text("kind") }
}

/// Reads a list of `{path, group, version, kind, create}` that was decoded before.
pub(crate) fn specs_from_json(value: Option<&serde_json::Value>) -> Vec<FieldSpec> {
    let list = value.and_then(serde_json::Value::as_array).into_iter().flatten();
    list.map(|entry| FieldSpec {
        gvk: gvk_from_json(entry),
        path: entry.get("path").and_then(serde_json::Value::as_str).unwrap_or("").to_owned(),
        create: entry.get("create").and_then(serde_json::Value::as_bool).unwrap_or(false),
    })
    .collect()
}

/// The fields one entry of `labels` is for.
pub(crate) fn label_fields(session: &Session<'_>, label: &Label, config: &Config) -> Result<Vec<FieldSpec>> {
    let mut fields = specs_from_json(Some(&label.fields));
    merge_all(session, &mut fields, &config.labels)?;
    if label.include_selectors {
        merge_all(session, &mut fields, &config.common_labels)?;
        return Ok(fields);
    }
    if label.include_templates {
        merge_all(session, &mut fields, &config.template_labels)
            .map_err(|e| e.wrap("failed to merge template fieldSpec"))?;
    }
    merge_one(session, &mut fields, &FieldSpec::anywhere("metadata/labels", true))?;
    Ok(fields)
}
