//! Certificates, tokens and kubeconfigs of one server; all of them live and die with its folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::json;

/// Who gets a token: name, user, groups.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", "system:masters"),
    ("scheduler", "system:kube-scheduler", "system:masters"),
    ("source-controller", "system:serviceaccount:flux-system:source-controller", SERVICE_ACCOUNTS),
    ("kustomize-controller", "system:serviceaccount:flux-system:kustomize-controller", SERVICE_ACCOUNTS),
];
const SERVICE_ACCOUNTS: &str =
    "system:serviceaccounts,system:serviceaccounts:flux-system,system:authenticated";

/// Files that the servers and their clients read.
pub(super) struct Credentials {
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) service_account_key: PathBuf,
    pub(super) service_account_public_key: PathBuf,
    pub(super) tokens: PathBuf,
    pub(super) audit_policy: Option<PathBuf>,
    pub(super) admin_kubeconfig: PathBuf,
    pub(super) admin_token: String,
    pub(super) port: u16,
    dir: PathBuf,
}

impl Credentials {
    /// Makes a certificate authority, a serving certificate, tokens and kubeconfigs in `dir`.
    pub(super) fn write(dir: &Path, audit: bool) -> Result<Self> {
        let port = sluice_testkit::free_port()?;
        let ca_key = KeyPair::generate()?;
        let mut ca_params = CertificateParams::new(Vec::new())?;
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = ca_params.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca_params, ca_key);
        let server_key = KeyPair::generate()?;
        let mut server_params =
            CertificateParams::new(vec!["localhost".to_owned(), "kubernetes.default.svc".to_owned()])?;
        server_params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let server = server_params.signed_by(&server_key, &issuer)?;
        let service_account_key = KeyPair::generate()?;

        let secret = |name: &str, text: &str| write_private(&dir.join(name), text);
        let mut credentials = Self {
            ca: secret("ca.crt", &ca.pem())?,
            certificate: secret("server.crt", &server.pem())?,
            key: secret("server.key", &server_key.serialize_pem())?,
            service_account_key: secret("service-account.key", &service_account_key.serialize_pem())?,
            service_account_public_key: secret("service-account.pub", &service_account_key.public_key_pem())?,
            tokens: dir.join("tokens.csv"),
            audit_policy: None,
            admin_kubeconfig: dir.join("kubeconfig"),
            admin_token: String::new(),
            port,
            dir: dir.to_owned(),
        };
        let mut rows = String::new();
        for (name, user, groups) in USERS {
            let token = KeyPair::generate()?
                .public_key_raw()
                .iter()
                .take(32)
                .map(|b| format!("{b:02x}"))
                .collect::<String>();
            rows.push_str(&format!("{token},{user},{name},\"{groups}\"\n"));
            let file = if name == "admin" { "kubeconfig".to_owned() } else { format!("{name}.kubeconfig") };
            secret(&file, &kubeconfig(port, &ca.pem(), &token).to_string())?;
            if name == "admin" {
                credentials.admin_token = token;
            }
        }
        secret("tokens.csv", &rows)?;
        if audit {
            let policy = json!({
                "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
                "rules": [{"level": "Metadata"}],
            });
            credentials.audit_policy = Some(secret("audit-policy.yaml", &policy.to_string())?);
        }
        Ok(credentials)
    }

    /// The kubeconfig of a component in [`USERS`].
    pub(super) fn kubeconfig_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.kubeconfig"))
    }
}

fn kubeconfig(port: u16, ca: &str, token: &str) -> serde_json::Value {
    let ca = base64(ca.as_bytes());
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "local",
        "clusters": [{"name": "local", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": ca,
        }}],
        "users": [{"name": "local", "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn write_private(path: &Path, text: &str) -> Result<PathBuf> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(path.to_owned())
}
