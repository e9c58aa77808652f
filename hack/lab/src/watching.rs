//! Follows many objects of one kind through one watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::task::JoinHandle;

type Objects = HashMap<String, Arc<DynamicObject>>;

/// The newest state of every object behind an API handle; stops when dropped.
pub(crate) struct Watching {
    objects: watch::Receiver<Objects>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Begins to watch.
    pub(crate) fn start(api: Api<DynamicObject>) -> Self {
        let (sender, objects) = watch::channel(Objects::new());
        let task = tokio::spawn(async move {
            let events = watcher::watcher(api, watcher::Config::default());
            let kept = events.try_for_each(|event| {
                sender.send_modify(|objects| keep(objects, event));
                std::future::ready(Ok(()))
            });
            if let Err(error) = kept.await {
                eprintln!("a watch ended: {error}");
            }
        });
        Self { objects, task }
    }

    /// Waits until `count` objects satisfy `done`.
    pub(crate) async fn until(
        &self,
        count: usize,
        limit: Duration,
        done: impl Fn(&DynamicObject) -> bool,
    ) -> Result<()> {
        let mut objects = self.objects.clone();
        let mut satisfied: std::collections::HashSet<String> = Default::default();
        let all = async {
            loop {
                let waiting: Vec<(String, Arc<DynamicObject>)> = objects
                    .borrow_and_update()
                    .iter()
                    .filter(|(name, _)| !satisfied.contains(*name))
                    .map(|(name, object)| (name.clone(), object.clone()))
                    .collect();
                satisfied
                    .extend(waiting.into_iter().filter(|(_, object)| done(object)).map(|(name, _)| name));
                if satisfied.len() >= count {
                    return Ok(());
                }
                objects.changed().await?;
            }
        };
        match tokio::time::timeout(limit, all).await {
            Ok(outcome) => outcome,
            Err(_) => {
                bail!("only {} of {count} were as expected within {} s", self.count(done), limit.as_secs())
            }
        }
    }

    /// Waits until the object of this name satisfies `done`. Unlike a list and a watch of its own, which a real server
    /// may answer a tenth of a second late, this adds nothing to a latency.
    pub(crate) async fn until_one(
        &self,
        name: &str,
        limit: Duration,
        done: impl Fn(&DynamicObject) -> bool,
    ) -> Result<()> {
        let named = |object: &DynamicObject| object.metadata.name.as_deref() == Some(name) && done(object);
        self.until(1, limit, named).await.with_context(|| format!("waiting for {name}"))
    }

    fn count(&self, done: impl Fn(&DynamicObject) -> bool) -> usize {
        self.objects.borrow().values().filter(|object| done(object)).count()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn keep(objects: &mut Objects, event: watcher::Event<DynamicObject>) {
    match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            let name = object.metadata.name.clone().unwrap_or_default();
            objects.insert(name, Arc::new(object));
        }
        watcher::Event::Delete(object) => {
            objects.remove(object.metadata.name.as_deref().unwrap_or_default());
        }
        watcher::Event::Init | watcher::Event::InitDone => {}
    }
}
