//! The driver against an API server in memory: what is written in the end, and what is not. Time is paused:
//! it passes only while nothing else happens.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{Fake, condition};
use futures::future::BoxFuture;
use serde_json::json;
use sluice_api::reason::{FAILED, PROGRESSING, SUCCEEDED};
use sluice_api::source::v1::{GitRepository, GitRepositoryFacts};
use sluice_runtime::{
    Handle, Host, Key, Note, Pass, Readiness, Scope, Trigger, Urgency, Verdict, WakeKey, WatchScope, Wiring,
    drive,
};
use sluice_types::Retry;
use tokio::task::JoinHandle;

type Facts = GitRepositoryFacts;
type Step = Arc<dyn Fn(Scope<GitRepository>) -> BoxFuture<'static, Pass<Facts>> + Send + Sync>;

/// What each object's passes do, and why they ran.
#[derive(Default)]
struct Script {
    steps: BTreeMap<String, Step>,
    ran: Mutex<Vec<(String, Trigger)>>,
}

impl Script {
    fn on<F>(mut self, name: &str, step: impl Fn(Scope<GitRepository>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Pass<Facts>> + Send + 'static,
    {
        self.steps.insert(name.to_owned(), Arc::new(move |scope| Box::pin(step(scope))));
        self
    }

    fn triggers(&self, name: &str) -> Vec<Trigger> {
        self.ran.lock().unwrap().iter().filter(|(ran, _)| ran == name).map(|(_, trigger)| *trigger).collect()
    }
}

struct Run {
    fake: Fake,
    host: Host,
    handle: Handle<GitRepository>,
    script: Arc<Script>,
    driver: JoinHandle<Result<(), sluice_runtime::drive::Error>>,
}

fn start(fake: &Fake, script: Script) -> Run {
    start_in(fake, script, WatchScope::default())
}

fn start_in(fake: &Fake, script: Script, scope: WatchScope) -> Run {
    let mut host = Host::embedded(fake.client(), "source-controller", None).unwrap();
    host.scope = scope;
    let wiring = Wiring {
        field_manager: "source-controller",
        finalizer: Some("finalizers.fluxcd.io"),
        concurrency: 2,
        owned: &["FetchFailed"],
        progress: None,
        suspension_settles: true,
        deadline: |_| Duration::from_secs(600),
    };
    let (handle, script) = (Handle::new(), Arc::new(script));
    let driver = tokio::spawn(drive(wiring, handle.clone(), script.clone(), host.clone(), reconcile));
    Run { fake: fake.clone(), host, handle, script, driver }
}

async fn reconcile(script: Arc<Script>, scope: Scope<GitRepository>) -> Pass<Facts> {
    let name = scope.key().name.to_string();
    script.ran.lock().unwrap().push((name.clone(), scope.trigger));
    let step = script.steps.get(&name).cloned();
    match step {
        Some(step) => step(scope).await,
        None => done(&scope),
    }
}

impl Run {
    async fn ready(&self, name: &str) {
        self.fake.until_condition(name, "Ready", "True").await;
        self.host.events.flush(Duration::from_secs(60)).await;
    }

    async fn stop(self) {
        self.host.stop.cancel();
        self.driver.await.unwrap().unwrap();
    }
}

fn done(scope: &Scope<GitRepository>) -> Pass<Facts> {
    let note = Note::info(SUCCEEDED, "done").routine();
    Pass::new(scope.facts(), Verdict::ready(SUCCEEDED, "done")).note(note)
}

fn observed(text: &str) -> Facts {
    Facts { observed_ignore: Some(text.to_owned()), ..Facts::default() }
}

fn request(value: &str) -> serde_json::Value {
    json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": value}}})
}

#[tokio::test(start_paused = true)]
async fn a_new_object_costs_a_finalizer_one_status_and_one_event() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    let run = start(&fake, Script::default());
    run.ready("app").await;
    assert_eq!(fake.writes(), ["object app", "status app", "event app"]);
    let object = fake.object("app");
    assert_eq!(object["metadata"]["finalizers"], json!(["finalizers.fluxcd.io"]));
    assert_eq!(object["status"]["observedGeneration"], 1);
    assert_eq!(fake.events()[0]["source"]["component"], "source-controller");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_visit_writes_nothing_and_a_nudge_costs_one_status_and_one_event() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    let run = start(&fake, Script::default());
    run.ready("app").await;
    fake.clear_writes();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(run.script.triggers("app").len() > 9, "{:?}", run.script.triggers("app"));
    assert_eq!(fake.writes(), [""; 0]);
    let quiet = run.host.metrics.counter("sluice_quiet_visits_total", "", &["controller"]);
    assert!(quiet.value(&["gitrepository"]) > 8.0);
    fake.put("app", request("one"));
    fake.until("answer", |fake| fake.object("app")["status"]["lastHandledReconcileAt"] == "one").await;
    run.host.events.flush(Duration::from_secs(60)).await;
    assert_eq!(fake.writes(), ["status app", "event app"]);
    assert_eq!(fake.events()[0]["count"], 2);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_becomes_a_failure_and_the_others_go_on() {
    let fake = Fake::new();
    fake.put("bad", json!({}));
    fake.put("good", json!({}));
    let run = start(&fake, Script::default().on("bad", |_| async { panic!("poison") }));
    run.ready("good").await;
    fake.until_condition("bad", "Ready", "False").await;
    let object = fake.object("bad");
    assert_eq!(condition(&object, "Reconciling")["reason"], "ProgressingWithRetry");
    assert!(!object.to_string().contains("poison"), "what the panic says is not for the status");
    let tries = run.script.triggers("bad").len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(run.script.triggers("bad").len() > tries);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_ignores_its_deadline_is_given_up() {
    let fake = Fake::new();
    fake.put("stuck", json!({}));
    let run = start(&fake, Script::default().on("stuck", |_| futures::future::pending()));
    fake.until_condition("stuck", "Ready", "False").await;
    let message = condition(&fake.object("stuck"), "Ready")["message"].to_string();
    assert!(message.contains("given up after 10m0s"), "{message}");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_trigger_ends_a_wait_a_retry_and_a_pass_in_progress() {
    let waiting = Verdict::Waiting {
        reason: PROGRESSING,
        message: "waiting".to_owned(),
        readiness: Readiness::False,
        on: vec![WakeKey::kind("x", "Y")],
        again: Duration::from_secs(86_400),
    };
    let retry = Retry::After(Duration::from_secs(86_400));
    let failing = Verdict::Failed { reason: FAILED, message: "failed".to_owned(), retry };
    let stalled = Verdict::stalled(FAILED, "stalled");
    for verdict in [waiting, failing, stalled] {
        let fake = Fake::new();
        fake.put("app", json!({}));
        let script = Script::default().on("app", move |scope: Scope<GitRepository>| {
            let verdict = verdict.clone();
            async move {
                if scope.trigger == Trigger::Source {
                    done(&scope)
                } else {
                    Pass::new(scope.facts(), verdict)
                }
            }
        });
        let run = start(&fake, script);
        fake.until_condition("app", "Ready", "False").await;
        run.handle.enqueue(&Key::new("apps", "app"), Urgency::Fresh);
        run.ready("app").await;
        run.stop().await;
    }
    let fake = Fake::new();
    fake.put("app", json!({}));
    let script = Script::default().on("app", |scope: Scope<GitRepository>| async move {
        if scope.trigger == Trigger::Source {
            return done(&scope);
        }
        scope.cancel.cancelled().await;
        Pass::new(scope.facts(), Verdict::Again)
    });
    let run = start(&fake, script);
    let seen = || !run.script.triggers("app").is_empty();
    fake.until("the first pass", |_| seen()).await;
    run.handle.enqueue(&Key::new("apps", "app"), Urgency::Fresh);
    run.ready("app").await;
    assert_eq!(run.script.triggers("app"), [Trigger::Spec, Trigger::Source]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_only_gets_its_request_answered() {
    let fake = Fake::new();
    fake.put("app", json!({"spec": {"suspend": true}}));
    fake.put("app", request("now"));
    let run = start(&fake, Script::default());
    fake.until("answer", |fake| fake.object("app")["status"]["lastHandledReconcileAt"] == "now").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fake.writes(), ["status app"]);
    assert_eq!(fake.object("app")["status"], json!({"lastHandledReconcileAt": "now"}));
    assert!(run.script.triggers("app").is_empty());
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_conflict_facts_and_owned_conditions_win_and_foreign_conditions_survive() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    fake.before_status(|object| {
        object["status"]["observedIgnore"] = json!("theirs");
        object["status"]["conditions"] = json!([
            {"type": "Ready", "status": "False", "reason": "X", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"},
            {"type": "Theirs", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"},
        ]);
    });
    let script = Script::default()
        .on("app", |_| async { Pass::new(observed("ours"), Verdict::ready(SUCCEEDED, "done")) });
    let run = start(&fake, script);
    run.ready("app").await;
    let object = fake.object("app");
    assert_eq!(object["status"]["observedIgnore"], "ours");
    assert_eq!(condition(&object, "Theirs")["status"], "True");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_with_a_conflict_is_answered_by_another_pass() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    fake.before_status(|object| {
        object["metadata"]["annotations"] = json!({"reconcile.fluxcd.io/requestedAt": "late"});
    });
    let run = start(&fake, Script::default());
    fake.until("answer", |fake| fake.object("app")["status"]["lastHandledReconcileAt"] == "late").await;
    assert_eq!(run.script.triggers("app"), [Trigger::Spec, Trigger::Requested]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_durable_before_the_pass_goes_on_and_refused_over_foreign_facts() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    let look = fake.clone();
    let script = Script::default().on("app", move |scope: Scope<GitRepository>| {
        let look = look.clone();
        async move {
            if let Err(lost) = scope.commit(&observed("claim"), "claiming").await {
                return Pass::new(scope.facts(), lost.into());
            }
            let object = look.object("app");
            assert_eq!(object["status"]["observedIgnore"], "claim");
            assert_eq!(condition(&object, "Reconciling")["message"], "claiming");
            Pass::new(observed("end"), Verdict::ready(SUCCEEDED, "done"))
        }
    });
    fake.before_status(|object| object["status"] = json!({"observedIgnore": "theirs"}));
    let run = start(&fake, script);
    run.ready("app").await;
    assert_eq!(fake.object("app")["status"]["observedIgnore"], "end");
    assert_eq!(run.script.triggers("app"), [Trigger::Spec, Trigger::Retry], "the first claim was lost");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_survives_a_foreign_label() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    fake.before_status(|object| object["metadata"]["labels"] = json!({"a": "b"}));
    let script = Script::default().on("app", |scope: Scope<GitRepository>| async move {
        match scope.commit(&observed("claim"), "claiming").await {
            Ok(()) => Pass::new(observed("claim"), Verdict::ready(SUCCEEDED, "done")),
            Err(lost) => Pass::new(scope.facts(), lost.into()),
        }
    });
    let run = start(&fake, script);
    run.ready("app").await;
    assert_eq!(run.script.triggers("app"), [Trigger::Spec]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_written_is_made_up_for_and_what_was_done_is_told() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    fake.break_status(3);
    let script = Script::default().on("app", |scope: Scope<GitRepository>| async move {
        let pass = done(&scope);
        if scope.attempt == 0 { pass.note(Note::info(SUCCEEDED, "applied")) } else { pass }
    });
    let run = start(&fake, script);
    run.ready("app").await;
    let told: Vec<_> = fake.events().iter().map(|event| event["message"].clone()).collect();
    assert_eq!(told, ["applied", "done"]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_pass_did_is_told_even_when_another_must_follow_at_once() {
    let fake = Fake::new();
    fake.put("overtaken", json!({}));
    fake.put("woken", json!({}));
    let handle: Arc<Mutex<Option<Handle<GitRepository>>>> = Arc::default();
    let waker = handle.clone();
    let first = |scope: &Scope<GitRepository>| scope.trigger == Trigger::Spec;
    let script = Script::default()
        .on("overtaken", move |scope: Scope<GitRepository>| async move {
            let applied = Note::info(SUCCEEDED, "applied and overtaken");
            if first(&scope) { Pass::new(scope.facts(), Verdict::Again).note(applied) } else { done(&scope) }
        })
        .on("woken", move |scope: Scope<GitRepository>| {
            let waker = waker.clone();
            async move {
                if !first(&scope) {
                    return done(&scope);
                }
                let on = WakeKey::kind("x", "Y");
                waker.lock().unwrap().as_ref().unwrap().wake(&on);
                let verdict = Verdict::Waiting {
                    reason: PROGRESSING,
                    message: "waiting".to_owned(),
                    readiness: Readiness::Unknown,
                    on: vec![on],
                    again: Duration::from_secs(60),
                };
                Pass::new(scope.facts(), verdict).note(Note::info(SUCCEEDED, "applied and woken"))
            }
        });
    let run = start(&fake, script);
    *handle.lock().unwrap() = Some(run.handle.clone());
    run.ready("overtaken").await;
    run.ready("woken").await;
    let mut told: Vec<_> = fake.events().iter().map(|event| event["message"].clone()).collect();
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, ["applied and overtaken", "applied and woken", "done", "done"]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_not_written_and_a_long_one_is() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    let script = Script::default().on("app", |scope: Scope<GitRepository>| async move {
        if scope.trigger == Trigger::Wake {
            return done(&scope);
        }
        let on = vec![WakeKey::object("", "Secret", "apps", "x")];
        let (reason, message) = (PROGRESSING, "waiting for x".to_owned());
        let again = Duration::from_secs(86_400);
        let verdict = Verdict::Waiting { reason, message, readiness: Readiness::Unknown, on, again };
        Pass::new(observed("seen"), verdict)
    });
    let run = start(&fake, script);
    fake.until("the first pass", |_| !run.script.triggers("app").is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    run.handle.wake(&WakeKey::object("", "Secret", "apps", "other"));
    run.handle.wake(&WakeKey::object("", "Secret", "apps", "x"));
    run.ready("app").await;
    assert_eq!(fake.writes(), ["object app", "status app", "event app"]);
    fake.clear_writes();
    fake.put("app", json!({"metadata": {"generation": 2}}));
    fake.until_condition("app", "Ready", "Unknown").await;
    assert_eq!(run.script.triggers("app"), [Trigger::Spec, Trigger::Wake, Trigger::Spec]);
    let object = fake.object("app");
    assert_eq!(object["status"]["observedIgnore"], "seen");
    assert_eq!(object["status"]["observedGeneration"], 1);
    run.handle.wake(&WakeKey::object("", "Secret", "apps", "x"));
    run.ready("app").await;
    assert_eq!(fake.object("app")["status"]["observedGeneration"], 2);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_goes_when_its_pass_lets_it() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    let script = Script::default().on("app", |scope: Scope<GitRepository>| async move {
        match (scope.deleting(), scope.attempt) {
            (false, _) => done(&scope),
            (true, 0) => Pass::new(scope.facts(), Verdict::failed(FAILED, "not yet")),
            (true, _) => Pass::new(scope.facts(), Verdict::Released),
        }
    });
    let run = start(&fake, script);
    run.ready("app").await;
    fake.put("app", json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}}));
    fake.until("deletion", |fake| fake.object("app").is_null()).await;
    let mut gone = run.handle.subscribe();
    if run.handle.get("apps", "app").is_some() {
        gone.recv().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(run.handle.list().is_empty());
    assert!(!run.host.metrics.render().contains("name=\"app\",namespace"), "its series are gone with it");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_goes_and_was_never_ours_is_left_alone() {
    let fake = Fake::new();
    let going = json!({"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": ["example.com/other"]});
    fake.put("app", json!({"metadata": going}));
    fake.put("other", json!({}));
    let run = start(&fake, Script::default());
    run.ready("other").await;
    fake.put("app", request("one"));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(run.script.triggers("app"), []);
    assert!(fake.writes().iter().all(|write| !write.ends_with(" app")), "{:?}", fake.writes());
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_does_not_keep_the_others_from_running() {
    let fake = Fake::new();
    fake.put("odd", json!({"spec": {"interval": 7}}));
    fake.put("good", json!({}));
    let run = start(&fake, Script::default());
    run.ready("good").await;
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_only_waits_stops_at_once() {
    let fake = Fake::new();
    fake.put("parked", json!({}));
    fake.put("polite", json!({}));
    let script = Script::default()
        .on("parked", |scope: Scope<GitRepository>| async move {
            let (reason, message, again) = (PROGRESSING, String::new(), Duration::from_secs(86_400));
            let (readiness, on) = (Readiness::False, vec![WakeKey::Named("x".into())]);
            Pass::new(scope.facts(), Verdict::Waiting { reason, message, readiness, on, again })
        })
        .on("polite", |scope: Scope<GitRepository>| async move {
            scope.cancel.cancelled().await;
            Pass::new(scope.facts(), Verdict::failed(FAILED, "cut short"))
        });
    let run = start(&fake, script);
    fake.until_condition("parked", "Ready", "False").await;
    fake.until("both run", |_| run.script.ran.lock().unwrap().len() > 1).await;
    let before = tokio::time::Instant::now();
    run.stop().await;
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(fake.object("polite")["status"].is_null(), "what was cut short has nothing to say");
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_one_namespace_only_looks_there() {
    let fake = Fake::new();
    fake.put("app", json!({}));
    let scope = WatchScope { namespace: Some("apps".to_owned()), selector: Some("shard=one".to_owned()) };
    let run = start_in(&fake, Script::default(), scope);
    run.ready("app").await;
    fake.until("list and watch", |fake| fake.looked().len() > 1).await;
    for uri in fake.looked() {
        assert!(
            uri.contains("/namespaces/apps/gitrepositories?") && uri.contains("labelSelector=shard%3Done"),
            "{uri}"
        );
    }
    run.stop().await;
}
