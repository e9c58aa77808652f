//! What tests start from.

use crate::{Dialect, Settings};

/// Those of kustomize-controller, without managers to override.
pub(crate) fn settings() -> Settings {
    Settings {
        dialect: Dialect { group: "kustomize.toolkit.fluxcd.io", manager: "kustomize-controller" },
        override_managers: Vec::new(),
    }
}
