use gix::ObjectId;
use sluice_types::Revision;

use crate::error::Error;
use crate::wire::RemoteRef;

/// What to follow on a remote. The caller has already applied the precedence
/// commit > name > tag > semver > branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The head of a branch.
    Branch(String),
    /// A tag; annotated ones are peeled.
    Tag(String),
    /// The newest tag in a range.
    Semver(String),
    /// Any full reference name; `refs/tags/x^{}` means the peeled commit.
    Name(String),
    /// One commit, looked for on the branch if one is given.
    Commit {
        /// Hexadecimal hash.
        hash: String,
        /// Restricts the search.
        branch: Option<String>,
    },
}

/// The state a reference stood for when the remote was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Revision text, `<short ref>@sha1:<hex>` or `sha1:<hex>`.
    pub revision: Revision,
    /// The commit, in hexadecimal.
    pub hash: String,
    /// The full name on the remote (`refs/…`); `None` for a bare commit.
    pub reference: Option<String>,
    /// The tag object's hash, for an annotated tag.
    pub tag: Option<String>,
    /// The head of the branch that a commit must be reachable from.
    pub(crate) within: Option<ObjectId>,
}

impl Reference {
    /// The full name to look for; `None` where that is not one name.
    pub(crate) fn full_name(&self) -> Result<Option<String>, Error> {
        let name = match self {
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
            Self::Name(name) => {
                if name.starts_with('/') || name.ends_with('/') {
                    let why = format!("ref '{name}' is invalid: refs cannot begin or end with a slash");
                    return Err(Error::InvalidReference(why));
                }
                name.strip_suffix("^{}").unwrap_or(name).to_owned()
            }
            Self::Commit { branch: Some(branch), .. } => format!("refs/heads/{branch}"),
            Self::Commit { branch: None, .. } | Self::Semver(_) => return Ok(None),
        };
        let control = |c: char| c.is_control() || c == ' ';
        if name.is_empty() || name.len() > 1024 || name.contains(control) {
            return Err(Error::InvalidReference("reference name is malformed".to_owned()));
        }
        Ok(Some(name))
    }

    /// Says what a found reference means.
    pub(crate) fn settle(&self, found: &RemoteRef, url: &str) -> Result<Resolved, Error> {
        let commit = found.commit();
        let tag = found.peeled.map(|_| found.oid.to_string());
        let settled = |revision: String| Resolved {
            revision: Revision::new(&revision),
            hash: commit.to_string(),
            reference: Some(found.name.clone()),
            tag: tag.clone(),
            within: None,
        };
        let short = found.name.strip_prefix("refs/tags/").unwrap_or(&found.name);
        match self {
            Self::Branch(name) | Self::Tag(name) => Ok(settled(format!("{name}@sha1:{commit}"))),
            Self::Semver(_) => Ok(settled(format!("{short}@sha1:{commit}"))),
            Self::Name(name) => {
                if name.ends_with("^{}") && found.peeled.is_none() {
                    return Err(Error::NameNotFound(name.clone()));
                }
                Ok(settled(format!("{name}@sha1:{commit}")))
            }
            Self::Commit { hash, branch } => {
                let wanted = commit_id(hash).ok_or_else(|| missing_commit(hash, url))?;
                let branch = branch.as_deref().unwrap_or_default();
                Ok(Resolved {
                    revision: Revision::new(&format!("{branch}@sha1:{wanted}")),
                    hash: wanted.to_string(),
                    reference: None,
                    tag: None,
                    within: (wanted != commit).then_some(commit),
                })
            }
        }
    }

    /// What is wrong when the reference is not there.
    pub(crate) fn missing(&self, full_name: &str, empty: bool, url: &str) -> Error {
        match self {
            _ if empty => Error::EmptyRemote,
            Self::Name(name) => Error::NameNotFound(name.clone()),
            Self::Semver(range) => Error::NoMatch(range.clone()),
            _ => Error::RefNotFound { reference: full_name.to_owned(), url: url.to_owned() },
        }
    }
}

impl Resolved {
    /// A commit that needs no listing.
    pub(crate) fn bare(hash: &str, url: &str) -> Result<Self, Error> {
        let commit = commit_id(hash).ok_or_else(|| missing_commit(hash, url))?;
        Ok(Self {
            revision: Revision::new(&format!("sha1:{commit}")),
            hash: commit.to_string(),
            reference: None,
            tag: None,
            within: None,
        })
    }

    /// The short name, if the reference is a tag.
    pub(crate) fn tag_name(&self) -> Option<&str> {
        self.reference.as_deref()?.strip_prefix("refs/tags/")
    }
}

pub(crate) fn commit_id(hash: &str) -> Option<ObjectId> {
    ObjectId::from_hex(hash.to_ascii_lowercase().as_bytes()).ok()
}

pub(crate) fn missing_commit(hash: &str, url: &str) -> Error {
    Error::CommitNotFound { hash: hash.to_owned(), url: url.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, annotated: bool) -> RemoteRef {
        let id = |byte: u8| ObjectId::from([byte; 20]);
        RemoteRef { name: name.to_owned(), oid: id(1), peeled: annotated.then(|| id(2)) }
    }

    #[test]
    fn revisions_name_the_reference_and_the_peeled_commit() {
        let (one, two) = ("01".repeat(20), "02".repeat(20));
        for (reference, found, revision) in [
            (Reference::Branch("a/b".into()), found("refs/heads/a/b", false), format!("a/b@sha1:{one}")),
            (Reference::Tag("v1".into()), found("refs/tags/v1", true), format!("v1@sha1:{two}")),
            (Reference::Semver("*".into()), found("refs/tags/v1", false), format!("v1@sha1:{one}")),
            (
                Reference::Name("refs/tags/v1^{}".into()),
                found("refs/tags/v1", true),
                format!("refs/tags/v1^{{}}@sha1:{two}"),
            ),
            (
                Reference::Name("refs/pull/1/head".into()),
                found("refs/pull/1/head", false),
                format!("refs/pull/1/head@sha1:{one}"),
            ),
            (
                Reference::Commit { hash: two.clone(), branch: Some("main".into()) },
                found("refs/heads/main", false),
                format!("main@sha1:{two}"),
            ),
        ] {
            assert_eq!(reference.settle(&found, "u").unwrap().revision.as_str(), revision);
        }
        assert_eq!(Resolved::bare(&one, "u").unwrap().revision.as_str(), format!("sha1:{one}"));
        assert!(matches!(Resolved::bare("abc", "u"), Err(Error::CommitNotFound { .. })));
    }

    #[test]
    fn names_cannot_begin_or_end_with_a_slash() {
        for name in ["/refs/heads/x", "refs/heads/x/", "/"] {
            let error = Reference::Name(name.to_owned()).full_name().unwrap_err();
            assert!(error.to_string().contains("refs cannot begin or end with a slash"), "{error}");
        }
        assert!(Reference::Branch("a\nb".to_owned()).full_name().is_err());
    }
}
