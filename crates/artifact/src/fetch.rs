use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use sluice_tree::{Index, IndexLimits, Memory, UnpackLimits, unpack_to_memory};
use sluice_types::{Algorithm, Classify, Digest, Hasher, Proxies, Retry};
use url::Url;

use crate::INDEX_SUFFIX;
use crate::pile::Pile;

/// How much a fetched artifact may weigh.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What it unfolds to.
    pub unpack: UnpackLimits,
    /// The path index.
    pub index: IndexLimits,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { archive_bytes: 512 << 20, unpack: UnpackLimits::default(), index: IndexLimits::default() }
    }
}

/// How artifacts are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Attempts after the first (`--http-retry`).
    pub retries: u32,
    /// Before the first retry; doubled for each further one.
    pub wait_min: Duration,
    /// The longest wait.
    pub wait_max: Duration,
    /// The longest silence while connecting or reading.
    pub idle: Duration,
    /// Bounds.
    pub limits: FetchLimits,
    /// Replaces host and port of every URL: for a controller that runs outside of the cluster.
    pub host: Option<String>,
    /// On the way to servers.
    pub proxies: Proxies,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            retries: 9,
            wait_min: Duration::from_secs(5),
            wait_max: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            limits: FetchLimits::default(),
            host: None,
            proxies: Proxies::default(),
        }
    }
}

/// Where an artifact is, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Locator {
    /// From `status.artifact.url`.
    pub url: String,
    /// From `status.artifact.digest`.
    pub digest: String,
}

/// Why an artifact could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be used.
    #[error("invalid artifact URL '{0}'")]
    Url(String),
    /// Nothing is there (any more): the artifact is not ready, or was superseded.
    #[error("artifact not found at '{0}'")]
    NotFound(String),
    /// The server refuses.
    #[error("failed to download artifact from {url}, status: {status}")]
    Status {
        /// The address.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// The server cannot be reached, or broke off.
    #[error("failed to download artifact from {url}: {detail}")]
    Network {
        /// The address.
        url: String,
        /// The cause.
        detail: String,
    },
    /// More bytes than allowed.
    #[error("artifact at {url} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// In bytes.
        limit: u64,
    },
    /// The status carries no digest, or one that nobody can check.
    #[error("artifact digest cannot be verified: {0}")]
    Digest(#[from] sluice_types::DigestError),
    /// The bytes are not what the digest says.
    #[error("computed digest '{actual}' doesn't match expected '{expected}'")]
    Mismatch {
        /// From the status.
        expected: Digest,
        /// Of the bytes.
        actual: Digest,
    },
    /// The archive cannot be unpacked.
    #[error("failed to untar artifact: {0}")]
    Unpack(#[from] sluice_tree::UnpackError),
    /// The path index cannot be read.
    #[error("artifact index: {0}")]
    Index(#[from] sluice_tree::IndexError),
    /// The client cannot be made, or is going down.
    #[error("{0}")]
    Client(String),
}

impl Classify for FetchError {
    fn retry(&self) -> Retry {
        match self {
            // The same bytes give the same answer; only another artifact helps.
            Self::Unpack(_) | Self::TooLarge { .. } | Self::Url(_) | Self::Digest(_) => Retry::OnChange,
            _ => Retry::Backoff,
        }
    }
}

impl FetchError {
    const fn transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => {
                matches!(status.as_u16(), 429) || status.as_u16() >= 500 && status.as_u16() != 501
            }
            _ => false,
        }
    }
}

/// Downloads artifacts. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: reqwest::Client,
    options: FetchOptions,
}

impl Fetcher {
    /// Makes the client. A TLS provider must be installed for the process.
    ///
    /// # Errors
    /// When the TLS configuration cannot be made.
    pub fn new(options: FetchOptions) -> Result<Self, FetchError> {
        let proxies = options.proxies.clone();
        let client = reqwest::Client::builder()
            .proxy(reqwest::Proxy::custom(move |url| proxies.to(url).map(str::to_owned)))
            .connect_timeout(options.idle)
            .read_timeout(options.idle)
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()
            .map_err(|error| FetchError::Client(error.to_string()))?;
        Ok(Self { client, options })
    }

    /// Downloads, verifies and unpacks an artifact. Nothing is unpacked before its digest is verified.
    /// Dropping the future ends the download.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn tree(&self, locator: &Locator) -> Result<Memory, FetchError> {
        let digest = Digest::parse(&locator.digest)?;
        let limits = self.options.limits;
        let archive = self.verified(&locator.url, &digest, limits.archive_bytes).await?;
        tokio::task::spawn_blocking(move || unpack_to_memory(archive, limits.unpack))
            .await
            .map_err(|error| FetchError::Client(error.to_string()))?
            .map_err(FetchError::from)
    }

    /// Downloads and verifies the path index beside an artifact; `digest` stands in the artifact's metadata
    /// under [`crate::INDEX_METADATA`].
    ///
    /// # Errors
    /// See [`FetchError`]; [`FetchError::NotFound`] where the server keeps no indexes.
    pub async fn index(&self, locator: &Locator, digest: &str) -> Result<Index, FetchError> {
        let digest = Digest::parse(digest)?;
        let limits = self.options.limits.index;
        let url = format!("{}{INDEX_SUFFIX}", locator.url);
        let text = self.verified(&url, &digest, limits.bytes as u64).await?;
        let text = text.into_bytes().ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(sluice_tree::IndexError::Malformed(1))?;
        Ok(Index::parse(&text, limits)?)
    }

    async fn verified(&self, url: &str, digest: &Digest, limit: u64) -> Result<Pile, FetchError> {
        let (bytes, actual) = self.download(url, digest.algorithm(), limit).await?;
        if actual != *digest {
            return Err(FetchError::Mismatch { expected: digest.clone(), actual });
        }
        Ok(bytes)
    }

    async fn download(
        &self,
        url: &str,
        algorithm: Algorithm,
        limit: u64,
    ) -> Result<(Pile, Digest), FetchError> {
        let url = self.address(url)?;
        let mut wait = self.options.wait_min;
        for _ in 0..self.options.retries {
            match self.attempt(&url, algorithm, limit).await {
                Err(error) if error.transient() => {
                    tracing::debug!(%url, %error, "retrying a download");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(self.options.wait_max);
                }
                other => return other,
            }
        }
        self.attempt(&url, algorithm, limit).await
    }

    fn address(&self, text: &str) -> Result<Url, FetchError> {
        let invalid = || FetchError::Url(text.to_owned());
        let mut url = Url::parse(text).map_err(|_| invalid())?;
        if let Some(host) = &self.options.host {
            let replacement = Url::parse(&format!("{}://{host}", url.scheme())).map_err(|_| invalid())?;
            url.set_host(replacement.host_str()).map_err(|_| invalid())?;
            url.set_port(replacement.port()).map_err(|()| invalid())?;
        }
        Ok(url)
    }

    async fn attempt(
        &self,
        url: &Url,
        algorithm: Algorithm,
        limit: u64,
    ) -> Result<(Pile, Digest), FetchError> {
        let network = |error: reqwest::Error| FetchError::Network {
            url: url.to_string(),
            detail: chain(&error.without_url()),
        };
        let response = self.client.get(url.clone()).send().await.map_err(network)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(FetchError::NotFound(url.to_string())),
            status => return Err(FetchError::Status { url: url.to_string(), status }),
        }
        let too_large = || FetchError::TooLarge { url: url.to_string(), limit };
        let announced = response.content_length().unwrap_or_default();
        if announced > limit {
            return Err(too_large());
        }
        let mut bytes = Pile::default();
        let mut hasher = Hasher::new(algorithm);
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(network)?;
            if bytes.len() + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            hasher.update(&chunk);
            bytes.push(&chunk);
        }
        Ok((bytes, hasher.finish()))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
