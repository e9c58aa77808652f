//! AKS: what Azure knows of a cluster. The token for it is one of [`crate::azure`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde::Deserialize;
use url::Url;

use crate::{Credential, Error, Presented, http};

const MANAGER: &str = "the Azure resource manager";
/// The public resource manager.
pub const MANAGEMENT: &str = "https://management.azure.com/";
const VERSION: &str = "2024-09-01";

/// A cluster, by its resource id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster(String);

impl Cluster {
    /// Reads `/subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.ContainerService/managedClusters/<name>`.
    ///
    /// # Errors
    /// On anything else.
    pub fn parse(id: &str) -> Result<Self, Error> {
        let words: Vec<&str> = id.split('/').collect();
        let is = |at: usize, word: &str| words.get(at).is_some_and(|text| text.eq_ignore_ascii_case(word));
        let named = |at: usize| {
            words.get(at).is_some_and(|text| {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.()".contains(&b);
                !text.is_empty() && *text != "." && *text != ".." && text.bytes().all(plain)
            })
        };
        let whole = words.len() == 9
            && is(0, "")
            && is(1, "subscriptions")
            && named(2)
            && is(3, "resourceGroups")
            && named(4)
            && is(5, "providers")
            && is(6, "Microsoft.ContainerService")
            && is(7, "managedClusters")
            && named(8);
        if whole {
            return Ok(Self(id.to_owned()));
        }
        Err(Error::Configuration(format!(
            "invalid AKS cluster ID: '{id}'. must be /subscriptions/<id>/resourceGroups/<name>/providers/\
             Microsoft.ContainerService/managedClusters/<name>"
        )))
    }

    fn address(&self, management: &Url, rest: &str) -> Result<Url, Error> {
        let base = management.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{}{rest}?api-version={VERSION}", self.0))
            .map_err(|error| Error::Configuration(error.to_string()))
    }

    /// The kubeconfigs that lead to the cluster, for the address and the certificates in them.
    ///
    /// # Errors
    /// When Azure refuses or cannot be reached within ten seconds, or the cluster does not take Entra's tokens.
    pub async fn kubeconfigs(
        &self,
        client: &Client,
        management: &Url,
        credential: &Credential,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let token = match &credential.kind {
            Presented::Bearer(token) | Presented::Basic { password: token, .. } => token.expose(),
        };
        let found: Described =
            http::json(MANAGER, client.get(self.address(management, "")?).bearer_auth(token)).await?;
        if found.properties.aad_profile.is_none() {
            return Err(Error::Configuration(format!(
                "AKS cluster {} does not have Microsoft Entra ID integration enabled",
                self.0
            )));
        }
        let url = self.address(management, "/listClusterUserCredential")?;
        let request = client.post(url).bearer_auth(token).header(reqwest::header::CONTENT_LENGTH, 0);
        let listed: Listed = http::json(MANAGER, request).await?;
        let decode = |entry: Entry| {
            STANDARD.decode(entry.value).map_err(|_| Error::Malformed {
                service: MANAGER,
                reason: "a kubeconfig is not base64".to_owned(),
            })
        };
        listed.kubeconfigs.into_iter().map(decode).collect()
    }
}

#[derive(Deserialize)]
struct Described {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    aad_profile: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Listed {
    kubeconfigs: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_named_by_their_resource() {
        let id =
            "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/prod";
        assert!(Cluster::parse(id).is_ok());
        assert!(Cluster::parse(&id.to_lowercase()).is_ok());
        for text in [
            "",
            "prod",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/",
            "/subscriptions/s/resourceGroups/../providers/Microsoft.ContainerService/managedClusters/p",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/p?x=y",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/managedClusters/p",
        ] {
            let error = Cluster::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("invalid AKS cluster ID: "), "{error}");
        }
    }
}
