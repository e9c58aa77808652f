//! Looks at everything a pass depends on beside the remote: the stored artifact, Secrets, includes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use sluice_api::Artifact;
use sluice_api::source::v1::{GitRepository, Include, reason};
use sluice_artifact::{Address, Home, State};
use sluice_runtime::Note;
use sluice_types::{Algorithm, Hasher, Redacted};

use crate::Context;
use crate::credentials::SecretData;
use crate::error::Error;
use crate::settle::Ledger;

/// What became of the stored artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As recorded.
    Intact,
    /// There never was one.
    Empty,
    /// It had to be forgotten.
    Lost,
}

/// Collects garbage and looks whether the recorded artifact is still there, and still is what it was.
pub(crate) async fn storage(context: &Context, home: &Home, ledger: &mut Ledger) -> Result<Storage, Error> {
    let Some(artifact) = ledger.facts.artifact.clone() else { return Ok(Storage::Empty) };
    // A recorded path that is not the object's own is nobody's business here.
    let Some(address) = Address::parse(&artifact.path).ok().filter(|address| address.home() == home) else {
        ledger.facts.artifact = None;
        return Ok(Storage::Lost);
    };
    match context.store.collect(&address).await {
        Ok(0) => {}
        Ok(count) => {
            let text = format!("garbage collected {count} artifacts");
            ledger.notes.push(Note::trace(reason::GARBAGE_COLLECTION_SUCCEEDED, text));
        }
        Err(error) => ledger.notes.push(Note::error(reason::GARBAGE_COLLECTION_FAILED, error.to_string())),
    }
    match context.store.check(&address, &artifact.digest).await? {
        State::Intact => {
            let url = context.store.url(&artifact.path);
            ledger.facts.artifact = Some(Artifact { url, ..artifact });
            return Ok(Storage::Intact);
        }
        State::Missing => {}
        State::Corrupt(why) => {
            let text = format!("failed to verify integrity of artifact: {why}");
            ledger.notes.push(Note::error(reason::ARTIFACT_VERIFICATION_FAILED, text));
            context.store.discard(&address).await?;
        }
    }
    ledger.facts.artifact = None;
    Ok(Storage::Lost)
}

/// Reads a Secret of the object's namespace, live.
pub(crate) async fn secret(context: &Context, namespace: &str, name: &str) -> Result<SecretData, Error> {
    let label = format!("{namespace}/{name}");
    let failed = |why: String| Error::Credentials(format!("failed to get secret '{label}': {why}"));
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|error| failed(error.to_string()))?;
    let secret = found.ok_or_else(|| failed(format!("secrets \"{name}\" not found")))?;
    let data = secret.data.unwrap_or_default();
    let data = data.into_iter().map(|(key, value)| (key, Redacted::new(value.0))).collect();
    Ok(SecretData { name: label, data })
}

/// The public keys of trusted authors, and a digest that moves when they do.
pub(crate) struct Keys {
    pub(crate) ring: BTreeMap<String, Vec<u8>>,
    pub(crate) digest: String,
}

/// Reads the Secret with public keys.
pub(crate) async fn keys(context: &Context, namespace: &str, name: &str) -> Result<Keys, Error> {
    let secret = secret(context, namespace, name).await.map_err(|error| Error::Keys(error.to_string()))?;
    let ring: BTreeMap<_, _> =
        secret.data.into_iter().map(|(key, value)| (key, value.into_inner())).collect();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for (key, value) in &ring {
        for part in [key.as_bytes(), value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(Keys { ring, digest: hasher.finish().to_string() })
}

/// The artifacts of the included repositories, in order. Whether those are ready does not matter.
pub(crate) async fn includes(
    context: &Context,
    object: &GitRepository,
    includes: &[Include],
) -> Result<Vec<Artifact>, Error> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let own = object.metadata.name.as_deref().unwrap_or_default();
    let mut artifacts = Vec::with_capacity(includes.len());
    for include in includes {
        let name = &include.repository.name;
        if leads_to(context, namespace, name, own) {
            return Err(Error::IncludeCircle(name.clone()));
        }
        let status = match context.handle.get(namespace, name) {
            Some(cached) => cached.status.clone(),
            // Another shard may have it.
            None => {
                let api: Api<GitRepository> = Api::namespaced(context.client.clone(), namespace);
                let unknown =
                    |error: kube::Error| Error::IncludeUnknown { name: name.clone(), why: error.to_string() };
                let found = api.get_opt(name).await.map_err(unknown)?;
                found.ok_or_else(|| Error::IncludeMissing(name.clone()))?.status
            }
        };
        let artifact = status.and_then(|status| status.facts.artifact);
        artifacts.push(artifact.ok_or_else(|| Error::IncludeWithoutArtifact(name.clone()))?);
    }
    Ok(artifacts)
}

/// True if following includes from `name` comes to `target`.
fn leads_to(context: &Context, namespace: &str, name: &str, target: &str) -> bool {
    let (mut pending, mut seen) = (vec![name.to_owned()], std::collections::BTreeSet::new());
    while let Some(name) = pending.pop() {
        if name == target {
            return true;
        }
        if seen.insert(name.clone())
            && let Some(object) = context.handle.get(namespace, &name)
        {
            pending.extend(object.spec.include.iter().map(|include| include.repository.name.clone()));
        }
    }
    false
}
