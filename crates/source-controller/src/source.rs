//! A remote with everything that is needed to read from it.

use std::sync::Arc;

use sluice_git::{Checkout, Resolved, Snapshot};
use sluice_tree::{Entry, Files, Kind};
use sluice_types::RelPath;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::advice::{Credentials, advice};
use crate::error::Error;
use crate::request::Request;

/// A request whose remote carries credentials.
pub(crate) struct Source {
    pub(crate) request: Request,
    namespace: String,
}

impl Source {
    pub(crate) const fn new(request: Request, namespace: String) -> Self {
        Self { request, namespace }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) async fn resolve(
        &self,
        context: &Context,
        cancel: &CancellationToken,
    ) -> Result<Resolved, Error> {
        let Request { remote, reference, .. } = &self.request;
        context.mirrors.resolve(remote, reference, cancel).await.map_err(|error| self.explain(error))
    }

    pub(crate) async fn fetch(
        &self,
        context: &Context,
        resolved: &Resolved,
        cancel: &CancellationToken,
    ) -> Result<Checkout, Error> {
        let Request { remote, fetch, .. } = &self.request;
        context.mirrors.fetch(remote, resolved, fetch, cancel).await.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: sluice_git::Error) -> Error {
        let from = Credentials {
            namespace: &self.namespace,
            secret: self.request.secret.as_deref(),
            provider: self.request.provider,
        };
        let advice = advice(&error, &self.request.remote, from);
        Error::Git { error, advice }
    }
}

/// A snapshot whose files are named by their blob ids, so that packing need not read what it knows.
pub(crate) struct Named(pub(crate) Arc<Snapshot>);

impl Files for Named {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, sluice_tree::Error> {
        self.0.read(path)
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, sluice_tree::Error> {
        self.0.list(dir)
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, sluice_tree::Error> {
        self.0.kind(path)
    }

    fn identity(&self, path: &RelPath) -> Option<[u8; 20]> {
        self.0.object_id(path)
    }
}
