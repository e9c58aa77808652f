//! An in-process Kubernetes API for development: discovery, storage, watches, server-side apply, custom resources.
//! Never a product for clusters: it keeps everything in memory and serves only what the scenarios use.
//! Called by the test kit, the scenarios and the laboratory; nothing that is installed depends on it.

mod authorize;
mod builtin;
mod collect;
mod decode;
mod delete;
mod discovery;
mod endpoints;
mod events;
mod fieldset;
mod kinds;
mod managed;
mod merge;
mod object;
mod options;
mod patch;
mod present;
mod request;
mod reviews;
mod rules;
mod schema;
mod select;
mod server;
mod status;
mod store;
mod structural;
mod watch;
mod wire;
mod write;

use std::net::SocketAddr;

pub use server::{Options, Server, Token};

/// A kubeconfig for a server on this address, optionally with a bearer token.
pub fn kubeconfig(address: SocketAddr, token: Option<&str>) -> String {
    let user = serde_json::json!({"token": token.unwrap_or("admin")});
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "localapi",
        "clusters": [{"name": "localapi", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "localapi", "user": user}],
        "contexts": [{"name": "localapi", "context": {"cluster": "localapi", "user": "localapi"}}],
    });
    format!("{config:#}\n")
}
