//! Finding a kustomization file, and listing manifests where there is none.

use serde_json::{Map, Value};
use sluice_tree::{Files, Kind};
use sluice_types::RelPath;

use super::{Error, FILE_NAMES};
use crate::Options;
use crate::session::{Parsed, Session};

/// The kustomization file of a directory.
pub(super) fn find(files: &dyn Files, directory: &RelPath) -> Option<RelPath> {
    let is_file = |path: &RelPath| files.kind(path).is_ok_and(Kind::is_file);
    FILE_NAMES.iter().filter_map(|name| directory.join(name).ok()).find(is_file)
}

/// A kustomization of every manifest below `directory`. Directories with a kustomization of their
/// own are listed as a whole. What was parsed to see that comes along. Without any manifest a namespace nobody uses keeps it from being
/// empty.
pub(super) fn generate(
    files: &dyn Files,
    directory: &RelPath,
    options: &Options<'_>,
) -> Result<(Map<String, Value>, Parsed), Error> {
    let mut found = Vec::new();
    let session = Session::new(files, options, Parsed::default());
    collect(&session, files, directory, ".", options.limits.recursion, &mut found)?;
    let mut kustomization = Map::new();
    if found.is_empty() {
        kustomization.insert("namespace".into(), "_placeholder".into());
    } else {
        kustomization.insert("resources".into(), found.into());
    }
    Ok((kustomization, session.into_parsed()))
}

fn collect(
    session: &Session<'_>,
    files: &dyn Files,
    directory: &RelPath,
    shown: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let unreadable = |error: sluice_tree::Error| Error::Prepare(error.to_string());
    for entry in files.list(directory).map_err(unreadable)? {
        let Ok(path) = directory.join(&entry.name) else { continue };
        let shown = format!("{shown}/{}", entry.name);
        if entry.kind == Kind::Directory {
            if find(files, &path).is_some() {
                found.push(shown);
            } else if depth == 0 {
                return Err(Error::Prepare(format!("directories below {directory} are nested too deeply")));
            } else {
                collect(session, files, &path, &shown, depth - 1, found)?;
            }
            continue;
        }
        if !is_manifest(&entry.name) {
            continue;
        }
        let refuse = |why: String| {
            Error::Prepare(format!("failed to decode Kubernetes YAML from {}: {why}", path.as_str()))
        };
        let bytes = session.read(&path).map_err(|error| Error::Prepare(error.to_string()))?;
        let text = sluice_manifest::yaml::read_text(&bytes).map_err(|e| refuse(e.to_string()))?;
        let objects = session
            .parse_objects(text)
            .map_err(|error| refuse(error.located(path.as_str(), None).to_string()))?;
        session.note_objects(path, objects);
        found.push(shown);
    }
    Ok(())
}

fn is_manifest(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((_, "yaml" | "yml")))
}

/// Whether a component's path is local and relative: no URL, no repository, not absolute.
pub fn is_local_relative_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let remote = ["git::", "gh:", "ssh://", "https://", "http://", "git@", "github.com:", "github.com/"]
        .iter()
        .any(|prefix| lower.len() > prefix.len() && lower.starts_with(prefix));
    !(remote || path.starts_with('/') || lower.strip_prefix("file://").unwrap_or(&lower).starts_with('/'))
}
