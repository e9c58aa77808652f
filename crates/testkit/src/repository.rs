//! Bare repositories made by the host's `git`, for servers on loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// A bare repository with a working clone beside it, both below one folder.
pub struct Repository {
    name: String,
    bare: PathBuf,
    work: PathBuf,
}

impl Repository {
    /// Makes an empty repository `NAME.git` on branch `main` below `root`.
    ///
    /// # Errors
    /// When the host has no `git`, or the folder cannot be written.
    pub fn create(root: &Path, name: &str) -> Result<Self> {
        let bare = root.join(format!("{name}.git"));
        let work = root.join(format!("{name}.work"));
        let path = |path: &Path| path.display().to_string();
        run(root, &["init", "--quiet", "--bare", "--initial-branch=main", &path(&bare)])?;
        run(&bare, &["config", "http.receivepack", "true"])?;
        run(&bare, &["config", "uploadpack.allowReachableSHA1InWant", "true"])?;
        run(root, &["init", "--quiet", "--initial-branch=main", &path(&work)])?;
        run(&work, &["remote", "add", "origin", &path(&bare)])?;
        Ok(Self { name: name.to_owned(), bare, work })
    }

    /// The bare repository's folder.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The working clone's folder.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The name it is served under, with `.git`.
    pub fn served_name(&self) -> String {
        format!("{}.git", self.name)
    }

    /// Writes (`Some`) and removes (`None`) files, commits all of it and pushes to `main`.
    ///
    /// Returns the commit's hash.
    ///
    /// # Errors
    /// When a file cannot be written or git refuses.
    pub fn commit(&self, message: &str, changes: &[(&str, Option<&str>)]) -> Result<String> {
        for (path, content) in changes {
            let file = self.work.join(path);
            match content {
                Some(content) => {
                    if let Some(folder) = file.parent() {
                        std::fs::create_dir_all(folder)?;
                    }
                    std::fs::write(&file, content).with_context(|| file.display().to_string())?;
                }
                None => std::fs::remove_file(&file).with_context(|| file.display().to_string())?,
            }
        }
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.git(&["push", "--quiet", "origin", "HEAD"])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// Runs any git command in the working clone and gives its standard output.
    ///
    /// # Errors
    /// When git fails; the error holds what it printed.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        run(&self.work, arguments)
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Result<String> {
    let Output { status, stdout, stderr } = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.com"),
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.com"),
        ])
        .args(arguments)
        .output()
        .context("running git")?;
    ensure!(status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
