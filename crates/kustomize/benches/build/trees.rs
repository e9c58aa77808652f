//! What is built: trees that grow in one thing each.

use std::fmt::Write as _;

/// Paths and contents.
pub(crate) type Tree = Vec<(String, String)>;

/// The `at`-th of an endless row of applications, each of five objects that refer to each other.
pub(crate) fn object(at: usize) -> String {
    let app = at - at % 5;
    match at % 5 {
        0 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{app}\n  labels: {{app: app-{app}}}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: app-{app}}}\n  template:\n    metadata:\n      labels: {{app: app-{app}}}\n    spec:\n      serviceAccountName: sa-{app}\n      containers:\n      - name: main\n        image: nginx:1.{app}\n        args: [\"--port=8080\", \"--name=app-{app}\"]\n        env:\n        - name: A\n          valueFrom: {{configMapKeyRef: {{name: cm-{app}, key: a}}}}\n        ports:\n        - containerPort: 8080\n          protocol: TCP\n        resources:\n          limits: {{cpu: 100m, memory: 128Mi}}\n      volumes:\n      - name: cfg\n        configMap: {{name: cm-{app}}}\n"
        ),
        1 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: app-{app}\nspec:\n  selector: {{app: app-{app}}}\n  ports:\n  - port: 80\n    targetPort: 8080\n"
        ),
        2 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm-{app}\ndata:\n  a: \"1\"\n  config.yaml: |\n    server:\n      port: 8080\n"
        ),
        3 => format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: sa-{app}\n"),
        _ => format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: ing-{app}\nspec:\n  rules:\n  - host: app-{app}.example.com\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          service:\n            name: app-{app}\n            port: {{number: 80}}\n"
        ),
    }
}

fn base(resources: usize) -> Tree {
    let mut list = String::from("resources:\n");
    let mut tree = Tree::new();
    for at in 0..resources {
        tree.push((format!("base/r{at}.yaml"), object(at)));
        let _ = writeln!(list, "- r{at}.yaml");
    }
    tree.push(("base/kustomization.yaml".to_owned(), list));
    tree
}

/// The usual overlay: everything most people use, once.
fn overlay(at: usize) -> String {
    format!(
        "resources: [../base]\nnamespace: ns-{at}\nnamePrefix: o{at}-\nlabels:\n- pairs: {{overlay: o{at}}}\n  includeSelectors: true\nimages:\n- {{name: nginx, newTag: v{at}}}\nreplicas:\n- {{name: app-0, count: {}}}\nconfigMapGenerator:\n- {{name: gen, literals: [a={at}]}}\npatches:\n- target: {{kind: Deployment}}\n  patch: |-\n    - {{op: add, path: /spec/minReadySeconds, value: {at}}}\n",
        at + 1
    )
}

/// Overlays over one base, all listed by the root.
pub(crate) fn overlays(overlays: usize, resources: usize) -> Tree {
    let mut tree = base(resources);
    let mut root = String::from("resources:\n");
    for at in 0..overlays {
        tree.push((format!("o{at}/kustomization.yaml"), overlay(at)));
        let _ = writeln!(root, "- o{at}");
    }
    tree.push(("kustomization.yaml".to_owned(), root));
    tree
}

/// A root over a base of as many resources as it has entries.
fn entries(count: usize, head: &str, entry: impl Fn(usize) -> String) -> Tree {
    let mut tree = base(count * 5);
    let mut root = format!("resources: [base]\n{head}");
    (0..count).for_each(|at| root.push_str(&entry(at * 5)));
    tree.push(("kustomization.yaml".to_owned(), root));
    tree
}

/// Kustomizations over each other, two renamed objects in each.
fn chain(depth: usize) -> Tree {
    let mut tree = Tree::new();
    for at in 0..depth {
        let below = if at + 1 < depth { format!(", ../k{}", at + 1) } else { String::new() };
        let text = format!("namePrefix: k{at}-\nresources: [a.yaml{below}]\n");
        tree.push((format!("k{at}/kustomization.yaml"), text));
        tree.push((format!("k{at}/a.yaml"), format!("{}---\n{}", object(at * 5), object(at * 5 + 2))));
    }
    tree.push(("kustomization.yaml".to_owned(), "resources: [k0]\n".to_owned()));
    tree
}

/// Fields of one object, all patched.
fn wide(keys: usize) -> Tree {
    let data = |value: usize| {
        let mut text = String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n");
        (0..keys).for_each(|at| _ = writeln!(text, "  k{at}: v{value}"));
        text
    };
    let root = "resources: [a.yaml]\npatches: [{path: p.yaml}]\n".to_owned();
    vec![
        ("a.yaml".to_owned(), data(1)),
        ("p.yaml".to_owned(), data(2)),
        ("kustomization.yaml".to_owned(), root),
    ]
}

/// What can grow, and the tree it has grown to.
pub(crate) type Growth = (&'static str, fn(usize) -> Tree);

/// Everything that must cost in proportion to its number.
pub(crate) const GROWTHS: &[Growth] = &[
    ("overlays of 5 resources", |count| overlays(count, 5)),
    ("strategic patches by name", |count| {
        entries(count, "patches:\n", |at| {
            format!(
                "- patch: '{{apiVersion: v1, kind: ConfigMap, metadata: {{name: cm-{at}}}, data: {{b: c}}}}'\n"
            )
        })
    }),
    ("JSON patches by name", |count| {
        entries(count, "patches:\n", |at| {
            format!(
                "- patch: '[{{\"op\": \"add\", \"path\": \"/data/b\", \"value\": \"c\"}}]'\n  target: {{kind: ConfigMap, name: cm-{at}}}\n"
            )
        })
    }),
    ("patchesStrategicMerge", |count| {
        entries(count, "patchesStrategicMerge:\n", |at| {
            format!(
                "- '{{apiVersion: v1, kind: Service, metadata: {{name: app-{at}}}, spec: {{type: None}}}}'\n"
            )
        })
    }),
    ("replicas", |count| entries(count, "replicas:\n", |at| format!("- {{name: app-{at}, count: 3}}\n"))),
    ("replacements", |count| {
        entries(count, "replacements:\n", |at| {
            format!(
                "- source: {{kind: ConfigMap, name: cm-{at}, fieldPath: data.a}}\n  targets: [{{select: {{kind: Service, name: app-{at}}}, fieldPaths: [spec.type], options: {{create: true}}}}]\n"
            )
        })
    }),
    ("vars", |count| {
        entries(count, "vars:\n", |at| {
            format!(
                "- {{name: V{at}, objref: {{kind: ConfigMap, name: cm-{at}, apiVersion: v1}}, fieldref: {{fieldpath: data.a}}}}\n"
            )
        })
    }),
    ("generators", |count| {
        entries(count, "configMapGenerator:\n", |at| {
            format!("- {{name: cm-{at}, behavior: merge, literals: [b={at}]}}\n")
        })
    }),
    ("fields of a patched object", wide),
    ("comments that count in a name", |count| {
        let mut text = String::from(
            "apiVersion: v1\nkind: Thing\nmetadata:\n  name: a\n  annotations: {internal.config.kubernetes.io/needsHashSuffix: enabled}\nspec:\n",
        );
        (0..count).for_each(|at| _ = writeln!(text, "  k{at}: v\n   # in\n  # above"));
        vec![
            ("a.yaml".to_owned(), text),
            ("kustomization.yaml".to_owned(), "resources: [a.yaml]\n".to_owned()),
        ]
    }),
    ("resources named alike in as many namespaces", |count| {
        let mut tree = overlays(count, 0);
        tree.retain(|(path, _)| !path.starts_with("base"));
        tree.push(("base/kustomization.yaml".to_owned(), "resources: [all.yaml]\n".to_owned()));
        let all: Vec<String> = (0..5).map(object).collect();
        tree.push(("base/all.yaml".to_owned(), all.join("---\n")));
        tree
    }),
];

/// Levels of nesting, which have a bound of their own.
pub(crate) const DEPTH: Growth = ("kustomizations over each other", chain);
