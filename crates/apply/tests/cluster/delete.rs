//! What a deletion takes, and what it leaves.

use serde_json::{Value, json};
use sluice_apply::{DeleteOptions, Gone, ObjectId, Owner, Release};
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, status};
use crate::objects::*;

#[tokio::test]
async fn only_what_carries_our_labels_and_no_protection_is_deleted() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let object = |name: &str, labels: Value, annotations: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "team", "labels": labels, "annotations": annotations}});
        if name == "held" {
            object["metadata"]["finalizers"] = json!(["x/y"]);
        }
        fake.put(&format!("{PATH}{name}"), object);
    };
    let foreign =
        json!({"kustomize.toolkit.fluxcd.io/name": "other", "kustomize.toolkit.fluxcd.io/namespace": "team"});
    object("ours", labels(), json!({}));
    object("foreign", foreign, json!({}));
    object("kept", labels(), json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"}));
    object("held", labels(), json!({}));
    let mut ids: Vec<_> =
        ["ours", "foreign", "kept", "held", "absent", "stuck"].iter().map(|name| id(name)).collect();
    object("stuck", labels(), json!({}));
    fake.refuse(
        "DELETE /api/v1/namespaces/team/configmaps/stuck",
        403,
        status(403, "Forbidden", "denied by webhook"),
    );
    ids.push(ObjectId {
        group: "gone.org".into(),
        kind: "Gone".into(),
        namespace: "team".into(),
        name: "x".into(),
    });
    let options =
        DeleteOptions { owner: Owner { namespace: "team".into(), name: "app".into() }, concurrency: 8 };
    let deletion = target(&cluster).delete(&ids, &options, &CancellationToken::new()).await;
    let fates: Vec<_> = deletion.outcomes.iter().map(|removal| &removal.fate).collect();
    assert!(
        matches!(
            fates[..],
            [
                Gone::Deleted,
                Gone::Released(Release::ForeignOwner),
                Gone::Released(Release::PruneDisabled),
                Gone::Terminating { .. },
                Gone::Deleted,
                Gone::Failed(_),
                Gone::Deleted,
            ]
        ),
        "{fates:?}"
    );
    let expected = "delete failed, errors: ConfigMap/team/stuck delete failed: denied by webhook;";
    assert_eq!(deletion.error().as_deref(), Some(expected));
    assert_eq!(deletion.survivors().collect::<Vec<_>>(), [&id("stuck")]);
    assert!(fake.get(&format!("{PATH}ours")).is_none());
    assert!(fake.get(&format!("{PATH}foreign")).is_some());
}

#[tokio::test]
async fn an_answer_that_is_not_the_servers_own_deletes_nothing_from_the_inventory() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    fake.refuse("configmaps/a", 404, json!("not found, says the proxy"));
    fake.refuse("configmaps/b", 200, json!({"welcome": "to the proxy"}));
    let options =
        DeleteOptions { owner: Owner { namespace: "team".into(), name: "app".into() }, concurrency: 1 };
    let ids = [id("a"), id("b")];
    let deletion = target(&cluster).delete(&ids, &options, &CancellationToken::new()).await;
    assert_eq!(deletion.survivors().collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
}
