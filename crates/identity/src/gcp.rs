//! Google Cloud: a Kubernetes token, or the machine's own identity, is exchanged for an access token; and what
//! GKE knows of a cluster.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde::Deserialize;
use sluice_types::Redacted;
use url::Url;

use crate::{ApiServer, Credential, Environment, Error, Presented, http};

/// ServiceAccount annotation: the Google account to act as; none for the Kubernetes account itself.
pub const EMAIL_ANNOTATION: &str = "iam.gke.io/gcp-service-account";
/// ServiceAccount annotation: the identity provider, for clusters that are not GKE's.
pub const PROVIDER_ANNOTATION: &str = "gcp.auth.fluxcd.io/workload-identity-provider";

const STS: &str = "Google STS";
const IAM: &str = "Google IAM credentials";
const METADATA: &str = "the Google metadata service";
const GKE: &str = "Google Kubernetes Engine";
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"];
const LONGEST: u64 = 86_400;

/// Addresses of the services; tests have their own.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The security token service.
    pub sts: Url,
    /// Tokens of Google accounts.
    pub iam: Url,
    /// The machine's metadata service.
    pub metadata: Url,
    /// Clusters.
    pub container: Url,
}

impl Endpoints {
    /// The public services; `GCE_METADATA_HOST` may name another metadata service.
    ///
    /// # Errors
    /// When that variable is no host.
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let parse = |text: &str| {
            Url::parse(text).map_err(|error| Error::Configuration(format!("GCE_METADATA_HOST: {error}")))
        };
        let metadata = environment.get("GCE_METADATA_HOST").unwrap_or("metadata.google.internal");
        Ok(Self {
            sts: parse("https://sts.googleapis.com/")?,
            iam: parse("https://iamcredentials.googleapis.com/")?,
            metadata: parse(&format!("http://{metadata}/"))?,
            container: parse("https://container.googleapis.com/")?,
        })
    }
}

/// Where a Kubernetes token is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// The audience that the Kubernetes token must have.
    pub token_audience: String,
    /// The audience of the exchange.
    pub audience: String,
}

impl Federation {
    /// By what a ServiceAccount's annotation names; without one, by the GKE cluster that this is.
    ///
    /// # Errors
    /// When the annotation names no provider, or the metadata service cannot be reached within ten seconds.
    pub async fn find(client: &Client, endpoints: &Endpoints, provider: Option<&str>) -> Result<Self, Error> {
        if let Some(provider) = provider {
            let audience = provider_audience(provider)?;
            return Ok(Self { token_audience: audience.clone(), audience });
        }
        let get = async |path: &str| {
            let url = join(&endpoints.metadata, &format!("computeMetadata/v1/{path}"))?;
            let text = http::text(METADATA, client.get(url).header("Metadata-Flavor", "Google")).await?;
            Ok::<_, Error>(text.trim().to_owned())
        };
        let project = get("project/project-id").await?;
        let location = get("instance/attributes/cluster-location").await?;
        let name = get("instance/attributes/cluster-name").await?;
        let pool = format!("{project}.svc.id.goog");
        let cluster = format!(
            "https://container.googleapis.com/v1/projects/{project}/locations/{location}/clusters/{name}"
        );
        Ok(Self { audience: format!("identitynamespace:{pool}:{cluster}"), token_audience: pool })
    }
}

/// `[[https:]//iam.googleapis.com/]projects/<number>/locations/global/workloadIdentityPools/<id>/providers/<id>`.
fn provider_audience(text: &str) -> Result<String, Error> {
    let rest = text.strip_prefix("https:").unwrap_or(text);
    let rest = rest.strip_prefix("//iam.googleapis.com/").unwrap_or(rest);
    let words: Vec<&str> = rest.split('/').collect();
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match words.as_slice() {
        ["projects", number, "locations", "global", "workloadIdentityPools", pool, "providers", id]
            if plain(number) && plain(pool) && plain(id) =>
        {
            Ok(format!("//iam.googleapis.com/{rest}"))
        }
        _ => Err(Error::Configuration(format!(
            "invalid {PROVIDER_ANNOTATION} annotation: '{text}'. must be projects/<number>/locations/global/\
             workloadIdentityPools/<id>/providers/<id>"
        ))),
    }
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: u64,
}

impl Issued {
    fn credential(self, asked: SystemTime) -> Credential {
        Credential {
            kind: Presented::Bearer(self.access_token.into()),
            expires: asked + Duration::from_secs(self.expires_in.min(LONGEST)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: jiff::Timestamp,
}

/// The access token of the controller itself, by the machine's metadata service.
///
/// # Errors
/// When the service refuses or cannot be reached within ten seconds, or credentials are given in a file.
pub async fn controller(
    client: &Client,
    endpoints: &Endpoints,
    environment: &Environment,
) -> Result<Credential, Error> {
    if environment.get("GOOGLE_APPLICATION_CREDENTIALS").is_some() {
        return Err(Error::Unsupported(
            "credentials in the file that GOOGLE_APPLICATION_CREDENTIALS names are not supported: \
             use workload identity"
                .to_owned(),
        ));
    }
    let asked = SystemTime::now();
    let path = "computeMetadata/v1/instance/service-accounts/default/token";
    let mut url = join(&endpoints.metadata, path)?;
    url.query_pairs_mut().append_pair("scopes", &SCOPES.join(","));
    let request = client.get(url).header("Metadata-Flavor", "Google");
    let issued: Issued = http::json(METADATA, request).await?;
    Ok(issued.credential(asked))
}

/// Exchanges a Kubernetes token; with an e-mail address, for a token of that Google account.
///
/// # Errors
/// When a service refuses or cannot be reached within ten seconds a request.
pub async fn exchange(
    client: &Client,
    endpoints: &Endpoints,
    federation: &Federation,
    token: &Redacted<String>,
    email: Option<&str>,
) -> Result<Credential, Error> {
    let asked = SystemTime::now();
    let scope = SCOPES.join(" ");
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", &federation.audience),
        ("scope", &scope),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", token.expose()),
    ];
    let issued: Issued = http::json(STS, client.post(join(&endpoints.sts, "v1/token")?).form(&form)).await?;
    let Some(email) = email else { return Ok(issued.credential(asked)) };
    if !is_email(email) {
        return Err(Error::Configuration(format!("invalid {EMAIL_ANNOTATION} annotation: '{email}'")));
    }
    let url = join(&endpoints.iam, &format!("v1/projects/-/serviceAccounts/{email}:generateAccessToken"))?;
    let request =
        client.post(url).bearer_auth(issued.access_token).json(&serde_json::json!({"scope": SCOPES}));
    let impersonated: Impersonated = http::json(IAM, request).await?;
    Ok(Credential {
        kind: Presented::Bearer(impersonated.access_token.into()),
        expires: impersonated.expire_time.into(),
    })
}

fn is_email(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty()
            && name.bytes().all(plain)
            && domain.ends_with(".gserviceaccount.com")
            && domain.bytes().all(plain)
    })
}

/// A cluster, by its resource name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster(String);

impl Cluster {
    /// Reads `projects/<project>/locations/<location>/clusters/<name>`.
    ///
    /// # Errors
    /// On anything else.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let words: Vec<&str> = name.split('/').collect();
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b':')
        };
        match words.as_slice() {
            ["projects", project, "locations", location, "clusters", cluster]
                if plain(project) && plain(location) && plain(cluster) =>
            {
                Ok(Self(name.to_owned()))
            }
            _ => Err(Error::Configuration(format!(
                "invalid GKE cluster ID: '{name}'. must be projects/<project>/locations/<location>/clusters/<name>"
            ))),
        }
    }

    /// Asks GKE where the cluster's API server is, and for its certificates.
    ///
    /// # Errors
    /// When GKE refuses or cannot be reached within ten seconds.
    pub async fn describe(
        &self,
        client: &Client,
        endpoints: &Endpoints,
        credential: &Credential,
    ) -> Result<ApiServer, Error> {
        let token = match &credential.kind {
            Presented::Bearer(token) | Presented::Basic { password: token, .. } => token.expose(),
        };
        let url = join(&endpoints.container, &format!("v1/{}", self.0))?;
        let described: Described = http::json(GKE, client.get(url).bearer_auth(token)).await?;
        let ca = STANDARD.decode(&described.master_auth.cluster_ca_certificate).map_err(|_| {
            Error::Malformed { service: GKE, reason: "the certificates are not base64".to_owned() }
        })?;
        Ok(ApiServer { address: described.endpoint, ca })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    endpoint: String,
    master_auth: Authority,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    cluster_ca_certificate: String,
}

fn join(base: &Url, path: &str) -> Result<Url, Error> {
    let joined = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&joined).map_err(|error| Error::Configuration(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_clusters_and_accounts_are_checked_before_they_are_used() {
        let provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/id";
        for text in [provider.to_owned(), format!("//iam.googleapis.com/{provider}")] {
            assert_eq!(provider_audience(&text).unwrap(), format!("//iam.googleapis.com/{provider}"));
        }
        assert!(provider_audience("projects/1/locations/eu/workloadIdentityPools/p/providers/i").is_err());
        assert!(Cluster::parse("projects/p/locations/europe-west1/clusters/prod").is_ok());
        for text in ["", "prod", "projects/p/locations/../clusters/c", "projects/p/locations/l/clusters/c?x"]
        {
            assert!(Cluster::parse(text).is_err(), "{text}");
        }
        assert!(is_email("git@project.iam.gserviceaccount.com"));
        for text in ["x@evil.example", "a/b@p.iam.gserviceaccount.com", "@p.iam.gserviceaccount.com"] {
            assert!(!is_email(text), "{text}");
        }
    }
}
