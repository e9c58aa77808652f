use std::path::{Path, PathBuf};
use std::process::Command;

/// A bare repository and a work tree to fill it from.
pub(crate) struct Repository {
    _dir: Option<tempfile::TempDir>,
    pub(crate) bare: PathBuf,
    pub(crate) work: PathBuf,
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.com")
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@example.com")
        .env("GIT_ALLOW_PROTOCOL", "file")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Repository {
    /// An empty one, at `<root>/<name>.git`.
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        let (bare, work) = (root.join(format!("{name}.git")), root.join(format!("{name}-work")));
        std::fs::create_dir_all(&work).unwrap();
        git(root, &["init", "-q", "--bare", "-b", "main", bare.to_str().unwrap()]);
        git(&bare, &["config", "http.receivepack", "true"]);
        git(&work, &["init", "-q", "-b", "main"]);
        git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
        Self { _dir: None, bare, work }
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn make_executable(&self, path: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.work.join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Commits everything and pushes all branches and tags; answers the hash.
    pub(crate) fn commit(&self, message: &str) -> String {
        git(&self.work, &["add", "-A"]);
        git(&self.work, &["commit", "-q", "--allow-empty", "-m", message]);
        self.push();
        self.head()
    }

    pub(crate) fn push(&self) {
        git(&self.work, &["push", "-q", "--force", "--all", "origin"]);
        git(&self.work, &["push", "-q", "--force", "--tags", "origin"]);
    }

    pub(crate) fn head(&self) -> String {
        git(&self.work, &["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.work, args)
    }
}
