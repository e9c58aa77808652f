//! GitHub Apps: a signed assertion is exchanged for an installation's token.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, RequestBuilder, header};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use sluice_types::Redacted;
use url::Url;

use crate::{Credential, Error, Presented, http};

const SERVICE: &str = "GitHub";
const API: &str = "https://api.github.com";
/// The assertion is valid from a little before now, for clocks that differ, and only shortly.
const BACKDATED: Duration = Duration::from_secs(30);
const VALID: Duration = Duration::from_secs(120);

/// A GitHub App's installation.
#[derive(Clone, Debug)]
pub struct App {
    /// The App's id or client id.
    pub id: String,
    /// Its private key in PEM.
    pub private_key: Redacted<String>,
    /// Which of its installations.
    pub installation: Installation,
    /// The API's address, for GitHub Enterprise Server; `None` means github.com.
    pub api: Option<Url>,
}

/// How an installation is named.
#[derive(Clone, Debug)]
pub enum Installation {
    /// By its number.
    Id(String),
    /// By the organisation or user that installed the App.
    Owner(String),
}

#[derive(Deserialize)]
struct Found {
    id: u64,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
    expires_at: jiff::Timestamp,
}

impl App {
    /// Obtains an installation token, looking the installation up by its owner if need be.
    ///
    /// # Errors
    /// When the key is no RSA key in PEM, or GitHub refuses or cannot be reached within ten seconds a request.
    pub async fn credential(&self, client: &Client) -> Result<Credential, Error> {
        let assertion = self.assertion(SystemTime::now())?;
        let api = self.api.as_ref().map_or(API, Url::as_str).trim_end_matches('/');
        let signed = |request: RequestBuilder| {
            request
                .bearer_auth(assertion.expose())
                .header(header::ACCEPT, "application/vnd.github+json")
                .header(header::USER_AGENT, "sluice")
        };
        let installation = match &self.installation {
            Installation::Id(id) => segment(id)?.to_owned(),
            Installation::Owner(owner) => {
                let owner = segment(owner)?;
                let of = |kind| signed(client.get(format!("{api}/{kind}/{owner}/installation")));
                let found: Found = match http::json(SERVICE, of("orgs")).await {
                    Err(Error::Refused { status: 404, .. }) => http::json(SERVICE, of("users")).await?,
                    answer => answer?,
                };
                found.id.to_string()
            }
        };
        let request = signed(client.post(format!("{api}/app/installations/{installation}/access_tokens")));
        let issued: Issued = http::json(SERVICE, request).await?;
        Ok(Credential {
            kind: Presented::Basic {
                username: Redacted::new("x-access-token".to_owned()),
                password: Redacted::new(issued.token),
            },
            expires: issued.expires_at.into(),
        })
    }

    /// The JSON Web Token (RS256) that proves the App's identity.
    fn assertion(&self, now: SystemTime) -> Result<Redacted<String>, Error> {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({"iat": seconds(now - BACKDATED), "exp": seconds(now + VALID), "iss": self.id});
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let unusable =
            || Error::Configuration("the GitHub App's private key is not an RSA key in PEM".to_owned());
        let key = match PrivateKeyDer::from_pem_slice(self.private_key.expose().as_bytes())
            .map_err(|_| unusable())?
        {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(unusable()),
        };
        let key = key.map_err(|_| unusable())?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).map_err(
            |_| Error::Configuration("signing with the GitHub App's private key failed".to_owned()),
        )?;
        Ok(Redacted::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// Refuses what would change the path of a request.
fn segment(text: &str) -> Result<&str, Error> {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text != "..";
    if plain {
        Ok(text)
    } else {
        Err(Error::Configuration(format!("'{text}' is no GitHub installation or owner")))
    }
}
