use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use url::Url;

use super::Keys;
use crate::{Credential, Error, Presented};

/// The audience that a ServiceAccount's token must have to be exchanged.
pub const AUDIENCE: &str = "sts.amazonaws.com";
/// ServiceAccount annotation: the role to assume.
pub const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";
const VALID: Duration = Duration::from_secs(15 * 60);

/// A CodeCommit repository's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    host: String,
    path: String,
    /// The region that its host names.
    pub region: String,
}

/// True for `arn:aws[-partition]:iam::<account>:role/<name>`.
pub fn is_role_arn(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("arn:aws") else { return false };
    let Some((partition, rest)) = rest.split_once(":iam::") else { return false };
    let Some((account, role)) = rest.split_once(":role/") else { return false };
    partition.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && (1..=30).contains(&account.len())
        && account.bytes().all(|b| b.is_ascii_digit())
        && (1..=200).contains(&role.len())
}

impl Repository {
    /// Reads `https://git-codecommit[-fips].<region>.amazonaws.com[.cn]/…`.
    ///
    /// # Errors
    /// On any other address: a signed password must not reach another host.
    pub fn parse(url: &Url) -> Result<Self, Error> {
        let host = url.host_str().unwrap_or_default();
        let refused =
            || Error::Configuration(format!("'{host}' is not an AWS CodeCommit host reached by https"));
        let (service, rest) = host.split_once('.').ok_or_else(refused)?;
        let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"));
        let region = region.filter(|region| {
            !region.is_empty()
                && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
        match (service, region, url.scheme(), url.port()) {
            ("git-codecommit" | "git-codecommit-fips", Some(region), "https", None) => {
                Ok(Self { host: host.to_owned(), path: url.path().to_owned(), region: region.to_owned() })
            }
            _ => Err(refused()),
        }
    }

    /// Signs keys into a user name and password for this repository.
    pub fn credential(&self, keys: &Keys, now: SystemTime) -> Credential {
        let timestamp =
            jiff::Timestamp::try_from(now).unwrap_or_default().strftime("%Y%m%dT%H%M%S").to_string();
        let date = timestamp.split('T').next().unwrap_or_default();
        let canonical = format!("GIT\n{}\n\nhost:{}\n\nhost\n", self.path, self.host);
        let scope = format!("{date}/{}/codecommit/aws4_request", self.region);
        let digest = hex::encode(Sha256::digest(canonical));
        let message = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}");
        let key = key(keys, date, &self.region, "codecommit");
        let signature = hex::encode(hmac(&key, message.as_bytes()));
        let username = match &keys.session {
            Some(session) => format!("{}%{}", keys.id, session.expose()),
            None => keys.id.clone(),
        };
        let expires = keys.expires.map_or(now + VALID, |expires| expires.min(now + VALID));
        Credential {
            kind: Presented::Basic {
                username: username.into(),
                password: format!("{timestamp}Z{signature}").into(),
            },
            expires,
        }
    }
}

/// The key that signs for one day, region and service.
pub(super) fn key(keys: &Keys, date: &str, region: &str, service: &str) -> Vec<u8> {
    let secret = format!("AWS4{}", keys.secret.expose()).into_bytes();
    [date, region, service, "aws4_request"].iter().fold(secret, |key, part| hmac(&key, part.as_bytes()))
}

pub(super) fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length; the error type exists for other constructions.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
