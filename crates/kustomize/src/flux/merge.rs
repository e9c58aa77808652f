//! Laying a Kustomization's settings over the file.

use serde_json::{Map, Value};
use sluice_tree::Files;
use sluice_types::RelPath;

use super::lenient::Decoded;
use super::{Error, Image, Overrides, Patch, is_local_relative_path};

pub(super) fn merge(
    decoded: &mut Decoded,
    files: &dyn Files,
    directory: &RelPath,
    overrides: &Overrides,
) -> Result<(), Error> {
    for (field, value) in [
        ("namespace", &overrides.target_namespace),
        ("namePrefix", &overrides.name_prefix),
        ("nameSuffix", &overrides.name_suffix),
    ] {
        if let Some(value) = value {
            decoded.fields.insert(field.to_owned(), value.as_str().into());
        }
    }
    append(decoded, "patches", overrides.patches.iter().map(patch_value))?;
    append(decoded, "components", components(files, directory, overrides)?.into_iter().map(Value::from))?;
    let merges = overrides.patches_strategic_merge.iter().map(|text| Value::from(text.as_str()));
    append(decoded, "patchesStrategicMerge", merges)?;
    append(decoded, "patchesJson6902", overrides.patches_json6902.iter().map(patch_value))?;
    if !overrides.images.is_empty() {
        let list = decoded.list("images")?;
        overrides.images.iter().for_each(|image| set_image(list, image));
    }
    if !overrides.build_metadata.is_empty() {
        decoded.fields.insert("buildMetadata".to_owned(), overrides.build_metadata.clone().into());
    }
    Ok(())
}

fn append(
    decoded: &mut Decoded,
    field: &str,
    items: impl ExactSizeIterator<Item = Value>,
) -> Result<(), Error> {
    if items.len() > 0 {
        decoded.list(field)?.extend(items);
    }
    Ok(())
}

fn patch_value(patch: &Patch) -> Value {
    let mut value = Map::new();
    value.insert("patch".to_owned(), patch.patch.as_str().into());
    if let Some(target) = &patch.target {
        let target = serde_json::to_value(target).unwrap_or_else(|_| Value::Object(Map::new()));
        value.insert("target".to_owned(), target);
    }
    Value::Object(value)
}

fn components<'o>(
    files: &dyn Files,
    directory: &RelPath,
    overrides: &'o Overrides,
) -> Result<Vec<&'o str>, Error> {
    let mut kept = Vec::new();
    for component in &overrides.components {
        if !is_local_relative_path(component) {
            return Err(Error::Prepare(format!("component path '{component}' must be local and relative")));
        }
        let exists = || directory.join(component).is_ok_and(|path| files.kind(&path).is_ok());
        if !overrides.ignore_missing_components || exists() {
            kept.push(component.as_str());
        }
    }
    Ok(kept)
}

/// Tag and digest choose the version together: giving one clears the other.
fn set_image(list: &mut Vec<Value>, image: &Image) {
    let known = list.iter_mut().filter_map(Value::as_object_mut);
    let mut known = known.filter(|found| found.get("name").and_then(Value::as_str) == Some(&image.name));
    let Some(found) = known.next() else {
        list.push(serde_json::to_value(image).unwrap_or(Value::Null));
        return;
    };
    if !image.new_name.is_empty() {
        found.insert("newName".to_owned(), image.new_name.as_str().into());
    }
    if !image.new_tag.is_empty() || !image.digest.is_empty() {
        for (field, value) in [("newTag", &image.new_tag), ("digest", &image.digest)] {
            if value.is_empty() {
                found.remove(field);
            } else {
                found.insert(field.to_owned(), value.as_str().into());
            }
        }
    }
}
