//! What holds for builds of any tree.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use sluice_kustomize::{ErrorKind, LoadRestrictions, Options, build};
use sluice_tree::{Index, Memory, Recording};
use sluice_types::RelPath;

type Tree = BTreeMap<String, String>;

const KINDS: [(&str, &str); 5] = [
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("example.com/v1", "Thing"),
];

fn resource((kind, name, references): (usize, u8, u8)) -> String {
    let (api_version, kind) = KINDS[kind % KINDS.len()];
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: r{name}\nspec:\n  template:\n    spec:\n      containers:\n      - name: c{references}\n        image: img{references}:1\n        envFrom:\n        - configMapRef:\n            name: r{references}\n"
    )
}

fn overlay(base: &str, seed: u16) -> String {
    let mut text = format!("resources:\n- {base}\n");
    let options = [
        "namePrefix: p-\n",
        "nameSuffix: -s\n",
        "namespace: somewhere\n",
        "labels:\n- pairs: {a: b}\n  includeSelectors: true\n",
        "commonAnnotations: {c: d}\n",
        "images:\n- {name: img1, newTag: '2'}\n",
        "configMapGenerator:\n- {name: generated, literals: [x=y]}\n",
        "patches:\n- target: {kind: Deployment}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec/replicas\", \"value\": 2}]'\n",
    ];
    for (bit, option) in options.iter().enumerate() {
        if seed >> bit & 1 == 1 {
            text.push_str(option);
        }
    }
    text
}

prop_compose! {
    fn trees()(
        resources in proptest::collection::vec((0..5_usize, 0..6_u8, 0..6_u8), 1..8),
        base in any::<u16>(),
        top in any::<u16>(),
        noise in proptest::collection::vec(any::<u8>(), 0..4),
    ) -> Tree {
        let mut tree = Tree::new();
        let mut list = String::from("resources:\n");
        for (at, made) in resources.into_iter().enumerate() {
            tree.insert(format!("base/r{at}.yaml"), resource(made));
            list.push_str(&format!("- r{at}.yaml\n"));
        }
        tree.insert("base/kustomization.yaml".into(), list);
        tree.insert("mid/kustomization.yaml".into(), overlay("../base", base));
        tree.insert("top/kustomization.yaml".into(), overlay("../mid", top));
        for (at, byte) in noise.into_iter().enumerate() {
            tree.insert(format!("noise/{at}"), format!("{byte}"));
        }
        tree
    }
}

fn memory(tree: &Tree) -> Memory {
    Memory::of(tree.iter()).unwrap()
}

fn run(tree: &Memory, dir: &str) -> Result<String, String> {
    let root = RelPath::new(dir).unwrap();
    build(tree, &root, &Options::default()).map(|built| built.to_yaml()).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_same_tree_builds_to_the_same_bytes(tree in trees()) {
        let memory = memory(&tree);
        prop_assert_eq!(run(&memory, "top"), run(&memory, "top"));
    }

    #[test]
    fn the_result_builds_to_itself(tree in trees()) {
        if let Ok(first) = run(&memory(&tree), "top") {
            let again = Memory::of([("kustomization.yaml", "resources: [all.yaml]\n"), ("all.yaml", &first)]).unwrap();
            prop_assert_eq!(run(&again, ""), Ok(first));
        }
    }

    #[test]
    fn what_was_not_read_does_not_matter(tree in trees(), change in any::<prop::sample::Index>()) {
        let recording = Recording::new(memory(&tree));
        let root = RelPath::new("top").unwrap();
        let show = |built: Result<sluice_kustomize::Built, _>| {
            built.map(|built| built.to_yaml()).map_err(|error: sluice_kustomize::Error| error.to_string())
        };
        let before = show(build(&recording, &root, &Options::default()));
        let set = recording.finish();
        let paths: Vec<&String> = tree.keys().collect();
        let path = paths[change.index(paths.len())].clone();
        for text in [None, Some("changed: [")] {
            let mut changed = tree.clone();
            match text {
                None => drop(changed.remove(&path)),
                Some(text) => drop(changed.insert(path.clone(), text.to_owned())),
            }
            let changed = memory(&changed);
            if set.holds(&Index::of(&changed).unwrap()) {
                prop_assert_eq!(&before, &show(build(&changed, &root, &Options::default())));
            } else {
                prop_assert!(!path.starts_with("noise/"));
            }
        }
    }

    #[test]
    fn no_input_makes_a_build_panic(text in "[ -~\n]{0,200}", resource in "[ -~\n]{0,200}") {
        let tree = Memory::of([("kustomization.yaml", text.as_str()), ("a.yaml", &resource)]).unwrap();
        let _ = run(&tree, "");
        let tree = Memory::of([("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &resource)]).unwrap();
        let _ = run(&tree, "");
    }

    #[test]
    fn no_patch_makes_a_build_panic(patch in "[-a-c{}\\[\\]:, \n$\"0-9/]{0,120}") {
        let kustomization = format!(
            "resources: [a.yaml]\npatches:\n- target: {{kind: Pod}}\n  patch: {patch:?}\n- patch: {:?}\n",
            format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {patch}")
        );
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, ports: [{containerPort: 1}]}]}\n";
        let tree = Memory::of([("kustomization.yaml", kustomization.as_str()), ("a.yaml", pod)]).unwrap();
        let _ = run(&tree, "");
    }
}

fn tree(files: &[(&str, &str)]) -> Memory {
    Memory::of(files.iter().copied()).unwrap()
}

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[test]
fn a_cancelled_build_ends() {
    let files = tree(&[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", OBJECT)]);
    let asked = AtomicUsize::new(0);
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) > 2;
    let options = Options { cancelled: Some(&cancelled), ..Options::default() };
    let error = build(&files, &RelPath::root(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_remote_entry_is_refused_and_named() {
    for entry in
        ["https://example.com/a.yaml", "github.com/a/b", "git::https://x/y", "ssh://h/r", "git@h.example:a/b"]
    {
        let text = format!("resources: ['{entry}']");
        let error = build(&tree(&[("kustomization.yaml", &text)]), &RelPath::root(), &Options::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
        assert!(error.to_string().contains(entry), "{error}");
    }
}

#[test]
fn without_restrictions_files_may_lie_anywhere_in_the_tree() {
    let files = tree(&[("app/kustomization.yaml", "resources: [../a.yaml]"), ("a.yaml", OBJECT)]);
    let root = RelPath::new("app").unwrap();
    assert!(build(&files, &root, &Options::default()).is_err());
    let options = Options { load_restrictions: LoadRestrictions::None, ..Options::default() };
    assert_eq!(build(&files, &root, &options).unwrap().resources.len(), 1);
    for outside in ["../../a.yaml", "../../outside"] {
        let text = format!("resources: [{outside}]");
        let error = build(&tree(&[("app/kustomization.yaml", &text)]), &root, &options).unwrap_err();
        assert!(error.to_string().contains("fs-security-constraint"), "{error}");
    }
}

#[test]
fn an_error_names_file_and_line() {
    let files = tree(&[("app/kustomization.yaml", "resources: [a.yaml]"), ("app/a.yaml", "a: b\n c: d\n")]);
    let error = build(&files, &RelPath::new("app").unwrap(), &Options::default()).unwrap_err();
    assert_eq!(
        (error.kind(), error.file(), error.line()),
        (ErrorKind::MalformedYaml, Some("app/a.yaml"), Some(2))
    );
}

#[test]
fn an_added_schema_leaves_the_built_in_one_in_force() {
    let files = tree(&[
        ("kustomization.yaml", "resources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: p.yaml}]\n"),
        ("s.json", "{\"definitions\": {}}"),
        ("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}]}\n"),
        ("p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: b}]}\n"),
    ]);
    let count = |openapi| {
        let options = Options { openapi, ..Options::default() };
        let built = build(&files, &RelPath::root(), &options).unwrap();
        built.resources[0]["spec"]["containers"].as_array().unwrap().len()
    };
    assert_eq!(count(sluice_kustomize::OpenApi::Replace), 1);
    assert_eq!(count(sluice_kustomize::OpenApi::Add), 2);
}

#[test]
fn builds_beside_each_other_do_not_share_a_schema() {
    let with = tree(&[
        ("kustomization.yaml", "resources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: p.yaml}]\n"),
        ("s.json", "{\"definitions\": {}}"),
        ("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}]}\n"),
        ("p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: b}]}\n"),
    ]);
    let mut without = with.clone();
    let plain = "resources: [a.yaml]\npatches: [{path: p.yaml}]\n";
    without.insert(&RelPath::new("kustomization.yaml").unwrap(), plain.as_bytes().to_vec()).unwrap();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|at| {
                let (files, containers) = if at % 2 == 0 { (&with, 1) } else { (&without, 2) };
                scope.spawn(move || (run(files, "").unwrap().matches("- name").count(), containers))
            })
            .collect();
        for handle in handles {
            let (got, wanted) = handle.join().unwrap();
            assert_eq!(got, wanted);
        }
    });
}
