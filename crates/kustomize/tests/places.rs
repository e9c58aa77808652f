//! Where an error says it is: the file and line as an editor shows them, and the file that asks for it.

#![allow(clippy::unwrap_used, clippy::panic)]

use sluice_kustomize::flux::{Overrides, render};
use sluice_kustomize::{Options, build};
use sluice_tree::Memory;
use sluice_types::RelPath;

fn tree(files: &[(&str, &str)]) -> Memory {
    let mut tree = Memory::default();
    for (name, content) in files {
        tree.insert(&RelPath::new(name).unwrap(), content.as_bytes().to_vec()).unwrap();
    }
    tree
}

fn place(files: &[(&str, &str)]) -> String {
    let error = build(&tree(files), &RelPath::new("app").unwrap(), &Options::default()).unwrap_err();
    error.to_string().strip_prefix(error.message()).unwrap().to_owned()
}

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[test]
fn an_error_in_a_file_names_it_and_who_asks_for_it() {
    let asks = ("app/kustomization.yaml", "# a.yaml\nresources:\n- b.yaml\n- a.yaml # the one\n");
    let good = ("app/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n");
    let table = [
        ("a: b\n c: d\n", " (app/a.yaml:2, named by app/kustomization.yaml:4)"),
        (
            "kind: ConfigMap\nmetadata:\n  name: a\n\tx: y\n",
            " (app/a.yaml:4, named by app/kustomization.yaml:4)",
        ),
        ("x: 'never ends\n", " (app/a.yaml:1, named by app/kustomization.yaml:4)"),
        ("# none\n---\na: [b\nc: d\n", " (app/a.yaml:4, named by app/kustomization.yaml:4)"),
        (
            "kind: A\nmetadata: {name: a}\n---\n# two\nkind: B\n",
            " (app/a.yaml:5, named by app/kustomization.yaml:4)",
        ),
        (
            "kind: A\nmetadata: {name: a}\nx: \"a\u{7f}\"\n",
            " (app/a.yaml:3, named by app/kustomization.yaml:4)",
        ),
    ];
    for (content, wanted) in table {
        assert_eq!(place(&[asks, good, ("app/a.yaml", content)]), wanted, "{content}");
    }
    assert_eq!(place(&[asks, good]), " (app/kustomization.yaml:4)");
}

#[test]
fn a_configuration_that_is_none_is_named_itself() {
    let files = [("app/kustomization.yaml", "configurations:\n- c.yaml\n"), ("app/c.yaml", "- x\n")];
    assert_eq!(place(&files), " (app/c.yaml, named by app/kustomization.yaml:2)");
}

#[test]
fn an_error_below_names_the_file_that_asks_for_it_itself() {
    let files = [
        ("app/kustomization.yaml", "resources: [base]\n"),
        ("app/base/kustomization.yaml", "namePrefix: x\nresources: [none.yaml]\n"),
    ];
    assert_eq!(place(&files), " (app/base/kustomization.yaml:2, named by app/kustomization.yaml:1)");
}

#[test]
fn a_broken_patch_is_shown_with_its_reason_and_line() {
    let kustomization = ("app/kustomization.yaml", "resources: [a.yaml]\npatches:\n- path: p.yaml\n");
    let good = ("app/a.yaml", GOOD);
    let table = [
        (
            "kind: A\nmetadata: [\n",
            ": MalformedYAMLError: yaml: line 2: did not find expected node content (app/p.yaml:3, named by app/kustomization.yaml:3)",
        ),
        (
            "- op: add\n  path: /x\n value: 1\n",
            ": yaml: line 2: did not find expected '-' indicator (app/p.yaml:3, named by app/kustomization.yaml:3)",
        ),
        (
            "kind: A\n",
            ": missing metadata.name in object {{ A} {{ } map[] map[]}} (app/p.yaml:1, named by app/kustomization.yaml:3)",
        ),
    ];
    for (patch, wanted) in table {
        assert_eq!(place(&[kustomization, good, ("app/p.yaml", patch)]), wanted, "{patch}");
    }
    assert_eq!(place(&[kustomization, good]), " (app/kustomization.yaml:3)");
    let inline = "resources: [a.yaml]\npatches:\n- patch: |-\n    just text\n";
    assert_eq!(
        place(&[("app/kustomization.yaml", inline), good]),
        ": missing Resource metadata (app/kustomization.yaml:4)"
    );
}

#[test]
fn a_mistake_in_a_kustomization_file_is_found_there() {
    let table = [
        ("resources:\n- a.yaml\nresorces: []\n", " (app/kustomization.yaml:3)"),
        ("resources:\n- a.yaml\n b: c\n", " (app/kustomization.yaml:3)"),
        ("configMapGenerator:\n- name: one\n- name: two\n  files: [none]\n", " (app/kustomization.yaml:3)"),
        ("components: [none]\n", " (app/kustomization.yaml:1)"),
        ("resources: [a.yaml]\nreplicas: [{name: x, count: 1}]\n", " (app/kustomization.yaml:2)"),
        ("resources: [a.yaml]\nsortOptions: {order: other}\n", " (app/kustomization.yaml:2)"),
    ];
    for (content, wanted) in table {
        assert_eq!(place(&[("app/kustomization.yaml", content), ("app/a.yaml", GOOD)]), wanted, "{content}");
    }
}

#[test]
fn lines_of_a_file_that_was_rewritten_are_those_of_the_original() {
    let files = [("app/kustomization.yaml", "# first\nnamePrefix: x\nresources: [one.yaml, 'none.yaml']\n")];
    let directory = RelPath::new("app").unwrap();
    let overrides = Overrides { target_namespace: Some("there".to_owned()), ..Overrides::default() };
    let error = render(&tree(&files), &directory, &overrides, None, &Options::default()).unwrap_err();
    assert!(error.to_string().ends_with(" (app/kustomization.yaml:3)"), "{error}");
}

#[test]
fn a_file_that_was_made_up_is_not_mentioned() {
    let files = tree(&[("app/a.yaml", GOOD), ("app/b.yaml", "kind: ConfigMap\nmetadata:\n  nane: b\n")]);
    let directory = RelPath::new("app").unwrap();
    let error =
        render(&files, &directory, &Overrides::default(), None, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("(app/b.yaml:1)") && !error.contains("kustomization.yaml"), "{error}");
    let files = tree(&[("app/a.yaml", GOOD), ("app/b.yaml", GOOD)]);
    let error =
        render(&files, &directory, &Overrides::default(), None, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("already registered id") && !error.contains("kustomization.yaml"), "{error}");
}

#[test]
fn an_object_that_cannot_be_written_is_named() {
    let map = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {data}\n");
    for (generator, resource) in [
        ("configMapGenerator: [{name: m, literals: [\"a=\\tb\\n\"]}]\n", ""),
        ("resources: [a.yaml]\n", map("{a: b, a: c}").as_str()),
        ("resources: [a.yaml]\n", map("{a: .inf}").as_str()),
    ] {
        let files = tree(&[("kustomization.yaml", generator), ("a.yaml", resource)]);
        let error = build(&files, &RelPath::root(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains(": in ConfigMap.v1.[noGrp]/m.[noNs]"), "{error}");
    }
}
