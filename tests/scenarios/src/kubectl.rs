//! The stock `kubectl` against the server of a site.

use std::ffi::OsString;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::site::Site;

/// The one that `$KUBECTL` names, else the one on the path.
fn program() -> OsString {
    std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into())
}

/// True where there is a `kubectl` to try. One that is named has to be there, and so has one beside a real server.
pub fn is_installed() -> bool {
    if ["KUBECTL", "SLUICE_KUBECONFIG"].iter().any(|name| std::env::var_os(name).is_some()) {
        return true;
    }
    let found = std::process::Command::new(program()).args(["version", "--client"]).output();
    found.is_ok_and(|output| output.status.success())
}

impl Site {
    /// `kubectl` with these words, in the site's namespace, as an administrator.
    pub fn kubectl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", &self.namespace]).args(words);
        // Discovery is cached below the home directory; every server is another one.
        command.env("HOME", self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What [`Site::kubectl`] says when it succeeds.
    ///
    /// # Errors
    /// When it does not; with all that it said.
    pub async fn run_kubectl(&self, words: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } =
            self.kubectl(words).output().await.context("starting kubectl")?;
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        ensure!(status.success(), "kubectl {}: {status}\n{stdout}{stderr}", words.join(" "));
        Ok(stdout.into_owned())
    }
}
