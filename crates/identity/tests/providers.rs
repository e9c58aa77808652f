//! Token exchanges against token services of our own on loopback.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sluice_identity::{ApiServer, Credential, Environment, Error, Presented, aks, aws, azure, gcp, github};
use url::Url;

/// What a service answers by `METHOD path`, and what it was asked.
#[derive(Clone, Default)]
struct Service {
    answers: Arc<HashMap<&'static str, (u16, String)>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct Asked {
    line: String,
    authorization: String,
    body: String,
}

async fn answer(State(service): State<Service>, request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let body = String::from_utf8(to_bytes(body, 65536).await.unwrap().to_vec()).unwrap();
    let query = parts.uri.query().unwrap_or("");
    service.asked.lock().unwrap().push(Asked {
        line: line.clone(),
        authorization: header("authorization") + &header("x-aws-ec2-metadata-token"),
        body: body + query,
    });
    let (status, text) = service.answers.get(line.as_str()).cloned().unwrap_or((404, "{}".to_owned()));
    (StatusCode::from_u16(status).unwrap(), text)
}

async fn start(answers: &[(&'static str, u16, &str)]) -> (Service, Url) {
    let answers = answers.iter().map(|(line, status, text)| (*line, (*status, (*text).to_owned()))).collect();
    let service = Service { answers: Arc::new(answers), asked: Arc::default() };
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let router = Router::new().fallback(answer).with_state(service.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (service, url)
}

fn client() -> reqwest::Client {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn basic(credential: &Credential) -> (String, String) {
    match &credential.kind {
        Presented::Basic { username, password } => (username.expose().clone(), password.expose().clone()),
        Presented::Bearer(_) => panic!("basic expected"),
    }
}

fn bearer(credential: &Credential) -> String {
    match &credential.kind {
        Presented::Bearer(token) => token.expose().clone(),
        Presented::Basic { .. } => panic!("bearer expected"),
    }
}

fn app(key: &str, installation: github::Installation, api: Url) -> github::App {
    github::App { id: "42".to_owned(), private_key: key.to_owned().into(), installation, api: Some(api) }
}

const PKCS1: &str = include_str!("fixtures/app-pkcs1.pem");
const PKCS8: &str = include_str!("fixtures/app-pkcs8.pem");
const ISSUED: &str = r#"{"token":"ghs_x","expires_at":"2033-05-18T03:33:20Z"}"#;

#[tokio::test]
async fn a_github_installation_is_found_by_organisation_then_by_user() {
    let (service, url) = start(&[
        ("GET /users/ada/installation", 200, r#"{"id":7}"#),
        ("POST /app/installations/7/access_tokens", 201, ISSUED),
    ])
    .await;
    let owner = github::Installation::Owner("ada".to_owned());
    let credential = app(PKCS1, owner, url).credential(&client()).await.unwrap();
    assert_eq!(basic(&credential), ("x-access-token".to_owned(), "ghs_x".to_owned()));
    assert_eq!(credential.expires, SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    let asked = service.asked.lock().unwrap();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let expected = [
        "GET /orgs/ada/installation",
        "GET /users/ada/installation",
        "POST /app/installations/7/access_tokens",
    ];
    assert_eq!(lines, expected);
    assert!(asked.iter().all(|asked| asked.authorization.starts_with("Bearer ey")));
}

#[tokio::test]
async fn github_keys_may_be_pkcs1_or_pkcs8_and_nothing_else() {
    let (_, url) = start(&[("POST /app/installations/9/access_tokens", 201, ISSUED)]).await;
    let by_id = || github::Installation::Id("9".to_owned());
    for key in [PKCS1, PKCS8] {
        assert!(app(key, by_id(), url.clone()).credential(&client()).await.is_ok());
    }
    let error = app("no key", by_id(), url.clone()).credential(&client()).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error}");
    let climbing = github::Installation::Owner("../../app".to_owned());
    assert!(app(PKCS1, climbing, url).credential(&client()).await.is_err());
}

#[tokio::test]
async fn a_refusal_names_service_status_and_code_but_never_what_was_sent() {
    let (_, url) = start(&[(
        "POST /t/oauth2/v2.0/token",
        401,
        r#"{"error":"invalid_client","error_description":"s3cret"}"#,
    )])
    .await;
    let endpoints = azure::Endpoints { authority: url.clone(), metadata: url };
    let identity = azure::Identity::Secret {
        tenant: "t".to_owned(),
        client: "c".to_owned(),
        secret: "s3cret".to_owned().into(),
    };
    let error = azure::credential(&client(), &endpoints, &identity).await.unwrap_err().to_string();
    assert_eq!(error, "Microsoft Entra refused the request: HTTP status 401 (invalid_client)");
}

#[tokio::test]
async fn azure_signs_in_by_federated_token_or_managed_identity() {
    let (service, url) = start(&[
        ("POST /t/oauth2/v2.0/token", 200, r#"{"access_token":"federated","expires_in":3600}"#),
        ("GET /metadata/identity/oauth2/token", 200, r#"{"access_token":"managed","expires_in":"3600"}"#),
    ])
    .await;
    let endpoints = azure::Endpoints { authority: url.clone(), metadata: url };
    let federated = azure::Identity::Federated {
        tenant: "t".to_owned(),
        client: "c".to_owned(),
        assertion: "proof".to_owned().into(),
    };
    assert_eq!(bearer(&azure::credential(&client(), &endpoints, &federated).await.unwrap()), "federated");
    let managed = azure::Identity::from_environment(&Environment::default()).await.unwrap();
    assert_eq!(bearer(&azure::credential(&client(), &endpoints, &managed).await.unwrap()), "managed");
    let asked = service.asked.lock().unwrap();
    assert!(
        asked[0].body.contains("client_assertion=proof")
            && asked[0].body.contains("499b84ac-1321-427f-aa17-267ca6975798")
    );
    assert!(asked[1].body.contains("resource=499b84ac-1321-427f-aa17-267ca6975798"));
}

const ASSUMED: &str = "<R><C><AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey>\
    <SessionToken>ST</SessionToken><Expiration>2033-05-18T03:33:20Z</Expiration></C></R>";
const ROLE: &str =
    r#"{"AccessKeyId":"AK","SecretAccessKey":"SK","Token":"ST","Expiration":"2033-05-18T03:33:20Z"}"#;

fn aws_endpoints(url: &Url) -> aws::Endpoints {
    aws::Endpoints { sts: url.clone(), container: url.clone(), metadata: url.clone() }
}

#[tokio::test]
async fn aws_keys_come_from_the_first_place_that_has_them() {
    let (service, url) = start(&[
        ("POST /", 200, ASSUMED),
        ("GET /container", 200, ROLE),
        ("PUT /latest/api/token", 200, "imds"),
        ("GET /latest/meta-data/iam/security-credentials/", 200, "node\n"),
        ("GET /latest/meta-data/iam/security-credentials/node", 200, ROLE),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "web\n").unwrap();
    let token = token.display().to_string();
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")], ""),
        (&[("AWS_ROLE_ARN", "arn:aws:iam::1:role/a"), ("AWS_WEB_IDENTITY_TOKEN_FILE", &token)], "POST /"),
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/container")], "GET /container"),
        (&[], "GET /latest/meta-data/iam/security-credentials/node"),
    ];
    for (variables, last) in cases {
        service.asked.lock().unwrap().clear();
        let environment: Environment = variables.iter().copied().collect();
        let keys = aws::keys(&client(), &aws_endpoints(&url), &environment, &aws::Identity::Controller)
            .await
            .unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose().as_str()), ("AK", "SK"));
        let asked = service.asked.lock().unwrap();
        assert_eq!(asked.last().map_or("", |asked| asked.line.as_str()), last);
    }
}

#[tokio::test]
async fn a_service_account_assumes_its_role_with_its_token() {
    let (service, url) = start(&[("POST /", 200, ASSUMED)]).await;
    let identity = aws::Identity::ServiceAccount {
        role: "arn:aws:iam::1:role/tenant".to_owned(),
        session: "deployer.team.us-east-1.fluxcd.io".to_owned(),
        token: "jwt".to_owned().into(),
    };
    let keys = aws::keys(&client(), &aws_endpoints(&url), &Environment::default(), &identity).await.unwrap();
    assert_eq!(keys.session.unwrap().expose(), "ST");
    let body = service.asked.lock().unwrap()[0].body.clone();
    assert!(
        body.contains("WebIdentityToken=jwt")
            && body.contains("RoleSessionName=deployer.team.us-east-1.fluxcd.io")
    );
}

#[tokio::test]
async fn without_any_place_to_look_the_error_says_what_was_tried() {
    let closed = {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
    };
    let error =
        aws::keys(&client(), &aws_endpoints(&closed), &Environment::default(), &aws::Identity::Controller)
            .await
            .unwrap_err();
    assert!(matches!(error, Error::NoCredentials { provider: "AWS", .. }), "{error}");
}

fn bearer_of(token: &str) -> Credential {
    let expires = SystemTime::now() + Duration::from_secs(600);
    Credential { kind: Presented::Bearer(token.to_owned().into()), expires }
}

fn keys() -> aws::Keys {
    aws::Keys {
        id: "AKID".to_owned(),
        secret: "secret".to_owned().into(),
        session: Some("session".to_owned().into()),
        expires: None,
    }
}

#[tokio::test]
async fn eks_is_asked_with_a_signature_where_its_cluster_is() {
    let answer = r#"{"cluster":{"endpoint":"https://EKS.example","certificateAuthority":{"data":"UEVN"}}}"#;
    let (service, url) = start(&[("GET /clusters/prod", 200, answer)]).await;
    let cluster = aws::eks::Cluster::parse("arn:aws:eks:eu-west-1:1:cluster/prod").unwrap();
    let server = cluster.describe(&client(), &url, &keys(), SystemTime::now()).await.unwrap();
    assert_eq!(server, ApiServer { address: "https://EKS.example".to_owned(), ca: b"PEM".to_vec() });
    let asked = service.asked.lock().unwrap();
    let signed = &asked[0].authorization;
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{signed}");
    assert!(
        signed.contains("/eu-west-1/eks/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token"),
        "{signed}"
    );
}

#[tokio::test]
async fn aks_gives_kubeconfigs_only_for_clusters_that_take_entras_tokens() {
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/prod";
    let cluster = aks::Cluster::parse(id).unwrap();
    let get =
        "GET /subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/prod";
    let list = "POST /subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/prod/listClusterUserCredential";
    let listed = r#"{"kubeconfigs":[{"name":"clusterUser","value":"a3ViZQ=="}]}"#;
    let (service, url) =
        start(&[(get, 200, r#"{"properties":{"aadProfile":{"managed":true}}}"#), (list, 200, listed)]).await;
    let found = cluster.kubeconfigs(&client(), &url, &bearer_of("arm")).await.unwrap();
    assert_eq!(found, [b"kube".to_vec()]);
    assert!(service.asked.lock().unwrap().iter().all(|asked| asked.authorization == "Bearer arm"));
    let (_, url) = start(&[(get, 200, r#"{"properties":{}}"#)]).await;
    let error = cluster.kubeconfigs(&client(), &url, &bearer_of("arm")).await.unwrap_err().to_string();
    assert!(error.ends_with("does not have Microsoft Entra ID integration enabled"), "{error}");
}

#[tokio::test]
async fn entra_gives_tokens_for_the_resource_that_is_asked_for() {
    let (service, url) =
        start(&[("POST /tenant/oauth2/v2.0/token", 200, r#"{"access_token":"aks","expires_in":3600}"#)])
            .await;
    let endpoints = azure::Endpoints { authority: url.clone(), metadata: url };
    let identity = azure::Identity::Federated {
        tenant: "tenant".to_owned(),
        client: "client".to_owned(),
        assertion: "kubernetes".to_owned().into(),
    };
    let credential = azure::token(&client(), &endpoints, &identity, azure::AKS).await.unwrap();
    assert_eq!(bearer(&credential), "aks");
    let body = &service.asked.lock().unwrap()[0].body;
    assert!(body.contains("scope=6dae42f8-4368-4678-94ff-3960e28e3630%2F.default"), "{body}");
}

fn google(url: &Url) -> gcp::Endpoints {
    gcp::Endpoints { sts: url.clone(), iam: url.clone(), metadata: url.clone(), container: url.clone() }
}

#[tokio::test]
async fn a_kubernetes_token_becomes_that_of_a_google_account() {
    let impersonated = r#"{"accessToken":"google","expireTime":"2033-05-18T03:33:20Z"}"#;
    let account = "POST /v1/projects/-/serviceAccounts/git@p.iam.gserviceaccount.com:generateAccessToken";
    let (service, url) = start(&[
        ("POST /v1/token", 200, r#"{"access_token":"federated","expires_in":3600}"#),
        (account, 200, impersonated),
    ])
    .await;
    let provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/id";
    let federation = gcp::Federation::find(&client(), &google(&url), Some(provider)).await.unwrap();
    assert_eq!(federation.token_audience, format!("//iam.googleapis.com/{provider}"));
    let token = "kubernetes".to_owned().into();
    let direct = gcp::exchange(&client(), &google(&url), &federation, &token, None).await.unwrap();
    assert_eq!(bearer(&direct), "federated");
    let email = Some("git@p.iam.gserviceaccount.com");
    let acting = gcp::exchange(&client(), &google(&url), &federation, &token, email).await.unwrap();
    assert_eq!(bearer(&acting), "google");
    assert_eq!(acting.expires, SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    let asked = service.asked.lock().unwrap();
    assert!(asked[0].body.contains("subject_token=kubernetes"), "{}", asked[0].body);
    assert_eq!(asked[2].authorization, "Bearer federated");
}

#[tokio::test]
async fn on_gke_the_metadata_service_names_the_pool_and_the_controller() {
    let (_, url) = start(&[
        ("GET /computeMetadata/v1/project/project-id", 200, "p\n"),
        ("GET /computeMetadata/v1/instance/attributes/cluster-location", 200, "l"),
        ("GET /computeMetadata/v1/instance/attributes/cluster-name", 200, "c"),
        (
            "GET /computeMetadata/v1/instance/service-accounts/default/token",
            200,
            r#"{"access_token":"own","expires_in":60,"token_type":"Bearer"}"#,
        ),
        (
            "GET /v1/projects/p/locations/l/clusters/prod",
            200,
            r#"{"endpoint":"10.0.0.1","masterAuth":{"clusterCaCertificate":"UEVN"}}"#,
        ),
    ])
    .await;
    let federation = gcp::Federation::find(&client(), &google(&url), None).await.unwrap();
    assert_eq!(federation.token_audience, "p.svc.id.goog");
    assert_eq!(
        federation.audience,
        "identitynamespace:p.svc.id.goog:https://container.googleapis.com/v1/projects/p/locations/l/clusters/c"
    );
    let credential = gcp::controller(&client(), &google(&url), &Environment::default()).await.unwrap();
    assert_eq!(bearer(&credential), "own");
    let cluster = gcp::Cluster::parse("projects/p/locations/l/clusters/prod").unwrap();
    let server = cluster.describe(&client(), &google(&url), &credential).await.unwrap();
    assert_eq!(server, ApiServer { address: "10.0.0.1".to_owned(), ca: b"PEM".to_vec() });
    let file: Environment = [("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")].into_iter().collect();
    let error = gcp::controller(&client(), &google(&url), &file).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
}
