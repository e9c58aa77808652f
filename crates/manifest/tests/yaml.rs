//! The readers and writers against what the Go libraries were recorded to do, and against bounds.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;
use sluice_manifest::yaml::{
    Error, Limits, emit_node, emit_stream, emit_v2, parse_documents, parse_stream, parse_v2_json, reread,
    to_json, to_json_into,
};

fn run(mode: &str, text: &str) -> Result<String, String> {
    let limits = Limits::default();
    let told = |error: Error| error.to_string();
    let nodes = || {
        parse_stream(text, limits).map_err(|error| match error {
            Error::Merge(_) | Error::Split(_) => error.to_string(),
            malformed => format!("MalformedYAMLError: {malformed}"),
        })
    };
    match mode {
        "v2" => parse_v2_json(text, limits).map(|value| emit_v2(&value)).map_err(told),
        "emit" => serde_json::from_str(text).map(|value| emit_v2(&value)).map_err(|e| e.to_string()),
        "node" => Ok(nodes()?.iter().map(emit_node).collect::<Vec<_>>().join("---\n")),
        _ => {
            let nodes = nodes()?;
            let copied: Vec<Value> = nodes.iter().map(to_json).collect::<Result<_, _>>().map_err(told)?;
            let moved: Vec<Value> =
                nodes.into_iter().map(to_json_into).collect::<Result<_, _>>().map_err(told)?;
            if copied != moved {
                return Err("copying and moving differ".to_owned());
            }
            let moved: Vec<Value> = moved.into_iter().map(reread).collect::<Result<_, _>>().map_err(told)?;
            Ok(emit_stream(&moved))
        }
    }
}

#[test]
fn every_recorded_text_is_read_and_written_as_the_go_libraries_do() {
    let text = include_str!("fixtures/yaml/recorded.json");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(entries.len() > 300);
    let mut wrong = Vec::new();
    for entry in &entries {
        let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let expected = if field("err").is_empty() { Ok(field("out")) } else { Err(field("err")) };
        let found = run(field("mode"), field("in"));
        if found.as_deref().map_err(String::as_str) != expected {
            wrong.push(format!(
                "{} {:?}\n  recorded {expected:?}\n  found    {found:?}",
                field("mode"),
                field("in")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), entries.len(), wrong.join("\n"));
}

#[test]
fn aliases_cannot_blow_a_small_text_up() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    let limits = Limits { nodes: 100_000, ..Limits::default() };
    for result in [parse_stream(&text, limits).map(|_| ()), parse_v2_json(&text, limits).map(|_| ())] {
        assert_eq!(result.unwrap_err().to_string(), "yaml: document contains excessive aliasing");
    }
}

#[test]
fn size_depth_and_documents_are_bounded() {
    let small = Limits { bytes: 100, documents: 3, depth: 10, nodes: 1000 };
    let flow = format!("{}{}", "[".repeat(11), "]".repeat(11));
    let block = (0..11).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    for text in ["x".repeat(101), "a\n---\n".repeat(5), flow, block] {
        assert!(parse_stream(&text, small).is_err(), "{text}");
    }
    // Far beyond any limit of ours, the stack holds.
    assert!(parse_stream(&"[".repeat(100_000), Limits::default()).is_err());
    assert!(parse_stream(&"- ".repeat(100_000), Limits::default()).is_err());
    assert!(parse_v2_json(&"{a: ".repeat(100_000), Limits::default()).is_err());
}

#[test]
fn lines_of_nodes_count_from_the_start_of_the_file() {
    let nodes = parse_stream("a: 1\n---\nb:\n  c: 2\n", Limits::default()).unwrap();
    let c = nodes[1].at(&["b", "c"]).unwrap();
    assert_eq!((c.line, c.column), (4, 6));
}

fn json(text: &'static str) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(text, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn a_text_that_reads_like_a_merge_key_is_quoted() {
    let node = sluice_manifest::yaml::Node::from(&serde_json::json!({"a": "<<", "<<": {"b": 1}}));
    let text = emit_node(&node);
    assert_eq!(text, "\"<<\":\n  b: 1\na: \"<<\"\n");
    // The key goes, as upstream.
    assert_eq!(
        to_json(&parse_documents(&text, Limits::default()).unwrap()[0]).unwrap(),
        serde_json::json!({"a": "<<"})
    );
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back_the_same(value in json("[ -~\n\téあ😀\u{a0}]{0,12}")) {
        let text = emit_v2(&value);
        prop_assert_eq!(parse_v2_json(&text, Limits::default()).unwrap(), value, "{}", text);
    }

    // kyaml cannot read back every block it writes that starts with a tab, and drops a key that reads `<<`.
    #[test]
    fn a_node_written_and_read_is_the_same_node(value in json("[ -~\néあ😀\u{a0}]{0,12}")) {
        prop_assume!(!value.to_string().contains("\"<<\":"));
        let node = sluice_manifest::yaml::Node::from(&value);
        let text = emit_node(&node);
        let read = parse_documents(&text, Limits::default()).unwrap();
        // The node, not the value: whole numbers beyond 2^53 were rounded on the way into it, as in Go.
        prop_assert_eq!(to_json(&read[0]).unwrap(), to_json(&node).unwrap(), "{}", text);
    }

    #[test]
    fn no_text_makes_a_reader_fail_otherwise_than_by_an_error(text in "[-\\[\\]{}:?&*!|>'\"%@#, \nab0\u{85}\u{2028}é]{0,40}") {
        let _ = run("v3", &text);
        let _ = run("v2", &text);
        let _ = run("node", &text);
    }
}
