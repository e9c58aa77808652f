//! Azure: a federated token, a client secret or a managed identity is exchanged for a bearer token.

use std::time::{Duration, SystemTime};

use reqwest::Client;
use serde::Deserialize;
use sluice_types::Redacted;
use url::Url;

use crate::{Credential, Environment, Error, Presented, http};

/// The resource that Azure DevOps is to Microsoft Entra.
const DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";
/// The resource that every AKS API server is to Microsoft Entra.
pub const AKS: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";
/// The resource that the resource manager is to Microsoft Entra.
pub const RESOURCE_MANAGER: &str = "https://management.azure.com";
/// The audience that a ServiceAccount's token must have to be exchanged.
pub const AUDIENCE: &str = "api://AzureADTokenExchange";
/// ServiceAccount annotation: the tenant to sign in to.
pub const TENANT_ANNOTATION: &str = "azure.workload.identity/tenant-id";
/// ServiceAccount annotation: the client to sign in as.
pub const CLIENT_ANNOTATION: &str = "azure.workload.identity/client-id";

const AUTHORITY: &str = "https://login.microsoftonline.com/";
const METADATA: &str = "http://169.254.169.254/";
const ENTRA: &str = "Microsoft Entra";
const MANAGED: &str = "the Azure instance metadata service";

/// Whether an address is one of Azure DevOps, so that it may see a token.
///
/// # Errors
/// On any other address: whoever may name a server could otherwise have the token sent to his own.
pub fn check(url: &Url) -> Result<(), Error> {
    let host = url.host_str().unwrap_or_default();
    let known =
        host == "dev.azure.com" || host.ends_with(".dev.azure.com") || host.ends_with(".visualstudio.com");
    if known && url.scheme() == "https" && url.port().is_none() {
        return Ok(());
    }
    Err(Error::Configuration(format!("'{host}' is not an Azure DevOps host reached by https")))
}

/// Who signs in.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A federated Kubernetes token.
    Federated {
        /// Entra tenant.
        tenant: String,
        /// Application or managed identity.
        client: String,
        /// The Kubernetes token, for [`AUDIENCE`].
        assertion: Redacted<String>,
    },
    /// An application with a secret.
    Secret {
        /// Entra tenant.
        tenant: String,
        /// Application.
        client: String,
        /// Its secret.
        secret: Redacted<String>,
    },
    /// The identity of the virtual machine, or one of several assigned to it.
    Managed {
        /// Which, when there are several.
        client: Option<String>,
    },
}

impl Identity {
    /// What the controller's own environment says (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`,
    /// `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_CLIENT_SECRET`); without these, the managed identity.
    ///
    /// # Errors
    /// When the token file cannot be read.
    pub async fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let client = environment.get("AZURE_CLIENT_ID").map(str::to_owned);
        let (Some(tenant), Some(client_id)) = (environment.get("AZURE_TENANT_ID"), client.clone()) else {
            return Ok(Self::Managed { client });
        };
        let tenant = tenant.to_owned();
        if let Some(assertion) = environment.file("AZURE_FEDERATED_TOKEN_FILE").await? {
            return Ok(Self::Federated { tenant, client: client_id, assertion: assertion.into() });
        }
        Ok(match environment.get("AZURE_CLIENT_SECRET") {
            Some(secret) => Self::Secret { tenant, client: client_id, secret: secret.to_owned().into() },
            None => Self::Managed { client },
        })
    }
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: Seconds,
}

/// The metadata service writes numbers as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// Addresses of the token services; sovereign clouds and tests have their own.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Where tenants sign in.
    pub authority: Url,
    /// The instance metadata service.
    pub metadata: Url,
}

impl Endpoints {
    /// The public cloud, or what `AZURE_AUTHORITY_HOST` names.
    ///
    /// # Errors
    /// When that variable is no URL.
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let parse = |text: &str| {
            Url::parse(text).map_err(|error| Error::Configuration(format!("AZURE_AUTHORITY_HOST: {error}")))
        };
        Ok(Self {
            authority: parse(environment.get("AZURE_AUTHORITY_HOST").unwrap_or(AUTHORITY))?,
            metadata: parse(METADATA)?,
        })
    }
}

/// Obtains a bearer token for Azure DevOps.
///
/// # Errors
/// When the service refuses or cannot be reached within ten seconds.
pub async fn credential(
    client: &Client,
    endpoints: &Endpoints,
    identity: &Identity,
) -> Result<Credential, Error> {
    token(client, endpoints, identity, DEVOPS).await
}

/// Obtains a bearer token for any resource.
///
/// # Errors
/// When the service refuses or cannot be reached within ten seconds.
pub async fn token(
    client: &Client,
    endpoints: &Endpoints,
    identity: &Identity,
    resource: &str,
) -> Result<Credential, Error> {
    let asked = SystemTime::now();
    let issued: Issued = match identity {
        Identity::Managed { client: id } => {
            let mut url = address(&endpoints.metadata, "metadata/identity/oauth2/token")?;
            url.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", resource);
            if let Some(id) = id {
                url.query_pairs_mut().append_pair("client_id", id);
            }
            http::json(MANAGED, client.get(url).header("Metadata", "true")).await?
        }
        Identity::Federated { tenant, client: id, assertion } => {
            let proof = [
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion.expose()),
            ];
            sign_in(client, endpoints, tenant, (id, resource), &proof).await?
        }
        Identity::Secret { tenant, client: id, secret } => {
            let proof = [("client_secret", secret.expose().as_str())];
            sign_in(client, endpoints, tenant, (id, resource), &proof).await?
        }
    };
    let seconds = match issued.expires_in {
        Seconds::Number(seconds) => Some(seconds),
        Seconds::Text(text) => text.parse().ok(),
    };
    let seconds =
        seconds.ok_or_else(|| Error::Malformed { service: ENTRA, reason: "no lifetime".to_owned() })?;
    Ok(Credential {
        kind: Presented::Bearer(issued.access_token.into()),
        expires: asked + Duration::from_secs(seconds.min(86_400)),
    })
}

async fn sign_in(
    client: &Client,
    endpoints: &Endpoints,
    tenant: &str,
    (id, resource): (&str, &str),
    proof: &[(&str, &str)],
) -> Result<Issued, Error> {
    if tenant.contains(['/', '?', '#', '\\']) || tenant.contains("..") {
        return Err(Error::Configuration(format!("'{tenant}' is no Entra tenant")));
    }
    let scope = format!("{resource}/.default");
    let mut form = vec![("grant_type", "client_credentials"), ("client_id", id), ("scope", &scope)];
    form.extend_from_slice(proof);
    let url = address(&endpoints.authority, &format!("{tenant}/oauth2/v2.0/token"))?;
    http::json(ENTRA, client.post(url).form(&form)).await
}

fn address(base: &Url, path: &str) -> Result<Url, Error> {
    let joined = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&joined).map_err(|error| Error::Configuration(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_azure_devops_sees_a_token() {
        for (url, expected) in [
            ("https://dev.azure.com/org/project/_git/app", true),
            ("https://org@dev.azure.com/org/project/_git/app", true),
            ("https://org.visualstudio.com/project/_git/app", true),
            ("http://dev.azure.com/org/project/_git/app", false),
            ("https://dev.azure.com:8443/org", false),
            ("https://dev.azure.com.evil.example/org", false),
            ("https://evildev.azure.com/org", false),
            ("https://visualstudio.com.evil/org", false),
            ("ssh://git@ssh.dev.azure.com/v3/org", false),
        ] {
            assert_eq!(check(&Url::parse(url).unwrap()).is_ok(), expected, "{url}");
        }
    }
}
