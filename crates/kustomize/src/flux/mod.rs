//! What Flux adds around a build: a kustomization file where there is none, a Kustomization's own
//! settings merged into the file, and variable substitution in what comes out.

mod generate;
mod lenient;
mod merge;
mod substitute;

use serde::{Deserialize, Serialize};
use sluice_tree::{Files, Overlay};
use sluice_types::{Digest, RelPath};

use crate::places::line_rewritten;
use crate::session::Parsed;
use crate::{Options, Warning};

pub use generate::is_local_relative_path;
pub use substitute::{PostBuild, Rendered, Variables, render_resources};

/// File names a kustomization may have, in the order they are looked for.
const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Picks resources for a patch; empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// API version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Selector over annotations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub annotation_selector: String,
    /// Selector over labels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
}

/// A patch of any kind and what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patch {
    /// The patch's text.
    pub patch: String,
    /// What it is applied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
}

/// A change to an image reference; empty fields say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// The image's name without tag or digest.
    pub name: String,
    /// Another name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub new_name: String,
    /// Another tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub new_tag: String,
    /// A digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// What a Kustomization's `spec` lays over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `targetNamespace`
    pub target_namespace: Option<String>,
    /// `namePrefix`
    pub name_prefix: Option<String>,
    /// `nameSuffix`
    pub name_suffix: Option<String>,
    /// `patches`
    pub patches: Vec<Patch>,
    /// `patchesStrategicMerge` of older objects, each as JSON text.
    pub patches_strategic_merge: Vec<String>,
    /// `patchesJson6902` of older objects, the operations as JSON text.
    pub patches_json6902: Vec<Patch>,
    /// `components`
    pub components: Vec<String>,
    /// `ignoreMissingComponents`
    pub ignore_missing_components: bool,
    /// `images`
    pub images: Vec<Image>,
    /// `buildMetadata`
    pub build_metadata: Vec<String>,
}

/// Why there is nothing to apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kustomization file cannot be made or merged.
    #[error("{0}")]
    Prepare(String),
    /// The build failed.
    #[error("kustomize build failed: {0}")]
    Build(#[source] crate::Error),
    /// A result has no apiVersion, kind or name.
    #[error("failed to decode Kubernetes apiVersion, kind and name from: {0}")]
    Nameless(String),
    /// Substitution in one result failed.
    #[error("post build failed for '{subject}': {message}")]
    PostBuild {
        /// Group, version, kind and name.
        subject: String,
        /// What is wrong.
        message: String,
    },
}

/// A kustomization file ready to be built, in place of the one in the tree or of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Where the file stands.
    pub file: RelPath,
    /// Its content.
    pub content: String,
    /// Whether the tree had none.
    pub generated: bool,
    /// Fields that were left out because nobody knows them.
    pub warnings: Vec<Warning>,
}

impl Prepared {
    /// Puts the place of a failure in terms of the files people have.
    fn place(&self, files: &dyn Files, error: crate::Error) -> crate::Error {
        if self.generated {
            return error.without_file(self.file.as_str());
        }
        let original = files.read(&self.file).unwrap_or_default();
        error.with_lines_of(self.file.as_str(), |line| line_rewritten(&original, &self.content, line))
    }

    /// The tree with the file in place.
    ///
    /// # Errors
    /// When a directory stands in its place.
    pub fn over<F: Files>(&self, files: F) -> Result<Overlay<F>, Error> {
        let mut tree = Overlay::new(files);
        tree.insert(&self.file, self.content.as_bytes()).map_err(|e| Error::Prepare(e.to_string()))?;
        Ok(tree)
    }
}

/// Makes the kustomization file of `directory`: the one that is there, decoded leniently, or one
/// that lists the manifests below; then lays `overrides` over it.
///
/// # Errors
/// Files that are no manifests where the list is made, a file that cannot be decoded, components
/// that are not local.
pub fn prepare(
    files: &dyn Files,
    directory: &RelPath,
    overrides: &Overrides,
    options: &Options<'_>,
) -> Result<Prepared, Error> {
    prepare_and_keep(files, directory, overrides, options).map(|(prepared, _)| prepared)
}

/// As [`prepare`], with the files that had to be parsed for it.
fn prepare_and_keep(
    files: &dyn Files,
    directory: &RelPath,
    overrides: &Overrides,
    options: &Options<'_>,
) -> Result<(Prepared, Parsed), Error> {
    let (mut prepared, parsed) = match generate::find(files, directory) {
        Some(file) => (lenient::read(files, directory, file, options)?, Parsed::default()),
        None => {
            let (kustomization, parsed) = generate::generate(files, directory, options)?;
            (lenient::Decoded::generated(directory, kustomization)?, parsed)
        }
    };
    merge::merge(&mut prepared, files, directory, overrides)?;
    Ok((prepared.finish()?, parsed))
}

/// Prepares, builds and substitutes in one go.
///
/// # Errors
/// As the three steps.
pub fn render(
    files: &dyn Files,
    directory: &RelPath,
    overrides: &Overrides,
    post_build: Option<&PostBuild<'_>>,
    options: &Options<'_>,
) -> Result<(Rendered, Vec<Warning>), Error> {
    let options = &Options { absolute_paths: false, ..*options };
    let (prepared, parsed) = prepare_and_keep(files, directory, overrides, options)?;
    let tree = prepared.over(files)?;
    let built = crate::build_after(&tree, directory, options, parsed)
        .map_err(|error| Error::Build(prepared.place(files, error)))?;
    let mut warnings = prepared.warnings;
    warnings.extend(built.warnings);
    Ok((substitute::render_each(built.resources, post_build, options.cancelled)?, warnings))
}

/// The digest under which a result stands in a history.
fn digest_of(text: &str) -> Digest {
    Digest::of(sluice_types::Algorithm::Sha256, text.as_bytes())
}

#[cfg(test)]
mod tests;
