//! The main job, shown: a commit travels from Git to the cluster, drift is repaired, what is deleted is pruned.

mod fleet;
mod screen;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_testkit::waiting::{condition_text, text, wait, wait_gone};
use sluice_testkit::{Repository, Workloads};

use crate::resources::{
    MANAGER, apply, config_maps, deployments, kustomizations, namespace, nudge, ready_at, repositories,
};
use crate::world::{Options, World};
use screen::Screen;

/// `cargo xtask demo`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show everything once and end, with a failure if anything did not hold
    #[arg(long)]
    once: bool,
    /// Run on the server of this kubeconfig instead of the embedded API
    #[arg(long, value_name = "KUBECONFIG")]
    server: Option<std::path::PathBuf>,
}

const NAMESPACE: &str = "flux-system";
const STAGE_LIMIT: Duration = Duration::from_secs(30);

/// Carries out `cargo xtask demo`.
pub(crate) async fn run(args: Args) -> Result<()> {
    let screen = Screen::new();
    screen.title("Sluice: a commit, from Git to the cluster");
    let begun = Instant::now();
    let options = Options { server: args.server.clone(), concurrent: 4, log_level: "info" };
    let world = World::start(options).await?;
    screen.done("API server, Git server, source-controller and kustomize-controller run", begun.elapsed());
    // A real server has a controller for its Deployments.
    let _workloads = args.server.is_none().then(|| Workloads::start(world.client.clone()));
    let outcome = story(&world, &screen).await;
    if let Err(error) = &outcome {
        screen.failed(&format!("{error:#}"));
        for (name, process) in
            [("source-controller", &world.source.process), ("kustomize-controller", &world.kustomize.process)]
        {
            screen.log_tail(name, &process.output());
        }
    }
    if args.once || outcome.is_err() {
        return outcome;
    }
    screen.title("Try it");
    screen.say(&format!("export KUBECONFIG={}", world.kubeconfig.display()));
    screen.say("kubectl get gitrepositories,kustomizations -A");
    screen.say("kubectl -n dev edit configmap settings      # and watch it being repaired");
    screen.say(&format!("logs: {}", world.folder().display()));
    screen.say("Ctrl-C ends everything.");
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
}

struct Stage<'a> {
    world: &'a World,
    screen: &'a Screen,
    repository: Repository,
    pushes: std::cell::Cell<u32>,
}

async fn story(world: &World, screen: &Screen) -> Result<()> {
    let (repository, url) = world.repository("fleet")?;
    for name in [NAMESPACE, "dev", "staging", "prod"] {
        namespace(&world.client, name).await?;
    }
    let stage = Stage { world, screen, repository, pushes: std::cell::Cell::new(0) };

    screen.title("1  First commit: a base and three overlays");
    let pushed = Instant::now();
    let commit = stage.repository.commit("Deploy the shop", &fleet::first())?;
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "fleet", "namespace": NAMESPACE},
        "spec": {"interval": "1h", "url": url, "ref": {"branch": "main"}},
    });
    apply(&repositories(&world.client, NAMESPACE), "fleet", &source).await?;
    for overlay in fleet::OVERLAYS {
        apply(&kustomizations(&world.client, NAMESPACE), overlay, &kustomization(overlay)).await?;
    }
    stage.travel(&commit, pushed, |object| !text(object, "/data/color").is_empty()).await?;

    screen.title("2  Second commit: dev turns green");
    stage
        .push("Turn dev green", &[fleet::color("dev", "green")], |object| {
            text(object, "/data/color") == "green"
        })
        .await?;

    screen.title("3  Somebody edits the cluster by hand");
    stage.break_and_repair().await?;

    screen.title("4  A file is deleted in Git");
    let pushed = Instant::now();
    stage.repository.commit("Drop the banner", &fleet::without_banner())?;
    stage.ask().await?;
    wait_gone(&config_maps(&world.client, "dev"), "banner", STAGE_LIMIT).await?;
    screen.done("pruned: ConfigMap/dev/banner is gone", pushed.elapsed());

    screen.title("5  A commit that cannot be built");
    stage.broken_commit().await?;
    screen.summary();
    Ok(())
}

fn kustomization(overlay: &str) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": overlay, "namespace": NAMESPACE},
        "spec": {
            "interval": "1h", "retryInterval": "10s", "timeout": "1m", "prune": true, "wait": true,
            "path": format!("./overlays/{overlay}"), "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        },
    })
}

impl Stage<'_> {
    /// What a webhook does after a push.
    async fn ask(&self) -> Result<()> {
        self.pushes.set(self.pushes.get() + 1);
        let token = format!("push-{}", self.pushes.get());
        nudge(&repositories(&self.world.client, NAMESPACE), "fleet", &token).await
    }

    async fn push(
        &self,
        message: &str,
        changes: &[(&str, Option<&str>)],
        applied: impl Fn(&DynamicObject) -> bool,
    ) -> Result<()> {
        let pushed = Instant::now();
        let commit = self.repository.commit(message, changes)?;
        self.ask().await?;
        self.travel(&commit, pushed, applied).await
    }

    /// Follows one commit through its stages, each watched on its own.
    async fn travel(
        &self,
        commit: &str,
        pushed: Instant,
        applied: impl Fn(&DynamicObject) -> bool,
    ) -> Result<()> {
        let client = &self.world.client;
        let screen = self.screen;
        let (sources, appliers) = (repositories(client, NAMESPACE), kustomizations(client, NAMESPACE));
        let fetched = async {
            let at = |object: &DynamicObject| text(object, "/status/artifact/revision").ends_with(commit);
            wait(&sources, "fleet", STAGE_LIMIT, at).await?;
            screen.done(&format!("fetched: main@{}", &commit[..8.min(commit.len())]), pushed.elapsed());
            anyhow::Ok(())
        };
        let built = async {
            let at = |object: &DynamicObject| text(object, "/status/lastAttemptedRevision").ends_with(commit);
            wait(&appliers, "dev", STAGE_LIMIT, at).await?;
            screen.done("built: overlays/dev", pushed.elapsed());
            anyhow::Ok(())
        };
        let settings = config_maps(client, "dev");
        let applied = async {
            wait(&settings, "settings", STAGE_LIMIT, applied).await?;
            screen.done("applied: ConfigMap/dev/settings", pushed.elapsed());
            anyhow::Ok(())
        };
        let ready = async {
            for overlay in fleet::OVERLAYS {
                wait(&appliers, overlay, STAGE_LIMIT, |object| ready_at(object, commit)).await?;
            }
            screen.done("ready: dev, staging and prod are healthy at this revision", pushed.elapsed());
            anyhow::Ok(())
        };
        tokio::try_join!(fetched, built, applied, ready)?;
        Ok(())
    }

    async fn break_and_repair(&self) -> Result<()> {
        let client = &self.world.client;
        let edit = |patch: Value| {
            (
                PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() },
                Patch::Merge(patch),
            )
        };
        let (settings, shop): (Api<DynamicObject>, _) =
            (config_maps(client, "dev"), deployments(client, "dev"));
        let broken = Instant::now();
        let (parameters, patch) = edit(json!({"data": {"color": "black"}}));
        settings.patch("settings", &parameters, &patch).await?;
        wait(&settings, "settings", STAGE_LIMIT, |object| text(object, "/data/color") == "green").await?;
        self.screen.done("repaired: color black → green in ConfigMap/dev/settings", broken.elapsed());
        let broken = Instant::now();
        shop.delete("shop", &Default::default()).await?;
        wait(&shop, "shop", STAGE_LIMIT, |object| object.metadata.deletion_timestamp.is_none()).await?;
        self.screen.done("repaired: the deleted Deployment/dev/shop is back", broken.elapsed());
        Ok(())
    }

    /// A mistake in one overlay is told with file and line, and stops nothing else.
    async fn broken_commit(&self) -> Result<()> {
        let client = &self.world.client;
        let appliers = kustomizations(client, NAMESPACE);
        let pushed = Instant::now();
        let changes =
            [("overlays/staging/settings.yaml", Some("data: [unclosed\n")), fleet::color("prod", "blue")];
        let commit = self.repository.commit("Break staging, paint prod", &changes)?;
        self.ask().await?;
        let staging = wait(&appliers, "staging", STAGE_LIMIT, |object| {
            condition_text(object, "Ready", "reason") == "BuildFailed"
        })
        .await?;
        let message = condition_text(&staging, "Ready", "message");
        self.screen.done(&format!("staging says: {message}"), pushed.elapsed());
        wait(&appliers, "prod", STAGE_LIMIT, |object| ready_at(object, &commit)).await?;
        self.screen.done("prod went on to the new revision", pushed.elapsed());
        let fixed = self.repository.commit("Mend staging", &[fleet::color("staging", "white")])?;
        self.ask().await?;
        wait(&appliers, "staging", STAGE_LIMIT, |object| ready_at(object, &fixed)).await?;
        self.screen.done("staging recovered with the next commit", pushed.elapsed());
        Ok(())
    }
}
