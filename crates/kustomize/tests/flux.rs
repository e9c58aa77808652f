//! What Flux does differently from the stock command, from the file that is found to what is built.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use sluice_kustomize::flux::{Overrides, Patch, Selector, prepare, render};
use sluice_kustomize::{LoadRestrictions, OpenApi, Options};
use sluice_tree::Memory;
use sluice_types::RelPath;

const FLUX: Options<'static> = Options {
    load_restrictions: LoadRestrictions::None,
    reorder: sluice_kustomize::Reorder::None,
    managed_by: false,
    version: "",
    openapi: OpenApi::Add,
    limits: sluice_kustomize::Limits {
        bytes: 1 << 20,
        files: 100,
        documents: 100,
        depth: 50,
        nodes: 10_000,
        held: 10_000,
        resources: 100,
        recursion: 10,
        expanded: 1 << 20,
        steps: 1 << 20,
    },
    shown_root: "",
    absolute_paths: true,
    cancelled: None,
};

fn object(kind: &str, name: &str) -> String {
    format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}}}\n")
}

fn rendered(files: &[(&str, &str)], overrides: &Overrides) -> Result<Vec<Value>, String> {
    let tree = Memory::of(files.iter().copied()).unwrap();
    let directory = RelPath::new("app").unwrap();
    render(&tree, &directory, overrides, None, &FLUX)
        .map(|(rendered, _)| rendered.resources)
        .map_err(|error| error.to_string())
}

fn names(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    rendered(files, &Overrides::default()).map(|list| list.iter().map(name).collect())
}

#[test]
fn the_first_name_that_is_a_file_counts() {
    let a = object("ConfigMap", "a");
    for name in ["kustomization.yaml", "kustomization.yml", "Kustomization"] {
        let file = format!("app/{name}");
        let found = names(&[(&file, "namePrefix: p-\nresources: [a.yaml]\n"), ("app/a.yaml", &a)]);
        assert_eq!(found.unwrap(), ["p-a"], "{name}");
    }
    let tree = Memory::of([
        ("app/kustomization.yaml/a.yaml", a.as_str()),
        ("app/Kustomization", "namePrefix: p-\n"),
        ("app/kustomization.yml", "nameSuffix: -s\n"),
    ])
    .unwrap();
    let directory = RelPath::new("app").unwrap();
    let prepared = prepare(&tree, &directory, &Overrides::default(), &FLUX).unwrap();
    assert_eq!((prepared.file.as_str(), prepared.generated), ("app/kustomization.yml", false));
}

#[test]
fn a_list_of_what_is_there_knows_no_ignored_files_and_goes_by_name() {
    let [a, b, c] = ["a", "b", "c"].map(|name| object("ConfigMap", name));
    let files = [
        ("app/z.yaml", a.as_str()),
        ("app/.sourceignore", "z.yaml\n"),
        ("app/.hidden/b.yml", b.as_str()),
        ("app/m/overlay/kustomization.yml", "namePrefix: p-\nresources: [c.yaml]\n"),
        ("app/m/overlay/c.yaml", c.as_str()),
        ("app/m/overlay/deeper/stray.yaml", "not: [read"),
        ("app/values.json", "{"),
    ];
    assert_eq!(names(&files).unwrap(), ["b", "p-c", "a"]);
    let bad = names(&[("app/a.yaml", a.as_str()), ("app/.gitlab-ci.yml", "image: x\n")]).unwrap_err();
    assert!(bad.starts_with("failed to decode Kubernetes YAML from app/.gitlab-ci.yml: "), "{bad}");
}

#[test]
fn comments_and_anchors_go_and_old_fields_stay() {
    let file = "# one\nbases: [base]\nimageTags: &images\n- {name: a, newTag: b} # two\nx-images: *images\n";
    let tree = Memory::of([("app/kustomization.yaml", file)]).unwrap();
    let directory = RelPath::new("app").unwrap();
    let prepared = prepare(&tree, &directory, &Overrides::default(), &FLUX).unwrap();
    assert_eq!(
        prepared.content,
        "apiVersion: kustomize.config.k8s.io/v1beta1\nbases:\n- base\nbuildMetadata:\n- originAnnotations\n\
         imageTags:\n- name: a\n  newTag: b\nkind: Kustomization\n"
    );
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: a}]}\n";
    let files = [
        ("app/kustomization.yaml", file),
        ("app/base/kustomization.yaml", "resources: [p.yaml]"),
        ("app/base/p.yaml", pod),
    ];
    let built = rendered(&files, &Overrides::default()).unwrap();
    assert_eq!(built[0]["spec"]["containers"][0]["image"], "a:b");
    assert_eq!(
        built[0]["metadata"]["annotations"]["config.kubernetes.io/origin"],
        "path: app/base/p.yaml\n".replace("app/", "")
    );
}

#[test]
fn patches_of_an_older_object_are_laid_over_the_file_too() {
    let overrides = Overrides {
        patches_strategic_merge: vec![
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"merged": "1"}})
                .to_string(),
        ],
        patches_json6902: vec![Patch {
            patch: json!([{"op": "test", "path": "/data/merged", "value": "1"},
                {"op": "add", "path": "/data/late", "value": "2"}])
            .to_string(),
            target: Some(Selector {
                version: "v1".into(),
                kind: "ConfigMap".into(),
                name: "a".into(),
                ..Selector::default()
            }),
        }],
        ..Overrides::default()
    };
    let built = rendered(&[("app/a.yaml", &object("ConfigMap", "a"))], &overrides).unwrap();
    assert_eq!(built[0]["data"], json!({"merged": "1", "late": "2"}));
}

#[test]
fn a_patch_of_the_spec_may_delete_several_objects() {
    let delete = |name: &str| format!("$patch: delete\n{}", object("ConfigMap", name));
    let all = ["a", "b", "c", "d"].map(|name| object("ConfigMap", name)).join("---\n");
    let patch = |patch: String| Patch { patch, target: None };
    let overrides = Overrides {
        patches: vec![patch(format!("{}---\n{}", delete("a"), delete("c"))), patch(delete("d"))],
        ..Overrides::default()
    };
    let built = rendered(&[("app/all.yaml", &all)], &overrides).unwrap();
    assert_eq!(built.iter().map(|o| o["metadata"]["name"].clone()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn the_order_is_that_of_appearance_unless_the_file_says_otherwise() {
    let all = format!("{}---\n{}", object("ConfigMap", "a"), object("Namespace", "b"));
    let file = |sort: &str| format!("resources: [all.yaml]\n{sort}");
    let built =
        |sort: &str| names(&[("app/kustomization.yaml", &file(sort)), ("app/all.yaml", &all)]).unwrap();
    assert_eq!(built(""), ["a", "b"]);
    assert_eq!(built("sortOptions: {order: legacy}"), ["b", "a"]);
}

#[test]
fn what_lies_beside_is_reached_and_what_lies_outside_is_not() {
    let a = object("ConfigMap", "a");
    let base = [("base/kustomization.yaml", "resources: [a.yaml]"), ("base/a.yaml", a.as_str())];
    let with = |file: &str| names(&[&[("app/kustomization.yaml", file)][..], &base].concat());
    assert_eq!(with("resources: [../base]").unwrap(), ["a"]);
    assert_eq!(with("resources: [../base/a.yaml]").unwrap(), ["a"]);
    for entry in ["../../outside", "../../base/a.yaml", "../../app", "/base/a.yaml", "/base", "/etc/passwd"] {
        let error = with(&format!("resources: [{entry}]")).expect_err(entry);
        assert!(error.starts_with("kustomize build failed: "), "{entry}: {error}");
    }
    let error = with("patches: [{path: /base/a.yaml}]").unwrap_err();
    let said = "fs-security-constraint read /base/a.yaml: path '/base/a.yaml' is not in or below ";
    assert!(error.contains(said), "{error}");
    let error = with("resources: ['https://example.invalid/a.yaml']").unwrap_err();
    assert!(error.contains("remote resources are not supported"), "{error}");
}

#[test]
fn a_schema_of_ones_own_adds_to_the_built_in_one() {
    let schema = json!({"definitions": {"thing": {
        "x-kubernetes-group-version-kind": [{"group": "x.io", "version": "v1", "kind": "Thing"}],
        "properties": {"list": {"type": "array", "items": {"type": "object"},
            "x-kubernetes-patch-merge-key": "id", "x-kubernetes-patch-strategy": "merge"}}
    }}})
    .to_string();
    let thing =
        |id: &str| format!("apiVersion: x.io/v1\nkind: Thing\nmetadata: {{name: t}}\nlist: [{{id: {id}}}]\n");
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: {name}}}]}}\n"
        )
    };
    let both = |at: &str| format!("{}---\n{}", thing(at), pod(at));
    let file = "resources: [all.yaml]\nopenapi: {path: schema.json}\npatches: [{path: patch.yaml}]\n";
    let mut files = vec![
        ("app/kustomization.yaml", file.to_owned()),
        ("app/schema.json", schema),
        ("app/all.yaml", both("a")),
        ("app/patch.yaml", both("b")),
    ];
    let lists = |files: &[(&str, String)]| {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let built = rendered(&files, &Overrides::default()).unwrap();
        (built[0]["list"].clone(), built[1]["spec"]["containers"].clone())
    };
    let merged = (json!([{"id": "b"}, {"id": "a"}]), json!([{"name": "b"}, {"name": "a"}]));
    assert_eq!(lists(&files), merged);
    // Without it nothing of it is left.
    files[0].1 = file.replace("openapi: {path: schema.json}\n", "");
    assert_eq!(lists(&files), (json!([{"id": "b"}]), merged.1));
}
