//! Repositories that are laid into each other.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use sluice_scenarios::Stage;
use sluice_testkit::waiting::condition_text;

fn including(name: &str) -> Value {
    json!({"include": [{"repository": {"name": name}}]})
}

#[tokio::test]
async fn two_that_include_each_other_wait_until_one_gives_way() {
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("a", Some("1"))]).unwrap();
    stage.add_repository("one", including("two")).await.unwrap();
    stage.add_repository("two", including("one")).await.unwrap();
    for (name, other) in [("one", "two"), ("two", "one")] {
        let words = format!("include '{other}' leads back to this repository");
        let refused = stage
            .until(&stage.repositories(), name, |object| {
                condition_text(object, "IncludeUnavailable", "message") == words
            })
            .await
            .unwrap();
        assert_eq!(condition_text(&refused, "Ready", "reason"), "SourceUnavailable");
        assert!(refused.data.pointer("/status/artifact").is_none(), "nothing grows");
    }
    stage.add_repository("two", json!({})).await.unwrap();
    for name in ["two", "one"] {
        stage.fetched(name, &first).await.unwrap();
    }
    stage.end().await.unwrap();
}
