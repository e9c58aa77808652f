//! `kustomize build` without kustomize: prints the built documents, or an error and exit code 1.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use sluice_kustomize::{LoadRestrictions, Options, Reorder, build_text};
use sluice_tree::{Entry, Error, Files, Kind};
use sluice_types::RelPath;

const USAGE: &str = "Build a kustomization target from a directory.

Usage:
  kustomize-build [DIR] [flags]

Flags:
      --as-current-user-managed-by, --enable-managedby-label
                                enable adding app.kubernetes.io/managed-by
  -h, --help                    help for build
      --load-restrictor string  if set to 'LoadRestrictionsNone', local kustomizations may load files from
                                outside their root (default \"LoadRestrictionsRootOnly\")
  -o, --output string           if specified, write output to this path
      --reorder string          'legacy' or 'none' (default \"legacy\" unless the kustomization sorts)
";

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

#[derive(Default)]
struct Arguments {
    directory: Option<String>,
    reorder: Option<String>,
    restrictor: Option<String>,
    output: Option<String>,
    managed_by: bool,
    help: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag.to_owned(), Some(value.to_owned())),
            _ => (word.clone(), None),
        };
        let mut value =
            || inline.clone().or_else(|| words.next()).ok_or(format!("flag needs an argument: {flag}"));
        match flag.as_str() {
            "--reorder" => arguments.reorder = Some(value()?),
            "--load-restrictor" => arguments.restrictor = Some(value()?),
            "--output" | "-o" => arguments.output = Some(value()?),
            "--as-current-user-managed-by" | "--enable-managedby-label" => {
                arguments.managed_by = inline.as_deref() != Some("false");
            }
            "--help" | "-h" => arguments.help = true,
            "--enable-helm" | "--enable-alpha-plugins" | "--enable-exec" | "--enable-star" | "--network" => {
                if inline.as_deref() != Some("false") {
                    return Err(format!(
                        "{flag} is not supported: charts, plugins and functions are never run"
                    ));
                }
            }
            other if other.starts_with('-') && other != "-" => return Err(format!("unknown flag: {other}")),
            _ if arguments.directory.is_some() => {
                return Err("specify one path to kustomization.yaml".to_owned());
            }
            _ => arguments.directory = Some(word),
        }
    }
    Ok(arguments)
}

fn run() -> Result<(), String> {
    let arguments = parse(std::env::args().skip(1))?;
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
    let directory = arguments.directory.unwrap_or_else(|| ".".to_owned());
    let absolute = std::path::absolute(&directory).map_err(|error| error.to_string())?;
    let text = absolute.to_str().ok_or("the path is not UTF-8")?;
    let root = RelPath::new(text.trim_start_matches('/')).map_err(|error| error.to_string())?;
    let options = Options {
        load_restrictions,
        reorder: reorder.unwrap_or(Reorder::Legacy),
        managed_by: arguments.managed_by,
        ..Options::default()
    };
    let built = build_text(&Disk, &root, &options).map_err(|error| error.under("/").to_string())?;
    // The clash of orders is only one where the flag was given.
    let is_news = |message: &str| reorder.is_some() || !message.contains("('--reorder')");
    for warning in built.warnings.iter().filter(|warning| is_news(&warning.message)) {
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
