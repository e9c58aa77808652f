//! CustomResourceDefinitions, for `config/` and for the chart of the controller that owns the kind.

use std::collections::BTreeMap;

use sluice_manifest::yaml::emit_v2;

use crate::{Files, HEADER, kustomization};

/// Adds every definition twice: as an installable file, and as a chart's `crds/`.
pub(crate) fn add(files: &mut Files) {
    let mut owned: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, definition) in sluice_api::crd::crds() {
        let text = format!("{HEADER}---\n{}", emit_v2(&definition));
        let chart = if name.starts_with("source.") { "source-controller" } else { "kustomize-controller" };
        files.insert(format!("charts/{chart}/crds/{name}"), text.clone());
        files.insert(format!("config/crd/{chart}/{name}"), text);
        owned.entry(chart).or_default().push(name);
    }
    for (controller, names) in owned {
        files.insert(format!("config/crd/{controller}/kustomization.yaml"), kustomization(&names));
    }
}
