//! A GitRepository's spec with defaults resolved and contradictions refused.

use sluice_api::source::v1::{
    GitProvider, GitRepository, GitRepositorySpec, Include, Reference as SpecReference, VerificationMode,
};
use sluice_git::{FetchOptions, Mode, Reference, Remote};
use sluice_types::Retry;
use url::Url;

use crate::error::Error;

/// Switches that decide what a spec may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// `spec.serviceAccountName`.
    pub(crate) service_accounts: bool,
}

/// What is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// As the spec has it, userinfo included.
    pub(crate) url: Url,
    pub(crate) remote: Remote,
    pub(crate) reference: Reference,
    pub(crate) provider: GitProvider,
    pub(crate) service_account: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) verify: Option<Verification>,
    pub(crate) fetch: FetchOptions,
    pub(crate) content: Content,
}

/// Which signatures are wanted, and the Secret with the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verification {
    pub(crate) mode: Mode,
    pub(crate) secret: String,
}

/// What decides about the archive, beside the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) ignore: Option<String>,
    pub(crate) submodules: bool,
    pub(crate) includes: Vec<Include>,
    pub(crate) sparse: Vec<String>,
}

impl Request {
    pub(crate) fn new(object: &GitRepository, allowed: Allowed) -> Result<Self, Error> {
        let spec = &object.spec;
        let timeout = spec.timeout.map_or(std::time::Duration::from_secs(60), |timeout| timeout.0);
        let remote = Remote::new(&spec.url, timeout)?;
        let provider = spec.provider.unwrap_or_default();
        if spec.service_account_name.is_some() && !allowed.service_accounts {
            return Err(Error::Gate);
        }
        if provider == GitProvider::Github && spec.secret_ref.is_none() {
            let message = "secretRef with github app data must be specified when provider is set to github";
            return Err(Error::Provider { message: message.to_owned(), retry: Retry::OnChange });
        }
        if let Some(include) = spec
            .include
            .iter()
            .find(|include| object.metadata.name.as_deref() == Some(&include.repository.name))
        {
            return Err(Error::IncludeCycle(include.repository.name.clone()));
        }
        let content = Content::of(spec);
        let url = Url::parse(&spec.url).map_err(|_| sluice_git::AddressError::Malformed)?;
        Ok(Self {
            url,
            remote,
            reference: reference(spec.reference.as_ref()),
            provider,
            service_account: spec.service_account_name.clone(),
            secret: spec.secret_ref.as_ref().map(|secret| secret.name.clone()),
            proxy: spec.proxy_secret_ref.as_ref().map(|secret| secret.name.clone()),
            verify: spec.verify.as_ref().map(|verify| Verification {
                mode: mode(verify.mode.unwrap_or_default()),
                secret: verify.secret_ref.name.clone(),
            }),
            fetch: FetchOptions {
                recurse_submodules: content.submodules,
                sparse: content.sparse.iter().map(|dir| dir.trim_start_matches("./").to_owned()).collect(),
            },
            content,
        })
    }
}

impl Content {
    fn of(spec: &GitRepositorySpec) -> Self {
        Self {
            ignore: spec.ignore.clone(),
            submodules: spec.recurse_submodules.unwrap_or_default(),
            includes: spec.include.clone(),
            sparse: spec.sparse_checkout.clone(),
        }
    }
}

const fn mode(mode: VerificationMode) -> Mode {
    match mode {
        VerificationMode::LegacyHead | VerificationMode::Head => Mode::Head,
        VerificationMode::Tag => Mode::Tag,
        VerificationMode::TagAndHead => Mode::TagAndHead,
    }
}

fn reference(spec: Option<&SpecReference>) -> Reference {
    let set = |field: fn(&SpecReference) -> &Option<String>| {
        spec.and_then(|spec| field(spec).clone()).filter(|text| !text.is_empty())
    };
    let branch = set(|spec| &spec.branch);
    if let Some(hash) = set(|spec| &spec.commit) {
        return Reference::Commit { hash, branch };
    }
    if let Some(name) = set(|spec| &spec.name) {
        return Reference::Name(name);
    }
    if let Some(tag) = set(|spec| &spec.tag) {
        return Reference::Tag(tag);
    }
    if let Some(range) = set(|spec| &spec.semver) {
        return Reference::Semver(range);
    }
    Reference::Branch(branch.unwrap_or_else(|| "master".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn request(change: impl FnOnce(&mut GitRepositorySpec)) -> Result<Request, Error> {
        let mut object = sample::object();
        change(&mut object.spec);
        Request::new(&object, Allowed::default())
    }

    #[test]
    fn of_several_references_one_wins() {
        let all = SpecReference {
            branch: Some("b".into()),
            tag: Some("t".into()),
            semver: Some(">1".into()),
            name: Some("refs/x".into()),
            commit: Some("c".into()),
        };
        let none = SpecReference::default();
        for (spec, expected) in [
            (all.clone(), Reference::Commit { hash: "c".into(), branch: Some("b".into()) }),
            (SpecReference { commit: None, ..all.clone() }, Reference::Name("refs/x".into())),
            (SpecReference { commit: None, name: None, ..all.clone() }, Reference::Tag("t".into())),
            (SpecReference { commit: None, name: None, tag: None, ..all }, Reference::Semver(">1".into())),
            (SpecReference { branch: Some("b".into()), ..none.clone() }, Reference::Branch("b".into())),
            (none, Reference::Branch("master".into())),
        ] {
            assert_eq!(reference(Some(&spec)), expected);
        }
        assert_eq!(reference(None), Reference::Branch("master".into()));
    }

    #[test]
    fn contradictions_are_refused_before_anything_is_asked() {
        let url = request(|spec| spec.url = "ftp://x/y".into());
        assert!(matches!(url, Err(Error::Url(_))));
        let github = request(|spec| spec.provider = Some(GitProvider::Github));
        assert!(matches!(github, Err(Error::Provider { retry: Retry::OnChange, .. })));
        let account = request(|spec| spec.service_account_name = Some("x".into()));
        assert!(matches!(account, Err(Error::Gate)));
        let itself = request(|spec| spec.include = vec![sample::include("podinfo")]);
        assert!(matches!(itself, Err(Error::IncludeCycle(_))));
    }

    #[test]
    fn sparse_directories_lose_their_leading_dot() {
        let request = request(|spec| spec.sparse_checkout = vec!["./a".into(), "b".into()]).unwrap();
        assert_eq!(request.fetch.sparse, ["a", "b"]);
        assert_eq!(request.content.sparse, ["./a", "b"]);
    }
}
