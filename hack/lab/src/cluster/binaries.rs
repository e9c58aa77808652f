//! The binaries of servers, and of kubectl where it is asked for: those that `KUBEBUILDER_ASSETS` names, or built here once from pinned modules.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Paths of the programs. What `KUBEBUILDER_ASSETS` does not hold beyond etcd and the API server is absent.
pub(super) struct Binaries {
    pub(super) etcd: PathBuf,
    pub(super) apiserver: PathBuf,
    pub(super) controller_manager: Option<PathBuf>,
    pub(super) scheduler: Option<PathBuf>,
    pub(super) kwok: Option<PathBuf>,
}

/// A binary, the Go package it is built from, and the module folder that pins the package.
const SERVERS: [(&str, &str, Module); 5] = [
    ("etcd", "go.etcd.io/etcd/server/v3", Module::Kubernetes),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", Module::Kubernetes),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", Module::Kubernetes),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", Module::Kubernetes),
    ("kwok", "sigs.k8s.io/kwok/cmd/kwok", Module::Kwok),
];

#[derive(Clone, Copy)]
enum Module {
    Kubernetes,
    Kwok,
}

/// Finds the servers of one Kubernetes minor, building what the cache lacks.
///
/// # Errors
/// When neither `KUBEBUILDER_ASSETS` nor a Go toolchain is there, or a build fails.
pub(super) async fn find_or_build(cache: &Path, minor: &str) -> Result<Binaries> {
    if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS") {
        return assets_in(Path::new(&assets));
    }
    let (kubernetes, version) = kubernetes(minor)?;
    let folder = cache.join(format!("kubernetes-{version}"));
    for (name, package, module) in SERVERS {
        let source = match module {
            Module::Kubernetes => kubernetes.clone(),
            Module::Kwok => modules().join("kwok"),
        };
        build(&folder.join(name), package, &source, &version).await?;
    }
    let path = |name: &str| folder.join(name);
    Ok(Binaries {
        etcd: path("etcd"),
        apiserver: path("kube-apiserver"),
        controller_manager: Some(path("kube-controller-manager")),
        scheduler: Some(path("kube-scheduler")),
        kwok: Some(path("kwok")),
    })
}

/// The `kubectl` of one Kubernetes minor: that of `KUBEBUILDER_ASSETS` if it holds one, else built once.
///
/// # Errors
/// When there is none, and no Go toolchain, or the build fails.
pub(super) async fn kubectl(cache: &Path, minor: &str) -> Result<PathBuf> {
    let given = std::env::var_os("KUBEBUILDER_ASSETS").map(|assets| Path::new(&assets).join("kubectl"));
    if let Some(given) = given.filter(|path| path.exists()) {
        return Ok(given);
    }
    let (kubernetes, version) = kubernetes(minor)?;
    let target = cache.join(format!("kubernetes-{version}")).join("kubectl");
    build(&target, "k8s.io/kubernetes/cmd/kubectl", &kubernetes, &version).await?;
    Ok(target)
}

/// Where the modules lie that pin what is built.
fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster")
}

/// The module that pins one Kubernetes minor, and the version it pins.
fn kubernetes(minor: &str) -> Result<(PathBuf, String)> {
    let module = modules().join(format!("kubernetes-{minor}"));
    let version = pinned(&module.join("go.mod"), "k8s.io/kubernetes")?;
    Ok((module, version))
}

/// The real helm, built once from its pinned module.
///
/// # Errors
/// When there is no Go toolchain, or the build fails.
pub(super) async fn helm(cache: &Path) -> Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm");
    let version = pinned(&module.join("go.mod"), "helm.sh/helm/v4")?;
    let target = cache.join(format!("helm-{version}")).join("helm");
    build(&target, "helm.sh/helm/v4/cmd/helm", &module, &version).await?;
    Ok(target)
}

fn assets_in(folder: &Path) -> Result<Binaries> {
    let optional = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    let required = |name: &str| {
        optional(name).with_context(|| format!("KUBEBUILDER_ASSETS={} holds no {name}", folder.display()))
    };
    Ok(Binaries {
        etcd: required("etcd")?,
        apiserver: required("kube-apiserver")?,
        controller_manager: optional("kube-controller-manager"),
        scheduler: optional("kube-scheduler"),
        kwok: optional("kwok"),
    })
}

/// The version of a module that a go.mod requires.
fn pinned(manifest: &Path, module: &str) -> Result<String> {
    let text = std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    text.lines()
        .filter_map(|line| {
            line.trim().trim_start_matches("require ").strip_prefix(module)?.strip_prefix(" v")
        })
        .filter_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .next()
        .with_context(|| format!("{} does not pin {module}", manifest.display()))
}

/// The version of Go that a go.mod asks for.
fn pinned_go(manifest: &Path) -> Result<String> {
    let text = std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    Ok(text.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default().to_owned())
}

async fn build(target: &Path, package: &str, module: &Path, version: &str) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    eprintln!("building {name} {version} (once, some minutes) …");
    let begun = Instant::now();
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    let minor = minor.split('.').next().unwrap_or("");
    let stamp = "-X k8s.io/component-base/version";
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let partial = target.with_extension("partial");
    let status = Command::new("go")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        // An older Go may fetch the one that the module asks for, whatever its distribution has set.
        .env("GOTOOLCHAIN", std::env::var_os("GOTOOLCHAIN").unwrap_or_else(|| "auto".into()))
        .args(["build", "-trimpath", "-ldflags"])
        .arg(format!(
            "-s -w {stamp}.gitVersion=v{version} {stamp}.gitMajor={major} {stamp}.gitMinor={minor} {stamp}.gitTreeState=clean"
        ))
        .arg("-o")
        .arg(&partial)
        .arg(package)
        .stdin(Stdio::null())
        .status()
        .await
        .context(
            "a Go toolchain is needed to build the API server: install Go, or point KUBEBUILDER_ASSETS at a folder \
             with etcd and kube-apiserver",
        )?;
    ensure!(
        status.success(),
        "building {name} failed ({status}): Go {} or newer and its module proxy are needed, or a folder with etcd and \
         kube-apiserver that KUBEBUILDER_ASSETS names",
        pinned_go(&module.join("go.mod"))?
    );
    std::fs::rename(&partial, target).with_context(|| target.display().to_string())?;
    eprintln!("built {name} in {} s", begun.elapsed().as_secs());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pinned_versions_are_read_from_their_manifests() {
        for minor in ["1.36", "1.34"] {
            assert!(kubernetes(minor).unwrap().1.starts_with(minor));
        }
    }
}
