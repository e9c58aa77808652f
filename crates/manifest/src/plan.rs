//! What a pass is going to do, and what it answers for afterwards.
//!
//! The claim (`recorded ∪ desired`) is made durable before the first write; a member leaves only
//! when it is known to be gone or was deliberately released.

use std::collections::HashSet;

use crate::id::{GroupKind, ObjectId};
use crate::inventory::Inventory;
use crate::object::Object;
use crate::order::{StageKind, apply_order};

/// What a plan depends on besides the objects.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether what is no longer desired is deleted. If not, it is released.
    pub prune: bool,
    /// Kinds that get a stage of their own.
    pub custom_stage_kinds: Vec<GroupKind>,
}

/// Objects that are applied together, in apply order.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Which stage this is.
    pub kind: StageKind,
    /// Its objects, in apply order.
    pub objects: Vec<Object>,
}

/// What a pass is going to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the pass answers for from its first write on.
    pub claim: Inventory,
    /// What is applied, stage after stage; no stage is empty.
    pub stages: Vec<Stage>,
    /// What is deleted afterwards, in this order.
    pub prune: Vec<ObjectId>,
    /// What is given up without being deleted, once the pass has succeeded.
    pub release: Vec<ObjectId>,
}

/// What is known to have happened so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Objects written, or found to be as desired: the planned identity, and the identity and
    /// version the server answered with.
    pub applied: Vec<(ObjectId, ObjectId, String)>,
    /// Objects seen absent or being deleted.
    pub gone: Vec<ObjectId>,
    /// Objects deliberately left to others: a foreign owner, pruning disabled on them, orphaned.
    pub released: Vec<ObjectId>,
    /// Whether the pass went through to its end.
    pub finished: bool,
}

/// Computes what to do to get from what is recorded to what is desired.
pub fn plan(desired: Vec<Object>, recorded: &Inventory, policy: &Policy) -> Plan {
    let wanted = Inventory::of(&desired);
    let mut dropped: Vec<ObjectId> = recorded.difference(&wanted).ids().cloned().collect();
    dropped.sort_by(|a, b| apply_order(b, a));
    let (prune, release) = if policy.prune { (dropped, Vec::new()) } else { (Vec::new(), dropped) };

    let mut ordered: Vec<(StageKind, ObjectId, Object)> = desired
        .into_iter()
        .map(|object| {
            let id = object.id();
            (StageKind::of(&id, &policy.custom_stage_kinds), id, object)
        })
        .collect();
    ordered.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| apply_order(&a.1, &b.1)));
    let mut stages: Vec<Stage> = Vec::new();
    for (kind, _, object) in ordered {
        match stages.last_mut() {
            Some(stage) if stage.kind == kind => stage.objects.push(object),
            _ => stages.push(Stage { kind, objects: vec![object] }),
        }
    }
    Plan { claim: recorded.union(&wanted), stages, prune, release }
}

impl Plan {
    /// What to delete, given what was applied: an object the server knows under another identity
    /// than planned (a namespace on something that belongs to the cluster) is not deleted.
    pub fn prune_after(&self, report: &Report) -> Vec<ObjectId> {
        let applied: HashSet<&ObjectId> = report.applied.iter().map(|(_, actual, _)| actual).collect();
        self.prune.iter().filter(|id| !applied.contains(id)).cloned().collect()
    }
}

/// What a pass answers for afterwards. Holds at every point of a pass: whatever was recorded or
/// applied stays, unless it is gone or released.
pub fn settle(plan: &Plan, report: &Report) -> Inventory {
    let mut after = plan.claim.without(report.gone.iter().chain(&report.released));
    if report.finished {
        after = after.without(&plan.release);
    }
    for (planned, actual, version) in &report.applied {
        if planned != actual {
            after.remove(planned);
        }
        after.insert(actual.clone(), version.clone());
    }
    after
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str) -> Object {
        let api = if kind == "Deployment" { "apps/v1" } else { "v1" };
        Object::new(json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "n"}}))
            .unwrap()
    }

    fn names(ids: &[ObjectId]) -> Vec<&str> {
        ids.iter().map(|id| id.name.as_str()).collect()
    }

    #[test]
    fn stages_come_in_order_and_pruning_goes_backwards() {
        let recorded = Inventory::of(&[object("Namespace", "gone-ns"), object("Deployment", "gone-app")]);
        let desired = vec![object("Deployment", "app"), object("Secret", "s"), object("Namespace", "ns")];
        let made = plan(desired, &recorded, &Policy { prune: true, ..Policy::default() });
        let stages: Vec<Vec<&str>> =
            made.stages.iter().map(|s| s.objects.iter().map(Object::name).collect()).collect();
        assert_eq!(stages, [vec!["ns"], vec!["s", "app"]]);
        assert_eq!(names(&made.prune), ["gone-app", "gone-ns"]);
        assert_eq!(made.claim.len(), 5);
    }

    #[test]
    fn without_pruning_the_dropped_are_released_at_the_end_only() {
        let recorded = Inventory::of(&[object("Secret", "old")]);
        let made = plan(vec![object("Secret", "new")], &recorded, &Policy::default());
        assert!(made.prune.is_empty());
        assert_eq!(settle(&made, &Report::default()).len(), 2);
        let finished = settle(&made, &Report { finished: true, ..Report::default() });
        assert_eq!(finished.ids().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn an_object_the_server_renamed_is_recorded_under_its_real_identity_and_not_deleted() {
        let real = ObjectId { namespace: String::new(), ..object("Namespace", "x").id() };
        let recorded: Inventory = [(real.clone(), "v1".to_owned())].into_iter().collect();
        let wanted = object("Namespace", "x");
        let made = plan(vec![wanted.clone()], &recorded, &Policy { prune: true, ..Policy::default() });
        let report = Report {
            applied: vec![(wanted.id(), real.clone(), "v1".into())],
            finished: true,
            ..Report::default()
        };
        assert!(made.prune_after(&report).is_empty());
        assert_eq!(settle(&made, &report).ids().collect::<Vec<_>>(), [&real]);
    }

    proptest! {
        #[test]
        fn whatever_was_recorded_or_applied_stays_until_it_is_gone(
            recorded in proptest::collection::btree_set(0u8..12, 0..8),
            desired in proptest::collection::btree_set(0u8..12, 0..8),
            prune in any::<bool>(),
            applied_until in 0usize..9,
            gone_until in 0usize..9,
        ) {
            let make = |n: &u8| object(["Namespace", "Secret", "Deployment"][usize::from(*n) % 3], &n.to_string());
            let before = Inventory::of(&recorded.iter().map(make).collect::<Vec<_>>());
            let made =
                plan(desired.iter().map(make).collect(), &before, &Policy { prune, ..Policy::default() });
            // The pass dies after so many applies and so many confirmed deletions.
            let order: Vec<_> = made.stages.iter().flat_map(|s| &s.objects).collect();
            let applied: Vec<_> = order.iter().take(applied_until).map(|o| (o.id(), o.id(), "v1".to_owned())).collect();
            let gone: Vec<_> = if applied.len() == order.len() {
                made.prune.iter().take(gone_until).cloned().collect()
            } else {
                Vec::new()
            };
            let report = Report { applied: applied.clone(), gone: gone.clone(), ..Report::default() };
            let after: BTreeSet<_> = settle(&made, &report).ids().cloned().collect();
            for id in before.ids().chain(applied.iter().map(|(id, _, _)| id)) {
                prop_assert!(gone.contains(id) || after.contains(id));
            }
            // Nothing that is desired is ever deleted.
            for id in &made.prune {
                prop_assert!(!desired.iter().any(|n| make(n).id() == *id));
            }
        }
    }
}
