//! Generators and transformers configured by objects of their own. Only the built-in kinds exist here.

use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_manifest::yaml;

use crate::config::specs_from_json;
use crate::decode::decode_lenient;
use crate::error::{Error, Result, bad};
use crate::fields;
use crate::fieldspec::FieldSpec;
use crate::generate::generate;
use crate::id::{Gvk, ResId};
use crate::images::Images;
use crate::kustomization::{Generator, Image, Patch, Replacement, Replica, Selector};
use crate::loader::Loader;
use crate::node;
use crate::patches::{JsonEntry, PatchEntry, load_strategic};
use crate::replacement::load;
use crate::resource::Resource;
use crate::session::Session;
use crate::transform::{Subjects, Transformer, ValueTarget};

fn is_builtin(gvk: &Gvk) -> bool {
    gvk.group.is_empty() && gvk.version == "builtin"
}

fn refuse_external(config: &Resource) -> Result<()> {
    let gvk = config.gvk();
    if is_builtin(&gvk) {
        return Ok(());
    }
    Err(bad!("external plugins disabled; unable to load external plugin '{}'", gvk.kind))
}

fn unknown(config: &Resource) -> Error {
    let original = config.original_id();
    bad!("unable to load builtin {}", original.gvk)
}

fn failed(config: &Resource) -> impl Fn(Error) -> Error {
    let id: ResId = config.original_id();
    move |error| error.wrap(format!("plugin {id} fails configuration"))
}

fn read<T: DeserializeOwned + Default>(value: Option<&Value>) -> Result<T> {
    match value {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|error| bad!("error unmarshaling JSON: while decoding JSON: json: {error}")),
    }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
}

/// The plugin's settings as it reads them.
fn written(config: &Resource) -> Result<Value> {
    node::to_json(&config.node)
        .and_then(node::reread)
        .map_err(|error| error.wrap(format!("marshalling yaml from res {}", config.id())))
}

/// The plugin's settings as JSON, as far as its kind knows them.
fn settings(config: &Resource) -> Result<Value> {
    let value = written(config)?;
    let Some((shape, name)) = fields::plugin(config.kind()) else { return Ok(Value::Null) };
    decode_lenient(value, shape, name).map_err(failed(config))
}

fn field_specs(value: &Value) -> Vec<FieldSpec> {
    specs_from_json(value.get("fieldSpecs"))
}

/// Refuses what is no built-in generator.
pub(crate) fn check_generator(config: &Resource) -> Result<()> {
    refuse_external(config)?;
    match config.kind() {
        "ConfigMapGenerator" | "SecretGenerator" | "IAMPolicyGenerator" => Ok(()),
        "HelmChartInflationGenerator" => Err(failed(config)(bad!("must specify --enable-helm"))),
        _ => Err(unknown(config)),
    }
}

/// Runs a generator that passed [`check_generator`].
pub(crate) fn run_generator(
    session: &Session<'_>,
    loader: &Loader,
    config: &Resource,
) -> Result<Vec<Resource>> {
    let value = settings(config)?;
    match config.kind() {
        kind @ ("ConfigMapGenerator" | "SecretGenerator") => {
            let mut arguments: Generator = read(Some(&value)).map_err(failed(config))?;
            // Only kustomizations know of the old field.
            arguments.env.clear();
            if arguments.name.is_empty() {
                arguments.name = config.name().to_owned();
            }
            if arguments.namespace.is_empty() {
                arguments.namespace = config.namespace().to_owned();
            }
            let kind = kind.trim_end_matches("Generator");
            let options = arguments.options.clone();
            generate(session, loader, kind, &arguments, options.as_ref()).map(|resource| vec![resource])
        }
        "IAMPolicyGenerator" => iam_policy(session, &value),
        _ => Err(unknown(config)),
    }
}

fn iam_policy(session: &Session<'_>, value: &Value) -> Result<Vec<Resource>> {
    let cloud = text(value, "cloud");
    if cloud != "gke" {
        return Err(bad!("cloud provider {cloud} not supported yet"));
    }
    let part = |outer: &str, key: &str| value.get(outer).map(|inner| text(inner, key)).unwrap_or_default();
    let mut document = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  annotations:\n    iam.gke.io/gcp-service-account: {}@{}.iam.gserviceaccount.com\n  name: {}\n",
        part("serviceAccount", "name"),
        part("serviceAccount", "projectId"),
        part("kubernetesService", "name")
    );
    let namespace = part("kubernetesService", "namespace");
    if !namespace.is_empty() {
        document.push_str(&format!("  namespace: {namespace}\n"));
    }
    session.parse_resources(&document)
}

/// Configures the transformers an object stands for; one of them stands for two.
pub(crate) fn configure(
    session: &Session<'_>,
    loader: &Loader,
    config: &Resource,
) -> Result<Vec<Transformer>> {
    refuse_external(config)?;
    let value = settings(config)?;
    let build = || -> Result<Option<Vec<Transformer>>> {
        let fields = || field_specs(&value);
        Ok(Some(vec![match config.kind() {
            "AnnotationsTransformer" => {
                Transformer::Annotations { annotations: read(value.get("annotations"))?, fields: fields() }
            }
            "LabelTransformer" => {
                Transformer::Labels { labels: read(value.get("labels"))?, fields: fields() }
            }
            "NamespaceTransformer" => namespace(config, &value)?,
            "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer"
                if value.get("fieldSpecs").is_none() =>
            {
                return Err(bad!("fieldSpecs is not expected to be nil"));
            }
            "PrefixTransformer" => Transformer::Prefix { prefix: text(&value, "prefix"), fields: fields() },
            "SuffixTransformer" => Transformer::Suffix { suffix: text(&value, "suffix"), fields: fields() },
            "PrefixSuffixTransformer" => {
                return Ok(Some(vec![
                    Transformer::Prefix { prefix: text(&value, "prefix"), fields: fields() },
                    Transformer::Suffix { suffix: text(&value, "suffix"), fields: fields() },
                ]));
            }
            "ImageTagTransformer" => {
                let image: Image = read(value.get("imageTag"))?;
                Transformer::Images(Box::new(Images::new(&image, fields())))
            }
            "ReplicaCountTransformer" => {
                let replica: Replica = read(value.get("replica"))?;
                Transformer::Replicas { replica, fields: fields() }
            }
            "PatchTransformer" => {
                let patch: Patch = read(Some(&value))?;
                let shown = yaml::emit_v2(&written(config)?);
                Transformer::Patch(Box::new(PatchEntry::new(session, loader, &patch, &shown)?))
            }
            "PatchStrategicMergeTransformer" => strategic(session, loader, &value)?,
            "PatchJson6902Transformer" => {
                let mut patch: Patch = read(Some(&value))?;
                patch.patch = text(&value, "jsonOp");
                Transformer::Json(JsonEntry::new(session, loader, &patch)?)
            }
            "ReplacementTransformer" => {
                let list: Vec<Replacement> = read(value.get("replacements"))?;
                Transformer::Replacement(load(session, loader, &list)?)
            }
            "ValueAddTransformer" => value_add(session, loader, &value)?,
            "HashTransformer" => Transformer::Hash,
            _ => return Ok(None),
        }]))
    };
    build().map_err(failed(config))?.ok_or_else(|| unknown(config))
}

fn namespace(config: &Resource, value: &Value) -> Result<Transformer> {
    let subjects = match text(value, "setRoleBindingSubjects").as_str() {
        "" | "defaultOnly" => Subjects::DefaultOnly,
        "allServiceAccounts" => Subjects::AllServiceAccounts,
        "none" => Subjects::None,
        other => {
            return Err(bad!(
                "invalid value {other:?} for setRoleBindingSubjects: must be one of \"defaultOnly\", \"none\" or \"allServiceAccounts\""
            ));
        }
    };
    Ok(Transformer::Namespace {
        namespace: config.namespace().to_owned(),
        fields: field_specs(value),
        unset_only: value.get("unsetOnly").and_then(Value::as_bool).unwrap_or(false),
        subjects,
    })
}

fn strategic(session: &Session<'_>, loader: &Loader, value: &Value) -> Result<Transformer> {
    let paths: Vec<String> = read(value.get("paths"))?;
    let inline = text(value, "patches");
    if paths.is_empty() && inline.is_empty() {
        return Err(bad!("empty file path and empty patch content"));
    }
    let mut patches = load_strategic(session, loader, &paths)?;
    if !inline.is_empty() {
        patches.extend(session.parse_resources(&inline)?);
    }
    if patches.is_empty() {
        return Err(bad!("patch appears to be empty; files=[{}], Patch={inline}", paths.join(" ")));
    }
    Ok(Transformer::StrategicMerge(patches))
}

fn value_add(session: &Session<'_>, loader: &Loader, value: &Value) -> Result<Transformer> {
    let mut list: Vec<Value> = read(value.get("targets"))?;
    let path = text(value, "targetFilePath");
    if !path.is_empty() {
        let (file, content) = loader.load_text(session, &path)?;
        let more = session.parse_json(&file, &content, yaml::parse_v2_json)?;
        let more = decode_lenient(more, &fields::VALUE_TARGETS_FILE, "Target")?;
        list.extend(read::<Vec<Value>>(more.get("targets"))?);
    }
    if list.is_empty() {
        return Err(bad!("must specify at least one target"));
    }
    let mut targets = Vec::with_capacity(list.len());
    for target in &list {
        let selector: Option<Selector> = read(target.get("selector"))?;
        let field = text(target, "fieldPath");
        if field.is_empty() {
            return Err(bad!("fieldPath cannot be empty"));
        }
        let position = target.get("filePathPosition").and_then(Value::as_i64).unwrap_or(0);
        let Ok(position) = usize::try_from(position) else {
            return Err(bad!("value of FilePathPosition ({position}) cannot be negative"));
        };
        targets.push(ValueTarget { selector, field, position });
    }
    let given = text(value, "value").trim().to_owned();
    let value = if given.is_empty() { loader.root.file_name().unwrap_or("").to_owned() } else { given };
    Ok(Transformer::ValueAdd { value, targets })
}
