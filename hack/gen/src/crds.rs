//! CustomResourceDefinitions, for `config/` and for the chart of the controller that owns the kind.

use sluice_manifest::yaml::emit_v2;

use crate::{Files, HEADER};

/// Adds every definition twice: as an installable file, and as a chart's `crds/`.
pub(crate) fn add(files: &mut Files) {
    for (name, definition) in sluice_api::crd::crds() {
        let text = format!("{HEADER}---\n{}", emit_v2(&definition));
        let chart = if name.starts_with("source.") { "source-controller" } else { "kustomize-controller" };
        files.insert(format!("charts/{chart}/crds/{name}"), text.clone());
        files.insert(format!("config/crd/{name}"), text);
    }
}
