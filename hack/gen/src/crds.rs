//! CustomResourceDefinitions, for `config/` and for the chart of the controller that owns the kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_manifest::yaml::emit_v2;

use crate::{Files, HEADER, kustomization};

/// Adds every definition twice: as an installable file, and as a chart's `crds/`.
pub(crate) fn add(files: &mut Files) {
    let mut owned: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, mut definition) in sluice_api::crd::crds() {
        label(&mut definition);
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

/// Clients find what belongs to an installation by the first, and tell its version by the second.
fn label(definition: &mut Value) {
    definition["metadata"]["labels"] = json!({
        "app.kubernetes.io/part-of": "flux",
        "app.kubernetes.io/version": concat!("v", env!("CARGO_PKG_VERSION")),
    });
}
