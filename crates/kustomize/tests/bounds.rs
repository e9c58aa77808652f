//! Every bound is kept, before what it bounds is done, and told with the name of what passed it.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_kustomize::{Error, ErrorKind, Limits, Options, build};
use sluice_tree::Memory;
use sluice_types::RelPath;

const SMALL: Limits = Limits {
    bytes: 1 << 18,
    files: 100,
    documents: 1_000,
    depth: 100,
    nodes: 50_000,
    held: 200_000,
    resources: 1_000,
    recursion: 10,
    expanded: 1 << 20,
    steps: 1 << 20,
};

fn run<P: AsRef<str>, B: AsRef<[u8]>>(
    files: impl IntoIterator<Item = (P, B)>,
    limits: Limits,
) -> Result<String, Error> {
    let options = Options { limits, ..Options::default() };
    build(&Memory::of(files).unwrap(), &RelPath::root(), &options).map(|built| built.to_yaml())
}

/// The message of the refusal, which names `named`.
fn refusal<P: AsRef<str>, B: AsRef<[u8]>>(
    files: impl IntoIterator<Item = (P, B)>,
    limits: Limits,
    named: &str,
) -> String {
    let error = run(files, limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    let message = error.to_string();
    assert!(message.contains(named), "{named} is not named in: {message}");
    message
}

fn objects(count: usize) -> String {
    let one = |at| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{at}, namespace: n}}\ndata: {{a: b}}\n")
    };
    (0..count).map(one).collect::<Vec<_>>().join("---\n")
}

#[test]
fn what_is_read_is_counted() {
    let files = [
        ("kustomization.yaml", "resources: [one, a.yaml]".to_owned()),
        ("a.yaml", objects(2)),
        ("one/kustomization.yaml", "resources: [../two]".to_owned()),
        ("two/kustomization.yaml", "resources: [c.yaml]".to_owned()),
        (
            "two/c.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: {b: {c: {d: {e: f}}}}}\n"
                .to_owned(),
        ),
    ];
    let table = [
        (Limits { bytes: 100, ..SMALL }, "/two/c.yaml"),
        (Limits { files: 3, ..SMALL }, "/two/c.yaml"),
        (Limits { documents: 1, ..SMALL }, "/a.yaml"),
        (Limits { depth: 4, ..SMALL }, "/two/c.yaml"),
        (Limits { nodes: 15, ..SMALL }, "/two/c.yaml"),
        (Limits { resources: 2, ..SMALL }, "a.yaml"),
        (Limits { recursion: 1, ..SMALL }, "/two"),
        (Limits { expanded: 1_000, ..SMALL }, "/two"),
    ];
    for (limits, named) in table {
        refusal(files.clone(), limits, named);
    }
    assert!(run(files, SMALL).is_ok());
}

#[test]
fn nodes_are_counted_over_documents_files_and_uses() {
    let message = refusal(
        [("kustomization.yaml", "resources: [a.yaml]".to_owned()), ("a.yaml", objects(20))],
        Limits { nodes: 200, ..SMALL },
        "/a.yaml",
    );
    assert!(message.contains("number of nodes exceeds the limit of"), "{message}");

    let mut files: Vec<_> =
        (0..20).map(|at| (format!("f{at}.yaml"), objects(1).replace("m0", &format!("m{at}")))).collect();
    let all = |kind: &str| (0..20).map(|at| format!("- {kind}{at}")).collect::<Vec<_>>().join("\n");
    files.push((
        "kustomization.yaml".to_owned(),
        format!("resources:\n{}", all("f").replace('\n', ".yaml\n") + ".yaml"),
    ));
    refusal(files, Limits { held: 100, ..SMALL }, "/f");

    let overlay =
        |at| (format!("o{at}/kustomization.yaml"), format!("resources: [../base]\nnamePrefix: o{at}-\n"));
    let mut files: Vec<_> = (0..20).map(overlay).collect();
    files.push(("base/kustomization.yaml".to_owned(), "resources: [a.yaml]".to_owned()));
    files.push(("base/a.yaml".to_owned(), objects(5)));
    files.push(("kustomization.yaml".to_owned(), format!("resources:\n{}", all("o"))));
    refusal(files.clone(), Limits { held: 1_000, ..SMALL }, "/base/a.yaml");
    assert!(run(files, SMALL).is_ok());
}

#[test]
fn a_file_is_read_no_further_than_there_is_room_for() {
    let files = [
        ("kustomization.yaml", "resources: [a.yaml, b.yaml]".to_owned()),
        ("a.yaml", objects(10)),
        ("b.yaml", objects(100)),
    ];
    let message = refusal(files, Limits { held: 500, ..SMALL }, "/b.yaml");
    // Not that of all files together: that one is seen when all is read.
    assert!(message.contains("number of nodes exceeds the limit of"), "{message}");
}

#[test]
fn settings_are_bounded_like_resources() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let settings = [
        ("kustomization.yaml", String::new()),
        ("conf.yaml", "configurations: [conf.yaml]".to_owned()),
        ("crd.yaml", "crds: [crd.yaml]".to_owned()),
        ("schema.yaml", "openapi: {path: schema.yaml}".to_owned()),
        ("r.yaml", "replacements: [{path: r.yaml}]".to_owned()),
        ("p.yaml", "patches: [{path: p.yaml}]".to_owned()),
        ("t.yaml", "transformers: [t.yaml]".to_owned()),
    ];
    for (file, kustomization) in settings {
        let kustomization = format!("resources: [a.yaml]\n{kustomization}\n");
        let files =
            [("a.yaml", objects(1)), ("kustomization.yaml", kustomization), (file, format!("x: {deep}\n"))];
        refusal(files, SMALL, if file == "kustomization.yaml" { "invalid Kustomization" } else { file });
    }
}

/// An object in which a text of `size` bytes stands `times` times.
fn repeated(size: usize, times: usize) -> String {
    let aliases = "- *a\n".repeat(times);
    format!("apiVersion: v1\nkind: Foo\nmetadata: {{name: a}}\nx: &a {}\ny:\n{aliases}", "x".repeat(size))
}

#[test]
fn aliases_are_counted_by_what_they_stand_for() {
    let files = |text: String| [("kustomization.yaml", "resources: [a.yaml]".to_owned()), ("a.yaml", text)];
    assert!(run(files(repeated(1_000, 100)), SMALL).is_ok());
    let message = refusal(files(repeated(100_000, 100)), SMALL, "/a.yaml");
    assert!(message.contains("excessive aliasing"), "{message}");
    // Anchors inside of each other hold the same nodes over and over, used or not.
    let nested: String = (0..90).map(|at| format!("&a{at} [")).collect();
    let text = format!(
        "apiVersion: v1\nkind: Foo\nmetadata: {{name: a}}\nx: {nested}{}{}\n",
        "y, ".repeat(2_000),
        "]".repeat(90)
    );
    refusal(files(text), SMALL, "/a.yaml");
    // Each copy of a file counts, and with it what its aliases stand for.
    let overlays: String = (0..20).map(|at| format!("- o{at}\n")).collect();
    let mut all: Vec<(String, String)> = (0..20)
        .map(|at| {
            (format!("o{at}/kustomization.yaml"), format!("resources: [../base]\nnamePrefix: o{at}-\n"))
        })
        .collect();
    all.push(("base/kustomization.yaml".to_owned(), "resources: [a.yaml]".to_owned()));
    all.push(("base/a.yaml".to_owned(), repeated(1_000, 100)));
    all.push(("kustomization.yaml".to_owned(), format!("resources:\n{overlays}")));
    refusal(all, SMALL, "/base/a.yaml");
}

#[test]
fn tags_are_counted_by_their_prefix() {
    let text = format!("%TAG !a! {}\n---\nx:\n{}", "t".repeat(50_000), "- !a!b c\n".repeat(100));
    refusal([("kustomization.yaml", text)], SMALL, "excessive aliasing");
}

#[test]
fn merge_keys_do_not_compare_everything_with_everything() {
    let keys: String = (0..1_500).map(|at| format!("? [k{at}]\n: v\n")).collect();
    let text = format!(
        "apiVersion: v1\nkind: Foo\nmetadata: {{name: a}}\nx:\n  <<:\n{}",
        keys.replace("? ", "    ? ").replace("\n:", "\n    :")
    );
    let limits = Limits { nodes: 1_000_000, held: 1_000_000, ..SMALL };
    refusal([("kustomization.yaml", "resources: [a.yaml]".to_owned()), ("a.yaml", text)], limits, "/a.yaml");
}

#[test]
fn what_is_written_into_every_object_is_counted() {
    let long = "x".repeat(5_000);
    let settings = [
        (format!("namePrefix: {long}"), "PrefixTransformer"),
        (format!("nameSuffix: {long}"), "SuffixTransformer"),
        (format!("namespace: {long}"), "NamespaceTransformer"),
        (format!("commonAnnotations: {{a: {long}}}"), "AnnotationsTransformer"),
        (format!("labels: [{{pairs: {{a: {long}}}}}]"), "LabelTransformer"),
        (
            format!(
                "patches: [{{target: {{kind: ConfigMap}}, patch: '[{{\"op\": \"add\", \"path\": \"/data/b\", \"value\": \"{long}\"}}]'}}]"
            ),
            "PatchTransformer",
        ),
        (
            format!(
                "patches: [{{target: {{kind: ConfigMap}}, patch: '{{apiVersion: v1, kind: ConfigMap, metadata: {{name: x}}, data: {{b: {long}}}}}'}}]"
            ),
            "PatchTransformer",
        ),
        (
            format!(
                "replacements: [{{sourceValue: {long}, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [data.a]}}]}}]"
            ),
            "ReplacementTransformer",
        ),
        (
            format!(
                "transformers: ['{{apiVersion: builtin, kind: ValueAddTransformer, metadata: {{name: v}}, value: {long}, targets: [{{fieldPath: data/a}}]}}']"
            ),
            "ValueAddTransformer",
        ),
    ];
    for (setting, named) in settings {
        let kustomization = format!("resources: [a.yaml]\n{setting}\n");
        refusal([("kustomization.yaml", kustomization), ("a.yaml", objects(300))], SMALL, named);
    }
}

#[test]
fn entries_times_objects_are_counted() {
    let entries = |of: &str, one: &str| format!("{of}:\n{}", format!("- {one}\n").repeat(300));
    let settings = [
        (entries("images", "{name: a, newTag: b}"), "ImageTagTransformer"),
        (entries("labels", "{pairs: {a: b}}"), "LabelTransformer"),
        (
            entries("patches", "{target: {kind: None}, patch: '[{\"op\": \"remove\", \"path\": \"/a\"}]'}"),
            "PatchTransformer",
        ),
        (
            entries("replacements", "{sourceValue: a, targets: [{select: {kind: None}}]}"),
            "ReplacementTransformer",
        ),
    ];
    for (setting, named) in settings {
        let files =
            [("kustomization.yaml", format!("resources: [a.yaml]\n{setting}")), ("a.yaml", objects(200))];
        let limits = Limits { expanded: usize::MAX, steps: 50_000, ..SMALL };
        assert!(refusal(files, limits, named).contains("number of steps"));
    }
}

#[test]
fn what_one_object_is_made_to_hold_is_counted() {
    let images = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n{}",
        "  - {image: a}\n".repeat(500)
    );
    let kustomization =
        format!("resources: [a.yaml]\nimages: [{{name: a, newName: {}}}]\n", "x".repeat(5_000));
    refusal([("kustomization.yaml", kustomization), ("a.yaml", images)], SMALL, "ImageTagTransformer");

    let doubling: String =
        (0..24).map(|at| format!("- {{op: copy, from: /data, path: /data/c{at}}}\n")).collect();
    let kustomization = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n";
    let files =
        [("kustomization.yaml", kustomization.to_owned()), ("a.yaml", objects(1)), ("p.yaml", doubling)];
    refusal(files, SMALL, "ConfigMap.v1.[noGrp]/m0.n");

    let ports: String = (0..4_100).map(|_| "    - {protocol: TCP}\n").collect();
    let pod = |spec: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec:\n{spec}");
    let files = [
        ("kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n".to_owned()),
        ("a.yaml", pod(&format!("  ports:\n{}", ports.replace("    -", "  -")))),
        ("p.yaml", pod("  ports: [{port: 1}]\n")),
    ];
    refusal(files, SMALL, "Service.v1.[noGrp]/s");
}

#[test]
fn a_build_asks_often_whether_to_go_on() {
    let overlays = (0..10).map(|at| {
        (format!("o{at}/kustomization.yaml"), format!("resources: [../base]\nnamePrefix: o{at}-\n"))
    });
    let mut files: Vec<(String, String)> = overlays.collect();
    files.push(("base/kustomization.yaml".to_owned(), "resources: [a.yaml]".to_owned()));
    files.push(("base/a.yaml".to_owned(), objects(50)));
    files.push((
        "kustomization.yaml".to_owned(),
        format!("resources: [{}]", (0..10).map(|at| format!("o{at}")).collect::<Vec<_>>().join(", ")),
    ));
    let files = Memory::of(files).unwrap();
    let asked = AtomicUsize::new(0);
    let end = |after: usize| {
        asked.store(0, Ordering::Relaxed);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= after;
        let options = Options { cancelled: Some(&cancelled), ..Options::default() };
        build(&files, &RelPath::root(), &options).map(drop)
    };
    assert_eq!(end(usize::MAX), Ok(()));
    let all = asked.load(Ordering::Relaxed);
    assert!(all > 500, "asked {all} times");
    let step = Cell::new(0);
    while step.get() < all {
        assert_eq!(end(step.get()).unwrap_err().kind(), ErrorKind::Cancelled);
        step.set(step.get() + all / 20);
    }
}
