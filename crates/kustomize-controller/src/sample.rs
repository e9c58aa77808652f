//! Objects that tests start from.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_api::kustomize::v1::Kustomization;
use sluice_api::source::SourceObject;
use sluice_manifest::{Inventory, Policy};
use sluice_tree::{Memory, Recording};
use tokio::time::Instant;

use crate::remembered::Inputs;
use crate::session::Work;
use crate::work::Build;

/// `apps/app` with these fields over the least a spec needs.
pub(crate) fn kustomization(spec: Value) -> Kustomization {
    let mut all = json!({
        "interval": "1m",
        "prune": false,
        "sourceRef": {"kind": "GitRepository", "name": "repo"},
    });
    if let (Some(all), Value::Object(spec)) = (all.as_object_mut(), spec) {
        all.extend(spec);
    }
    named("app", all, Value::Null)
}

/// `apps/<name>` with this spec and status.
pub(crate) fn named(name: &str, spec: Value, status: Value) -> Kustomization {
    let mut object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "apps", "generation": 1, "uid": "u-1"},
        "spec": spec,
    });
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}

/// The source of [`kustomization`], with an artifact of this revision.
pub(crate) fn source(revision: &str) -> SourceObject {
    serde_json::from_value(json!({
        "metadata": {"name": "repo", "namespace": "apps"},
        "status": {"artifact": {
            "path": "gitrepository/apps/repo/x.tar.gz", "url": "http://s/x.tar.gz", "revision": revision,
            "digest": "sha256:bb", "lastUpdateTime": "2024-05-01T10:00:00Z",
        }},
    }))
    .unwrap()
}

/// A build of nothing, made from these.
pub(crate) fn work(inputs: Inputs) -> Work {
    let reads = Arc::new(Recording::new(&Memory::default()).finish());
    let (digest, objects, began) = (String::new(), Vec::new(), Instant::now());
    let build = Build { inputs, reads, digest, objects, began, repairs: false };
    Work::plan(build, &Inventory::default(), &Policy { prune: false, custom_stage_kinds: Vec::new() })
}
