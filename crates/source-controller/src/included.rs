//! The trees of included repositories: from our own store or, where another shard has made them, from its server.

use std::time::Duration;

use sluice_api::Artifact;
use sluice_artifact::{Address, FetchError, FetchLimits, FetchOptions, Fetcher, Locator, State, Store};
use sluice_tree::Memory;
use sluice_types::Proxies;

use crate::error::Error;

/// Attempts after the first; the object itself is tried again, too.
const RETRIES: u32 = 1;
const WAIT: Duration = Duration::from_secs(1);

/// How an artifact is fetched that another shard has made.
pub(crate) fn fetching(limits: FetchLimits, proxies: Proxies) -> FetchOptions {
    FetchOptions {
        retries: RETRIES,
        wait_min: WAIT,
        wait_max: WAIT,
        limits,
        proxies,
        ..FetchOptions::default()
    }
}

/// The tree of an included repository's artifact.
pub(crate) async fn tree(
    store: &Store,
    fetch: &FetchOptions,
    name: &str,
    artifact: &Artifact,
) -> Result<Memory, Error> {
    let address = Address::parse(&artifact.path)?;
    if store.check(&address, &artifact.digest).await? != State::Missing {
        return Ok(store.read(&address, &artifact.digest).await?);
    }
    // An archive of our own that is lost is about to be made again.
    if artifact.url == store.url(&artifact.path) {
        return Err(Error::IncludeWithoutArtifact(name.to_owned()));
    }
    let locator = Locator { url: artifact.url.clone(), digest: artifact.digest.clone() };
    let fetched = async { Fetcher::new(fetch.clone())?.tree(&locator).await };
    fetched.await.map_err(|error| match error {
        FetchError::NotFound(_) => Error::IncludeWithoutArtifact(name.to_owned()),
        error => Error::IncludeUnknown { name: name.to_owned(), why: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_artifact::{Home, Options, ServeLimits};
    use sluice_git::{Limits, Mirrors};
    use sluice_tree::{Files as _, Ignore};
    use sluice_types::RelPath;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::sample;

    #[tokio::test]
    async fn what_another_shard_has_made_is_fetched_from_its_server() {
        let dir = tempfile::tempdir().unwrap();
        // It chooses the TLS provider, as in the process.
        let _mirrors =
            Mirrors::new(dir.path().join("mirrors"), Limits::default(), Proxies::default()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let open = |name: &str, prefix: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            Store::open(Options::new(dir.path().join(name), prefix.to_owned())).unwrap()
        };
        let (near, far) = (open("near", "http://near"), open("far", &server));
        let stop = CancellationToken::new();
        tokio::spawn(sluice_artifact::serve(far.clone(), listener, ServeLimits::default(), stop.clone()));
        let home = Home::new("GitRepository", "apps", "lib").unwrap();
        let files = Arc::new(Memory::of([("x", "1")]).unwrap());
        let address = home.file("1.tar.gz").unwrap();
        let published = far.publish(&address, files, Arc::new(Ignore::none()), &stop).await.unwrap();
        let artifact = Artifact {
            path: published.path,
            url: published.url,
            digest: published.digest.to_string(),
            ..sample::artifact("main@sha1:1", 'a')
        };

        let fetch = fetching(FetchLimits::default(), Proxies::default());
        let fetched = tree(&near, &fetch, "lib", &artifact).await.unwrap();
        assert_eq!(*fetched.read(&RelPath::new("x").unwrap()).unwrap(), *b"1");
        // What we have lost ourselves, and what is gone there, will come again.
        let lost = Artifact { url: near.url(&artifact.path), ..artifact.clone() };
        far.remove(&home).await.unwrap();
        for artifact in [lost, artifact] {
            let error = tree(&near, &fetch, "lib", &artifact).await.unwrap_err();
            assert!(matches!(error, Error::IncludeWithoutArtifact(_)), "{error}");
        }
        stop.cancel();
    }
}
