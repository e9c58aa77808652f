//! What a build read is all that matters to it, and all of it matters: over every way a kustomization names
//! files.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_kustomize::flux::{self, Overrides};
use sluice_kustomize::{LoadRestrictions, Options, build};
use sluice_tree::{Files, Index, Memory, ReadSet, Recording};
use sluice_types::RelPath;

type Tree = BTreeMap<&'static str, &'static str>;
type Run = fn(&dyn Files) -> Result<String, String>;

fn plain(files: &dyn Files) -> Result<String, String> {
    let options = Options { load_restrictions: LoadRestrictions::None, ..Options::default() };
    let built = build(files, &RelPath::new("app").unwrap(), &options);
    built.map(|built| built.to_yaml()).map_err(|error| error.to_string())
}

fn through_flux(files: &dyn Files) -> Result<String, String> {
    let options = Options { load_restrictions: LoadRestrictions::None, ..Options::default() };
    let overrides = Overrides {
        components: vec!["../comp".to_owned(), "../none".to_owned()],
        ignore_missing_components: true,
        ..Overrides::default()
    };
    let built = flux::render(files, &RelPath::new("app").unwrap(), &overrides, None, &options);
    built.map(|(built, _)| built.yaml).map_err(|error| error.to_string())
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n";
const COMPONENT: &str =
    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {c: d}\n";

fn everything() -> Tree {
    Tree::from([
        (
            "app/kustomization.yaml",
            "resources: [a.yaml, sub, ../shared/s.yaml]\nbases: [../base]\ncomponents: [../comp]\ncrds: [crd.json]\nconfigurations: [conf.yaml]\nopenapi: {path: schema.json}\npatches:\n- path: p.yaml\n- path: j.yaml\n  target: {kind: ConfigMap, name: m}\npatchesStrategicMerge: [sm.yaml]\npatchesJson6902: [{target: {version: v1, kind: ConfigMap, name: m}, path: j2.yaml}]\nreplacements: [{path: r.yaml}]\nconfigMapGenerator: [{name: g, files: [f.txt, k=f2.txt], envs: [e.env], env: e2.env}]\nsecretGenerator: [{name: h, files: [secret.bin]}]\ngenerators: [gen.yaml]\ntransformers: [t.yaml, tdir]\nvalidators: [v.yaml]\n",
        ),
        ("app/a.yaml", MAP),
        ("app/sub/kustomization.yml", "resources: [b.yaml]\nnamePrefix: sub-\n"),
        ("app/sub/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"),
        ("app/sub/unused.yaml", MAP),
        ("shared/s.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\n"),
        ("shared/unused.yaml", MAP),
        ("base/Kustomization", "resources: [c.yaml]\nnamePrefix: base-\n"),
        ("base/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"),
        ("comp/kustomization.yaml", COMPONENT),
        (
            "app/crd.json",
            "{\"x.Thing\": {\"Schema\": {\"properties\": {\"kind\": {}, \"apiVersion\": {}, \"metadata\": {}}}}}",
        ),
        ("app/conf.yaml", "images: [{kind: Thing, path: spec/image}]\n"),
        ("app/schema.json", "{\"definitions\": {}}"),
        ("app/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {p: q}\n"),
        ("app/j.yaml", "- {op: add, path: /data/j, value: k}\n"),
        ("app/sm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {sm: x}\n"),
        ("app/j2.yaml", "- {op: add, path: /data/l, value: n}\n"),
        (
            "app/r.yaml",
            "source: {kind: ConfigMap, name: m, fieldPath: data.a}\ntargets: [{select: {name: s}, fieldPaths: [data.r], options: {create: true}}]\n",
        ),
        ("app/f.txt", "1"),
        ("app/f2.txt", "2"),
        ("app/e.env", "A=1\n"),
        ("app/e2.env", "B=1\n"),
        ("app/secret.bin", "x"),
        (
            "app/gen.yaml",
            "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: gs}\nenvs: [gen.env]\n",
        ),
        ("app/gen.env", "C=1\n"),
        (
            "app/t.yaml",
            "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npath: tp.yaml\ntarget: {name: s}\n---\napiVersion: builtin\nkind: ReplacementTransformer\nmetadata: {name: u}\nreplacements: [{path: tr.yaml}]\n---\napiVersion: builtin\nkind: ValueAddTransformer\nmetadata: {name: w}\nvalue: x\ntargetFilePath: tv.yaml\n---\napiVersion: builtin\nkind: PatchStrategicMergeTransformer\nmetadata: {name: y}\npaths: [ts.yaml]\n---\napiVersion: builtin\nkind: PatchJson6902Transformer\nmetadata: {name: z}\ntarget: {version: v1, kind: ConfigMap, name: s}\npath: tj.yaml\n",
        ),
        ("app/tp.yaml", "- {op: add, path: /data/t, value: u}\n"),
        (
            "app/tr.yaml",
            "source: {kind: ConfigMap, name: m, fieldPath: data.a}\ntargets: [{select: {name: s}, fieldPaths: [data.v], options: {create: true}}]\n",
        ),
        ("app/tv.yaml", "targets: [{fieldPath: data/a, selector: {name: m}}]\n"),
        ("app/ts.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {ts: x}\n"),
        ("app/tj.yaml", "- {op: add, path: /data/tj, value: n}\n"),
        ("app/tdir/kustomization.yaml", "resources: [l.yaml]\n"),
        (
            "app/tdir/l.yaml",
            "apiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: l}\nannotations: {x: y}\nfieldSpecs: [{path: metadata/annotations, create: true}]\n",
        ),
        (
            "app/v.yaml",
            "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: v}\nlabels: {validated-by: v}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
        ),
        ("app/unused.txt", "x"),
        ("other/kustomization.yaml", "resources: [nothing.yaml]\n"),
    ])
}

fn memory(tree: &Tree) -> Memory {
    Memory::of(tree.iter()).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn recorded(tree: &Tree, run: Run) -> (Result<String, String>, ReadSet) {
    let recording = Recording::new(memory(tree));
    let result = run(&recording);
    (result, recording.finish())
}

/// Trees that differ from this one at one path.
fn changes(tree: &Memory, at: &str) -> Vec<Memory> {
    let at = path(at);
    let mut changed = Vec::new();
    let mut with = |change: &dyn Fn(&mut Memory)| {
        let mut copy = tree.clone();
        change(&mut copy);
        if copy != *tree {
            changed.push(copy);
        }
    };
    with(&|tree| _ = tree.remove(&at));
    with(&|tree| {
        tree.remove(&at);
        _ = tree.insert(&at, *b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n");
    });
    with(&|tree| {
        tree.remove(&at);
        _ = tree.insert(&at, *b"changed: [");
    });
    with(&|tree| {
        let mut parent = at.parent();
        while let Some(file) = parent.filter(|path| !path.is_root()) {
            if tree.read(&file).is_ok() {
                tree.remove(&file);
            }
            parent = file.parent();
        }
        _ = tree.insert(&at, MAP.as_bytes());
    });
    with(&|tree| _ = tree.insert(&at.join("added.yaml").unwrap(), MAP.as_bytes()));
    with(&|tree| {
        tree.remove(&at);
        _ = tree.make_directory(&at);
    });
    with(&|tree| {
        if let Ok(bytes) = tree.read(&at) {
            tree.remove(&at);
            _ = tree.insert_executable(&at, bytes);
        }
    });
    changed
}

/// Every path that was looked at in whatever way.
fn members(set: &ReadSet) -> Vec<(String, String)> {
    let value = serde_json::to_value(set).unwrap();
    let mut members = Vec::new();
    for (how, list) in value.as_object().unwrap() {
        let names: Vec<String> = match list {
            Value::Object(map) => map.keys().cloned().collect(),
            Value::Array(list) => list.iter().map(|path| path.as_str().unwrap().to_owned()).collect(),
            other => {
                assert_eq!(*other, Value::Bool(false), "{how}");
                continue;
            }
        };
        members.extend(names.into_iter().map(|name| (how.clone(), name)));
    }
    members
}

/// Changes every path there is and some there are not; a change the set knows nothing of changes nothing, and
/// for every member of the set there is a change that matters.
fn check(tree: &Tree, run: Run) -> ReadSet {
    let (before, set) = recorded(tree, run);
    let whole = memory(tree);
    assert!(set.holds(&Index::of(&whole).unwrap()));
    let mut paths: Vec<String> = tree.keys().map(|path| (*path).to_owned()).collect();
    for path in tree.keys() {
        let mut parent = RelPath::new(path).unwrap().parent();
        while let Some(dir) = parent.filter(|dir| !dir.is_root()) {
            for name in ["kustomization.yaml", "kustomization.yml", "Kustomization", "new.yaml", "new.txt"] {
                paths.push(dir.join(name).unwrap().as_str().to_owned());
            }
            paths.push(dir.as_str().to_owned());
            parent = dir.parent();
        }
    }
    paths.sort();
    paths.dedup();
    for path in &paths {
        for changed in changes(&whole, path) {
            if set.holds(&Index::of(&changed).unwrap()) {
                assert_eq!(run(&changed), before, "{path} changed unseen");
            }
        }
    }
    // That the root is a directory needs no test: it always is.
    for (how, member) in members(&set).into_iter().filter(|(_, path)| !path.is_empty()) {
        let matters = |changed: &Memory| !set.holds(&Index::of(changed).unwrap()) && run(changed) != before;
        assert!(changes(&whole, &member).iter().any(matters), "{how} of {member} matters to nobody");
    }
    set
}

fn reads(set: &ReadSet) -> Vec<String> {
    members(set).into_iter().filter(|(how, _)| how == "reads").map(|(_, path)| path).collect()
}

#[test]
fn every_way_of_naming_a_file_is_noted() {
    let tree = everything();
    let (result, _) = recorded(&tree, plain);
    assert!(result.is_ok(), "{result:?}");
    let set = check(&tree, plain);
    let unread = ["app/sub/unused.yaml", "app/unused.txt", "other/kustomization.yaml", "shared/unused.yaml"];
    let wanted: Vec<&str> = tree.keys().copied().filter(|path| !unread.contains(path)).collect();
    assert_eq!(reads(&set), wanted);
}

#[test]
fn a_directory_without_a_kustomization_is_listed() {
    let tree = Tree::from([
        ("app/a.yaml", MAP),
        ("app/README.md", "x"),
        ("app/deep/er/b.yml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\n"),
        ("app/own/kustomization.yaml", "resources: [c.yaml]\nnamePrefix: own-\n"),
        ("app/own/c.yaml", MAP),
        ("app/own/unused.yaml", MAP),
        ("comp/kustomization.yaml", COMPONENT),
        ("other/a.yaml", MAP),
    ]);
    let set = check(&tree, through_flux);
    assert_eq!(
        reads(&set),
        [
            "app/a.yaml",
            "app/deep/er/b.yml",
            "app/own/c.yaml",
            "app/own/kustomization.yaml",
            "comp/kustomization.yaml"
        ]
    );
}

#[test]
fn what_a_refused_build_read_is_noted_too() {
    let refused = [
        Tree::from([("app/kustomization.yaml", "resources: [a.yaml, missing.yaml]\n"), ("app/a.yaml", MAP)]),
        Tree::from([
            (
                "app/kustomization.yaml",
                "resources: [a.yaml]\nhelmCharts: [{name: x, valuesFile: values.yaml}]\n",
            ),
            ("app/a.yaml", MAP),
            ("app/values.yaml", "a: b\n"),
            ("app/charts/x/Chart.yaml", "name: x\n"),
        ]),
        Tree::from([("app/kustomization.yaml", "resources: [a.yaml, a.yaml/b]\n"), ("app/a.yaml", MAP)]),
        Tree::from([("app/kustomization.yaml", "resources: [dir]\n"), ("app/dir/a.yaml", MAP)]),
        Tree::from([
            ("app/kustomization.yaml", "configMapGenerator: [{name: g, files: [missing/f]}]\n"),
            ("app/f", ""),
        ]),
    ];
    for tree in refused {
        assert!(recorded(&tree, plain).0.is_err());
        check(&tree, plain);
    }
}

#[test]
fn the_order_of_files_nobody_asked_for_does_not_matter() {
    let tree = everything();
    let mut more = memory(&tree);
    for name in ["app/0.yaml", "app/z.yaml", "0/kustomization.yaml", "zz"] {
        more.insert(&path(name), MAP.as_bytes()).unwrap();
    }
    assert_eq!(plain(&more), plain(&memory(&tree)));
}
