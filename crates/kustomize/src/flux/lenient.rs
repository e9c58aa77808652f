//! Decoding a kustomization file the way Flux does before it builds: unknown fields are left out
//! (with a warning here), numbers and booleans where text belongs become text.

use serde_json::{Map, Value};
use sluice_manifest::yaml;
use sluice_tree::Files;
use sluice_types::RelPath;

use super::{Error, FILE_NAMES, Prepared};
use crate::decode::Shape;
use crate::kustomization::KUSTOMIZATION;
use crate::{Options, Warning};

/// A decoded file on its way to being written again.
pub(super) struct Decoded {
    file: RelPath,
    generated: bool,
    pub(super) fields: Map<String, Value>,
    warnings: Vec<Warning>,
}

/// Reads the kustomization file of `directory`.
pub(super) fn read(
    files: &dyn Files,
    directory: &RelPath,
    file: RelPath,
    options: &Options<'_>,
) -> Result<Decoded, Error> {
    let fail = |why: String| Error::Prepare(format!("failed to read {}: {why}", file.as_str()));
    let bytes = files.read(&file).map_err(|e| fail(e.to_string()))?;
    let limits = options.limits.yaml();
    let value = yaml::read_text(&bytes)
        .and_then(|text| yaml::parse_v2_json(text, limits))
        .map_err(|e| fail(format!("error converting YAML to JSON: {e}")))?;
    let mut pruner = Pruner { unknown: Vec::new() };
    let fields = match pruner.value(value, &KUSTOMIZATION, "") {
        Some(Value::Object(fields)) => fields,
        None => Map::new(),
        Some(_) => {
            return Err(fail("error unmarshaling JSON: a kustomization must be a mapping".to_owned()));
        }
    };
    let name = file.file_name().unwrap_or_default().to_owned();
    let warnings = pruner.unknown.into_iter().map(|field| Warning {
        message: format!("unknown field '{field}' in {} is ignored", shown(directory, &name)),
        directory: Some(directory.as_str().to_owned()),
    });
    let warnings = warnings.collect();
    let mut decoded = Decoded { file, generated: false, fields, warnings };
    decoded.adopt();
    Ok(decoded)
}

fn shown(directory: &RelPath, name: &str) -> String {
    directory.join(name).map_or_else(|_| name.to_owned(), |path| path.as_str().to_owned())
}

impl Decoded {
    /// A file that was not there.
    pub(super) fn generated(directory: &RelPath, fields: Map<String, Value>) -> Result<Self, Error> {
        let [name, ..] = FILE_NAMES;
        let file = directory.join(name).map_err(|e| Error::Prepare(e.to_string()))?;
        Ok(Self { file, generated: true, fields, warnings: Vec::new() })
    }

    /// An overlay without resources of its own gets a field that keeps it from being empty.
    fn adopt(&mut self) {
        let has_resources =
            self.fields.get("resources").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if !has_resources {
            self.fields.insert("buildMetadata".into(), Value::from(vec!["originAnnotations"]));
        }
    }

    /// The list under `field`, made when absent.
    pub(super) fn list(&mut self, field: &str) -> Result<&mut Vec<Value>, Error> {
        let list = self.fields.entry(field).or_insert_with(|| Value::Array(Vec::new()));
        match list {
            Value::Array(items) => Ok(items),
            _ => Err(Error::Prepare(format!("field '{field}' must be a list"))),
        }
    }

    pub(super) fn finish(mut self) -> Result<Prepared, Error> {
        for (field, value) in [("apiVersion", "kustomize.config.k8s.io/v1beta1"), ("kind", "Kustomization")] {
            self.fields.entry(field).or_insert_with(|| value.into());
        }
        let content = yaml::emit_v2(&Value::Object(self.fields));
        Ok(Prepared { file: self.file, content, generated: self.generated, warnings: self.warnings })
    }
}

struct Pruner {
    unknown: Vec<String>,
}

impl Pruner {
    /// What is left of a value; nothing for null. What does not fit at all is kept, for the build
    /// to refuse in its own words.
    fn value(&mut self, value: Value, shape: &'static Shape, path: &str) -> Option<Value> {
        match (shape, value) {
            (_, Value::Null) => None,
            (Shape::Text, Value::Bool(value)) => Some(value.to_string().into()),
            (Shape::Text, Value::Number(number)) => Some(number_text(&number).into()),
            (Shape::Struct(fields, _), Value::Object(map)) => {
                let mut kept = Map::new();
                for (key, value) in map {
                    let exact = fields.iter().find(|(name, _)| *name == key);
                    let known = exact.or_else(|| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(&key)));
                    let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    match known {
                        Some((name, shape)) => {
                            if let Some(value) = self.value(value, shape, &at) {
                                kept.insert((*name).to_owned(), value);
                            }
                        }
                        None => self.unknown.push(at),
                    }
                }
                Some(Value::Object(kept))
            }
            (Shape::List(inner, _), Value::Array(items)) => {
                let items = items.into_iter().enumerate().map(|(at, item)| {
                    self.value(item, inner, &format!("{path}[{at}]")).unwrap_or(Value::Null)
                });
                Some(Value::Array(items.collect()))
            }
            (Shape::Texts(inner), Value::Object(map)) => {
                let texts = map.into_iter().map(|(key, value)| {
                    let value = self.value(value, inner, path).unwrap_or_else(|| "".into());
                    (key, value)
                });
                Some(Value::Object(texts.collect()))
            }
            (_, value) => Some(value),
        }
    }
}

fn number_text(number: &serde_json::Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    yaml::float_text(number.as_f64().unwrap_or_default())
}
