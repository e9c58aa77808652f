//! A tenant's kubeconfig: which parts of it are trusted.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sluice_types::{Classify, Proxies, Retry};
use thiserror::Error as ThisError;

/// Largest kubeconfig accepted.
const LARGEST: usize = 1024 * 1024;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operator allows in kubeconfigs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KubeconfigPolicy {
    /// `--insecure-kubeconfig-tls`: honour `insecure-skip-tls-verify`.
    pub insecure_tls: bool,
}

/// Why a kubeconfig cannot be used. No secret is part of the text.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum KubeconfigError {
    /// It is too large.
    #[error("kubeconfig exceeds {LARGEST} bytes")]
    TooLarge,
    /// It is not a kubeconfig.
    #[error("kubeconfig cannot be parsed")]
    Malformed,
    /// Its current context, or what that names, does not exist.
    #[error("kubeconfig has no {0}")]
    Incomplete(&'static str),
    /// It wants a program to be run.
    #[error("kubeconfig uses {0}, which is never run; use a token or a client certificate instead")]
    Plugin(&'static str),
    /// It names a file.
    #[error("kubeconfig refers to a file in {field}; use {instead} instead")]
    File {
        /// The field.
        field: &'static str,
        /// The field to use instead.
        instead: &'static str,
    },
    /// It asks not to verify the server.
    #[error("kubeconfig sets insecure-skip-tls-verify, which --insecure-kubeconfig-tls does not allow")]
    InsecureTls,
    /// It is complete, but no client can be made of it.
    #[error("kubeconfig cannot be used: {0}")]
    Unusable(String),
}

impl Classify for KubeconfigError {
    fn retry(&self) -> Retry {
        // The Secret it stands in may change without the object that refers to it.
        Retry::Backoff
    }
}

/// Reads the current context of a kubeconfig, keeping only what is safe: address, TLS server name,
/// inline certificates and keys, basic auth, inline tokens and the proxy.
pub(crate) fn read(
    bytes: &[u8],
    policy: KubeconfigPolicy,
    proxies: &Proxies,
) -> Result<Config, KubeconfigError> {
    if bytes.len() > LARGEST {
        return Err(KubeconfigError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| KubeconfigError::Malformed)?;
    // The parser's own words may quote the text.
    let parsed = Kubeconfig::from_yaml(text).map_err(|_| KubeconfigError::Malformed)?;
    let (cluster, user, namespace) = sanitise(parsed, policy)?;
    let mut config = configure(cluster, proxies)?;
    config.auth_info = user;
    config.default_namespace = namespace.unwrap_or(config.default_namespace);
    Ok(config)
}

/// The way to a server. The client's own reading of a kubeconfig asks the process' environment for a proxy, which
/// does not spare loopback and refuses exceptions that Go accepts.
pub(crate) fn configure(cluster: Cluster, proxies: &Proxies) -> Result<Config, KubeconfigError> {
    let unusable = |why: String| KubeconfigError::Unusable(why);
    let server = cluster.server.unwrap_or_default();
    let address = server.parse::<http::Uri>().map_err(|error| unusable(error.to_string()))?;
    let named = cluster.proxy_url.filter(|proxy| !proxy.is_empty());
    let proxy = named.or_else(|| Some(proxies.to(&server.parse().ok()?)?.to_owned()));
    let mut config = Config::new(address);
    config.proxy_url = proxy.as_deref().map(reachable).transpose()?;
    config.root_cert = cluster.certificate_authority_data.as_deref().map(authorities).transpose()?;
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
    config.disable_compression = cluster.disable_compression.unwrap_or_default();
    config.tls_server_name = cluster.tls_server_name;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    Ok(config)
}

/// A proxy as the client reads it: Go knows two names of SOCKS 5, and its port.
fn reachable(proxy: &str) -> Result<http::Uri, KubeconfigError> {
    let unusable = |why: &str| KubeconfigError::Unusable(format!("proxy-url: {why}"));
    let uri = proxy.parse::<http::Uri>().map_err(|error| unusable(&error.to_string()))?;
    if !matches!(uri.scheme_str(), Some("socks5" | "socks5h")) {
        return Ok(uri);
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(unusable("a SOCKS proxy that asks for a password is not supported, use one over http"));
    }
    let port = uri.port().map_or(":1080", |_| "");
    format!("socks5://{authority}{port}").parse().map_err(|_| unusable("it has no host"))
}

/// The certificates of PEM text that is encoded once more.
fn authorities(data: &str) -> Result<Vec<Vec<u8>>, KubeconfigError> {
    let unusable = |error: String| KubeconfigError::Unusable(format!("certificate-authority-data: {error}"));
    let pem = STANDARD.decode(data.trim()).map_err(|error| unusable(error.to_string()))?;
    CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|der| der.to_vec()).map_err(|error| unusable(error.to_string())))
        .collect()
}

/// Address and certificates of the server that a kubeconfig's current context leads to. Who signs in, and how,
/// is not read.
///
/// # Errors
/// It is malformed or names none.
pub fn server_of(kubeconfig: &[u8]) -> Result<(String, Option<Vec<u8>>), KubeconfigError> {
    let text = std::str::from_utf8(kubeconfig).map_err(|_| KubeconfigError::Malformed)?;
    let full = Kubeconfig::from_yaml(text).map_err(|_| KubeconfigError::Malformed)?;
    let current = full.current_context.unwrap_or_default();
    let context =
        full.contexts.into_iter().find(|named| named.name == current).and_then(|named| named.context);
    let context = context.ok_or(KubeconfigError::Incomplete("current context"))?;
    let cluster = full.clusters.into_iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster).ok_or(KubeconfigError::Incomplete("cluster"))?;
    let address = cluster.server.filter(|server| !server.is_empty());
    let address = address.ok_or(KubeconfigError::Incomplete("server"))?;
    let ca = cluster.certificate_authority_data.map(|data| STANDARD.decode(data)).transpose();
    Ok((address, ca.map_err(|_| KubeconfigError::Malformed)?))
}

type Safe = (Cluster, AuthInfo, Option<String>);

/// Cluster, user and namespace of the current context, without what is not trusted.
fn sanitise(full: Kubeconfig, policy: KubeconfigPolicy) -> Result<Safe, KubeconfigError> {
    let missing = KubeconfigError::Incomplete;
    let current = full.current_context.filter(|name| !name.is_empty()).ok_or(missing("current context"))?;
    let context = full.contexts.into_iter().find(|named| named.name == current);
    let context = context.and_then(|named| named.context).ok_or(missing("current context"))?;
    let cluster = full.clusters.into_iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster).ok_or(missing("cluster"))?;
    let cluster = safe_cluster(cluster, policy)?;
    let user = match context.user.filter(|user| !user.is_empty()) {
        Some(user) => {
            let found = full.auth_infos.into_iter().find(|named| named.name == user);
            safe_user(found.ok_or(missing("user"))?.auth_info.unwrap_or_default())?
        }
        None => AuthInfo::default(),
    };
    Ok((cluster, user, context.namespace))
}

fn safe_cluster(full: Cluster, policy: KubeconfigPolicy) -> Result<Cluster, KubeconfigError> {
    if full.certificate_authority.is_some() && full.certificate_authority_data.is_none() {
        return Err(KubeconfigError::File {
            field: "certificate-authority",
            instead: "certificate-authority-data",
        });
    }
    if full.insecure_skip_tls_verify == Some(true) && !policy.insecure_tls {
        return Err(KubeconfigError::InsecureTls);
    }
    if full.server.as_deref().unwrap_or_default().is_empty() {
        return Err(KubeconfigError::Incomplete("server"));
    }
    Ok(Cluster {
        server: full.server,
        insecure_skip_tls_verify: full.insecure_skip_tls_verify,
        certificate_authority_data: full.certificate_authority_data,
        proxy_url: full.proxy_url,
        tls_server_name: full.tls_server_name,
        disable_compression: full.disable_compression,
        ..Cluster::default()
    })
}

fn safe_user(full: AuthInfo) -> Result<AuthInfo, KubeconfigError> {
    if full.exec.is_some() {
        return Err(KubeconfigError::Plugin("an exec plugin"));
    }
    if full.auth_provider.is_some() {
        return Err(KubeconfigError::Plugin("an auth-provider"));
    }
    for (file, inline, field, instead) in [
        (
            full.client_certificate.is_some(),
            full.client_certificate_data.is_some(),
            "client-certificate",
            "client-certificate-data",
        ),
        (full.client_key.is_some(), full.client_key_data.is_some(), "client-key", "client-key-data"),
        (full.token_file.is_some(), full.token.is_some(), "tokenFile", "token"),
    ] {
        if file && !inline {
            return Err(KubeconfigError::File { field, instead });
        }
    }
    Ok(AuthInfo {
        username: full.username,
        password: full.password,
        token: full.token,
        client_certificate_data: full.client_certificate_data,
        client_key_data: full.client_key_data,
        ..AuthInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443'{cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    fn refused(text: &str) -> Option<KubeconfigError> {
        read(text.as_bytes(), KubeconfigPolicy::default(), &Proxies::default()).err()
    }

    #[test]
    fn a_proxy_is_used_as_go_would_use_it() {
        let proxies = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://process:1".to_owned()),
            "NO_PROXY" => Some(".svc,,10.0.0.0/8,".to_owned()),
            _ => None,
        };
        let of = |server: &str, named: &str| {
            let text = with(named, "token: abc").replace("https://10.0.0.1:6443", server);
            let config = read(text.as_bytes(), KubeconfigPolicy::default(), &Proxies::read(proxies));
            config.expect("usable").proxy_url.map(|proxy| proxy.to_string())
        };
        for direct in
            ["https://127.0.0.1:6443", "https://localhost", "https://10.0.0.1", "https://api.prod.svc"]
        {
            assert_eq!(of(direct, ""), None, "{direct}");
        }
        assert_eq!(of("https://api.example:6443", "").as_deref(), Some("http://process:1/"));
        let named = of("https://10.0.0.1", ", proxy-url: 'http://file:2'");
        assert_eq!(named.as_deref(), Some("http://file:2/"));
    }

    #[test]
    fn socks_has_two_names_and_a_port() {
        for (given, expected) in [
            ("socks5://a:1", Ok("socks5://a:1/")),
            ("socks5h://a", Ok("socks5://a:1080/")),
            ("socks5://[::1]", Ok("socks5://[::1]:1080/")),
            ("http://u:p@a", Ok("http://u:p@a/")),
            (
                "socks5://u:p@a",
                Err(
                    "kubeconfig cannot be used: proxy-url: a SOCKS proxy that asks for a password is not supported, \
                     use one over http",
                ),
            ),
        ] {
            let read = reachable(given).map(|uri| uri.to_string()).map_err(|error| error.to_string());
            assert_eq!(read, expected.map(str::to_owned).map_err(str::to_owned), "{given}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        for data in ["%", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCiUlJQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="]
        {
            let error = refused(&with(&format!(", certificate-authority-data: '{data}'"), ""));
            assert!(error.is_some_and(|error| error.to_string().contains("certificate-authority-data")));
        }
    }

    #[test]
    fn only_what_needs_no_file_and_no_program_is_accepted() {
        let file = |field, instead| Some(KubeconfigError::File { field, instead });
        for (cluster, user, expected) in [
            ("", "token: abc", None),
            ("", "username: a, password: b", None),
            ("", "token: abc, tokenFile: /etc/passwd", None),
            ("", "exec: {apiVersion: v1, command: sh}", Some(KubeconfigError::Plugin("an exec plugin"))),
            ("", "auth-provider: {name: gcp, config: {}}", Some(KubeconfigError::Plugin("an auth-provider"))),
            ("", "tokenFile: /etc/passwd", file("tokenFile", "token")),
            ("", "client-key: /k", file("client-key", "client-key-data")),
            (", certificate-authority: /ca", "", file("certificate-authority", "certificate-authority-data")),
            (", insecure-skip-tls-verify: true", "", Some(KubeconfigError::InsecureTls)),
        ] {
            assert_eq!(refused(&with(cluster, user)), expected, "{cluster} {user}");
        }
    }

    #[test]
    fn the_server_is_read_whoever_signs_in() {
        let text = with(", certificate-authority-data: Y2E=", "exec: {apiVersion: v1, command: kubelogin}");
        let server = server_of(text.as_bytes()).expect("a server");
        assert_eq!(server, ("https://10.0.0.1:6443".to_owned(), Some(b"ca".to_vec())));
        assert_eq!(server_of(b"{}").err(), Some(KubeconfigError::Incomplete("current context")));
    }

    #[test]
    fn impersonation_and_extensions_are_dropped() {
        let text = with("", "token: abc, as: admin, as-groups: ['system:masters']");
        let config = read(text.as_bytes(), KubeconfigPolicy::default(), &Proxies::default()).expect("usable");
        assert_eq!(config.auth_info.impersonate, None);
        assert_eq!(config.auth_info.impersonate_groups, None);
        assert!(config.auth_info.token.is_some());
    }

    #[test]
    fn insecure_tls_needs_the_operators_consent() {
        let text = with(", insecure-skip-tls-verify: true", "token: abc");
        let allowed = KubeconfigPolicy { insecure_tls: true };
        assert!(
            read(text.as_bytes(), allowed, &Proxies::default())
                .is_ok_and(|config| config.accept_invalid_certs)
        );
    }

    #[test]
    fn what_is_no_kubeconfig_is_refused_without_being_quoted() {
        let huge = "a".repeat(LARGEST + 1);
        for text in ["", "secret: [", "[]", "current-context: x", &huge] {
            let error = refused(text).expect("refused");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
