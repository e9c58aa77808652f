//! The pass over one GitRepository, from top to bottom.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_api::source::v1::{GitRepository, GitRepositoryFacts, reason};
use sluice_api::{Artifact, Time, keys};
use sluice_artifact::{Address, Home, Published};
use sluice_git::{Checkout, Resolved};
use sluice_runtime::{Key, Note, Pass, Scope, Verdict};
use sluice_tree::Ignore;

use crate::credentials;
use crate::error::Error;
use crate::gate::{Gate, Observed, gate, news, purpose};
use crate::graft::graft;
use crate::included;
use crate::observe::{self, Storage};
use crate::request::Request;
use crate::settle::{Ledger, ObjectName, unchanged, up_to_date};
use crate::source::{Named, Source};
use crate::{Context, KEYS_METADATA, tokens};

/// A step that takes longer is announced in the status.
const PATIENCE: Duration = Duration::from_secs(2);

/// Brings one object's artifact up to date.
pub async fn reconcile(context: Arc<Context>, scope: Scope<GitRepository>) -> Pass<GitRepositoryFacts> {
    let object = scope.object.clone();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut ledger = Ledger::new(scope.previous(), object.spec.verify.is_some());
    let home = match Home::new("GitRepository", &namespace, &name) {
        Ok(home) => home,
        Err(error) => {
            return ledger.failed(&error.into(), &ObjectName { namespace }, context.dependency_interval);
        }
    };
    if scope.deleting() {
        context.lost.found(&scope.key());
        context.identity.tokens.forget(&scope.key());
        return release(&context, &home, ledger).await;
    }
    if ledger.former.is_none() {
        ledger.former = context.lost.former(&scope.key());
    }
    match steps(&context, &scope, &home, &mut ledger).await {
        Ok(done) => {
            context.lost.found(&scope.key());
            ledger.ready(&done.subject, done.note)
        }
        Err(error) => ledger.failed(&error, &ObjectName { namespace }, context.dependency_interval),
    }
}

/// How a pass came to its good end.
struct Done {
    /// Names the commit in events.
    subject: String,
    /// The event, if there is nothing better to tell.
    note: Note,
}

async fn steps(
    context: &Context,
    scope: &Scope<GitRepository>,
    home: &Home,
    ledger: &mut Ledger,
) -> Result<Done, Error> {
    let object = &*scope.object;
    let message = match observe::storage(context, home, ledger).await? {
        Storage::Intact | Storage::Empty => "building artifact",
        Storage::Lost => {
            let message = "building artifact: disappeared from storage";
            if let Some(former) = &ledger.former {
                context.lost.note(scope.key(), former.clone());
            }
            // Consumers must not go on asking for a file that is gone.
            scope.commit(&ledger.facts, message).await.map_err(|_| Error::Cancelled)?;
            message
        }
    };
    let source = prepare(context, object, &scope.key()).await?;
    let included = observe::includes(context, object, &source.request.content.includes).await?;
    let resolve = source.resolve(context, &scope.cancel);
    let resolved = match ledger.facts.artifact {
        // A slow remote alone must not cost the object its readiness.
        Some(_) => resolve.await?,
        None => patiently(scope, ledger, message, resolve).await?,
    };

    let keys = match &source.request.verify {
        Some(verify) => Some(observe::keys(context, source.namespace(), &verify.secret).await?),
        None => None,
    };
    let observed = Observed {
        revision: &resolved.revision,
        included: &included,
        keys: keys.as_ref().map(|keys| keys.digest.as_str()),
    };
    let verify = source.request.verify.as_ref();
    let gate = gate(&ledger.facts, &source.request.content, verify, &observed);
    if verify.is_none() {
        ledger.verified = None;
        ledger.facts.source_verification_mode = None;
    }
    if gate == Gate::UpToDate {
        record(ledger, &source.request, included, None);
        return Ok(Done { subject: resolved.revision.to_string(), note: unchanged(&resolved.revision) });
    }

    let dealt_with = object.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(-1);
    let generations = [dealt_with, object.metadata.generation.unwrap_or_default()];
    let progress = purpose(&ledger.facts, &observed, generations);
    let checkout =
        patiently(scope, ledger, &progress, source.fetch(context, &resolved, &scope.cancel)).await?;
    if let (Some(verify), Some(keys)) = (verify, &keys) {
        let verified =
            sluice_git::verify(verify.mode, &checkout.commit, checkout.tag.as_ref(), &keys.ring, now())?;
        ledger.notes.push(Note::trace(sluice_api::reason::SUCCEEDED, verified.message.clone()));
        ledger.verified = Some(verified.message);
        ledger.facts.source_verification_mode = Some(verify.mode.to_string());
    }
    let keys = keys.map(|keys| keys.digest);
    if gate == Gate::Verify {
        record(ledger, &source.request, included, keys);
        return Ok(Done { subject: checkout.commit.subject(), note: up_to_date(&resolved.revision) });
    }

    if ledger
        .facts
        .artifact
        .as_ref()
        .is_some_and(|artifact| !artifact.has_revision(resolved.revision.as_str()))
    {
        ledger.outdated = Some((reason::NEW_REVISION, news(&resolved.revision)));
    }
    let address = home.file(&format!("{}.tar.gz", resolved.hash))?;
    let build = build(context, &source.request, &checkout, &included, &address, scope);
    let published = patiently(scope, ledger, &progress, build).await?;
    ledger.facts.artifact = Some(artifact(published, &resolved));
    record(ledger, &source.request, included, keys);
    if checkout.skipped.symlinks > 0 {
        ledger.left_out = Some(left_out(&checkout));
    }
    Ok(Done { subject: checkout.commit.subject(), note: up_to_date(&resolved.revision) })
}

/// Everything that must be known before the remote can be asked.
async fn prepare(context: &Context, object: &GitRepository, key: &Key) -> Result<Source, Error> {
    let mut request = Request::new(object, context.allowed)?;
    let namespace = key.namespace.to_string();
    if let Some(name) = &request.proxy {
        let secret = observe::secret(context, &namespace, name).await?;
        request.remote.proxy = Some(credentials::proxy(&secret)?);
    }
    let secret = match &request.secret {
        Some(name) => Some(observe::secret(context, &namespace, name).await?),
        None => None,
    };
    credentials::apply(&mut request.remote, request.provider, secret.as_ref())?;
    request.remote.ssh = context.ssh.clone();
    tokens::sign_in(context, &mut request, key, secret.as_ref()).await?;
    Ok(Source::new(request, namespace))
}

async fn build(
    context: &Context,
    request: &Request,
    checkout: &Checkout,
    included: &[Artifact],
    address: &Address,
    scope: &Scope<GitRepository>,
) -> Result<Published, Error> {
    let mut trees = Vec::with_capacity(included.len());
    for (include, artifact) in request.content.includes.iter().zip(included) {
        let tree =
            included::tree(&context.store, &context.include, &include.repository.name, artifact).await?;
        trees.push((include.clone(), tree));
    }
    let files = Arc::new(Named(checkout.files.clone()));
    let (extra, limits) = (request.content.ignore.clone(), context.ignore);
    let prepare = move || {
        let tree = graft(files, &trees)?;
        let ignore = Ignore::load(&tree, extra.as_deref(), limits).map_err(Error::Ignore)?;
        Ok::<_, Error>((tree, ignore))
    };
    let (tree, ignore) = tokio::task::spawn_blocking(prepare).await.map_err(|_| Error::Cancelled)??;
    Ok(context.store.publish(address, tree, Arc::new(ignore), &scope.cancel).await?)
}

/// Notes what the artifact was made with, so that the next pass can tell whether it still fits.
fn record(ledger: &mut Ledger, request: &Request, included: Vec<Artifact>, keys: Option<String>) {
    let content = request.content.clone();
    let facts = &mut ledger.facts;
    facts.included_artifacts = included;
    facts.observed_ignore = content.ignore;
    facts.observed_recurse_submodules = content.submodules;
    facts.observed_include = content.includes;
    facts.observed_sparse_checkout = content.sparse;
    if let Some(artifact) = &mut facts.artifact {
        match (keys, &request.verify) {
            (Some(keys), _) => {
                artifact.metadata.insert(KEYS_METADATA.to_owned(), keys);
            }
            (None, None) => {
                artifact.metadata.remove(KEYS_METADATA);
            }
            (None, Some(_)) => {}
        }
    }
}

fn artifact(published: Published, resolved: &Resolved) -> Artifact {
    Artifact {
        path: published.path,
        url: published.url,
        revision: resolved.revision.to_string(),
        digest: published.digest.to_string(),
        last_update_time: Time::new(published.written.try_into().unwrap_or_default()),
        size: i64::try_from(published.size).ok(),
        metadata: [(keys::ARTIFACT_INDEX.to_owned(), published.index.to_string())].into(),
    }
}

fn left_out(checkout: &Checkout) -> Note {
    let skipped = &checkout.skipped;
    let names: Vec<&str> = skipped.symlink_paths.iter().map(|path| path.as_str()).collect();
    let more = if names.len() < skipped.symlinks { ", ..." } else { "" };
    let links = if skipped.symlinks == 1 { "link" } else { "links" };
    let text =
        format!("artifact leaves out {} symbolic {links}: {}{more}", skipped.symlinks, names.join(", "));
    Note::info(reason::NEW_ARTIFACT, text)
}

/// Waits for a step; if that takes long, the status says what is going on.
async fn patiently<T>(
    scope: &Scope<GitRepository>,
    ledger: &Ledger,
    message: &str,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut step = std::pin::pin!(step);
    tokio::select! {
        result = &mut step => return result,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    scope.commit(&ledger.facts, message).await.map_err(|_| Error::Cancelled)?;
    step.await
}

async fn release(context: &Context, home: &Home, mut ledger: Ledger) -> Pass<GitRepositoryFacts> {
    match context.store.remove(home).await {
        Ok(removed) => {
            if removed {
                let text = "garbage collected artifacts for deleted resource";
                ledger.notes.push(Note::trace(reason::GARBAGE_COLLECTION_SUCCEEDED, text));
            }
            Pass { facts: ledger.facts, verdict: Verdict::Released, aspects: Vec::new(), notes: ledger.notes }
        }
        Err(error) => {
            let nowhere = ObjectName { namespace: String::new() };
            ledger.failed(&Error::Removal(error), &nowhere, context.dependency_interval)
        }
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs().cast_signed())
}
