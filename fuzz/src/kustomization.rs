//! Any bytes as a kustomization, with files around it.

use sluice_kustomize::flux::{self, Overrides};
use sluice_kustomize::{Limits, Options, build, build_text};
use sluice_tree::Memory;
use sluice_types::RelPath;

const LIMITS: Limits = Limits {
    bytes: 1 << 16,
    files: 64,
    documents: 100,
    depth: 64,
    nodes: 20_000,
    held: 100_000,
    resources: 500,
    recursion: 8,
    expanded: 1 << 20,
    steps: 1 << 20,
};

/// A line that starts a further file, named by the rest of it.
const NEXT: &str = "=== ";

/// What a kustomization may name without bringing it along.
const AROUND: &[(&str, &str)] = &[
    (
        "a.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, labels: {app: a}}\nspec:\n  selector: {matchLabels: {app: a}}\n  template:\n    metadata: {labels: {app: a}}\n    spec:\n      containers:\n      - {name: c, image: 'nginx:1', ports: [{containerPort: 1}], envFrom: [{configMapRef: {name: m}}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}}\n",
    ),
    ("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {x: '1', y: '{\"a\": [1]}'}\n"),
    ("p.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 3}\n"),
    ("j.yaml", "- {op: add, path: /metadata/labels/b, value: c}\n"),
    ("base/kustomization.yaml", "namePrefix: b-\nresources: [m.yaml]\n"),
    ("base/m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"),
    (
        "comp/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonLabels: {c: d}\n",
    ),
    ("env", "A=1\nB=2\n"),
];

/// Builds what the bytes say, in the ways there are, which agree.
///
/// # Panics
/// When they do not.
pub(crate) fn kustomization(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(files) = tree(&text) else { return };
    let options = Options { limits: LIMITS, ..Options::default() };
    let root = RelPath::root();
    let built = build(&files, &root, &options);
    let again = build_text(&files, &root, &options);
    match (built, again) {
        (Ok(built), Ok(again)) => assert_eq!(built.to_yaml(), again.yaml),
        (Err(built), Err(again)) => assert_eq!(built, again),
        (built, again) => panic!("{built:?}\n{again:?}"),
    }
    let _ = flux::render(&files, &root, &Overrides::default(), None, &options);
}

fn tree(text: &str) -> Option<Memory> {
    let mut files = Memory::of(AROUND.iter().copied()).ok()?;
    let mut name = "kustomization.yaml";
    let mut content = String::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix(NEXT) {
            None => content.push_str(line),
            Some(next) => {
                put(&mut files, name, std::mem::take(&mut content));
                name = next.trim_end();
            }
        }
    }
    put(&mut files, name, content);
    Some(files)
}

fn put(files: &mut Memory, name: &str, content: String) {
    if let Ok(path) = RelPath::new(name) {
        // What cannot stand there is left out.
        let _ = files.insert(&path, content.into_bytes());
    }
}
