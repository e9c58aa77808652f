//! What a build that succeeds says besides, in upstream's words.

#![allow(clippy::unwrap_used, clippy::panic)]

use sluice_kustomize::{Options, Reorder, build};
use sluice_tree::Memory;
use sluice_types::RelPath;

const OBJECTS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {l: m}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n";

/// The names of what is built and what is said about it.
fn built(kustomization: &str, reorder: Reorder) -> (Vec<String>, Vec<String>) {
    let files = Memory::of([
        ("kustomization.yaml", kustomization),
        ("objects.yaml", OBJECTS),
        ("some.env", "A=1"),
        ("base/kustomization.yaml", "commonLabels: {a: b}\nresources: [objects.yaml]\n"),
        ("base/objects.yaml", OBJECTS),
    ])
    .unwrap();
    let options = Options { reorder, ..Options::default() };
    let built =
        build(&files, &RelPath::root(), &options).unwrap_or_else(|error| panic!("{kustomization}: {error}"));
    let names = built.resources.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
    (names.collect(), built.warnings.into_iter().map(|warning| warning.message).collect())
}

#[test]
fn old_fields_are_named_with_what_takes_their_place() {
    let table = [
        ("bases: [base]", "bases", "resources", ""),
        ("commonLabels: {a: b}", "commonLabels", "labels", ""),
        ("imageTags: [{name: a}]", "imageTags", "images", ""),
        (
            "patchesJson6902: [{target: {version: v1, kind: ConfigMap, name: a}, patch: '[{\"op\": \"remove\", \"path\": \"/metadata/labels\"}]'}]",
            "patchesJson6902",
            "patches",
            "",
        ),
        (
            "patchesStrategicMerge: ['{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}']",
            "patchesStrategicMerge",
            "patches",
            "",
        ),
        (
            "vars: [{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: a}}]\ncommonAnnotations: {a: $(A)}",
            "vars",
            "replacements",
            "[EXPERIMENTAL] ",
        ),
    ];
    for (field, old, new, note) in table {
        let resources = if old == "bases" { "" } else { "resources: [objects.yaml]\n" };
        let (_, warnings) = built(&format!("{resources}{field}\n"), Reorder::None);
        let wanted = format!(
            "# Warning: '{old}' is deprecated. Please use '{new}' instead. {note}Run 'kustomize edit fix' to update your Kustomization automatically."
        );
        assert_eq!(warnings.first(), Some(&wanted));
        // One for each file that has such a field.
        assert_eq!(warnings.len(), if old == "bases" { 2 } else { 1 }, "{warnings:?}");
    }
    assert_eq!(
        built("resources: [objects.yaml]\nconfigMapGenerator: [{name: c, env: some.env}]", Reorder::None).1,
        [""; 0]
    );
}

#[test]
fn variables_nobody_uses_are_named() {
    let vars = "{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: a}}";
    let kustomization =
        format!("resources: [objects.yaml]\nvars: [{vars}, {}]", vars.replace("name: A", "name: B"));
    let (_, warnings) = built(&kustomization, Reorder::None);
    assert_eq!(warnings.last().unwrap(), "well-defined vars that were never replaced: A,B");
}

#[test]
fn the_order_of_the_file_counts_before_that_of_the_caller() {
    let said = "Warning: Sorting order is set both in 'kustomization.yaml' ('sortOptions') and in a CLI flag ('--reorder'). Using the kustomization file over the CLI flag.";
    let table: [(&str, Reorder, [&str; 2], &[&str]); 9] = [
        ("", Reorder::Unspecified, ["a", "b"], &[]),
        ("", Reorder::ByDefault, ["b", "a"], &[]),
        ("", Reorder::None, ["a", "b"], &[]),
        ("", Reorder::Legacy, ["b", "a"], &[]),
        ("sortOptions: {order: legacy}", Reorder::Unspecified, ["b", "a"], &[]),
        ("sortOptions: {order: fifo}", Reorder::ByDefault, ["a", "b"], &[]),
        ("sortOptions: {order: fifo}", Reorder::None, ["a", "b"], &[said]),
        ("sortOptions: {order: fifo}", Reorder::Legacy, ["a", "b"], &[said]),
        ("sortOptions: {order: legacy}", Reorder::Legacy, ["b", "a"], &[said]),
    ];
    for (sort, reorder, names, warnings) in table {
        let found = built(&format!("resources: [objects.yaml]\n{sort}"), reorder);
        assert_eq!(found.0, names, "{sort} {reorder:?}");
        assert_eq!(found.1, warnings, "{sort} {reorder:?}");
    }
}
