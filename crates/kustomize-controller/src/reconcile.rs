//! The pass.

use std::sync::Arc;

use sluice_api::Artifact;
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::kustomize::v1::{Kustomization, KustomizationFacts};
use sluice_api::reason as common;
use sluice_apply::Target;
use sluice_artifact::FetchError;
use sluice_manifest::Policy;
use sluice_runtime::{Pass, Scope, Trigger, Verdict};
use sluice_tree::Files as _;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::artifacts::Tree;
use crate::context::Context;
use crate::deploy::{self, Site};
use crate::error::Failure;
use crate::gate::{self, Stop};
use crate::limit::Limit;
use crate::message::{self, Step, Subject};
use crate::observe::{self, Read};
use crate::remembered::Inputs;
use crate::render::{self, Job};
use crate::request::Request;
use crate::session::{Course, Session, Work, choose};
use crate::settle::Book;
use crate::work::Build;
use crate::{recall, release, rest, target, turn};

/// How long a closed gate is nobody's business.
const QUIET: Duration = Duration::from_millis(1500);
/// The first and the longest pause between attempts to fetch an artifact.
const FETCH_LEAST: Duration = Duration::from_secs(5);
const FETCH_MOST: Duration = Duration::from_secs(30);

/// One visit of one Kustomization.
pub(crate) async fn reconcile(
    context: Arc<Context>,
    scope: Scope<Kustomization>,
) -> Pass<KustomizationFacts> {
    let key = scope.key();
    let conditions = scope.previous().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut book = Book::open(scope.facts(), conditions);
    if scope.deleting() {
        let verdict = release::release(&context, &scope, &mut book).await;
        if verdict == Verdict::Released {
            context.sessions.forget(&key);
            context.targets.forget(&key);
        }
        return book.close(verdict);
    }
    let mut session = context.sessions.take(&key);
    let verdict = match visit(&context, &scope, &mut session, &mut book).await {
        Ok(verdict) => verdict,
        Err(failure) => fail(&context, &scope, &mut session, &mut book, &failure),
    };
    context.sessions.put(&key, session);
    if context.handle.get(&key.namespace, &key.name).is_none() {
        // It was taken away under the pass, after it was forgotten.
        context.sessions.forget(&key);
    }
    book.close(verdict)
}

fn fail(
    context: &Context,
    scope: &Scope<Kustomization>,
    session: &mut Session,
    book: &mut Book,
    failure: &Failure,
) -> Verdict {
    use sluice_api::Managed as _;
    let retry = scope.object.retry_interval().unwrap_or_else(|| scope.object.interval());
    if let Some(note) = failure.note(&book.subject, &context.options) {
        if let (Some(status), Some(work)) = (failure.outcome(), &session.work) {
            book.count(&work.digest, status, deploy::now(), work.began.elapsed(), None);
        }
        book.tell(note);
    }
    if matches!(failure, Failure::Prune(_)) {
        // What could be pruned is recorded as gone already, so the next attempt needs another plan.
        session.work = None;
    }
    if !matches!(failure, Failure::Apply { .. } | Failure::Stopped { .. }) {
        session.told = None;
    }
    failure.verdict(&context.options, retry)
}

async fn visit(
    context: &Context,
    scope: &Scope<Kustomization>,
    session: &mut Session,
    book: &mut Book,
) -> Result<Verdict, Failure> {
    let began = Instant::now();
    let request = Request::read(&scope.object, &context.options)?;
    let limit = Limit::of(&request);
    let admitted = admit(context, scope, &request, session, book);
    let artifact = limit.keep("looking at the source", admitted).await?;
    let fresh = matches!(scope.trigger, Trigger::Spec | Trigger::Requested);
    let references = observe::references(context, &scope.object, fresh);
    let read = limit.keep("reading references", async { Ok(references.await?) }).await?;
    let target = limit
        .keep("reaching the cluster", async { Ok(context.targets.of(&request, &read).await?) })
        .await?
        .until(limit.until);
    let site = Site { context, scope, request: &request, target: &target, limit };
    let inputs = inputs(scope, &request, &artifact, &read);
    if !std::mem::replace(&mut session.recalled, true) {
        recall::recall(&site, &inputs, session, book).await;
    }
    let index = match &session.settled {
        Some(settled) if settled.inputs.artifact != inputs.artifact => {
            context.artifacts.index(&artifact).await
        }
        _ => None,
    };
    let course = choose(session, &inputs, index.as_deref());
    if course == Course::Build {
        tell_canceled(&site, session, book);
    }
    match course {
        Course::Rest => {
            if let Some(verdict) = rest::rest(&site, &inputs, session, book, began).await? {
                return Ok(verdict);
            }
            build(&site, &artifact, inputs, &read, session, book, began).await?;
        }
        Course::Continue => {}
        Course::Build => build(&site, &artifact, inputs, &read, session, book, began).await?,
    }
    let Some(mut work) = session.work.take() else { return Err(Failure::Overtaken) };
    // To have waited for others' builds must not cost the time that applying may take.
    let limit = Limit::of(&request);
    let target = target.until(limit.until);
    let site = Site { context, scope, request: &request, target: &target, limit };
    let outcome = deploy::deploy(&site, session, &mut work, book).await;
    if matches!(outcome, Ok(Verdict::Ready { .. })) {
        session.told = None;
        return outcome;
    }
    if outcome.is_err() {
        work.waits.clear();
    }
    session.work = Some(work);
    outcome
}

/// A wait for health that something newer has put an end to.
fn tell_canceled(site: &Site<'_>, session: &Session, book: &mut Book) {
    let waiting = session.work.as_ref().and_then(|work| work.checking.as_ref());
    let gate = site.context.options.gates.cancel_health_check_on_new_revision;
    if !gate || waiting.is_none_or(|checking| checking.failed.is_some()) {
        return;
    }
    let by = match site.scope.trigger {
        Trigger::Source => site.request.source.to_string(),
        _ => format!("Kustomization/{}", site.request.key),
    };
    let text = format!("Health checks canceled due to new reconciliation triggered by {by}");
    let note = book.subject.info(ks::HEALTH_CHECK_CANCELED, text);
    book.tell(note);
}

/// Passes the gate, or says what it waits for.
async fn admit(
    context: &Context,
    scope: &Scope<Kustomization>,
    request: &Request,
    session: &mut Session,
    book: &mut Book,
) -> Result<Artifact, Failure> {
    gate::admit(request, &context.options)
        .map_err(|stop| Failure::stopped(stop, request, &context.options, false, false))?;
    let observed = observe::observe(context, request).await;
    if let Some(artifact) = observed.source.as_ref().ok().and_then(|source| source.status.artifact.as_ref()) {
        book.subject = Subject::of(artifact);
    }
    let stop = match gate::judge(request, &scope.object, &observed, &context.options) {
        Ok(artifact) => {
            if session.stopped.take().is_some() {
                session.told = None;
            }
            return Ok(artifact);
        }
        Err(stop) => stop,
    };
    let since = *session.stopped.get_or_insert_with(Instant::now);
    let left = QUIET.saturating_sub(since.elapsed());
    // What settles within a moment, such as a chain of dependencies on its way, is not worth a word.
    let quietly = matches!(stop, Stop::Dependency(_)) && observed.circle.is_none() && !left.is_zero();
    let told = session.told.as_deref() == Some("stopped");
    let mut failure = Failure::stopped(stop, request, &context.options, quietly, told);
    if !quietly {
        session.told = Some("stopped".to_owned());
    } else if let Failure::Stopped { again, .. } = &mut failure {
        *again = left.max(Duration::from_millis(50));
    }
    Err(failure)
}

fn inputs(scope: &Scope<Kustomization>, request: &Request, artifact: &Artifact, read: &[Read]) -> Inputs {
    let references = read.iter().map(|(key, values)| {
        let version = values.as_ref().map(|values| values.version.clone()).unwrap_or_default();
        (format!("{}/{}", key.kind.as_str(), key.name), version)
    });
    Inputs {
        generation: scope.object.metadata.generation.unwrap_or_default(),
        artifact: artifact.digest.clone(),
        references: references.collect(),
        target: target::describe(&scope.object, request),
    }
}

/// Fetches and builds; afterwards the session holds the work to do.
async fn build(
    site: &Site<'_>,
    artifact: &Artifact,
    inputs: Inputs,
    read: &[Read],
    session: &mut Session,
    book: &mut Book,
    began: Instant,
) -> Result<(), Failure> {
    let context = site.context;
    let tree = fetch(site, artifact, session).await?;
    if tree.files.kind(&site.request.path).is_err() {
        return Err(Failure::Path(format!(
            "kustomization path not found: stat /{}: no such file or directory",
            site.request.path
        )));
    }
    book.facts.last_attempted_revision = Some(artifact.revision.clone());
    let variables = observe::variables(site.request, read)?;
    let job = Job {
        tree,
        object: site.scope.object.clone(),
        path: site.request.path.clone(),
        variables,
        strict: context.options.gates.strict_post_build_substitutions,
    };
    let render = move |stop: &CancellationToken| render::render(&job, stop);
    let rendered = turn::take(&context.builders, site.limit, &site.scope.cancel, render).await?;
    let rendered = rendered.map_err(render_failure)?;
    for warning in &rendered.warnings {
        tracing::warn!(%warning, "kustomize build");
    }
    // A field that nobody reads is most often a mistake; deprecated ones are only logged.
    let ignored: Vec<&str> = rendered
        .warnings
        .iter()
        .filter(|text| text.starts_with("unknown field"))
        .map(String::as_str)
        .collect();
    if !ignored.is_empty() {
        let note = book.subject.info(common::PROGRESSING, ignored.join("\n"));
        book.tell(note);
    }
    let objects = site.limit.keep("reading discovery", place(site.target, rendered.objects)).await?;
    let (recorded, odd) = book.inventory();
    for entry in &odd {
        tracing::warn!(id = %entry.id, "an inventory entry cannot be read and is dropped");
    }
    let repairs = session.settled.as_ref().is_some_and(|settled| settled.inputs == inputs);
    if !repairs {
        // What is desired is another matter now.
        session.contests.clear();
    }
    recall::trust(site, &inputs, &rendered.digest, session, &objects);
    let policy =
        Policy { prune: site.request.prune, custom_stage_kinds: context.options.stage_kinds.clone() };
    let build = Build { inputs, reads: rendered.reads, digest: rendered.digest, objects, began, repairs };
    session.work = Some(Work::plan(build, &recorded, &policy));
    Ok(())
}

/// Fetches the artifact. A server that is down is tried again by later passes: none of them waits for it.
async fn fetch(site: &Site<'_>, artifact: &Artifact, session: &mut Session) -> Result<Arc<Tree>, Failure> {
    let tree = async { Ok(site.context.artifacts.tree(artifact).await) };
    let error = match site.limit.keep("fetching the artifact", tree).await? {
        Ok(tree) => {
            session.fetches = None;
            return Ok(tree);
        }
        Err(error) => error,
    };
    let before = session.fetches.take().filter(|(digest, _)| *digest == artifact.digest);
    let count = before.map_or(1, |(_, count)| count.saturating_add(1));
    if !may_pass(&error) || count > site.context.options.http_retry {
        return Err(Failure::Fetch(error));
    }
    tracing::info!(%error, "the artifact cannot be fetched: trying again");
    session.fetches = Some((artifact.digest.clone(), count));
    Err(Failure::Fetching {
        message: message::progress(Step::Fetch, &artifact.revision, site.request.timeout),
        again: FETCH_LEAST.saturating_mul(1 << count.min(4).saturating_sub(1)).min(FETCH_MOST),
    })
}

/// True for failures of a server that is down or busy.
fn may_pass(error: &FetchError) -> bool {
    match error {
        FetchError::Network { .. } => true,
        FetchError::Status { status, .. } => status.as_u16() == 429 || status.is_server_error(),
        _ => false,
    }
}

fn render_failure(failure: render::Failure) -> Failure {
    match failure {
        render::Failure::Build(text) => Failure::Build(text),
        render::Failure::Apply(text) => Failure::Apply { text, on: Vec::new(), told: false },
    }
}

/// Drops the namespaces of objects that belong to the cluster: they are written there by transformers.
async fn place(
    target: &Target,
    mut objects: Vec<sluice_manifest::Object>,
) -> Result<Vec<sluice_manifest::Object>, Failure> {
    for object in &mut objects {
        if object.namespace().is_none() {
            continue;
        }
        let id = object.id();
        let placed =
            target.cluster().place(&id).await.map_err(|failure| Failure::Client(failure.to_string()))?;
        if placed.namespace.is_empty()
            && let Some(metadata) =
                object.value_mut().get_mut("metadata").and_then(|metadata| metadata.as_object_mut())
        {
            metadata.remove("namespace");
        }
    }
    Ok(objects)
}

/// The verdict of success.
pub(crate) fn ready(book: &Book) -> Verdict {
    Verdict::ready(ks::RECONCILIATION_SUCCEEDED, message::applied(&book.subject.revision))
}
