//! What `cargo metadata` knows of this workspace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    metadata: Tables,
}

#[derive(Deserialize)]
struct Tables {
    floors: BTreeMap<String, Vec<String>>,
    sideways: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    tables: Vec<String>,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Its name, with prefix.
    pub(crate) name: String,
    /// Normal, build and dev dependencies.
    pub(crate) dependencies: Vec<Dependency>,
    manifest_path: PathBuf,
}

/// A dependency by name; those inside the workspace have a path.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// The package's name.
    pub(crate) name: String,
    /// Where it lies, when it is ours.
    pub(crate) path: Option<PathBuf>,
}

/// Everything the rules look at.
pub(crate) struct Workspace {
    /// All member packages.
    pub(crate) packages: Vec<Package>,
    /// Floor number by package.
    pub(crate) floors: BTreeMap<String, usize>,
    /// Arrows allowed inside one floor.
    pub(crate) sideways: BTreeMap<String, Vec<String>>,
    /// Files that are tables and may be long.
    pub(crate) tables: Vec<String>,
    root: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self> {
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(program)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("running cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Metadata = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
        let mut floors = BTreeMap::new();
        for (floor, names) in &metadata.metadata.floors {
            let number = floor.trim_start_matches('F').parse().with_context(|| format!("floor {floor}"))?;
            floors.extend(names.iter().map(|name| (name.clone(), number)));
        }
        Ok(Self {
            packages: metadata.packages,
            floors,
            sideways: metadata.metadata.sideways,
            tables: metadata.metadata.tables,
            root: metadata.workspace_root,
        })
    }

    /// The whole path of a file named from the workspace's root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// True if a path from the workspace's root exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A path as people name it, from the workspace's root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

impl Package {
    /// Every Rust source file of the package, tests and benches included.
    pub(crate) fn sources(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        if let Some(folder) = self.manifest_path.parent() {
            for part in ["src", "tests", "benches", "examples"] {
                collect(&folder.join(part), &mut found)?;
            }
        }
        found.sort();
        Ok(found)
    }

    /// The file where the crate's own story begins.
    pub(crate) fn root_file(&self) -> Option<PathBuf> {
        let source = self.manifest_path.parent()?.join("src");
        [source.join("lib.rs"), source.join("main.rs")].into_iter().find(|path| path.exists())
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
