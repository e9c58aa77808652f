//! From built objects to work: what is applied in which order, what is claimed, what is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluice_apply::Desired;
use sluice_manifest::{Inventory, Object, Policy, plan};
use sluice_tree::ReadSet;
use tokio::time::Instant;

use crate::remembered::Inputs;
use crate::session::Work;

/// What was built, from what.
pub(crate) struct Build {
    pub(crate) inputs: Inputs,
    pub(crate) reads: Arc<ReadSet>,
    pub(crate) digest: String,
    pub(crate) objects: Vec<Object>,
    pub(crate) began: Instant,
    /// True when these very inputs were applied before.
    pub(crate) repairs: bool,
}

impl Work {
    /// Plans the way from what is recorded to what was built.
    pub(crate) fn plan(build: Build, recorded: &Inventory, policy: &Policy) -> Self {
        let mut plan = plan(build.objects, recorded, policy);
        let stages = std::mem::take(&mut plan.stages)
            .into_iter()
            .map(|stage| (stage.kind, stage.objects.into_iter().map(Desired::from).collect()))
            .collect();
        Self {
            inputs: build.inputs,
            reads: build.reads,
            digest: build.digest,
            stages,
            plan,
            began: build.began,
            repairs: build.repairs,
            waits: HashMap::new(),
            inventory: None,
            left_alone: HashMap::new(),
            checking: None,
            changed: false,
            touched: HashSet::new(),
        }
    }
}
