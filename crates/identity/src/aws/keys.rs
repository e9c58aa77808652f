use std::time::SystemTime;

use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use sluice_types::Redacted;
use url::Url;

use crate::{Environment, Error, http};

const STS: &str = "AWS STS";
const CONTAINER: &str = "the AWS container credentials service";
const METADATA: &str = "the AWS instance metadata service";

/// Access keys, perhaps of a session.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// The secret access key.
    pub secret: Redacted<String>,
    /// The session's token, for temporary keys.
    pub session: Option<Redacted<String>>,
    /// When temporary keys end.
    pub expires: Option<SystemTime>,
}

/// Who asks for keys.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The controller itself, by its environment: static keys, a web identity, a container's or an instance's role.
    Controller,
    /// A ServiceAccount's token (audience [`super::AUDIENCE`]) that assumes a role.
    ServiceAccount {
        /// The role, checked by [`super::is_role_arn`].
        role: String,
        /// The session's name: `<name>.<namespace>.<region>.fluxcd.io`.
        session: String,
        /// The Kubernetes token.
        token: Redacted<String>,
    },
}

/// Addresses of the token services; VPC endpoints and tests have their own.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The security token service of the region.
    pub sts: Url,
    /// Host of the container credentials service, for relative addresses.
    pub container: Url,
    /// The instance metadata service.
    pub metadata: Url,
}

impl Endpoints {
    /// The public services of a region.
    ///
    /// # Errors
    /// When the region does not form a host name.
    pub fn of_region(region: &str) -> Result<Self, Error> {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let parse = |text: &str| {
            Url::parse(text).map_err(|error| Error::Configuration(format!("AWS region '{region}': {error}")))
        };
        Ok(Self {
            sts: parse(&format!("https://sts.{region}.amazonaws.com{suffix}/"))?,
            container: parse("http://169.254.170.2/")?,
            metadata: parse("http://169.254.169.254/")?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<jiff::Timestamp>,
}

impl From<Issued> for Keys {
    fn from(issued: Issued) -> Self {
        Self {
            id: issued.access_key_id,
            secret: issued.secret_access_key.into(),
            session: issued.token.map(Redacted::new),
            expires: issued.expiration.map(Into::into),
        }
    }
}

/// Obtains access keys, in the order AWS's own tools look: static keys, web identity, container, instance.
///
/// # Errors
/// When a service refuses or cannot be reached within ten seconds a request, or nothing is configured.
pub async fn keys(
    client: &Client,
    endpoints: &Endpoints,
    environment: &Environment,
    identity: &Identity,
) -> Result<Keys, Error> {
    if let Identity::ServiceAccount { role, session, token } = identity {
        return assume(client, endpoints, role, session, token).await;
    }
    if let (Some(id), Some(secret)) =
        (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"))
    {
        let session = environment.get("AWS_SESSION_TOKEN").map(|token| token.to_owned().into());
        return Ok(Keys { id: id.to_owned(), secret: secret.to_owned().into(), session, expires: None });
    }
    if let Some(role) = environment.get("AWS_ROLE_ARN")
        && let Some(token) = environment.file("AWS_WEB_IDENTITY_TOKEN_FILE").await?
    {
        let session = environment.get("AWS_ROLE_SESSION_NAME").unwrap_or("source-controller");
        return assume(client, endpoints, role, session, &token.into()).await;
    }
    if let Some(request) = container(client, endpoints, environment).await? {
        return http::json::<Issued>(CONTAINER, request).await.map(Keys::from);
    }
    instance(client, endpoints).await
}

async fn assume(
    client: &Client,
    endpoints: &Endpoints,
    role: &str,
    session: &str,
    token: &Redacted<String>,
) -> Result<Keys, Error> {
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session),
        ("WebIdentityToken", token.expose()),
    ];
    let answer = http::text(STS, client.post(endpoints.sts.clone()).form(&form)).await?;
    let part = |name: &str| {
        element(&answer, name)
            .map(str::to_owned)
            .ok_or_else(|| Error::Malformed { service: STS, reason: format!("{name} is missing") })
    };
    Ok(Keys {
        id: part("AccessKeyId")?,
        secret: part("SecretAccessKey")?.into(),
        session: Some(part("SessionToken")?.into()),
        expires: part("Expiration")?.parse::<jiff::Timestamp>().ok().map(Into::into),
    })
}

async fn container(
    client: &Client,
    endpoints: &Endpoints,
    environment: &Environment,
) -> Result<Option<RequestBuilder>, Error> {
    let malformed = |name: &str| Error::Configuration(format!("{name} is no address"));
    let url = if let Some(path) = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        endpoints.container.join(path).map_err(|_| malformed("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))?
    } else if let Some(full) = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        Url::parse(full).map_err(|_| malformed("AWS_CONTAINER_CREDENTIALS_FULL_URI"))?
    } else {
        return Ok(None);
    };
    let token = match environment.file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").await? {
        Some(token) => Some(token),
        None => environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    let request = client.get(url);
    Ok(Some(match token {
        Some(token) => request.header(reqwest::header::AUTHORIZATION, token),
        None => request,
    }))
}

async fn instance(client: &Client, endpoints: &Endpoints) -> Result<Keys, Error> {
    let address =
        |path: &str| endpoints.metadata.join(path).map_err(|error| Error::Configuration(error.to_string()));
    let nothing = |error: Error| match error {
        Error::Unreachable { .. } => Error::NoCredentials {
            provider: "AWS",
            tried: "static keys, web identity, container credentials, instance metadata".to_owned(),
        },
        other => other,
    };
    let request =
        client.put(address("latest/api/token")?).header("X-aws-ec2-metadata-token-ttl-seconds", "300");
    let token = http::text(METADATA, request).await.map_err(nothing)?;
    let get = |url: Url| client.get(url).header("X-aws-ec2-metadata-token", token.trim());
    let roles = address("latest/meta-data/iam/security-credentials/")?;
    let listed = http::text(METADATA, get(roles.clone())).await?;
    let role = listed.lines().next().unwrap_or_default().trim();
    let url = roles
        .join(role)
        .map_err(|_| Error::Malformed { service: METADATA, reason: "role name".to_owned() })?;
    http::json::<Issued>(METADATA, get(url)).await.map(Keys::from)
}

/// The text of the first element of that name in a flat XML answer.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}
