//! A remote with everything that is needed to read from it.

use std::sync::Arc;

use sluice_git::{Checkout, Resolved, Snapshot};
use sluice_tree::{Entry, Files, Kind};
use sluice_types::RelPath;
use tokio_util::sync::CancellationToken;

use crate::Context;
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
        Ok(context.mirrors.resolve(&self.request.remote, &self.request.reference, cancel).await?)
    }

    pub(crate) async fn fetch(
        &self,
        context: &Context,
        resolved: &Resolved,
        cancel: &CancellationToken,
    ) -> Result<Checkout, Error> {
        Ok(context.mirrors.fetch(&self.request.remote, resolved, &self.request.fetch, cancel).await?)
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
