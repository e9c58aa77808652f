//! EKS: keys are signed into a bearer token for one cluster, whose address and certificates EKS tells.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Client;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::Keys;
use super::signature::{hmac, key};
use crate::{ApiServer, Credential, Error, Presented, http};

const EKS: &str = "AWS EKS";
/// How long a token for a cluster is accepted.
const VALID: Duration = Duration::from_secs(15 * 60);

/// A cluster, by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Where it runs.
    pub region: String,
    name: String,
}

impl Cluster {
    /// Reads `arn:aws[-partition]:eks:<region>:<account>:cluster/<name>`.
    ///
    /// # Errors
    /// On anything else.
    pub fn parse(arn: &str) -> Result<Self, Error> {
        let refused = || {
            Error::Configuration(format!(
                "invalid EKS cluster ARN: '{arn}'. must be arn:aws:eks:<region>:<account>:cluster/<name>"
            ))
        };
        let (start, name) = arn.split_once(":cluster/").ok_or_else(refused)?;
        let mut parts = start.split(':');
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("arn"), Some(partition), Some("eks"), Some(region), Some(account), None)
                if partition.starts_with("aws")
                    && word(partition)
                    && !region.is_empty()
                    && word(region)
                    && !account.is_empty()
                    && account.bytes().all(|b| b.is_ascii_digit())
                    && !name.is_empty()
                    && word(name) =>
            {
                Ok(Self { region: region.to_owned(), name: name.to_owned() })
            }
            _ => Err(refused()),
        }
    }

    fn suffix(&self) -> &'static str {
        if self.region.starts_with("cn-") { ".cn" } else { "" }
    }

    /// The public EKS service of the cluster's region.
    ///
    /// # Errors
    /// When the region does not form a host name.
    pub fn service(&self) -> Result<Url, Error> {
        let text = format!("https://eks.{}.amazonaws.com{}/", self.region, self.suffix());
        Url::parse(&text)
            .map_err(|error| Error::Configuration(format!("AWS region '{}': {error}", self.region)))
    }

    /// Signs keys into a token for this cluster.
    pub fn credential(&self, keys: &Keys, now: SystemTime) -> Credential {
        let host = format!("sts.{}.amazonaws.com{}", self.region, self.suffix());
        let url = presigned(keys, &self.region, &host, &self.name, VALID.as_secs(), now);
        let token = format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url));
        let expires = keys.expires.map_or(now + VALID, |expires| expires.min(now + VALID));
        Credential { kind: Presented::Bearer(token.into()), expires }
    }

    /// Asks EKS where the cluster's API server is, and for its certificates.
    ///
    /// # Errors
    /// When EKS refuses or cannot be reached within ten seconds.
    pub async fn describe(
        &self,
        client: &Client,
        service: &Url,
        keys: &Keys,
        now: SystemTime,
    ) -> Result<ApiServer, Error> {
        let path = format!("/clusters/{}", self.name);
        let url = service.join(&path).map_err(|error| Error::Configuration(error.to_string()))?;
        let time = Time::at(now);
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut headers = vec![
            ("host", format!("{}{port}", url.host_str().unwrap_or_default())),
            ("x-amz-date", time.stamp.clone()),
        ];
        if let Some(session) = &keys.session {
            headers.push(("x-amz-security-token", session.expose().clone()));
        }
        let (signed, signature) =
            time.sign(keys, &self.region, "eks", &Canonical { path: &path, query: "", headers: &headers });
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={signed}, Signature={signature}",
            keys.id,
            time.scope(&self.region, "eks")
        );
        let mut request = client.get(url).header(reqwest::header::AUTHORIZATION, authorization);
        for (name, value) in headers.into_iter().skip(1) {
            request = request.header(name, value);
        }
        let described: Described = http::json(EKS, request).await?;
        let ca = STANDARD.decode(&described.cluster.certificate_authority.data).map_err(|_| {
            Error::Malformed { service: EKS, reason: "the certificates are not base64".to_owned() }
        })?;
        Ok(ApiServer { address: described.cluster.endpoint, ca })
    }
}

#[derive(Deserialize)]
struct Described {
    cluster: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    endpoint: String,
    certificate_authority: Authority,
}

#[derive(Deserialize)]
struct Authority {
    data: String,
}

struct Time {
    stamp: String,
    date: String,
}

struct Canonical<'a> {
    path: &'a str,
    query: &'a str,
    /// In the order of their names.
    headers: &'a [(&'a str, String)],
}

impl Time {
    fn at(now: SystemTime) -> Self {
        let stamp = jiff::Timestamp::try_from(now).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = stamp.split('T').next().unwrap_or_default().to_owned();
        Self { stamp, date }
    }

    fn scope(&self, region: &str, service: &str) -> String {
        format!("{}/{region}/{service}/aws4_request", self.date)
    }

    /// Signs a GET without a body; answers the names of the signed headers and the signature.
    fn sign(&self, keys: &Keys, region: &str, service: &str, request: &Canonical<'_>) -> (String, String) {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String =
            request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let empty = hex::encode(Sha256::digest(b""));
        let canonical = format!("GET\n{}\n{}\n{lines}\n{names}\n{empty}", request.path, request.query);
        let digest = hex::encode(Sha256::digest(canonical));
        let message = format!("AWS4-HMAC-SHA256\n{}\n{}\n{digest}", self.stamp, self.scope(region, service));
        let secret = key(keys, &self.date, region, service);
        (names, hex::encode(hmac(&secret, message.as_bytes())))
    }
}

/// A question to STS who signed it, which EKS asks in the bearer's place.
fn presigned(keys: &Keys, region: &str, host: &str, cluster: &str, seconds: u64, now: SystemTime) -> String {
    let time = Time::at(now);
    let credential = format!("{}/{}", keys.id, time.scope(region, "sts"));
    let mut query = format!(
        "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}\
         &X-Amz-Date={}&X-Amz-Expires={seconds}",
        escape(&credential),
        time.stamp
    );
    if let Some(session) = &keys.session {
        query.push_str(&format!("&X-Amz-Security-Token={}", escape(session.expose())));
    }
    query.push_str("&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id");
    let headers = [("host", host.to_owned()), ("x-k8s-aws-id", cluster.to_owned())];
    let request = Canonical { path: "/", query: &query, headers: &headers };
    let (_, signature) = time.sign(keys, region, "sts", &request);
    format!("https://{host}/?{query}&X-Amz-Signature={signature}")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(session: Option<&str>) -> Keys {
        Keys {
            id: "akid".to_owned(),
            secret: "secret".to_owned().into(),
            session: session.map(|text| text.to_owned().into()),
            expires: None,
        }
    }

    #[test]
    fn clusters_are_named_by_their_arn() {
        let cluster = Cluster::parse("arn:aws:eks:eu-west-1:123456789012:cluster/prod").unwrap();
        assert_eq!((cluster.region.as_str(), cluster.name.as_str()), ("eu-west-1", "prod"));
        assert_eq!(cluster.service().unwrap().as_str(), "https://eks.eu-west-1.amazonaws.com/");
        for text in [
            "",
            "prod",
            "arn:aws:eks:eu-west-1:x:cluster/prod",
            "arn:aws:eks:eu-west-1:1:cluster/",
            "arn:aws:iam:eu-west-1:1:cluster/prod",
            "arn:aws:eks:evil.example/:1:cluster/prod",
            "arn:aws:eks:eu-west-1:1:cluster/../x",
        ] {
            let error = Cluster::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("invalid EKS cluster ARN: "), "{error}");
        }
    }

    /// The expected address is the one that AWS's own Ruby kit documents for these keys and this time.
    #[test]
    fn the_question_is_signed_as_aws_signs_it() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_533_427_200);
        assert_eq!(
            presigned(&keys(None), "us-west-2", "sts.amazonaws.com", "my-eks-cluster", 59, now),
            "https://sts.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20180805%2Fus-west-2%2Fsts%2Faws4_request&X-Amz-Date=20180805T000000Z\
             &X-Amz-Expires=59&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id\
             &X-Amz-Signature=d1f6551aafc0f5c57971fe161a12cbe0539fc1681698ea4a4c0fde5abc51e32e"
        );
    }

    #[test]
    fn a_token_is_an_address_that_carries_the_session_and_lives_fifteen_minutes() {
        let cluster = Cluster::parse("arn:aws:eks:eu-west-1:1:cluster/prod").unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let credential = cluster.credential(&keys(Some("a/b")), now);
        assert_eq!(credential.expires, now + VALID);
        let Presented::Bearer(token) = credential.kind else { panic!("a bearer token expected") };
        let encoded = token.expose().strip_prefix("k8s-aws-v1.").unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap();
        assert!(url.starts_with("https://sts.eu-west-1.amazonaws.com/?"), "{url}");
        assert!(url.contains("&X-Amz-Expires=900&X-Amz-Security-Token=a%2Fb&"), "{url}");
        let short = Keys { expires: Some(now + Duration::from_secs(60)), ..keys(None) };
        assert_eq!(cluster.credential(&short, now).expires, now + Duration::from_secs(60));
    }
}
