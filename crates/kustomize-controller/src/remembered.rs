//! What the last success was made of and led to, as one digest in the history: after a restart it tells,
//! from lists alone, whether anything has to be done.

use std::sync::Arc;

use sluice_apply::{Fingerprint, ObjectId};
use sluice_types::{Algorithm, Digest, Hasher};

/// Moves when the engine or what is hashed changes, so that every Kustomization gets one full pass.
const ENGINE: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"), "/1");

/// What a build and its application depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Generation of the spec.
    pub(crate) generation: i64,
    /// Digest of the artifact.
    pub(crate) artifact: String,
    /// What was referred to, with resource versions; an empty one for what was not there.
    pub(crate) references: Vec<(String, String)>,
    /// Where and as whom it is applied.
    pub(crate) target: String,
}

impl Inputs {
    /// True when both differ at most by the artifact.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.references == other.references
            && self.target == other.target
    }
}

/// How far a memory agrees with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// In everything.
    Whole,
    /// In everything but the artifact.
    ButArtifact,
    /// Not enough to rely on.
    None,
}

/// The state of a member, as it was left or as it is found.
pub(crate) type Member<'a> = (&'a ObjectId, Option<(Arc<str>, Fingerprint)>);

/// What to remember: a digest over everything, and one that leaves out the artifact. `None` when a member's
/// state is not known.
pub(crate) fn mark<'a>(inputs: &Inputs, members: impl IntoIterator<Item = Member<'a>>) -> Option<String> {
    let mut lines = Vec::new();
    for (id, state) in members {
        let (uid, key) = state?;
        lines.push(format!("{}/{}/{}/{} {uid} {key}", id.group, id.kind, id.namespace, id.name));
    }
    lines.sort();
    let other = Inputs { artifact: String::new(), ..inputs.clone() };
    Some(format!("{} {}", digest(inputs, &lines), digest(&other, &lines)))
}

/// Compares what is remembered with what is found.
pub(crate) fn compare<'a>(
    remembered: &str,
    inputs: &Inputs,
    members: impl IntoIterator<Item = Member<'a>>,
) -> Agreement {
    let Some(found) = mark(inputs, members) else { return Agreement::None };
    if found == remembered {
        return Agreement::Whole;
    }
    match (found.split_once(' '), remembered.split_once(' ')) {
        (Some((_, found)), Some((_, remembered))) if found == remembered => Agreement::ButArtifact,
        _ => Agreement::None,
    }
}

fn digest(inputs: &Inputs, members: &[String]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(ENGINE);
    part(&inputs.generation.to_string());
    part(&inputs.artifact);
    part(&inputs.target);
    part(&inputs.references.len().to_string());
    for (name, version) in &inputs.references {
        part(name);
        part(version);
    }
    members.iter().for_each(|line| part(line));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            namespace: "apps".into(),
            name: name.into(),
            group: String::new(),
            kind: "ConfigMap".into(),
        }
    }

    fn inputs() -> Inputs {
        Inputs {
            generation: 3,
            artifact: "sha256:aa".into(),
            references: vec![("Secret/x".into(), "7".into())],
            target: "apps/deployer".into(),
        }
    }

    fn left(uid: &str, key: &str) -> Option<(Arc<str>, Fingerprint)> {
        Some((uid.into(), Fingerprint::of(&json!(key))))
    }

    #[test]
    fn the_state_of_every_member_counts_and_their_order_does_not() {
        let (a, b) = (id("a"), id("b"));
        let remembered = mark(&inputs(), [(&a, left("u1", "1")), (&b, left("u2", "2"))]).unwrap();
        assert!(remembered.starts_with("sha256:"));
        let compare = |members: Vec<Member<'_>>| compare(&remembered, &inputs(), members);
        assert_eq!(compare(vec![(&b, left("u2", "2")), (&a, left("u1", "1"))]), Agreement::Whole);
        for members in [
            vec![(&a, left("u1", "1"))],
            vec![(&a, left("u1", "1")), (&b, left("u3", "2"))],
            vec![(&a, left("u1", "1")), (&b, left("u2", "3"))],
            vec![(&a, left("u1", "1")), (&b, None)],
        ] {
            assert_eq!(compare(members), Agreement::None);
        }
    }

    #[test]
    fn every_input_counts_and_the_artifact_is_told_apart() {
        let member = id("a");
        let remembered = mark(&inputs(), [(&member, left("u", "1"))]).unwrap();
        type Case = (fn(&mut Inputs), Agreement);
        let changes: [Case; 5] = [
            (|_| (), Agreement::Whole),
            (|inputs| inputs.artifact.push('b'), Agreement::ButArtifact),
            (|inputs| inputs.generation = 4, Agreement::None),
            (|inputs| inputs.target.push('b'), Agreement::None),
            (|inputs| inputs.references.clear(), Agreement::None),
        ];
        for (change, expected) in changes {
            let mut changed = inputs();
            change(&mut changed);
            assert_eq!(compare(&remembered, &changed, [(&member, left("u", "1"))]), expected);
        }
    }

    #[test]
    fn an_unknown_member_means_that_nothing_is_remembered() {
        assert_eq!(mark(&inputs(), [(&id("a"), None)]), None);
    }
}
