//! What the last success was made of and led to, as one digest in the history: after a restart it tells,
//! from lists alone, whether anything has to be done.

use sluice_apply::{Fingerprint, ObjectId};
use sluice_types::{Algorithm, Hasher};

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

/// The digest over inputs and members; `None` when a member's state is not known.
pub(crate) fn digest<'a, U: AsRef<str>>(
    inputs: &Inputs,
    members: impl IntoIterator<Item = (&'a ObjectId, Option<(U, Fingerprint)>)>,
) -> Option<String> {
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
    let mut lines = Vec::new();
    for (id, state) in members {
        let (uid, key) = state?;
        lines.push(format!("{}/{}/{}/{} {} {key}", id.group, id.kind, id.namespace, id.name, uid.as_ref()));
    }
    lines.sort();
    for line in &lines {
        part(line);
    }
    Some(hasher.finish().to_string())
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

    #[test]
    fn everything_a_success_depends_on_moves_the_digest_and_the_order_of_members_does_not() {
        let key = |text: &str| Fingerprint::of(&json!(text));
        let (a, b) = (id("a"), id("b"));
        let base = digest(&inputs(), [(&a, Some(("u1", key("1")))), (&b, Some(("u2", key("2"))))]);
        assert!(base.as_ref().is_some_and(|text| text.starts_with("sha256:")));
        assert_eq!(base, digest(&inputs(), [(&b, Some(("u2", key("2")))), (&a, Some(("u1", key("1"))))]));
        for members in [
            vec![(&a, Some(("u1", key("1"))))],
            vec![(&a, Some(("u1", key("1")))), (&b, Some(("u3", key("2"))))],
            vec![(&a, Some(("u1", key("1")))), (&b, Some(("u2", key("3"))))],
        ] {
            assert_ne!(base, digest(&inputs(), members));
        }
        let changes: [fn(&mut Inputs); 4] = [
            |inputs| inputs.generation = 4,
            |inputs| inputs.artifact.push('b'),
            |inputs| inputs.target.push('b'),
            |inputs| inputs.references.clear(),
        ];
        for change in changes {
            let mut changed = inputs();
            change(&mut changed);
            let members = [(&a, Some(("u1", key("1")))), (&b, Some(("u2", key("2"))))];
            assert_ne!(base, digest(&changed, members));
        }
    }

    #[test]
    fn an_unknown_member_means_that_nothing_is_remembered() {
        assert_eq!(digest::<&str>(&inputs(), [(&id("a"), None)]), None);
    }
}
