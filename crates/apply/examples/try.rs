#![allow(missing_docs, clippy::unwrap_used)]
use serde_json::json;
use sluice_apply::*;
use sluice_manifest::Object;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
fn d(v: serde_json::Value) -> Desired {
    Desired::from(Object::new(v).unwrap())
}
fn labels() -> serde_json::Value {
    json!({"kustomize.toolkit.fluxcd.io/name":"app","kustomize.toolkit.fluxcd.io/namespace":"try-a"})
}
fn show(t: &str, r: &Report) {
    println!("== {t}");
    for o in &r.outcomes {
        match &o.fate {
            Fate::Applied { action, health, seen } => println!(
                "  {} {} v{} key {} {:?}",
                o.id.subject(),
                action,
                seen.version,
                seen.drift_key,
                health.as_ref().map(|h| h.0)
            ),
            f => println!(
                "  {} {:?} / {}",
                o.id.subject(),
                std::mem::discriminant(f),
                o.error().map(|e| e.to_string()).unwrap_or_default()
            ),
        }
    }
}
fn sh(c: &str) {
    println!("$ {c}");
    let o = std::process::Command::new("bash").arg("-c").arg(c).output().unwrap();
    print!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
}
#[tokio::main]
async fn main() {
    let client = kube::Client::try_default().await.unwrap();
    let settings = Settings {
        dialect: Dialect { group: "kustomize.toolkit.fluxcd.io", manager: "kustomize-controller" },
        override_managers: vec![],
    };
    let cluster = Cluster::new(client, Options { settings, request_timeout: Duration::from_secs(30) });
    let t = cluster.target(Identity::Own);
    let c = CancellationToken::new();
    let p = Policy {
        concurrency: 8,
        force: false,
        all_or_nothing: false,
        migrate_api_version: false,
        ignore: Arc::default(),
    };
    let mut m = Memory::default();
    let ns =
        vec![d(json!({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"try-a","labels":labels()}}))];
    let r = t.apply(&ns, &p, &m, &c).await;
    show("ns", &r);
    m.learn(&ns, &r);
    let lease =
        cluster.watch_owned([("", "ConfigMap"), ("apps", "Deployment"), ("", "Secret"), ("", "Namespace")]);
    println!("synced {}", cluster.synced(&lease, Duration::from_secs(5)).await);
    let mut sig = cluster.signals();
    let dep = |img: &str| {
        d(
            json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"try-a","labels":labels()},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":img}]}}}}),
        )
    };
    let cm = d(
        json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm","namespace":"try-a","labels":labels()},"data":{"a":"1"}}),
    );
    let sec = |v: &str| {
        d(
            json!({"apiVersion":"v1","kind":"Secret","immutable":true,"metadata":{"name":"sec","namespace":"try-a","labels":labels()},"data":{"k":v}}),
        )
    };
    let bad = d(
        json!({"apiVersion":"v1","kind":"Secret","metadata":{"name":"bad","namespace":"try-a","labels":labels()},"data":{"k":{"x":"supersecretvalue"}}}),
    );
    let stage = vec![dep("nginx:1"), cm.clone(), sec("YQ=="), bad.clone()];
    let i = Instant::now();
    let r = t.apply(&stage, &p, &m, &c).await;
    show(&format!("create {:?}", i.elapsed()), &r);
    m.learn(&stage, &r);
    let hw =
        t.watch_health(vec![Check { id: stage[0].id.clone(), owned: true, vanishes: false }], Arc::default());
    let h = hw.settle(true, Duration::from_secs(20), &c).await;
    println!("health {:?} {h:?}", h.outlook(true));
    sh("kubectl -n try-a get deploy web -o json | jq -c .status");
    let i = Instant::now();
    let r = t.apply(&stage[..3], &p, &m, &c).await;
    show(&format!("again after rollout {:?}", i.elapsed()), &r);
    let mut fresh = Memory::default();
    let r = t.apply(&stage[..3], &p, &fresh, &c).await;
    show("again, fresh memory", &r);
    fresh.learn(&stage[..3], &r);
    sh(
        "kubectl -n try-a scale deploy web --replicas=3; kubectl -n try-a patch cm cm --type merge -p '{\"data\":{\"a\":\"2\",\"b\":\"x\"}}'; kubectl -n try-a label cm cm extra=1",
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    while let Ok(s) = sig.try_recv() {
        println!("  signal {s:?}");
    }
    let r = t.apply(&stage[..3], &p, &m, &c).await;
    show("repair", &r);
    m.learn(&stage[..3], &r);
    sh(
        "kubectl -n try-a get cm cm -o json --show-managed-fields | jq -c '[.data,.metadata.labels,[.metadata.managedFields[]|.manager]]'; kubectl -n try-a get deploy web -o json --show-managed-fields| jq -c '[.spec.replicas,[.metadata.managedFields[]|[.manager,.operation,.subresource]]]'",
    );
    let r = t.apply(&stage[..3], &p, &m, &c).await;
    show("after repair", &r);
    let many: Vec<Desired> = (0..200).map(|n| d(json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":format!("m{n}"),"namespace":"try-a","labels":labels()},"data":{"a":"1"}}))).collect();
    let i = Instant::now();
    let r = t.apply(&many, &p, &Memory::default(), &c).await;
    println!("200 new: {:?} complete {}", i.elapsed(), r.is_complete());
    let i = Instant::now();
    let r = t.apply(&many, &p, &Memory::default(), &c).await;
    println!(
        "200 no-op: {:?} {}",
        i.elapsed(),
        r.outcomes.iter().filter(|o| o.action() == Some(Action::Unchanged)).count()
    );
    let mut mm = Memory::default();
    mm.learn(&many, &r);
    let i = Instant::now();
    let r = t.apply(&many, &p, &mm, &c).await;
    println!(
        "200 remembered: {:?} {}",
        i.elapsed(),
        r.outcomes.iter().filter(|o| o.action() == Some(Action::Unchanged)).count()
    );
    while let Ok(s) = sig.try_recv() {
        println!("  signal {s:?}");
    }
    let im = vec![sec("Yg==")];
    let r = t.apply(&im, &p, &m, &c).await;
    show("immutable", &r);
    let pf = Policy { force: true, ..p.clone() };
    let r = t.apply(&im, &pf, &m, &c).await;
    show("immutable forced", &r);
    let mistake = vec![d(
        json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"try-a","labels":labels()},"spec":{"replicas":-1,"selector":{"matchLabels":{"app":"other"}},"template":{"metadata":{"labels":{"app":"other"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}}),
    )];
    let r = t.apply(&mistake, &pf, &m, &c).await;
    show("mistake forced", &r);
    let miss = vec![
        d(
            json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm","namespace":"try-nope"},"data":{}}),
        ),
        d(json!({"apiVersion":"x.org/v1","kind":"Foo","metadata":{"name":"cm","namespace":"try-a"}})),
    ];
    let r = t.apply(&miss, &p, &m, &c).await;
    show("missing", &r);
    for x in r.parked() {
        println!("  parked {:?}", x.0);
    }
    let who = cluster.target(Identity::ServiceAccount { namespace: "try-a".into(), name: "nobody".into() });
    let r = who.apply(std::slice::from_ref(&cm), &p, &Memory::default(), &c).await;
    show("forbidden", &r);
    let rules = IgnoreRules::new(vec![IgnoreRule { paths: vec!["/spec/replicas".into()], target: None }]);
    sh("kubectl -n try-a scale deploy web --replicas=4");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pi = Policy { ignore: Arc::new(rules), ..p.clone() };
    let r = t.apply(&stage[..1], &pi, &m, &c).await;
    show("ignored replicas", &r);
    m.learn(&stage[..1], &r);
    let r = t.apply(&[dep("nginx:2")], &pi, &m, &c).await;
    show("ignored replicas, other change", &r);
    sh(
        "kubectl -n try-a get deploy web -o json --show-managed-fields| jq -c '[.spec.replicas,.spec.template.spec.containers[0].image,[.metadata.managedFields[]|[.manager,.operation,.subresource]]]'",
    );
    let ids: Vec<ObjectId> = stage.iter().chain(&ns).map(|d| d.id.clone()).collect();
    let del = t
        .delete(
            &ids,
            &DeleteOptions { owner: Owner { namespace: "try-a".into(), name: "app".into() }, concurrency: 4 },
            &c,
        )
        .await;
    for o in &del.outcomes {
        println!("  del {} {:?}", o.id.subject(), o.fate);
    }
    println!(
        "remaining {:?}",
        t.remaining(&ids.iter().map(|i| (i.clone(), None)).collect::<Vec<_>>()).await.map(|v| v.len())
    );
}
