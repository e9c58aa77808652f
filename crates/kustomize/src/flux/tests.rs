use serde_json::json;
use sluice_manifest::yaml;
use sluice_tree::Memory;

use super::*;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n";

fn prepared(files: &[(&str, &str)], overrides: &Overrides) -> Result<(serde_json::Value, Prepared), String> {
    let tree = Memory::of(files.iter().copied()).unwrap();
    let directory = RelPath::new("app").unwrap();
    let prepared = prepare(&tree, &directory, overrides, &Options::default()).map_err(|e| e.to_string())?;
    Ok((yaml::parse_v2_json(&prepared.content, yaml::Limits::default()).unwrap(), prepared))
}

#[test]
fn without_a_file_every_manifest_below_is_listed() {
    let (file, prepared) = prepared(
        &[
            ("app/b.yaml", CONFIG),
            ("app/a/deep/x.yml", CONFIG),
            ("app/a/README.md", "no"),
            ("app/c/Kustomization", "resources: [y.yaml]"),
            ("app/c/y.yaml", "not: [checked"),
            ("app/d.YAML", "no: ["),
            ("other/z.yaml", "no: ["),
        ],
        &Overrides::default(),
    )
    .unwrap();
    assert_eq!(file["resources"], json!(["./a/deep/x.yml", "./b.yaml", "./c"]));
    assert_eq!(
        (file["kind"].as_str(), prepared.file.as_str()),
        (Some("Kustomization"), "app/kustomization.yaml")
    );
    assert!(prepared.generated);
}

#[test]
fn with_nothing_to_list_the_build_yields_nothing_instead_of_failing() {
    let (file, _) = prepared(&[("app/README.md", "hi")], &Overrides::default()).unwrap();
    assert_eq!(file["namespace"], "_placeholder");
    assert!(file.get("resources").is_none());
}

#[test]
fn a_file_that_is_no_manifest_is_named() {
    for (text, why) in [("image: x\n", "missing Resource metadata"), ("a: b: c\n", "yaml: mapping values")] {
        let error = prepared(&[("app/x/values.yaml", text)], &Overrides::default()).unwrap_err();
        assert!(
            error.starts_with("failed to decode Kubernetes YAML from app/x/values.yaml: ")
                && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn unknown_fields_are_left_out_with_a_warning_and_odd_types_become_text() {
    let (file, prepared) = prepared(
        &[(
            "app/kustomization.yml",
            "resourcess: [a.yaml]\nresources: [b.yaml]\nimages:\n- {name: x, newTag: 1.10, nwTag: y}\nnamespace: 5\n",
        )],
        &Overrides::default(),
    )
    .unwrap();
    assert_eq!(
        file,
        json!({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "5",
            "resources": ["b.yaml"], "images": [{"name": "x", "newTag": "1.1"}]})
    );
    let messages: Vec<_> = prepared.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "unknown field 'images[0].nwTag' in app/kustomization.yml is ignored",
            "unknown field 'resourcess' in app/kustomization.yml is ignored"
        ]
    );
}

#[test]
fn a_file_without_resources_gets_build_metadata_unless_the_spec_says_otherwise() {
    let files = [("app/kustomization.yaml", "components: [c]\nbuildMetadata: [managedByLabel]\n")];
    let (file, _) = prepared(&files, &Overrides::default()).unwrap();
    assert_eq!(file["buildMetadata"], json!(["originAnnotations"]));
    let overrides = Overrides { build_metadata: vec!["managedByLabel".into()], ..Overrides::default() };
    let (file, _) = prepared(&files, &overrides).unwrap();
    assert_eq!(file["buildMetadata"], json!(["managedByLabel"]));
}

#[test]
fn the_spec_overrides_names_and_appends_patches_and_components() {
    let overrides = Overrides {
        target_namespace: Some("prod".into()),
        name_prefix: Some("p-".into()),
        name_suffix: Some("-s".into()),
        patches: vec![Patch {
            patch: "x".into(),
            target: Some(Selector { kind: "Deployment".into(), ..Selector::default() }),
        }],
        components: vec!["../gone".into(), "here".into()],
        ignore_missing_components: true,
        ..Overrides::default()
    };
    let (file, _) = prepared(
        &[
            (
                "app/kustomization.yaml",
                "resources: [a]\nnamespace: dev\nnamePrefix: old-\npatches:\n- path: p.yaml\n",
            ),
            ("app/here/kustomization.yaml", ""),
        ],
        &overrides,
    )
    .unwrap();
    assert_eq!(
        (file["namespace"].as_str(), file["namePrefix"].as_str(), file["nameSuffix"].as_str()),
        (Some("prod"), Some("p-"), Some("-s"))
    );
    assert_eq!(
        file["patches"],
        json!([{"path": "p.yaml"}, {"patch": "x", "target": {"kind": "Deployment"}}])
    );
    assert_eq!(file["components"], json!(["here"]));
}

#[test]
fn components_of_the_spec_come_last_and_missing_ones_may_all_be_left_out() {
    let components = |spec: &[&str], ignore_missing_components| {
        let overrides = Overrides {
            components: spec.iter().map(|&path| path.into()).collect(),
            ignore_missing_components,
            ..Overrides::default()
        };
        let files = [
            ("app/kustomization.yaml", "resources: [a]\ncomponents: [../d]\n"),
            ("c/kustomization.yaml", ""),
        ];
        prepared(&files, &overrides).unwrap().0["components"].clone()
    };
    assert_eq!(components(&["../c"], false), json!(["../d", "../c"]));
    assert_eq!(components(&["../gone", "../lost"], true), json!(["../d"]));
    assert_eq!(components(&["../gone"], false), json!(["../d", "../gone"]));
}

#[test]
fn only_local_relative_components_are_taken() {
    for path in ["HTTPS://x/y", "git::x", "gh:a/b", "git@h:x", "GitHub.com/a/b", "/abs", "file:///abs"] {
        let overrides = Overrides { components: vec![path.into()], ..Overrides::default() };
        let error = prepared(&[("app/kustomization.yaml", "resources: [a]")], &overrides).unwrap_err();
        assert_eq!(error, format!("component path '{path}' must be local and relative"));
    }
    for path in ["../c", "c", "file://rel", "gh:"] {
        assert!(is_local_relative_path(path), "{path}");
    }
}

#[test]
fn an_image_override_replaces_tag_and_digest_together() {
    let image = |new_name: &str, new_tag: &str, digest: &str| Image {
        name: "a".into(),
        new_name: new_name.into(),
        new_tag: new_tag.into(),
        digest: digest.into(),
    };
    let existing = "resources: [x]\nimages:\n- {name: a, newName: old, newTag: t}\n";
    for (text, given, expected) in [
        (existing, image("", "", ""), json!([{"name": "a", "newName": "old", "newTag": "t"}])),
        (existing, image("m", "", ""), json!([{"name": "a", "newName": "m", "newTag": "t"}])),
        (existing, image("", "", "sha256:1"), json!([{"name": "a", "newName": "old", "digest": "sha256:1"}])),
        (
            existing,
            image("", "u", "d"),
            json!([{"name": "a", "newName": "old", "newTag": "u", "digest": "d"}]),
        ),
        ("resources: [x]\n", image("", "u", ""), json!([{"name": "a", "newTag": "u"}])),
    ] {
        let overrides = Overrides { images: vec![given], ..Overrides::default() };
        let (file, _) = prepared(&[("app/kustomization.yaml", text)], &overrides).unwrap();
        assert_eq!(file["images"], expected);
    }
}

fn substituted(
    resource: serde_json::Value,
    variables: &[(&str, &str)],
    always: bool,
) -> Result<Rendered, String> {
    let mut all = Variables::default();
    all.extend(variables.iter().copied());
    let post_build =
        PostBuild { variables: &all, always, strict: true, limits: crate::envsubst::Limits::default() };
    render_resources(vec![resource], Some(&post_build)).map_err(|e| e.to_string())
}

fn config(value: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": value}})
}

#[test]
fn values_may_change_type_and_structure() {
    let with = |value: &str, n: &str| substituted(config(value), &[("N", n), ("Q", "\"")], false).unwrap();
    assert_eq!(with("${N}", "3").resources[0]["data"]["k"], 3);
    assert_eq!(with("${Q}${N}${Q}", "3").resources[0]["data"]["k"], "3");
    assert_eq!(with("a-${N}", "3").resources[0]["data"]["k"], "a-3");
    assert_eq!(with("${N}", "{a: 1}").resources[0]["data"]["k"], json!({"a": 1}));
    assert_eq!(with("${N}", "line\nbreak").resources[0]["data"]["k"], "linebreak");
    assert_eq!(
        with("${N}", "3").yaml,
        "apiVersion: v1\ndata:\n  k: 3\nkind: ConfigMap\nmetadata:\n  name: c\n"
    );
}

#[test]
fn substitution_is_skipped_where_it_is_disabled_or_has_nothing_to_say() {
    let mut disabled = config("$$ ${gone}");
    disabled["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/substitute": "disabled"});
    assert_eq!(
        substituted(disabled.clone(), &[("N", "1")], true).unwrap().resources,
        std::slice::from_ref(&disabled)
    );
    disabled["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/substitute": "Disabled"});
    assert!(substituted(disabled, &[("N", "1")], true).is_err());
    let plain = config("$$ ${gone:-x}");
    assert_eq!(substituted(plain.clone(), &[], false).unwrap().resources, std::slice::from_ref(&plain));
    assert_eq!(substituted(plain, &[], true).unwrap().resources[0]["data"]["k"], "$ x");
}

#[test]
fn failures_name_the_object_and_never_a_value() {
    for (value, variables, expected) in [
        (
            "${gone}",
            &[("N", "1")][..],
            "post build failed for 'ConfigMap.v1.[noGrp]/c': envsubst error: variable substitution failed: variable not set (strict mode): \"gone\"",
        ),
        (
            "${N}",
            &[("bad-name", "hush")][..],
            "post build failed for 'ConfigMap.v1.[noGrp]/c': envsubst error: 'bad-name' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'",
        ),
        (
            "x${N}",
            &[("N", ": hush: hush")][..],
            "post build failed for 'ConfigMap.v1.[noGrp]/c': envsubst error: YAMLToJSON: yaml: line 3: mapping values are not allowed in this context",
        ),
    ] {
        assert_eq!(substituted(config(value), variables, false).unwrap_err(), expected);
    }
    let nameless = json!({"apiVersion": "v1", "kind": "Secret", "data": {"k": "hush"}});
    assert_eq!(
        render_resources(vec![nameless], None).unwrap_err().to_string(),
        "failed to decode Kubernetes apiVersion, kind and name from: Secret.v1.[noGrp]/"
    );
}

#[test]
fn nothing_secret_shows_in_debug_output() {
    let mut variables = Variables::default();
    variables.extend([("TOKEN", "hush")]);
    let rendered = render_resources(vec![config("hush")], None).unwrap();
    let shown = format!("{variables:?} {rendered:?}");
    assert!(shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
}

fn rendered(
    files: &[(&str, &str)],
    overrides: &Overrides,
    variables: &[(&str, &str)],
) -> Result<Rendered, String> {
    let tree = Memory::of(files.iter().copied()).unwrap();
    let mut all = Variables::default();
    all.extend(variables.iter().copied());
    let post_build = PostBuild {
        variables: &all,
        always: false,
        strict: true,
        limits: crate::envsubst::Limits::default(),
    };
    let options = Options { load_restrictions: crate::LoadRestrictions::None, ..Options::default() };
    let directory = RelPath::new("app").unwrap();
    render(&tree, &directory, overrides, Some(&post_build), &options)
        .map(|(rendered, _)| rendered)
        .map_err(|error| error.to_string())
}

#[test]
fn plain_manifests_are_built_patched_and_substituted() {
    let overrides = Overrides {
        target_namespace: Some("prod".into()),
        patches: vec![Patch {
            patch: "- {op: add, path: /data, value: {k: '${N}'}}".into(),
            target: Some(Selector { kind: "ConfigMap".into(), ..Selector::default() }),
        }],
        ..Overrides::default()
    };
    let files =
        [("app/b/c.yaml", CONFIG), ("app/a.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n")];
    let result = rendered(&files, &overrides, &[("N", "3")]).unwrap();
    assert_eq!(
        result.yaml,
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: prod\n---\n\
         apiVersion: v1\ndata:\n  k: 3\nkind: ConfigMap\nmetadata:\n  name: c\n  namespace: prod\n"
    );
    assert_eq!(result.resources.len(), 2);
    assert_eq!(result.digest, Digest::of(sluice_types::Algorithm::Sha256, result.yaml.as_bytes()));
}

#[test]
fn comments_count_in_a_name_whoever_read_the_file() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: j # once\n  annotations:\n    \
               internal.config.kubernetes.io/needsHashSuffix: enabled\n";
    let yaml = |files: &[(&str, &str)]| rendered(files, &Overrides::default(), &[]).unwrap().yaml;
    let listed = yaml(&[("app/j.yaml", job), ("app/kustomization.yaml", "resources: [j.yaml]\n")]);
    assert_eq!(yaml(&[("app/j.yaml", job)]), listed);
    assert_ne!(yaml(&[("app/j.yaml", &job.replace(" # once", ""))]), listed);
}

#[test]
fn an_empty_directory_renders_to_nothing() {
    let result = rendered(&[("app/README.md", "")], &Overrides::default(), &[]).unwrap();
    assert_eq!((result.yaml.as_str(), result.resources.len()), ("", 0));
}

#[test]
fn an_overlay_without_resources_marks_what_it_generates_with_its_origin() {
    let files = [(
        "app/kustomization.yaml",
        "configMapGenerator:\n- name: g\n  literals: [a=b]\n  options: {disableNameSuffixHash: true}\n",
    )];
    let result = rendered(&files, &Overrides::default(), &[]).unwrap();
    let origin = &result.resources[0]["metadata"]["annotations"]["config.kubernetes.io/origin"];
    assert_eq!(
        origin.as_str(),
        Some(
            "configuredIn: kustomization.yaml\nconfiguredBy:\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n"
        )
    );
}

#[test]
fn a_failed_build_says_so() {
    let files = [("app/kustomization.yaml", "resources: [gone.yaml]\n")];
    let error = rendered(&files, &Overrides::default(), &[]).unwrap_err();
    assert!(error.starts_with("kustomize build failed: accumulating resources: "), "{error}");
}

#[test]
fn two_kustomization_files_in_a_directory_are_refused() {
    let files = [("app/kustomization.yaml", "{}"), ("app/kustomization.yml", "{}")];
    let tree = Memory::of(files).unwrap();
    let directory = RelPath::new("app").unwrap();
    let error = render(&tree, &directory, &Overrides::default(), None, &Options::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("kustomize build failed: Found multiple kustomization files under: "), "{text}");
}

#[test]
fn who_gives_up_during_the_substitution_ends_it() {
    let tree = Memory::of([("app/c.yaml", CONFIG)]).unwrap();
    let directory = RelPath::new("app").unwrap();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let count = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let build = |limit: usize| {
        let cancelled = || count() >= limit;
        let options = Options { cancelled: Some(&cancelled), ..Options::default() };
        render(&tree, &directory, &Overrides::default(), None, &options).map(|_| ())
    };
    build(usize::MAX).unwrap();
    let times = asked.swap(0, std::sync::atomic::Ordering::Relaxed);
    let error = build(times - 1).unwrap_err();
    assert_eq!(error.to_string(), "kustomize build failed: the build was cancelled");
}
