//! What few words could make much of is counted where it happens, each in its place.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::json;
use sluice_kustomize::flux::{Overrides, render};
use sluice_kustomize::{Error, ErrorKind, Limits, Options, build};
use sluice_tree::{Entry, Files, Kind, Memory};
use sluice_types::RelPath;

const SMALL: Limits = Limits {
    bytes: 1 << 20,
    files: 100,
    documents: 1_000,
    depth: 100,
    nodes: 100_000,
    held: 200_000,
    resources: 1_000,
    recursion: 10,
    expanded: 1 << 20,
    steps: 1 << 20,
};

type Tree = Vec<(&'static str, String)>;

fn run(files: Tree, limits: Limits) -> Result<String, Error> {
    let options = Options { limits, ..Options::default() };
    build(&Memory::of(files).unwrap(), &RelPath::root(), &options).map(|built| built.to_yaml())
}

/// The build goes through, but not where there is less of what it takes.
fn is_refused(files: Tree, less: Limits, what: &str) {
    let error = run(files.clone(), less).unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.message().contains(what), "{what}: {error}");
    let room = Limits { expanded: 1 << 28, steps: 1 << 26, held: 1 << 24, ..SMALL };
    assert_eq!(run(files, room).map(drop), Ok(()));
}

const STEPS: &str = "number of steps";
const SIZE: &str = "size of everything";

fn few_steps(steps: usize) -> Limits {
    Limits { steps, expanded: usize::MAX, ..SMALL }
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

fn maps(count: usize) -> String {
    (0..count).map(|at| map(&format!("m{at}"))).collect::<Vec<_>>().join("---\n")
}

fn times(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn each_part_of_an_object_that_images_are_looked_for_in_is_a_step() {
    let thing =
        |rest: String| format!("apiVersion: x.io/v1\nkind: Thing\nmetadata: {{name: a}}\nother:\n{rest}");
    for rest in [times(500, |at| format!("- a{at}\n")), times(500, |at| format!("  a{at}: b\n"))] {
        let files = vec![
            ("kustomization.yaml", "resources: [a.yaml]\nimages: [{name: a, newTag: b}]".to_owned()),
            ("a.yaml", thing(rest)),
        ];
        is_refused(files, few_steps(400), STEPS);
    }
}

#[test]
fn references_to_a_long_name_are_counted() {
    let long = "x".repeat(5_000);
    let volumes = times(200, |_| "  - {configMap: {name: m}}\n".to_owned());
    let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes:\n{volumes}");
    let hooks = times(200, |_| "- {clientConfig: {service: {name: s, namespace: default}}}\n".to_owned());
    let webhooks = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: w}}\nwebhooks:\n{hooks}"
    );
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n".to_owned();
    for (referrer, referent) in [(pod, map("m")), (webhooks, service)] {
        let files = vec![
            ("kustomization.yaml", format!("resources: [a.yaml, b.yaml]\nnamePrefix: {long}\n")),
            ("a.yaml", referrer),
            ("b.yaml", referent),
        ];
        is_refused(files, Limits { expanded: 1 << 17, ..SMALL }, SIZE);
    }
}

#[test]
fn fields_references_and_variables_may_stand_in_are_steps_for_each_object() {
    let references = format!(
        "nameReference:\n- kind: Secret\n  fieldSpecs:\n{}",
        times(300, |at| format!("  - {{path: data/a{at}, kind: ConfigMap}}\n"))
    );
    let variables = format!("varReference:\n{}", times(300, |at| format!("- {{path: data/a{at}}}\n")));
    let vars = "vars: [{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: m0}}]\n";
    for (config, more) in [(references, ""), (variables, vars)] {
        let files = vec![
            ("kustomization.yaml", format!("resources: [a.yaml]\nconfigurations: [c.yaml]\n{more}")),
            ("a.yaml", maps(200)),
            ("c.yaml", config),
        ];
        is_refused(files, few_steps(50_000), STEPS);
    }
}

#[test]
fn variables_with_a_long_value_are_counted() {
    let text = |of: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, labels: {{long: {}}}}}\nspec:\n  containers:\n  - args:\n{}",
            "x".repeat(5_000),
            times(200, |_| format!("    - {of}\n"))
        )
    };
    for of in ["$(LONG)", "=$(LONG)"] {
        let vars = "vars: [{name: LONG, objref: {apiVersion: v1, kind: Pod, name: p}, fieldref: {fieldpath: metadata.labels.long}}]";
        let files =
            vec![("kustomization.yaml", format!("resources: [a.yaml]\n{vars}\n")), ("a.yaml", text(of))];
        is_refused(files, Limits { expanded: 1 << 17, ..SMALL }, SIZE);
    }
}

#[test]
fn what_json_patches_copy_is_counted_over_all_objects() {
    let object = |at: usize| format!("{}data: {{a: {}}}\n", map(&format!("m{at}")), "x".repeat(5_000));
    let objects = (0..10).map(object).collect::<Vec<_>>().join("---\n");
    let copies = times(30, |at| format!("- {{op: copy, from: /data/a, path: /data/c{at}}}\n"));
    let files = vec![
        (
            "kustomization.yaml",
            "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]".to_owned(),
        ),
        ("a.yaml", objects),
        ("p.yaml", copies),
    ];
    is_refused(files, Limits { expanded: 1 << 18, ..SMALL }, SIZE);
}

#[test]
fn no_object_is_made_deeper_than_it_can_be_walked() {
    let deeper = (1..600)
        .map(|depth| json!({"op": "add", "path": format!("/data{}", "/a".repeat(depth)), "value": {}}))
        .collect::<Vec<_>>();
    let into_itself = times(600, |_| {
        "- source: {kind: ConfigMap, fieldPath: data}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a]}]\n"
            .to_owned()
    });
    let object = format!("{}data: {{a: {{}}}}\n", map("m"));
    for (setting, file) in [
        ("patches: [{path: file.yaml, target: {kind: ConfigMap}}]", json!(deeper).to_string()),
        ("replacements: [{path: file.yaml}]", into_itself),
    ] {
        let files = vec![
            ("kustomization.yaml", format!("resources: [a.yaml]\n{setting}\n")),
            ("a.yaml", object.clone()),
            ("file.yaml", file),
        ];
        let error = run(files, Limits { expanded: 1 << 28, nodes: 1 << 20, ..SMALL }).unwrap_err();
        assert!(error.message().contains("depth of an object exceeds the limit of 500"), "{error}");
    }
}

#[test]
fn a_value_put_into_paths_is_counted() {
    let value = format!(
        "transformers: ['{{apiVersion: builtin, kind: ValueAddTransformer, metadata: {{name: v}}, value: {}, targets: [{{fieldPath: data/a, filePathPosition: 1}}]}}']",
        "x".repeat(5_000)
    );
    let files = vec![
        ("kustomization.yaml", format!("resources: [a.yaml]\n{value}\n")),
        ("a.yaml", maps(100).replace("metadata", "data: {a: b/c}\nmetadata")),
    ];
    is_refused(files, Limits { expanded: 1 << 18, ..SMALL }, SIZE);
}

#[test]
fn what_is_generated_and_what_stands_in_line_counts_like_what_is_read() {
    let generated = times(20, |at| format!("- {{name: g{at}}}\n"));
    let files = vec![("kustomization.yaml", format!("configMapGenerator:\n{generated}"))];
    let error = run(files, Limits { resources: 10, ..SMALL }).unwrap_err();
    assert!(error.message().contains("number of resources exceeds the limit of 10"), "{error}");

    let data = times(30, |at| format!("a{at}: b, "));
    let inline = times(30, |at| {
        format!(
            "- patch: '{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m{at}}}, data: {{{data}}}}}'\n"
        )
    });
    let files = vec![
        ("kustomization.yaml", format!("resources: [a.yaml]\npatches:\n{inline}")),
        ("a.yaml", maps(30)),
    ];
    is_refused(files, Limits { held: 1_000, ..SMALL }, "number of nodes");
}

#[test]
fn fields_are_counted_for_each_entry_that_takes_a_copy() {
    let fields =
        |of: &str| format!("{of}:\n{}", times(1_000, |at| format!("- {{path: spec/a{at}, kind: K}}\n")));
    let table = [
        ("images", times(100, |_| "- {name: a, newTag: b}\n".to_owned())),
        ("replicas", times(100, |_| "- {name: m0, count: 1}\n".to_owned())),
        ("labels", times(100, |_| "- {pairs: {a: b}}\n".to_owned())),
    ];
    for (of, entries) in table {
        let files = vec![
            (
                "kustomization.yaml",
                format!("resources: [a.yaml]\nconfigurations: [c.yaml]\n{of}:\n{entries}"),
            ),
            ("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m0}\n".to_owned()),
            ("c.yaml", fields(of)),
        ];
        is_refused(files, SMALL, SIZE);
    }
}

#[test]
fn what_is_made_in_every_field_of_an_object_is_counted() {
    let long = "x".repeat(5_000);
    let fields = |of: &str, kind: &str| {
        format!("{of}:\n{}", times(400, |at| format!("- {{path: spec/a{at}/b/c, create: true{kind}}}\n")))
    };
    let labels = |value: &str| {
        format!("labels:\n- pairs: {{a: {value}}}\n  {}", fields("fields", "").replace("\n-", "\n  -"))
    };
    let table = [
        (labels(&long), String::new()),
        (labels("b"), String::new()),
        (format!("namespace: {long}"), fields("namespace", "")),
        ("namespace: m".to_owned(), fields("namespace", "")),
        ("namePrefix: p".to_owned(), fields("namePrefix", "")),
        ("replicas: [{name: m0, count: 1}]".to_owned(), fields("replicas", ", kind: Deployment")),
    ];
    for (setting, config) in table {
        let objects = times(3, |at| {
            let name = if setting.starts_with("replicas") { "m0".to_owned() } else { format!("m{at}") };
            format!(
                "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: n{at}}}\n"
            )
        });
        let files = vec![
            ("kustomization.yaml", format!("resources: [a.yaml]\nconfigurations: [c.yaml]\n{setting}\n")),
            ("a.yaml", objects),
            ("c.yaml", config),
        ];
        is_refused(files, Limits { expanded: 1 << 18, ..SMALL }, SIZE);
    }
}

#[test]
fn patches_of_many_small_parts_are_counted_by_their_parts() {
    let ones = vec!["1"; 10_000].join(",");
    for patch in [
        format!("[{{\"op\": \"add\", \"path\": \"/data\", \"value\": [{ones}]}}]"),
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: [{ones}]}}"),
    ] {
        let files = vec![
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n".to_owned(),
            ),
            ("a.yaml", maps(20)),
            ("p.yaml", patch),
        ];
        is_refused(files, Limits { expanded: 20 * 10_000 * 8, ..SMALL }, SIZE);
    }
}

#[test]
fn fields_of_one_path_are_compared_in_steps() {
    let one_path = times(1_000, |at| format!("- {{path: spec/a, kind: K{at}}}\n"));
    let targets = times(1_000, |at| format!("- {{kind: K{at}, fieldSpecs: [{{path: spec/a, kind: X}}]}}\n"));
    let one_target =
        times(1_000, |at| format!("- {{kind: K, fieldSpecs: [{{path: spec/a{at}, kind: X}}]}}\n"));
    for config in [
        format!("namePrefix:\n{one_path}"),
        format!("nameReference:\n{targets}"),
        format!("nameReference:\n{one_target}"),
    ] {
        let files = vec![
            ("kustomization.yaml", "resources: [a.yaml]\nconfigurations: [c.yaml]\n".to_owned()),
            ("a.yaml", map("m")),
            ("c.yaml", config),
        ];
        is_refused(files, few_steps(1 << 18), STEPS);
    }
}

/// Definitions of which each refers twice to the next.
fn doubling(levels: usize, last: &str) -> String {
    let mut definitions = serde_json::Map::new();
    for at in 0..levels {
        let next = if at + 1 == levels { last.to_owned() } else { format!("d{}", at + 1) };
        let mut properties = json!({"x": {"$ref": next}, "y": {"$ref": next}});
        if at == 0 {
            for field in ["apiVersion", "kind", "metadata"] {
                properties[field] = json!({});
            }
        }
        definitions.insert(format!("d{at}"), json!({"Schema": {"properties": properties}}));
    }
    let identity = json!({"x-kubernetes-identity": ""});
    definitions.insert("last".to_owned(), json!({"Schema": {"properties": {"id": identity}}}));
    json!(definitions).to_string()
}

#[test]
fn definitions_are_walked_in_steps_and_not_in_rings() {
    let files = |definitions: String| {
        vec![
            ("kustomization.yaml", "resources: [a.yaml]\ncrds: [crd.json]\n".to_owned()),
            ("a.yaml", map("m")),
            ("crd.json", definitions),
        ]
    };
    is_refused(files(doubling(9, "none")), few_steps(1_000), STEPS);
    is_refused(files(doubling(9, "last")), few_steps(50_000), STEPS);
    let error = run(files(doubling(30, "none")), SMALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    let error = run(files(doubling(2, "d0")), SMALL).unwrap_err();
    assert!(error.message().contains("is nested too deeply"), "{error}");
}

#[test]
fn a_ring_of_references_in_a_schema_ends() {
    let schema = json!({"definitions": {
        "thing": {
            "x-kubernetes-group-version-kind": [{"group": "x.io", "version": "v1", "kind": "Thing"}],
            "properties": {"spec": {"$ref": "#/definitions/a"}}
        },
        "a": {"$ref": "#/definitions/b"},
        "b": {"$ref": "#/definitions/a"}
    }});
    let thing = "apiVersion: x.io/v1\nkind: Thing\nmetadata: {name: a}\nspec: {l: [1]}\n".to_owned();
    let files = vec![
        (
            "kustomization.yaml",
            "resources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{path: p.yaml}]\n".to_owned(),
        ),
        ("a.yaml", thing.clone()),
        ("p.yaml", thing),
        ("s.json", schema.to_string()),
    ];
    assert!(run(files, SMALL).unwrap().ends_with("spec:\n  l:\n  - 1\n"));
}

#[test]
fn a_pattern_is_bounded_when_it_is_compiled_and_many_are_steps() {
    let object = format!("{}spec: {{containers: [{{name: c, image: i}}]}}\n", map("m"));
    let with = |setting: String| {
        vec![("kustomization.yaml", format!("resources: [a.yaml]\n{setting}\n")), ("a.yaml", object.clone())]
    };
    for setting in [
        "patches: [{target: {name: \"((a{100}){100}){100}\"}, patch: '[{\"op\": \"remove\", \"path\": \"/a\"}]'}]",
        "images: [{name: \"((a{100}){100}){100}\", newTag: b}]",
        "replacements: [{sourceValue: a, targets: [{select: {name: \"((a{100}){100}){100}\"}}]}]",
    ] {
        let error = run(with(setting.to_owned()), SMALL).unwrap_err();
        assert!(error.message().contains("error parsing regexp"), "{error}");
    }
    let many = times(100, |at| format!("- {{name: \"a{at}+\", newTag: b}}\n"));
    is_refused(with(format!("images:\n{many}")), few_steps(100_000), STEPS);
}

#[test]
fn what_a_selector_compares_is_steps_for_each_object() {
    let absent = times(300, |at| format!("!a{at},")) + "!b";
    let rejects = times(300, |at| format!("{{name: n{at}}}, "));
    let paths = times(300, |_| "data.a, ".to_owned());
    let table = [
        format!(
            "patches: [{{target: {{labelSelector: '{absent}'}}, patch: '{{$patch: merge, kind: A, metadata: {{name: a}}}}'}}]"
        ),
        format!(
            "replacements: [{{sourceValue: x, targets: [{{select: {{annotationSelector: '{absent}'}}, fieldPaths: [data.a], options: {{create: true}}}}]}}]"
        ),
        format!(
            "replacements: [{{sourceValue: x, targets: [{{select: {{kind: None}}, reject: [{rejects}]}}]}}]"
        ),
        format!(
            "replacements: [{{sourceValue: x, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [{paths}], options: {{create: true}}}}]}}]"
        ),
    ];
    for setting in table {
        let files =
            vec![("kustomization.yaml", format!("resources: [a.yaml]\n{setting}\n")), ("a.yaml", maps(200))];
        is_refused(files, few_steps(50_000), STEPS);
    }
}

#[test]
fn a_long_order_is_compared_in_steps() {
    let kinds = times(500, |at| format!("K{at}, "));
    for list in ["orderFirst", "orderLast"] {
        let sort = format!("sortOptions: {{order: legacy, legacySortOptions: {{{list}: [{kinds}]}}}}\n");
        let files =
            vec![("kustomization.yaml", format!("resources: [a.yaml]\n{sort}")), ("a.yaml", maps(200))];
        is_refused(files, few_steps(60_000), STEPS);
    }
}

#[test]
fn notes_about_transformers_are_counted() {
    let labels = times(40, |_| "- {pairs: {a: b}}\n".to_owned());
    let files = vec![
        (
            "kustomization.yaml",
            format!(
                "buildMetadata: [originAnnotations, transformerAnnotations]\nresources: [a.yaml]\nlabels:\n{labels}"
            ),
        ),
        ("a.yaml", maps(30)),
    ];
    is_refused(files.clone(), Limits { expanded: 1 << 16, steps: 1 << 26, ..SMALL }, SIZE);
    is_refused(files, few_steps(100_000), STEPS);
}

#[test]
fn an_embedded_document_is_not_expanded() {
    let mut text = String::from("    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("    a{level}: &a{level} [{uses}]\n"));
    }
    let files = vec![
        (
            "kustomization.yaml",
            "resources: [a.yaml]\nreplacements: [{sourceValue: z, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.text.b]}]}]\n"
                .to_owned(),
        ),
        ("a.yaml", format!("{}data:\n  text: |\n    b: x\n{text}", map("m"))),
    ];
    let built = run(files, SMALL).unwrap();
    assert!(built.contains("b: z") && built.contains("a11: &a11"), "{built}");
}

/// Files of which one is larger than its reader allows.
struct Large(Memory);

impl Files for Large {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, sluice_tree::Error> {
        match path.as_str() {
            "a.yaml" => Err(sluice_tree::Error::TooLarge { path: path.clone(), limit: 10 }),
            _ => self.0.read(path),
        }
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, sluice_tree::Error> {
        self.0.list(dir)
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, sluice_tree::Error> {
        self.0.kind(path)
    }

    fn canonical(&self, path: &RelPath) -> Result<RelPath, sluice_tree::Error> {
        self.0.canonical(path)
    }
}

#[test]
fn a_file_that_is_too_large_is_named() {
    let files = Memory::of([("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", "x")]).unwrap();
    let error = build(&Large(files), &RelPath::root(), &Options::default()).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Limit
            && error.message().contains("'/a.yaml' exceeds the limit of 10 bytes"),
        "{error}"
    );
}

#[test]
fn directories_without_a_kustomization_are_not_searched_too_deeply() {
    let at = |depth: usize| {
        let files = Memory::of([(format!("app/{}a.yaml", "d/".repeat(depth)), map("m"))]).unwrap();
        let options = Options { limits: SMALL, ..Options::default() };
        render(&files, &RelPath::new("app").unwrap(), &Overrides::default(), None, &options).map(drop)
    };
    assert_eq!(at(10), Ok(()));
    let error = at(11).unwrap_err().to_string();
    assert!(error.ends_with("are nested too deeply"), "{error}");
}
