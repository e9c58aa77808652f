//! Child processes with their output in a file, ended when dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// A running program of the workspace.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a process has cost so far, as the kernel counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// The most resident memory there ever was, in bytes.
    pub peak: u64,
}

impl Process {
    /// Starts `program` with its output in `LOGS/NAME.log`.
    ///
    /// # Errors
    /// When the program cannot be started or the log not be made.
    pub fn start<A, E>(name: &str, program: &Path, arguments: A, environment: E, logs: &Path) -> Result<Self>
    where
        A: IntoIterator<Item: AsRef<OsStr>>,
        E: IntoIterator<Item = (&'static str, String)>,
    {
        let log = logs.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let child = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its exit status, if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it has not ended within `limit`; it is killed then.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(id) = self.id() {
            Command::new("kill").arg("-TERM").arg(id.to_string()).status().await.context("running kill")?;
        }
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.kill().await?;
                bail!("{} had not ended {limit:?} after SIGTERM", self.name)
            }
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} had not ended after {limit:?}", self.name),
        }
    }

    /// CPU time and memory so far, from /proc; zero once it has ended.
    pub fn usage(&self) -> Usage {
        self.id().map_or_else(Usage::default, usage)
    }
}

/// Kernel clock ticks per second; 100 on every Linux that Rust supports.
const TICKS: u64 = 100;

fn usage(id: u32) -> Usage {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The command's name may hold spaces; fields are counted after its closing parenthesis.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let ticks = fields.get(11).copied().unwrap_or(0) + fields.get(12).copied().unwrap_or(0);
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Usage {
        cpu: Duration::from_millis(ticks * 1000 / TICKS),
        resident: kilobytes("VmRSS:") * 1024,
        peak: kilobytes("VmHWM:") * 1024,
    }
}

/// The folder where cargo puts this workspace's programs in the profile that this program was built with.
///
/// # Errors
/// When this program does not lie in a target directory.
pub fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let folder = own.parent().context("this program has no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// The path of one of this workspace's programs.
///
/// # Errors
/// When it has not been built; the error says how.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = programs()?.join(name);
    if !path.exists() {
        bail!("{} is not built: run `cargo build -p sluice-{name}`", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_ends_when_asked_and_its_output_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo ready; exec tail -f /dev/null";
        let mut process =
            Process::start("sh", Path::new("/bin/sh"), ["-c", script], [], folder.path()).unwrap();
        assert!(process.ended().is_none());
        assert!(process.usage().resident > 0);
        process.terminate(Duration::from_secs(5)).await.unwrap();
        assert!(process.ended().is_some());
    }
}
