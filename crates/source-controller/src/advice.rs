//! What to do when a remote refuses: which Secret, and which of its keys.

use sluice_api::source::v1::GitProvider;
use sluice_git::{Auth, Bound, Error, Remote};

/// Where a remote's credentials come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) namespace: &'a str,
    /// `spec.secretRef`.
    pub(crate) secret: Option<&'a str>,
    pub(crate) provider: GitProvider,
}

/// Words to follow an error, led by `: `; empty where there is nothing to advise.
pub(crate) fn advice(error: &Error, remote: &Remote, from: Credentials<'_>) -> String {
    let Credentials { namespace, secret, provider } = from;
    let secret = secret.map(|name| format!("secret '{namespace}/{name}'"));
    let words = match (error, &secret) {
        (Error::Submodule { source, .. }, _) => {
            return match **source {
                Error::Auth { .. } | Error::RepositoryNotFound { .. } => {
                    ": a submodule gets the credentials of its parent only on the same server".to_owned()
                }
                _ => String::new(),
            };
        }
        (Error::Auth { .. }, _) => match (provider, &remote.auth, &secret) {
            (GitProvider::Github, _, Some(secret)) => {
                format!("check that the GitHub App of {secret} is installed for this repository and may read it")
            }
            (GitProvider::Azure | GitProvider::Aws, ..) => {
                "check that the identity of the controller, or of spec.serviceAccountName, may read this repository"
                    .to_owned()
            }
            (_, Auth::Ssh { .. }, Some(secret)) => {
                format!("check that the server knows the public key of 'identity' in {secret}, and that it may read this repository")
            }
            (_, Auth::None, None) => format!(
                "set spec.secretRef to a secret in namespace '{namespace}' with the keys 'username' and 'password', or 'bearerToken'"
            ),
            (_, Auth::None, Some(secret)) => {
                format!("{secret} has neither the keys 'username' and 'password' nor 'bearerToken'")
            }
            (_, Auth::Basic { .. }, None) => {
                "check the user name and password in spec.url, or better give them in a secret by spec.secretRef"
                    .to_owned()
            }
            (_, Auth::Basic { .. }, Some(secret)) => {
                format!("check the keys 'username' and 'password' of {secret}, and that they may read this repository")
            }
            (_, Auth::Bearer(_), Some(secret)) => {
                format!("check the key 'bearerToken' of {secret}, and that it may read this repository")
            }
            _ => return String::new(),
        },
        (Error::RepositoryNotFound { .. }, None) => {
            "check spec.url; if the repository is private, set spec.secretRef".to_owned()
        }
        (Error::RepositoryNotFound { .. }, Some(secret)) => {
            format!("check spec.url, and that the credentials of {secret} may read it: servers hide what they do not show")
        }
        (Error::HostKey { .. }, Some(secret)) => {
            format!("the key 'known_hosts' of {secret} must list the host's key, as ssh-keyscan prints it")
        }
        (Error::Tls { detail, .. }, secret) if detail.contains("UnknownIssuer") => match secret {
            Some(secret) => format!("add the server's authority to {secret} as 'ca.crt'"),
            None => format!(
                "set spec.secretRef to a secret in namespace '{namespace}' with the server's authority as 'ca.crt'"
            ),
        },
        (Error::Limit { bound, .. }, _) => {
            let flag = match bound {
                Bound::Transfer(_) => "--git-fetch-max-size",
                Bound::File(_) => "--git-file-max-size",
                Bound::Entries(_) => "--git-max-entries",
                Bound::Depth(_) => "--artifact-max-depth",
            };
            format!("make the repository smaller, or raise {flag} of the controller")
        }
        _ => return String::new(),
    };
    format!(": {words}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_names_the_secret_and_the_keys_to_look_at() {
        let url = || "https://git.example.com/x".to_owned();
        let auth = || Error::Auth { url: url(), detail: ": 401 Unauthorized".into() };
        let missing = || Error::RepositoryNotFound { url: url() };
        let tls = || Error::Tls { url: url(), detail: "invalid peer certificate: UnknownIssuer".into() };
        let host = || Error::HostKey { host: "git.example.com".into(), detail: "unknown".into() };
        let limit = |bound| Error::Limit { url: url(), bound };
        let basic = || Auth::Basic { username: "u".into(), password: "hunter2".to_owned().into() };
        let bearer = || Auth::Bearer("hunter2".to_owned().into());
        let (generic, github) = (GitProvider::Generic, GitProvider::Github);
        for (error, auth, secret, provider, wanted) in [
            (
                auth(),
                Auth::None,
                None,
                generic,
                &["spec.secretRef", "'apps'", "'username'", "'bearerToken'"][..],
            ),
            (auth(), Auth::None, Some("creds"), generic, &["'apps/creds' has neither", "'password'"]),
            (auth(), basic(), Some("creds"), generic, &["'username' and 'password' of secret 'apps/creds'"]),
            (auth(), basic(), None, generic, &["spec.url"]),
            (auth(), bearer(), Some("creds"), generic, &["'bearerToken' of secret 'apps/creds'"]),
            (auth(), basic(), Some("app"), github, &["GitHub App of secret 'apps/app'"]),
            (auth(), bearer(), None, GitProvider::Azure, &["identity of the controller"]),
            (missing(), Auth::None, None, generic, &["spec.url", "spec.secretRef"]),
            (missing(), basic(), Some("creds"), generic, &["spec.url", "'apps/creds'"]),
            (tls(), Auth::None, None, generic, &["'ca.crt'", "spec.secretRef"]),
            (tls(), Auth::None, Some("creds"), generic, &["'apps/creds' as 'ca.crt'"]),
            (host(), Auth::None, Some("ssh"), generic, &["'known_hosts' of secret 'apps/ssh'"]),
            (limit(Bound::Transfer(1)), Auth::None, None, generic, &["--git-fetch-max-size"]),
            (limit(Bound::File(1)), Auth::None, None, generic, &["--git-file-max-size"]),
            (limit(Bound::Entries(1)), Auth::None, None, generic, &["--git-max-entries"]),
            (limit(Bound::Depth(1)), Auth::None, None, generic, &["--artifact-max-depth"]),
        ] {
            let mut remote = Remote::new(&url(), Duration::from_secs(1)).unwrap();
            remote.auth = auth;
            let words = advice(&error, &remote, Credentials { namespace: "apps", secret, provider });
            assert!(wanted.iter().all(|part| words.contains(part)), "{error} {secret:?}: {words}");
            assert!(!words.contains("hunter2"));
        }
        let nothing = Credentials { namespace: "apps", secret: None, provider: generic };
        let remote = Remote::new(&url(), Duration::from_secs(1)).unwrap();
        assert_eq!(advice(&Error::EmptyRemote, &remote, nothing), "");
    }
}
