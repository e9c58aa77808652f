//! `localapi`: the in-process Kubernetes API on a loopback socket.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use sluice_localapi::{Options, Server, Token, kubeconfig};

/// A Kubernetes API for development: everything in memory, nothing checked in.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write a kubeconfig for `kubectl` here.
    #[arg(long, alias = "kubeconfig")]
    kubeconfig_out: Option<PathBuf>,
    /// Enforce roles; requests without a token stay an administrator's.
    #[arg(long)]
    rbac: bool,
    /// Known tokens, `token=user`; may be repeated.
    #[arg(long, value_name = "TOKEN=USER")]
    token: Vec<String>,
    /// How many changes per resource watches can go back.
    #[arg(long, default_value_t = Options::default().history)]
    history: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let tokens = args
        .token
        .iter()
        .map(|pair| {
            let (token, user) = pair.split_once('=').context("a token is given as TOKEN=USER")?;
            Ok(Token { token: token.to_owned(), user: user.to_owned(), groups: Vec::new() })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let options = Options { rbac: args.rbac, history: args.history, tokens, ..Options::default() };
    let server = Server::start(options);
    let (address, task) = server.listen(args.listen).await.context("cannot listen")?;
    if let Some(path) = &args.kubeconfig_out {
        std::fs::write(path, kubeconfig(address, None)).context("cannot write the kubeconfig")?;
    }
    println!("localapi ready on http://{address}");
    task.await.context("the listener ended")
}
