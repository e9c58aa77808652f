//! Short-lived credentials from providers, instead of a Secret's password.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use sluice_api::source::v1::GitProvider;
use sluice_git::Auth;
use sluice_identity::{Credential, Environment, Key, Presented, aws, azure, github};
use sluice_runtime::{Key as ObjectKey, Tokens};
use sluice_types::Redacted;
use url::Url;

use crate::Context;
use crate::credentials::SecretData;
use crate::error::Error;
use crate::network::{self, Network};
use crate::request::Request;

/// Seconds that a ServiceAccount's token is asked for: the least the API server grants.
const TOKEN_SECONDS: i64 = 600;

/// What identifying ourselves takes.
pub(crate) struct Identity {
    pub(crate) tokens: Tokens,
    pub(crate) environment: Environment,
    /// For objects that name none.
    pub(crate) default_service_account: Option<String>,
    /// Even the controller's own tokens may be shown to whom an object's proxy and authority lead.
    pub(crate) interceptable: bool,
}

/// Lets the request's provider, if it has one, identify us to the remote.
pub(crate) async fn sign_in(
    context: &Context,
    request: &mut Request,
    object: &ObjectKey,
    secret: Option<&SecretData>,
) -> Result<(), Error> {
    let account =
        request.service_account.clone().or_else(|| context.identity.default_service_account.clone());
    if !context.identity.interceptable {
        network::keep_from_interception(request, account.is_some())?;
    }
    let (credential, name) = match request.provider {
        GitProvider::Generic => return Ok(()),
        GitProvider::Github => {
            let Some(secret) = secret else { return Ok(()) };
            github(context, request, object, secret).await?
        }
        GitProvider::Azure => azure(context, request, object, account.as_deref()).await?,
        GitProvider::Aws => aws(context, request, object, account.as_deref()).await?,
    };
    request.remote.auth = match credential.kind {
        Presented::Bearer(token) => Auth::Bearer(token),
        Presented::Basic { username, password } => Auth::Basic { username: username.into_inner(), password },
    };
    request.remote.credential = Some(name);
    Ok(())
}

async fn github(
    context: &Context,
    request: &Request,
    object: &ObjectKey,
    secret: &SecretData,
) -> Result<(Credential, String), Error> {
    let invalid = |why: String| Error::Credentials(format!("secret '{}': {why}", secret.name));
    let text = |key: &str| Ok::<_, Error>(secret.text(key)?.map(Redacted::into_inner));
    let wanted = |key: &str| text(key)?.ok_or_else(|| invalid(format!("key '{key}' is missing")));
    let installation = match (text("githubAppInstallationID")?, text("githubAppInstallationOwner")?) {
        (Some(id), None) => github::Installation::Id(id),
        (None, Some(owner)) => github::Installation::Owner(owner),
        _ => {
            let one = "exactly one of 'githubAppInstallationID' and 'githubAppInstallationOwner' must be set";
            return Err(invalid(one.to_owned()));
        }
    };
    let api = match text("githubAppBaseURL")? {
        Some(base) => {
            Some(Url::parse(&base).map_err(|_| invalid("key 'githubAppBaseURL' is no URL".to_owned()))?)
        }
        None => None,
    };
    let app = github::App {
        id: wanted("githubAppID")?,
        private_key: wanted("githubAppPrivateKey")?.into(),
        installation,
        api,
    };
    let installed = match &app.installation {
        github::Installation::Id(id) => format!("id/{id}"),
        github::Installation::Owner(owner) => format!("owner/{owner}"),
    };
    let base = app.api.as_ref().map(Url::as_str).unwrap_or_default();
    let name = format!("github-app/{base}/{}/{installed}", app.id);
    let network = Network::of_object(request, &context.identity.environment);
    let key = Key::of(&["github", &name, app.private_key.expose(), &network.key]);
    let client = network.client()?;
    let credential = context.identity.tokens.get(key, object, || app.credential(&client)).await?;
    Ok((credential, name))
}

async fn azure(
    context: &Context,
    request: &Request,
    object: &ObjectKey,
    account: Option<&str>,
) -> Result<(Credential, String), Error> {
    let namespace = &*object.namespace;
    azure::check(&request.url)?;
    let network = Network::of_cloud(request, &context.identity.environment);
    let client = network.client()?;
    let Identity { tokens, environment, .. } = &context.identity;
    let name = principal("azure", namespace, account);
    let account = Account::read(context, namespace, account).await?;
    let tenant = account.as_ref().map(|account| account.annotation(azure::TENANT_ANNOTATION)).transpose()?;
    let id = account.as_ref().map(|account| account.annotation(azure::CLIENT_ANNOTATION)).transpose()?;
    let key = Key::of(&["azure", &name, tenant.unwrap_or_default(), id.unwrap_or_default(), &network.key]);
    let obtain = || async {
        let identity = match (&account, tenant, id) {
            (Some(account), Some(tenant), Some(client)) => azure::Identity::Federated {
                tenant: tenant.to_owned(),
                client: client.to_owned(),
                assertion: account.token(context, azure::AUDIENCE).await?,
            },
            _ => azure::Identity::from_environment(environment).await?,
        };
        let endpoints = azure::Endpoints::from_environment(environment)?;
        azure::credential(&client, &endpoints, &identity).await
    };
    Ok((tokens.get(key, object, obtain).await?, name))
}

async fn aws(
    context: &Context,
    request: &Request,
    object: &ObjectKey,
    account: Option<&str>,
) -> Result<(Credential, String), Error> {
    let namespace = &*object.namespace;
    let repository = aws::Repository::parse(&request.url)?;
    let network = Network::of_cloud(request, &context.identity.environment);
    let client = network.client()?;
    let Identity { tokens, environment, .. } = &context.identity;
    let name = principal("aws", namespace, account);
    let account = Account::read(context, namespace, account).await?;
    let role = account.as_ref().map(|account| account.annotation(aws::ROLE_ANNOTATION)).transpose()?;
    if let Some(role) = role.filter(|role| !aws::is_role_arn(role)) {
        return Err(Error::Credentials(format!("'{role}' is no AWS role ARN")));
    }
    let key = Key::of(&["aws", &name, role.unwrap_or_default(), request.url.as_str(), &network.key]);
    let obtain = || async {
        let identity = match (&account, role) {
            (Some(account), Some(role)) => aws::Identity::ServiceAccount {
                role: role.to_owned(),
                session: format!("{}.{namespace}.{}.fluxcd.io", account.name, repository.region),
                token: account.token(context, aws::AUDIENCE).await?,
            },
            _ => aws::Identity::Controller,
        };
        let endpoints = aws::Endpoints::of_region(&repository.region)?;
        let keys = aws::keys(&client, &endpoints, environment, &identity).await?;
        Ok(repository.credential(&keys, SystemTime::now()))
    };
    Ok((tokens.get(key, object, obtain).await?, name))
}

fn principal(provider: &str, namespace: &str, account: Option<&str>) -> String {
    match account {
        Some(account) => format!("{provider}/{namespace}/{account}"),
        None => format!("{provider}/controller"),
    }
}

/// A ServiceAccount that a cloud trusts.
struct Account {
    namespace: String,
    name: String,
    annotations: BTreeMap<String, String>,
}

impl Account {
    async fn read(context: &Context, namespace: &str, name: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(name) = name else { return Ok(None) };
        let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace);
        let account = api.get(name).await.map_err(|error| {
            Error::Credentials(format!("failed to get service account '{namespace}/{name}': {error}"))
        })?;
        let annotations = account.metadata.annotations.unwrap_or_default();
        Ok(Some(Self { namespace: namespace.to_owned(), name: name.to_owned(), annotations }))
    }

    fn annotation(&self, key: &str) -> Result<&str, Error> {
        self.annotations.get(key).map(String::as_str).ok_or_else(|| {
            let (namespace, name) = (&self.namespace, &self.name);
            Error::Credentials(format!("service account '{namespace}/{name}' has no annotation '{key}'"))
        })
    }

    async fn token(
        &self,
        context: &Context,
        audience: &str,
    ) -> Result<Redacted<String>, sluice_identity::Error> {
        let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &self.namespace);
        let spec = TokenRequestSpec {
            audiences: Some(vec![audience.to_owned()]),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let failed = |why: String| {
            let (namespace, name) = (&self.namespace, &self.name);
            sluice_identity::Error::Configuration(format!(
                "failed to get a token for service account '{namespace}/{name}': {why}"
            ))
        };
        let answer = api.create_token_request(&self.name, &PostParams::default(), &request).await;
        let status = answer.map_err(|error| failed(error.to_string()))?.status;
        let token = status.and_then(|status| status.token);
        Ok(token.ok_or_else(|| failed("the answer holds none".to_owned()))?.into())
    }
}
