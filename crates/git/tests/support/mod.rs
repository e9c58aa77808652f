//! Git servers on loopback, made of the host's `git`.
#![allow(dead_code)]

pub(crate) mod http;
pub(crate) mod repository;
pub(crate) mod socks;
pub(crate) mod ssh;

use std::time::Duration;

use sluice_git::{FetchOptions, Limits, Mirrors, Reference, Remote};
use sluice_tree::Files;
use sluice_types::{Proxies, RelPath};
use tokio_util::sync::CancellationToken;

/// Mirrors in a directory of their own.
pub(crate) struct Client {
    pub(crate) mirrors: Mirrors,
    pub(crate) dir: tempfile::TempDir,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(dir.path().join("git"), limits, Proxies::default()).unwrap();
        Self { mirrors, dir }
    }

    /// Remotes are reached through these.
    pub(crate) fn through(proxies: Proxies) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(dir.path().join("git"), Limits::default(), proxies).unwrap();
        Self { mirrors, dir }
    }

    /// Another process on the same directory, after this one.
    pub(crate) fn restarted(self, limits: Limits) -> Self {
        let Self { mirrors, dir } = self;
        drop(mirrors);
        let mirrors = Mirrors::new(dir.path().join("git"), limits, Proxies::default()).unwrap();
        Self { mirrors, dir }
    }

    pub(crate) async fn resolve(
        &self,
        remote: &Remote,
        reference: &Reference,
    ) -> Result<sluice_git::Resolved, sluice_git::Error> {
        self.mirrors.resolve(remote, reference, &CancellationToken::new()).await
    }

    pub(crate) async fn fetch(
        &self,
        remote: &Remote,
        resolved: &sluice_git::Resolved,
    ) -> Result<sluice_git::Checkout, sluice_git::Error> {
        self.fetch_with(remote, resolved, &FetchOptions::default()).await
    }

    pub(crate) async fn fetch_with(
        &self,
        remote: &Remote,
        resolved: &sluice_git::Resolved,
        options: &FetchOptions,
    ) -> Result<sluice_git::Checkout, sluice_git::Error> {
        self.mirrors.fetch(remote, resolved, options, &CancellationToken::new()).await
    }

    pub(crate) async fn checkout(
        &self,
        remote: &Remote,
        reference: &Reference,
    ) -> Result<sluice_git::Checkout, sluice_git::Error> {
        let resolved = self.resolve(remote, reference).await?;
        self.fetch(remote, &resolved).await
    }
}

pub(crate) fn remote(url: &str) -> Remote {
    Remote::new(url, Duration::from_secs(30)).unwrap()
}

/// A remote with something set.
pub(crate) fn adjusted(url: &str, adjust: impl FnOnce(&mut Remote)) -> Remote {
    let mut remote = remote(url);
    adjust(&mut remote);
    remote
}

pub(crate) fn branch(name: &str) -> Reference {
    Reference::Branch(name.to_owned())
}

/// Paths and contents of a checkout.
pub(crate) fn content(checkout: &sluice_git::Checkout) -> Vec<(String, String)> {
    checkout
        .files
        .entries()
        .map(|(path, _, _)| {
            let bytes = checkout.files.read(path).unwrap();
            (path.as_str().to_owned(), String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

pub(crate) fn text(checkout: &sluice_git::Checkout, path: &str) -> String {
    String::from_utf8(checkout.files.read(&RelPath::new(path).unwrap()).unwrap().to_vec()).unwrap()
}
