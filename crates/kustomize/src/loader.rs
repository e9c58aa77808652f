//! Finding what a kustomization names, within its bounds.

use std::sync::Arc;

use sluice_manifest::yaml;
use sluice_tree::Kind;
use sluice_types::RelPath;

use crate::error::{Error, ErrorKind, Result, bad};
use crate::node;
use crate::options::LoadRestrictions;
use crate::resource::Resource;
use crate::session::{Session, malformed};

/// The directory a kustomization lives in, and those it was reached through.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    pub(crate) root: RelPath,
    ancestors: Vec<RelPath>,
}

/// Whether an entry is fetched over HTTP rather than read.
fn is_remote_file(text: &str) -> bool {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Whether an entry names a git repository.
fn is_repository(text: &str) -> bool {
    if text.starts_with('/') {
        return false;
    }
    let text = match text.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("git::") => text.get(5..).unwrap_or(""),
        _ => text,
    };
    let lower = text.to_ascii_lowercase();
    if ["ssh://", "https://", "http://", "file://"].iter().any(|scheme| lower.starts_with(scheme)) {
        return true;
    }
    if ["github.com/", "github.com:", "gh:"].iter().any(|host| lower.starts_with(host)) {
        return true;
    }
    // user@host:path
    let head = text.split(['?', '/']).next().unwrap_or("");
    head.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.split_once(':').is_some_and(|(host, _)| !host.is_empty())
    })
}

fn refuse(entry: &str) -> Error {
    Error::new(ErrorKind::Remote, format!("remote resources are not supported: '{entry}' is not fetched"))
}

/// In Flux's words, where a path leads out of the tree and nothing else restricts it.
fn outside(session: &Session<'_>, text: &str, shown: &str) -> Option<Error> {
    let free = matches!(session.options.load_restrictions, LoadRestrictions::None)
        && !(session.options.absolute_paths && text.starts_with('/'));
    let root = session.shown(&RelPath::root());
    free.then(|| bad!("fs-security-constraint read {shown}: path '{shown}' is not in or below '{root}'"))
}

impl Loader {
    pub(crate) fn at_root(session: &Session<'_>, root: &RelPath) -> Result<Self> {
        let (root, _) = session.directory(root)?;
        Ok(Self { root, ancestors: Vec::new() })
    }

    /// Reads a file a kustomization in this directory names; where it is, and what it holds.
    pub(crate) fn load(&self, session: &Session<'_>, text: &str) -> Result<(RelPath, Arc<[u8]>)> {
        if is_remote_file(text) {
            return Err(refuse(text));
        }
        session.check()?;
        let path = session.place(&self.root, text).map_err(|shown| {
            outside(session, text, &shown).unwrap_or_else(|| {
                bad!("evalsymlink failure on '{shown}' : lstat {shown}: no such file or directory")
            })
        })?;
        let (real, kind) = match session.options.load_restrictions {
            LoadRestrictions::None => match session.find(&path) {
                Ok(found) => found,
                Err(_) => return Err(bad!("open {}: no such file or directory", session.shown(&path))),
            },
            LoadRestrictions::RootOnly => {
                let (real, kind) = session.resolve(&path)?;
                if kind == Kind::Directory {
                    return Err(bad!("'{}' must resolve to a file", session.shown(&path)));
                }
                let parent = real.parent().unwrap_or_default();
                if !parent.starts_with(&self.root) {
                    return Err(bad!(
                        "security; file '{}' is not in or below '{}'",
                        session.shown(&path),
                        session.shown(&self.root)
                    ));
                }
                (real, kind)
            }
        };
        if kind == Kind::Directory {
            return Err(bad!("read {}: is a directory", session.shown(&path)));
        }
        let content = session.read(&real)?;
        session.spend(content.len() + 256).map_err(|error| error.concerning(session.shown(&path)))?;
        Ok((real, content))
    }

    /// The text of a file.
    pub(crate) fn load_text(&self, session: &Session<'_>, text: &str) -> Result<(RelPath, String)> {
        let (path, content) = self.load(session, text)?;
        Ok((path, String::from_utf8_lossy(&content).into_owned()))
    }

    /// The objects of a file.
    pub(crate) fn load_resources(&self, session: &Session<'_>, text: &str) -> Result<Vec<Resource>> {
        let (path, content) = self.load(session, text)?;
        let parse = || session.parse_objects(yaml::read_text(&content).map_err(malformed)?);
        let nodes = session.objects_at(&path, || {
            parse().map_err(|error| {
                let located = error.located(path.as_str(), None);
                match located.kind() {
                    ErrorKind::MalformedYaml => {
                        located.reword(|message| format!("{message} in File: {text}"))
                    }
                    _ => located.concerning(session.shown(&path)),
                }
            })
        })?;
        if content.contains(&b'&') {
            // Aliases make more of a text than its size tells.
            let weight: usize = nodes.iter().map(|node| node::weigh(node).0).sum();
            session
                .spend(weight.saturating_sub(content.len()))
                .map_err(|error| error.concerning(session.shown(&path)))?;
        }
        session.hold(&nodes).map_err(|error| error.concerning(session.shown(&path)))?;
        session.resources(nodes)
    }

    /// Steps into another directory.
    pub(crate) fn descend(&self, session: &Session<'_>, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(bad!("new root cannot be empty"));
        }
        if is_repository(text) {
            return Err(refuse(text));
        }
        if text.starts_with('/') {
            return Err(bad!("new root '{text}' cannot be absolute"));
        }
        let path = session.place(&self.root, text).map_err(|shown| {
            outside(session, text, &shown).unwrap_or_else(|| {
                bad!("must build at directory: not a valid directory: evalsymlink failure on '{shown}' : lstat {shown}: no such file or directory")
            })
        })?;
        let (root, shown) =
            session.directory(&path).map_err(|error| error.wrap("must build at directory"))?;
        for visited in std::iter::once(&self.root).chain(self.ancestors.iter().rev()) {
            if visited.starts_with(&root) {
                return Err(bad!(
                    "cycle detected: candidate root '{shown}' contains visited root '{}'",
                    session.shown(visited)
                ));
            }
        }
        let mut ancestors = self.ancestors.clone();
        ancestors.push(self.root.clone());
        if ancestors.len() > session.options.limits.recursion {
            let error = Error::limit("depth of nested kustomizations", session.options.limits.recursion);
            return Err(error.concerning(shown));
        }
        Ok(Self { root, ancestors })
    }
}
