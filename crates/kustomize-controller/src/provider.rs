//! What a ConfigMap says about a remote cluster: whose it is, where, and who signs in.

use std::collections::BTreeMap;

use sluice_identity::{aks, aws::eks, gcp};
use sluice_manifest::yaml::{Limits, parse_v2_json};

use crate::options::Options;

/// Whose cluster it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// Anybody's: its API server trusts this one's tokens.
    Generic { audiences: Vec<String> },
    /// Amazon's.
    Aws(eks::Cluster),
    /// Microsoft's; the cluster is named where address or certificates are not.
    Azure(Option<aks::Cluster>),
    /// Google's; the cluster is named where address or certificates are not.
    Gcp(Option<gcp::Cluster>),
}

/// The way to a remote cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) provider: Provider,
    /// `https://host:port`.
    pub(crate) address: Option<String>,
    /// PEM certificates.
    pub(crate) ca: Option<String>,
    /// ServiceAccount that signs in; none for the controller itself.
    pub(crate) account: Option<String>,
}

/// A ConfigMap that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("key 'provider' must be one of 'aws', 'azure', 'gcp' and 'generic', not '{0}'")]
    Provider(String),
    #[error("key '{0}' is required by provider '{1}'")]
    Missing(&'static str, &'static str),
    #[error("{0}")]
    Cluster(String),
    #[error("key 'address': {0}")]
    Address(String),
    #[error("key 'audiences' must be a list of texts in YAML")]
    Audiences,
    #[error("key '{0}' is no text")]
    Binary(&'static str),
    #[error(
        "a ServiceAccount may sign in only when the feature gate ObjectLevelWorkloadIdentity of the controller is \
         enabled: enable it, or remove key 'serviceAccountName'"
    )]
    Gate,
    #[error(
        "it names no ServiceAccount and describes the server itself, which would be shown the controller's own token: \
         add key 'serviceAccountName', or enable --insecure-interceptable-tokens of the controller"
    )]
    OwnToken,
}

impl Way {
    /// Reads the data of a ConfigMap.
    pub(crate) fn read(data: &BTreeMap<String, Vec<u8>>, options: &Options) -> Result<Self, Refused> {
        let text = |key: &'static str| -> Result<Option<String>, Refused> {
            let Some(bytes) = data.get(key) else { return Ok(None) };
            let text = std::str::from_utf8(bytes).map_err(|_| Refused::Binary(key))?.trim();
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        };
        let address =
            text("address")?.map(|given| address(&given).map(|parsed| (given, parsed))).transpose()?;
        let ca = text("ca.crt")?;
        let known = address.is_some() && ca.is_some();
        let cluster = text("cluster")?;
        let named = |provider| match &cluster {
            Some(cluster) => Ok(Some(cluster.as_str())),
            None if known => Ok(None),
            None => Err(Refused::Missing("cluster", provider)),
        };
        let refused = |error: sluice_identity::Error| Refused::Cluster(error.to_string());
        let provider = text("provider")?.unwrap_or_default();
        let provider = match provider.as_str() {
            "generic" => {
                let (given, _) = address.as_ref().ok_or(Refused::Missing("address", "generic"))?;
                let audiences = text("audiences")?.map(|text| list(&text)).transpose()?.unwrap_or_default();
                let audiences = if audiences.is_empty() { vec![given.clone()] } else { audiences };
                Provider::Generic { audiences }
            }
            "aws" => {
                let arn = cluster.as_deref().ok_or(Refused::Missing("cluster", "aws"))?;
                Provider::Aws(eks::Cluster::parse(arn).map_err(refused)?)
            }
            "azure" => {
                Provider::Azure(named("azure")?.map(aks::Cluster::parse).transpose().map_err(refused)?)
            }
            "gcp" => Provider::Gcp(named("gcp")?.map(gcp::Cluster::parse).transpose().map_err(refused)?),
            other => return Err(Refused::Provider(other.to_owned())),
        };
        let own = text("serviceAccountName")?;
        if own.is_some() && !options.gates.object_level_workload_identity {
            return Err(Refused::Gate);
        }
        let account = own.or_else(|| options.default_kubeconfig_service_account.clone());
        let described = known || matches!(provider, Provider::Generic { .. });
        // Who is held to an account of its own must not get hold of the controller's.
        let is_held = options.default_service_account.is_some() && !options.interceptable_tokens;
        if account.is_none() && described && is_held {
            return Err(Refused::OwnToken);
        }
        Ok(Self { provider, address: address.map(|(_, parsed)| parsed), ca, account })
    }
}

/// The canonical form `https://<host in lower case>:<port>`.
pub(crate) fn address(text: &str) -> Result<String, Refused> {
    let whole = if text.starts_with("http") { text.to_owned() } else { format!("https://{text}") };
    let wrong = |why: &str| Refused::Address(format!("'{text}' {why}"));
    let uri: http::Uri = whole.parse().map_err(|_| wrong("is no URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(wrong("must use https"));
    }
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let host = authority.map(http::uri::Authority::host).filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| wrong("has no host"))?.to_ascii_lowercase();
    Ok(format!("https://{host}:{}", uri.port_u16().unwrap_or(443)))
}

fn list(text: &str) -> Result<Vec<String>, Refused> {
    let parsed = parse_v2_json(text, Limits::default()).map_err(|_| Refused::Audiences)?;
    serde_json::from_value(parsed).map_err(|_| Refused::Audiences)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Way, String> {
        let gates = crate::options::Gates {
            object_level_workload_identity: true,
            ..crate::options::Gates::default()
        };
        let options = Options { gates, ..Options::default() };
        let data = pairs.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect();
        Way::read(&data, &options).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_generic_cluster_needs_an_address_which_is_its_audience_too() {
        let way = read(&[("provider", "generic"), ("address", "Prod.example"), ("ca.crt", "PEM")]).unwrap();
        assert_eq!(way.address.as_deref(), Some("https://prod.example:443"));
        assert_eq!(way.provider, Provider::Generic { audiences: vec!["Prod.example".to_owned()] });
        let given = [("provider", "generic"), ("address", "https://a:6443"), ("audiences", "- x\n- 'y'\n")];
        let way = read(&given).unwrap();
        assert_eq!(way.address.as_deref(), Some("https://a:6443"));
        assert_eq!(way.provider, Provider::Generic { audiences: vec!["x".to_owned(), "y".to_owned()] });
    }

    #[test]
    fn clouds_need_a_cluster_unless_address_and_certificates_are_given() {
        let known = [("address", "https://a"), ("ca.crt", "PEM")];
        for provider in ["azure", "gcp"] {
            let mut pairs = vec![("provider", provider)];
            assert_eq!(
                read(&pairs).unwrap_err(),
                format!("key 'cluster' is required by provider '{provider}'")
            );
            pairs.extend(known);
            assert!(read(&pairs).is_ok(), "{provider}");
        }
        let mut pairs = vec![("provider", "aws")];
        pairs.extend(known);
        assert_eq!(read(&pairs).unwrap_err(), "key 'cluster' is required by provider 'aws'");
        pairs.push(("cluster", "arn:aws:eks:eu-west-1:1:cluster/prod"));
        assert!(matches!(read(&pairs).unwrap().provider, Provider::Aws(_)));
    }

    #[test]
    fn the_controllers_own_token_goes_to_no_server_that_somebody_held_to_an_account_describes() {
        let arn = ("cluster", "arn:aws:eks:eu-west-1:1:cluster/prod");
        let described = [
            vec![("provider", "generic"), ("address", "a")],
            vec![("provider", "aws"), arn, ("address", "a"), ("ca.crt", "PEM")],
            vec![("provider", "azure"), ("address", "a"), ("ca.crt", "PEM")],
            vec![("provider", "gcp"), ("address", "a"), ("ca.crt", "PEM")],
        ];
        let data = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let held = Options { default_service_account: Some("tenant".to_owned()), ..Options::default() };
        let with_default =
            Options { default_kubeconfig_service_account: Some("remote".to_owned()), ..held.clone() };
        let allowed = Options { interceptable_tokens: true, ..held.clone() };
        for pairs in &described {
            assert_eq!(Way::read(&data(pairs), &held), Err(Refused::OwnToken), "{pairs:?}");
            for options in [&Options::default(), &with_default, &allowed] {
                assert!(Way::read(&data(pairs), options).is_ok(), "{pairs:?}");
            }
        }
        // The cloud tells where these are, or how to verify them.
        for more in [None, Some(("address", "a")), Some(("ca.crt", "PEM"))] {
            let pairs: Vec<_> = [("provider", "aws"), arn].into_iter().chain(more).collect();
            assert!(Way::read(&data(&pairs), &held).is_ok(), "{pairs:?}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_told_by_its_key() {
        for (pairs, expected) in [
            (vec![], "key 'provider' must be one of 'aws', 'azure', 'gcp' and 'generic', not ''"),
            (
                vec![("provider", "ibm")],
                "key 'provider' must be one of 'aws', 'azure', 'gcp' and 'generic', not 'ibm'",
            ),
            (vec![("provider", "generic")], "key 'address' is required by provider 'generic'"),
            (
                vec![("provider", "generic"), ("address", "http://a")],
                "key 'address': 'http://a' must use https",
            ),
            (
                vec![("provider", "generic"), ("address", "a"), ("audiences", "x: y")],
                "key 'audiences' must be a list of texts in YAML",
            ),
        ] {
            assert_eq!(read(&pairs).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_service_account_signs_in_only_where_that_is_switched_on() {
        let pairs = [("provider", "generic"), ("address", "a"), ("serviceAccountName", "deployer")];
        assert_eq!(read(&pairs).unwrap().account.as_deref(), Some("deployer"));
        let data = pairs.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect();
        assert_eq!(Way::read(&data, &Options::default()), Err(Refused::Gate));
    }
}
