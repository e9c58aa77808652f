//! A native kustomize build engine, byte-identical to kustomize v5.8.1.
//!
//! A build reads everything through [`sluice_tree::Files`], so a caller may confine and record it. It never
//! touches the file system, the environment, a clock or the network, runs no plugin and keeps no global state:
//! builds may run side by side. Callers are the kustomize-controller and the `kustomize-build` command.

mod config;
mod crds;
mod decode;
pub mod envsubst;
mod error;
mod fields;
mod fieldspec;
mod finish;
pub mod flux;
mod generate;
mod gojson;
mod hash;
mod history;
mod id;
mod images;
mod jsonpatch;
mod kustomization;
mod lists;
mod loader;
mod merge;
mod merge_fields;
mod nameref;
mod node;
mod objects;
mod options;
mod origin;
mod patches;
mod path;
mod pattern;
mod places;
mod plugins;
mod replacement;
mod resource;
mod resources;
mod schema;
mod scope;
mod selector;
mod session;
mod sort;
mod tables;
mod target;
mod transform;
mod vars;

pub use error::{Error, ErrorKind};
pub use options::{Limits, LoadRestrictions, OpenApi, Options, Reorder, Warning};

use std::collections::BTreeMap;

use sluice_manifest::yaml;
use sluice_tree::Files;
use sluice_types::RelPath;

use crate::fieldspec::FieldSpec;
use crate::loader::Loader;
use crate::resource::{ORIGIN, TRANSFORMATIONS};
use crate::session::{Parsed, Session};
use crate::target::Target;
use crate::transform::Transformer;

/// The result of a build.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// The objects, in order.
    pub resources: Vec<serde_json::Value>,
    /// What a human should know.
    pub warnings: Vec<Warning>,
}

impl Built {
    /// The documents as `kustomize build` prints them: separated by `---`, keys sorted, nothing before the first.
    pub fn to_yaml(&self) -> String {
        yaml::emit_stream(&self.resources)
    }
}

/// Upstream shows what it got of an object it cannot encode, which is nothing where the object is no good YAML.
fn encoding(error: Error) -> Error {
    if error.message().starts_with("yaml: ") { error.wrap("map[string]interface {}(nil)") } else { error }
}

/// The result of a build as text.
#[derive(Clone, Debug, Default)]
pub struct BuiltText {
    /// What [`Built::to_yaml`] would say.
    pub yaml: String,
    /// What a human should know.
    pub warnings: Vec<Warning>,
}

/// Builds the kustomization in the directory `root` of `files`.
///
/// Stops between steps once [`Options::cancelled`] says so.
///
/// # Errors
/// What the inputs do wrong, in upstream's words; a bound that was passed; a remote entry; being cancelled.
pub fn build(files: &dyn Files, root: &RelPath, options: &Options<'_>) -> Result<Built, Error> {
    build_after(files, root, options, Parsed::default())
}

/// As [`build`], with what was parsed on the way to it.
pub(crate) fn build_after(
    files: &dyn Files,
    root: &RelPath,
    options: &Options<'_>,
    parsed: Parsed,
) -> Result<Built, Error> {
    let mut resources = Vec::new();
    let warnings = build_each(files, root, options, parsed, &mut |object| resources.push(object))?;
    Ok(Built { resources, warnings })
}

/// As [`build`], written at once: no object is held as JSON longer than it takes to write it.
///
/// # Errors
/// As [`build`].
pub fn build_text(files: &dyn Files, root: &RelPath, options: &Options<'_>) -> Result<BuiltText, Error> {
    let mut yaml = String::new();
    let warnings = build_each(files, root, options, Parsed::default(), &mut |object| {
        if !yaml.is_empty() {
            yaml.push_str("---\n");
        }
        yaml::emit_v2_into(&object, &mut yaml);
    })?;
    Ok(BuiltText { yaml, warnings })
}

fn build_each(
    files: &dyn Files,
    root: &RelPath,
    options: &Options<'_>,
    parsed: Parsed,
    each: &mut dyn FnMut(serde_json::Value),
) -> Result<Vec<Warning>, Error> {
    let session = Session::new(files, options, parsed);
    let loader = Loader::at_root(&session, root)?;
    let target = Target::root(&session, loader)?;
    let mut acc = target.accumulate()?;
    session.forget_files();
    finish::finish(&session, &mut acc).map_err(target.asks(""))?;
    let kustomization = &target.kustomization;
    let mut resources = acc.resources;
    sort::sort(&session, resources.list_mut(), kustomization.sort_options.as_ref())
        .map_err(target.sets("sortOptions"))?;
    if options.managed_by || kustomization.has_metadata_option("managedByLabel") {
        let label = ("app.kubernetes.io/managed-by".to_owned(), format!("kustomize-{}", options.version));
        let labels = BTreeMap::from([label]);
        let fields = vec![FieldSpec::anywhere("metadata/labels", true)];
        Transformer::Labels { labels, fields }.apply(&session, &mut resources)?;
    }
    let unwanted: Vec<&str> = [("originAnnotations", ORIGIN), ("transformerAnnotations", TRANSFORMATIONS)]
        .into_iter()
        .filter(|(option, _)| !kustomization.has_metadata_option(option))
        .map(|(_, annotation)| annotation)
        .collect();
    for mut resource in resources.into_list() {
        session.check()?;
        resource.clean_annotations(&unwanted);
        let id = resource.id();
        let value = node::to_json_into(resource.node).map_err(encoding).and_then(node::reread);
        each(value.map_err(|error| error.of_object(&id)).map_err(target.asks(""))?);
    }
    Ok(session.warnings.take())
}
