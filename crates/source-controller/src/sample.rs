//! Objects for tests.

use sluice_api::reference::LocalReference;
use sluice_api::source::v1::{GitRepository, GitRepositorySpec, Include};
use sluice_api::{Artifact, Time};
use sluice_types::GoDuration;

pub(crate) const SHA: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

pub(crate) fn object() -> GitRepository {
    let spec = GitRepositorySpec {
        url: "https://git.example.com/apps/podinfo".into(),
        interval: GoDuration(std::time::Duration::from_secs(60)),
        ..GitRepositorySpec::default()
    };
    let mut object = GitRepository::new("podinfo", spec);
    object.metadata.namespace = Some("apps".into());
    object.metadata.generation = Some(1);
    object
}

pub(crate) fn include(name: &str) -> Include {
    Include { repository: LocalReference { name: name.into() }, ..Include::default() }
}

pub(crate) fn artifact(revision: &str, digest: char) -> Artifact {
    let path = format!("gitrepository/apps/podinfo/{SHA}.tar.gz");
    Artifact {
        url: format!("http://localhost/{path}"),
        path,
        revision: revision.into(),
        digest: format!("sha256:{}", digest.to_string().repeat(64)),
        last_update_time: Time::new("2026-01-02T03:04:05Z".parse().unwrap()),
        size: Some(10),
        metadata: Default::default(),
    }
}
