//! From files to the objects to apply. Decides everything from its arguments.

use std::sync::Arc;

use sluice_api::kustomize::v1::{self, Kustomization, KustomizationSpec, SubstituteStrategy};
use sluice_kustomize::envsubst::Limits;
use sluice_kustomize::flux::{self, Overrides, PostBuild, Variables};
use sluice_manifest::prepare::{CommonMetadata, Owner};
use sluice_manifest::{Object, flatten, prepare};
use sluice_tree::{ReadSet, Recording};
use sluice_types::RelPath;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Tree;
use crate::references::Values;

/// What is built.
pub(crate) struct Job {
    pub(crate) tree: Arc<Tree>,
    pub(crate) object: Arc<Kustomization>,
    pub(crate) path: RelPath,
    /// Values of what is referred to; later ones win.
    pub(crate) variables: Vec<Arc<Values>>,
    /// Variables without a value are errors.
    pub(crate) strict: bool,
}

/// What was built.
pub(crate) struct Rendered {
    pub(crate) objects: Vec<Object>,
    /// Over the text of the objects, as it is before they are marked as owned.
    pub(crate) digest: String,
    pub(crate) reads: Arc<ReadSet>,
    pub(crate) warnings: Vec<String>,
}

/// Why nothing can be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The objects cannot be built.
    Build(String),
    /// They can, but must not be applied.
    Apply(String),
}

/// Builds the objects of a Kustomization, unless it is told to stop.
pub(crate) fn render(job: &Job, stop: &CancellationToken) -> Result<Rendered, Failure> {
    let files = Recording::new(&job.tree.files);
    let cancelled = || stop.is_cancelled();
    let options = sluice_kustomize::Options {
        load_restrictions: sluice_kustomize::LoadRestrictions::None,
        openapi: sluice_kustomize::OpenApi::Add,
        cancelled: Some(&cancelled),
        ..sluice_kustomize::Options::default()
    };
    let spec = &job.object.spec;
    let variables = variables(job);
    let post_build = spec.post_build.as_ref().map(|post| PostBuild {
        variables: &variables,
        always: post.substitute_strategy == Some(SubstituteStrategy::Always),
        strict: job.strict,
        limits: Limits::default(),
    });
    let (built, warnings) = flux::render(&files, &job.path, &overrides(spec), post_build.as_ref(), &options)
        .map_err(|error| Failure::Build(error.to_string()))?;
    let mut objects = flatten(built.resources);
    let ignored = mark(&mut objects, &job.object)?;
    Ok(Rendered {
        objects,
        digest: built.digest.to_string(),
        reads: Arc::new(files.finish()),
        warnings: warnings.into_iter().map(|warning| warning.message).chain(ignored).collect(),
    })
}

/// Values of references in their order, then those that stand in the spec.
fn variables(job: &Job) -> Variables {
    let mut variables = Variables::default();
    for values in &job.variables {
        let texts = values.data.expose().iter();
        variables.extend(texts.map(|(name, bytes)| (name.clone(), String::from_utf8_lossy(bytes))));
    }
    if let Some(post) = &job.object.spec.post_build {
        variables.extend(post.substitute.iter().map(|(name, value)| (name.clone(), value)));
    }
    variables
}

/// What the spec lays over the kustomization file.
fn overrides(spec: &KustomizationSpec) -> Overrides {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let selector = |selector: &v1::Selector| flux::Selector {
        group: text(&selector.group),
        version: text(&selector.version),
        kind: text(&selector.kind),
        name: text(&selector.name),
        namespace: text(&selector.namespace),
        annotation_selector: text(&selector.annotation_selector),
        label_selector: text(&selector.label_selector),
    };
    let patch = |patch: &v1::Patch| flux::Patch {
        patch: patch.patch.clone(),
        target: patch.target.as_ref().map(selector),
    };
    let image = |image: &v1::Image| flux::Image {
        name: image.name.clone(),
        new_name: text(&image.new_name),
        new_tag: text(&image.new_tag),
        digest: text(&image.digest),
    };
    Overrides {
        target_namespace: spec.target_namespace.clone(),
        name_prefix: spec.name_prefix.clone(),
        name_suffix: spec.name_suffix.clone(),
        patches: spec.patches.iter().map(patch).collect(),
        components: spec.components.clone(),
        ignore_missing_components: spec.ignore_missing_components.unwrap_or_default(),
        images: spec.images.iter().map(image).collect(),
        build_metadata: spec.build_metadata.iter().map(|word| word.as_str().to_owned()).collect(),
        ..Overrides::default()
    }
}

/// Owner labels, normal forms, common metadata, and the guard against encrypted Secrets.
fn mark(objects: &mut [Object], object: &Kustomization) -> Result<Vec<String>, Failure> {
    let owner = Owner {
        group: sluice_api::keys::kustomize::GROUP,
        name: object.metadata.name.as_deref().unwrap_or_default(),
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
    };
    let common = object.spec.common_metadata.as_ref();
    let common = common.map(|common| CommonMetadata {
        labels: common.labels.clone(),
        annotations: common.annotations.clone(),
    });
    prepare::prepare(objects, owner, &common.unwrap_or_default())
        .map_err(|error| Failure::Apply(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::{Value, json};
    use sluice_tree::{Index, Memory};

    fn build(files: &[(&str, &str)], spec: Value) -> Result<Rendered, Failure> {
        let job = Job {
            tree: Arc::new(Tree::new(Memory::of(files.iter().copied()).unwrap())),
            object: Arc::new(sample::kustomization(spec)),
            path: RelPath::clamped("app"),
            variables: Vec::new(),
            strict: true,
        };
        render(&job, &CancellationToken::new())
    }

    const MAP: &str =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: x}\ndata: {a: '${v:=b}'}\n";

    #[test]
    fn objects_are_marked_after_their_digest_was_taken() {
        let plain = build(&[("app/c.yaml", MAP)], json!({})).unwrap();
        let common = json!({"commonMetadata": {"labels": {"team": "a"}}});
        let labelled = build(&[("app/c.yaml", MAP)], common).unwrap();
        assert_eq!(plain.digest, labelled.digest);
        assert_eq!(labelled.objects[0].label("team"), Some("a"));
        assert_eq!(labelled.objects[0].label("kustomize.toolkit.fluxcd.io/name"), Some("app"));
        assert_eq!(labelled.objects[0].label("kustomize.toolkit.fluxcd.io/namespace"), Some("apps"));
    }

    #[test]
    fn variables_are_substituted_when_there_are_some_or_always() {
        let value =
            |spec| build(&[("app/c.yaml", MAP)], spec).unwrap().objects[0].value()["data"]["a"].clone();
        assert_eq!(value(json!({"postBuild": {}})), "${v:=b}");
        assert_eq!(value(json!({"postBuild": {"substituteStrategy": "Always"}})), "b");
        assert_eq!(value(json!({"postBuild": {"substitute": {"v": "z"}}})), "z");
    }

    #[test]
    fn the_last_reference_wins_and_what_stands_in_the_spec_wins_over_all() {
        let values = |pairs: &[(&str, &str)]| {
            let data =
                pairs.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect();
            Arc::new(Values { version: String::new(), data: sluice_types::Redacted::new(data) })
        };
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: x}\ndata: {a: '${a}-${b}-${c}'}\n";
        let job = Job {
            tree: Arc::new(Tree::new(Memory::of([("app/c.yaml", map)]).unwrap())),
            object: Arc::new(sample::kustomization(json!({"postBuild": {"substitute": {"c": "spec"}}}))),
            path: RelPath::clamped("app"),
            variables: vec![
                values(&[("a", "first"), ("b", "first"), ("c", "first")]),
                values(&[("b", "second"), ("c", "second")]),
            ],
            strict: true,
        };
        assert_eq!(
            render(&job, &CancellationToken::new()).unwrap().objects[0].value()["data"]["a"],
            "first-second-spec"
        );
    }

    #[test]
    fn only_what_was_read_decides_about_another_build() {
        let built = build(&[("app/c.yaml", MAP), ("other/x.yaml", "1")], json!({})).unwrap();
        let holds = |files: &[(&str, &str)]| {
            built.reads.holds(&Index::of(&Memory::of(files.iter().copied()).unwrap()).unwrap())
        };
        assert!(holds(&[("app/c.yaml", MAP), ("other/x.yaml", "2")]));
        assert!(!holds(&[("app/c.yaml", "{}"), ("other/x.yaml", "1")]));
        assert!(!holds(&[("app/c.yaml", MAP), ("app/d.yaml", MAP)]));
    }

    #[test]
    fn an_encrypted_secret_stops_everything() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: x}\nsops: {mac: x}\n";
        let failure = build(&[("app/c.yaml", MAP), ("app/s.yaml", secret)], json!({})).err().unwrap();
        let expected = "Secret/x/s is SOPS encrypted, configuring decryption is required for this secret to be \
                        reconciled";
        assert_eq!(failure, Failure::Apply(expected.to_owned()));
    }
}
