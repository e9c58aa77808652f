//! What the fault proxy does to requests.
#![allow(clippy::unwrap_used, clippy::panic)]

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::{Client, Config, ResourceExt};
use sluice_localapi::{Options, Server};
use sluice_testkit::{Fault, Proxy, Rule};

async fn through(proxy: &Proxy) -> Client {
    let config = kube::config::Kubeconfig::from_yaml(&proxy.kubeconfig()).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap()).unwrap()
}

async fn start() -> (Client, Proxy, Api<ConfigMap>) {
    let server = Server::start(Options::default());
    let direct = Client::new(server.router().into_service(), "default");
    let proxy = Proxy::start(direct.clone()).await.unwrap();
    let api = Api::default_namespaced(through(&proxy).await);
    (direct, proxy, api)
}

fn named(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() },
        ..Default::default()
    }
}

#[tokio::test]
async fn a_crash_after_the_second_write_lets_exactly_two_through() {
    let (direct, proxy, api) = start().await;
    proxy.crash_after(2);
    let writer = tokio::spawn(async move {
        for name in ["a", "b", "c"] {
            let _ = api.create(&PostParams::default(), &named(name)).await;
        }
    });
    proxy.crashed().await;
    writer.abort();
    let there: Api<ConfigMap> = Api::default_namespaced(direct);
    let names: Vec<String> =
        there.list(&Default::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(proxy.writes().len(), 2);
}

#[tokio::test]
async fn rules_strike_the_requests_they_name() {
    let (direct, proxy, api) = start().await;
    proxy.set_rules(vec![Rule::nth(2, Fault::Refuse(409), |seen| seen.writes)]);
    api.create(&PostParams::default(), &named("a")).await.unwrap();
    let refused = api.create(&PostParams::default(), &named("b")).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
    api.create(&PostParams::default(), &named("b")).await.unwrap();
    let codes: Vec<u16> = proxy.writes().iter().map(|seen| seen.code).collect();
    assert_eq!(codes, [201, 409, 201]);
    proxy.set_rules(vec![Rule::first(1, Fault::Swallow(500), |seen| seen.writes)]);
    assert!(api.create(&PostParams::default(), &named("c")).await.is_err());
    let there: Api<ConfigMap> = Api::default_namespaced(direct);
    assert!(there.get("c").await.is_ok());
}
