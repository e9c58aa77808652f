//! `kustomize build` without kustomize: prints the built documents, or an error and exit code 1.

mod arguments;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use arguments::{Arguments, USAGE};
use sluice_kustomize::{LoadRestrictions, Options, Reorder, build_text};
use sluice_tree::{Entry, Error, Files, Kind};
use sluice_types::RelPath;

/// The file system from its root.
struct Disk;

fn place(path: &RelPath) -> PathBuf {
    Path::new("/").join(path.as_str())
}

fn explain(path: &RelPath, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(path.clone()),
        std::io::ErrorKind::NotADirectory => Error::NotADirectory(path.clone()),
        std::io::ErrorKind::IsADirectory => Error::NotAFile(path.clone()),
        _ => Error::Other(error.to_string()),
    }
}

fn kind_of(metadata: &std::fs::Metadata) -> Kind {
    if metadata.is_dir() {
        Kind::Directory
    } else if metadata.permissions().mode() & 0o111 != 0 {
        Kind::Executable
    } else {
        Kind::File
    }
}

impl Files for Disk {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error> {
        std::fs::read(place(path)).map(Arc::from).map_err(|error| explain(path, &error))
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(place(dir)).map_err(|error| explain(dir, &error))? {
            let entry = entry.map_err(|error| explain(dir, &error))?;
            let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind: kind_of(&metadata),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, Error> {
        std::fs::metadata(place(path))
            .map(|metadata| kind_of(&metadata))
            .map_err(|error| explain(path, &error))
    }

    fn canonical(&self, path: &RelPath) -> Result<RelPath, Error> {
        let real = std::fs::canonicalize(place(path)).map_err(|error| explain(path, &error))?;
        let text = real.to_str().ok_or_else(|| Error::Other("the path is not UTF-8".to_owned()))?;
        RelPath::new(text.trim_start_matches('/')).map_err(Error::from)
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.help {
        return std::io::stdout().write_all(USAGE.as_bytes()).map_err(|error| error.to_string());
    }
    let reorder = match arguments.reorder.as_deref() {
        None => None,
        Some("none") => Some(Reorder::None),
        Some("legacy") => Some(Reorder::Legacy),
        Some(other) => {
            return Err(format!("illegal flag value --reorder {other}; legal values: [legacy none]"));
        }
    };
    let load_restrictions = match arguments.restrictor.as_deref() {
        None | Some("LoadRestrictionsRootOnly") => LoadRestrictions::RootOnly,
        Some("LoadRestrictionsNone") => LoadRestrictions::None,
        Some(other) => {
            return Err(format!(
                "illegal flag value --load-restrictor {other}; legal values: [LoadRestrictionsRootOnly LoadRestrictionsNone]"
            ));
        }
    };
    if reorder.is_some() {
        let _ = writeln!(
            std::io::stderr(),
            "Flag --reorder has been deprecated, use the new 'sortOptions' field in kustomization.yaml instead."
        );
    }
    let directory = arguments.directory.unwrap_or_else(|| ".".to_owned());
    let absolute = std::path::absolute(&directory).map_err(|error| error.to_string())?;
    let text = absolute.to_str().ok_or("the path is not UTF-8")?;
    let root = RelPath::new(text.trim_start_matches('/')).map_err(|error| error.to_string())?;
    let options = Options {
        load_restrictions,
        reorder: reorder.unwrap_or(Reorder::ByDefault),
        managed_by: arguments.managed_by,
        ..Options::default()
    };
    let built = build_text(&Disk, &root, &options).map_err(|error| {
        let error = error.under("/").to_string();
        let wants_helm = arguments.helm && error.contains("must specify --enable-helm");
        if wants_helm {
            format!("{error}: charts are never inflated here, with or without the flag")
        } else {
            error
        }
    })?;
    for warning in &built.warnings {
        let _ = writeln!(std::io::stderr(), "{}", warning.message);
    }
    let yaml = built.yaml;
    match arguments.output {
        None => std::io::stdout().write_all(yaml.as_bytes()).map_err(|error| error.to_string()),
        Some(path) => std::fs::write(&path, yaml).map_err(|error| format!("{path}: {error}")),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "Error: {message}");
            ExitCode::FAILURE
        }
    }
}
