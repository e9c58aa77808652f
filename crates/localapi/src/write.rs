//! The write path: create, replace, patch and apply, from decoded body to stored object.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::builtin;
use crate::decode::{Findings, decode};
use crate::kinds::{Kind, Resource, Version};
use crate::managed::{self, Operation, Writer};
use crate::object::{self, fresh_uid, is_deleting, meta, metadata, section};
use crate::patch::{self, Patch};
use crate::status::{Cause, Refusal};
use crate::store::{Key, Store};
use crate::structural;

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validation {
    Ignore,
    Warn,
    Strict,
}

/// One write request, apart from its body.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) kind: Arc<Kind>,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    pub(crate) validation: Validation,
    pub(crate) force: bool,
}

/// The answer to a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Value>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

impl Write {
    fn served(&self) -> Result<&Version, Refusal> {
        self.kind.version(&self.version).ok_or_else(Refusal::no_such_path)
    }

    fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    fn resource(&self) -> Resource {
        self.kind.resource()
    }

    fn api_version(&self) -> String {
        self.kind.api_version(&self.version)
    }

    fn writer(&self, operation: Operation) -> Writer {
        Writer {
            manager: self.manager.clone(),
            operation,
            api_version: self.api_version(),
            subresource: self.subresource.clone(),
            // The server leaves the time out of what a scale wrote.
            now: if self.subresource == "scale" { String::new() } else { object::now() },
        }
    }

    /// Decodes a body, minding the field validation asked for.
    fn read(&self, body: &Value, warnings: &mut Vec<String>) -> Result<Value, Refusal> {
        let version = self.served()?;
        self.check_type(body)?;
        let mut findings = Findings::default();
        let mut value = decode(version.ty(), body, &mut findings);
        if let Some(misfit) = findings.misfit {
            let kind = &self.kind.kind;
            let misfit = misfit.decoding;
            let text = format!("{kind} in version \"{}\" cannot be handled as a {kind}: {misfit}", self.version);
            return Err(Refusal::bad_request(text));
        }
        if !findings.unknown.is_empty() {
            let list: Vec<String> = findings.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
            match self.validation {
                Validation::Strict => {
                    let kind = &self.kind.kind;
                    return Err(Refusal::bad_request(format!(
                        "{kind} in version \"{}\" cannot be handled as a {kind}: strict decoding error: {}",
                        self.version,
                        list.join(", ")
                    )));
                }
                Validation::Warn => warnings.extend(list),
                Validation::Ignore => {}
            }
        }
        let map = object::as_map(&mut value);
        map.insert("apiVersion".into(), json!(self.api_version()));
        map.insert("kind".into(), json!(self.kind.kind));
        self.fill_defaults(version, &mut value);
        Ok(value)
    }

    fn check_type(&self, body: &Value) -> Result<(), Refusal> {
        let (api_version, kind) = (object::text(body, "/apiVersion"), object::text(body, "/kind"));
        if api_version.is_empty() && kind.is_empty() {
            return Ok(());
        }
        if api_version != self.api_version() {
            let own = &self.kind.kind;
            return Err(Refusal::bad_request(format!(
                "{kind} in version \"{api_version}\" cannot be handled as a {own}: no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/runtime/scheme.go:111\""
            )));
        }
        if kind != self.kind.kind {
            let (version, own) = (&self.version, &self.kind.kind);
            let text = format!(
                "{kind} in version \"{version}\" cannot be handled as a {own}: converting ({version}.{kind}) to (core.{own}): unknown conversion"
            );
            return Err(Refusal::bad_request(text));
        }
        Ok(())
    }

    fn fill_defaults(&self, version: &Version, value: &mut Value) {
        if self.kind.builtin {
            builtin::fill_defaults(&self.kind, value);
        } else {
            structural::fill_defaults(version.ty(), value);
        }
    }

    /// Name and namespace in the body must agree with the path.
    fn place(&self, value: &mut Value) -> Result<(), Refusal> {
        let (namespace, name) = (meta(value, "namespace").to_owned(), meta(value, "name").to_owned());
        if !self.name.is_empty() && !name.is_empty() && name != self.name {
            return Err(Refusal::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.name
            )));
        }
        if self.kind.namespaced && !namespace.is_empty() && namespace != self.namespace {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let metadata = metadata(value);
        if self.kind.namespaced {
            metadata.insert("namespace".into(), json!(self.namespace));
        } else {
            metadata.remove("namespace");
        }
        if !self.name.is_empty() {
            metadata.insert("name".into(), json!(self.name));
        }
        Ok(())
    }

    /// POST: stores a new object.
    pub(crate) fn create(&mut self, store: &mut Store, body: &Value) -> Result<Written, Refusal> {
        let mut warnings = Vec::new();
        let mut value = self.read(body, &mut warnings)?;
        self.place(&mut value)?;
        if meta(&value, "name").is_empty() && !meta(&value, "generateName").is_empty() {
            let name = format!("{}{}", meta(&value, "generateName"), &fresh_uid()[..5]);
            metadata(&mut value).insert("name".into(), json!(name));
        }
        self.name = meta(&value, "name").to_owned();
        if self.name.is_empty() {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(Refusal::invalid(&self.kind.subject(""), vec![cause]));
        }
        if !meta(&value, "resourceVersion").is_empty() {
            return Err(Refusal::unforeseen("resourceVersion should not be set on objects to be created"));
        }
        self.check_namespace(store)?;
        if store.get(&self.resource(), &self.key()).is_some() {
            return Err(Refusal::already_exists(&self.kind.subject(&self.name)));
        }
        self.reset_status(&mut value);
        let metadata = metadata(&mut value);
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"] {
            metadata.remove(field);
        }
        let version = self.served()?;
        let blank = self.kind.builtin.then(|| builtin::blank(&self.kind)).unwrap_or_else(|| json!({"metadata": {}}));
        managed::track_update(version.ty(), Some(&blank), &mut value, &self.writer(Operation::Update));
        self.admit_new(store, value, warnings)
    }

    fn reset_status(&self, value: &mut Value) {
        let has_status = self.served().is_ok_and(|version| version.status);
        if has_status {
            object::as_map(value).remove("status");
        }
    }

    /// System fields, validation and storage of an object that is not there yet.
    fn admit_new(&self, store: &mut Store, mut value: Value, warnings: Vec<String>) -> Result<Written, Refusal> {
        let metadata = metadata(&mut value);
        metadata.insert("uid".into(), json!(fresh_uid()));
        metadata.insert("creationTimestamp".into(), json!(object::now()));
        if self.kind.generation {
            metadata.insert("generation".into(), json!(1));
        }
        if self.kind.builtin {
            builtin::prepare_create(store, &self.kind, &mut value);
        }
        self.validate(&value, None)?;
        if self.dry_run {
            return Ok(Written { object: Arc::new(value), created: true, warnings });
        }
        let object = store.put(&self.resource(), value);
        Ok(Written { object, created: true, warnings })
    }

    fn check_namespace(&self, store: &Store) -> Result<(), Refusal> {
        if !self.kind.namespaced {
            return Ok(());
        }
        let Some(namespace) = store.find("", "namespaces", "", &self.namespace) else {
            let subject = crate::status::Subject {
                resource: "namespaces".into(),
                kind: "Namespace".into(),
                name: self.namespace.clone(),
                ..Default::default()
            };
            return Err(Refusal::not_found(&subject));
        };
        if is_deleting(namespace) {
            let why = format!("unable to create new content in namespace {} because it is being terminated", self.namespace);
            let cause = Cause::new("NamespaceTerminating", "metadata.namespace", format!("namespace {} is being terminated", self.namespace));
            return Err(Refusal::forbidden_for(&self.kind.subject(&self.name), &why, &[cause]));
        }
        Ok(())
    }

    fn validate(&self, value: &Value, old: Option<&Value>) -> Result<(), Refusal> {
        let version = self.served()?;
        let mut causes = builtin::validate_metadata(&self.kind, value);
        if self.kind.builtin {
            causes.extend(builtin::validate(&self.kind, value, old));
        } else {
            causes.extend(structural::validate(version.ty(), value, old));
        }
        if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(&self.kind.subject(meta(value, "name")), causes)) }
    }

    fn existing(&self, store: &Store) -> Result<Arc<Value>, Refusal> {
        let found = store.get(&self.resource(), &self.key()).cloned();
        found.ok_or_else(|| Refusal::not_found(&self.kind.subject(&self.name)))
    }

    /// The stored object as this version shows it.
    fn shown(&self, old: &Arc<Value>) -> Value {
        let mut value = (**old).clone();
        object::as_map(&mut value).insert("apiVersion".into(), json!(self.api_version()));
        value
    }

    /// PUT: replaces an object.
    pub(crate) fn replace(&self, store: &mut Store, body: &Value) -> Result<Written, Refusal> {
        let mut warnings = Vec::new();
        let mut value = self.read(body, &mut warnings)?;
        self.place(&mut value)?;
        if meta(&value, "name").is_empty() {
            return Err(Refusal::bad_request("the name of the object must be provided"));
        }
        let old = self.existing(store)?;
        if !self.kind.builtin && meta(&value, "resourceVersion").is_empty() {
            let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(Refusal::invalid_resource(&self.kind.subject(&self.name), vec![cause]));
        }
        self.update(store, &old, value, warnings)
    }

    /// PATCH with a JSON, merge or strategic merge patch.
    pub(crate) fn patch(&self, store: &mut Store, patch: &Patch) -> Result<Written, Refusal> {
        let old = self.existing(store)?;
        let version = self.served()?;
        let patched = patch::apply(version.ty(), &self.shown(&old), patch)?;
        let mut warnings = Vec::new();
        let mut value = self.read(&patched, &mut warnings)?;
        self.place(&mut value)?;
        self.update(store, &old, value, warnings)
    }

    fn update(&self, store: &mut Store, old: &Arc<Value>, mut value: Value, warnings: Vec<String>) -> Result<Written, Refusal> {
        self.check_preconditions(old, &value)?;
        let before = self.shown(old);
        self.keep_foreign_parts(&before, &mut value);
        let version = self.served()?;
        managed::track_update(version.ty(), Some(&before), &mut value, &self.writer(Operation::Update));
        self.finish(store, &before, value, warnings)
    }

    fn check_preconditions(&self, old: &Value, value: &Value) -> Result<(), Refusal> {
        let subject = self.kind.subject(&self.name);
        let (given, live) = (meta(value, "uid"), meta(old, "uid"));
        if !given.is_empty() && given != live {
            let place = if self.kind.namespaced { format!("{}/", self.namespace) } else { String::new() };
            let text = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {live}",
                self.kind.plural, self.name
            );
            return Err(Refusal::conflict(&subject, &text));
        }
        let given = meta(value, "resourceVersion");
        if !given.is_empty() && given != meta(old, "resourceVersion") {
            return Err(Refusal::stale(&subject));
        }
        Ok(())
    }

    /// Restores what this request may not change: the other half of the object and the system's metadata.
    fn keep_foreign_parts(&self, old: &Value, value: &mut Value) {
        let has_status = self.served().is_ok_and(|version| version.status);
        let managed = value.pointer("/metadata/managedFields").cloned();
        match self.subresource.as_str() {
            "status" => {
                let status = value.get("status").cloned();
                let mut kept = old.clone();
                let map = object::as_map(&mut kept);
                match status {
                    Some(status) => map.insert("status".into(), status),
                    None => map.remove("status"),
                };
                *value = kept;
            }
            "finalize" => {
                let finalizers = value.pointer("/spec/finalizers").cloned();
                *value = old.clone();
                let spec = section(value, "spec");
                match finalizers {
                    Some(list) => spec.insert("finalizers".into(), list),
                    None => spec.remove("finalizers"),
                };
            }
            _ => {
                let map = object::as_map(value);
                match old.get("status").filter(|_| has_status) {
                    Some(status) => {
                        map.insert("status".into(), status.clone());
                    }
                    None if has_status => {
                        map.remove("status");
                    }
                    None => {}
                }
                if self.kind.is("", "Namespace") {
                    map.insert("spec".into(), old.get("spec").cloned().unwrap_or_else(|| json!({})));
                }
            }
        }
        let metadata = metadata(value);
        if let Some(managed) = managed {
            metadata.insert("managedFields".into(), managed);
        }
        for field in [
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
            "generateName",
            "selfLink",
        ] {
            match old.pointer(&format!("/metadata/{field}")) {
                Some(kept) => metadata.insert(field.into(), kept.clone()),
                None => metadata.remove(field),
            };
        }
    }

    /// Validation, generation, the no-op test and storage of a changed object.
    fn finish(&self, store: &mut Store, old: &Value, mut value: Value, warnings: Vec<String>) -> Result<Written, Refusal> {
        if self.kind.builtin {
            builtin::prepare_update(&self.kind, old, &mut value);
        }
        if is_deleting(old) {
            let (was, is) = (object::finalizers(old), object::finalizers(&value));
            let fresh: Vec<String> = is.into_iter().filter(|entry| !was.contains(entry)).collect();
            if !fresh.is_empty() {
                let text = format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    fresh.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>().join(", ")
                );
                let cause = Cause::forbidden("metadata.finalizers", &text);
                // The server runs this check twice and says so twice.
                return Err(Refusal::invalid(&self.kind.subject(&self.name), vec![cause.clone(), cause]));
            }
        }
        self.validate(&value, Some(old))?;
        if value == *old {
            let object = store.get(&self.resource(), &self.key()).cloned().unwrap_or_else(|| Arc::new(value));
            return Ok(Written { object, created: false, warnings });
        }
        if self.kind.generation && self.is_new_generation(old, &value) {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            metadata(&mut value).insert("generation".into(), json!(generation + 1));
        }
        if self.dry_run {
            return Ok(Written { object: Arc::new(value), created: false, warnings });
        }
        if is_deleting(&value) && object::finalizers(&value).is_empty() && !holds_namespace(&self.kind, &value) {
            store.take(&self.resource(), &self.key());
            return Ok(Written { object: Arc::new(value), created: false, warnings });
        }
        let object = store.put(&self.resource(), value);
        Ok(Written { object, created: false, warnings })
    }

    fn is_new_generation(&self, old: &Value, value: &Value) -> bool {
        if self.kind.builtin {
            return builtin::is_new_generation(&self.kind, old, value);
        }
        let has_status = self.served().is_ok_and(|version| version.status);
        let rest = |object: &Value| {
            let mut map = object.as_object().cloned().unwrap_or_default();
            map.remove("metadata");
            if has_status {
                map.remove("status");
            }
            map
        };
        rest(old) != rest(value)
    }

    /// PATCH with an apply configuration: merges by ownership, creates when absent.
    pub(crate) fn apply(&mut self, store: &mut Store, config: &Value) -> Result<Written, Refusal> {
        self.check_apply(config)?;
        let old = store.get(&self.resource(), &self.key()).cloned();
        let version = self.served()?;
        let mut findings = Findings::default();
        decode(version.ty(), config, &mut findings);
        let unknown = findings.unknown.first().map(|path| format!(".{path}: field not declared in schema"));
        if let Some(what) = unknown.or(findings.misfit.map(|misfit| misfit.applying)) {
            let (namespace, name) = (meta(config, "namespace"), meta(config, "name"));
            let (group, kind) = (&self.kind.group, &self.kind.kind);
            return Err(Refusal::unforeseen(format!(
                "failed to create typed patch object ({namespace}/{name}; {group}/{}, Kind={kind}): {what}",
                self.version
            )));
        }
        let mut config = config.clone();
        self.place(&mut config)?;
        self.narrow(version, &mut config);
        let before = old.as_ref().map(|old| self.shown(old));
        if before.is_none() && !self.subresource.is_empty() {
            return Err(Refusal::not_found(&self.kind.subject(&self.name)));
        }
        if let Some(before) = &before {
            self.check_preconditions(before, &config)?;
        } else if !meta(&config, "uid").is_empty() {
            let text = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                meta(&config, "uid")
            );
            return Err(Refusal::conflict(&self.kind.subject(&self.name), &text));
        }
        let applied = managed::apply(version.ty(), before.as_ref(), &config, &self.writer(Operation::Apply), self.force)?;
        let mut warnings = Vec::new();
        let mut value = self.read(&applied, &mut warnings)?;
        match before {
            Some(before) => {
                self.keep_foreign_parts(&before, &mut value);
                self.finish(store, &before, value, warnings)
            }
            None => {
                self.check_namespace(store)?;
                metadata(&mut value).remove("resourceVersion");
                self.admit_new(store, value, warnings)
            }
        }
    }

    fn check_apply(&self, config: &Value) -> Result<(), Refusal> {
        if self.manager.is_empty() {
            let subject = crate::status::Subject {
                group: "meta.k8s.io".into(),
                kind: "PatchOptions".into(),
                ..Default::default()
            };
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid(&subject, vec![cause]));
        }
        if config.pointer("/metadata/managedFields").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        if object::text(config, "/apiVersion").is_empty() || object::text(config, "/kind").is_empty() {
            let kind = object::text(config, "/kind");
            return Err(Refusal::bad_request(format!("invalid object type: /, Kind={kind}")));
        }
        self.check_type(config)
    }

    /// Takes out of a configuration what this endpoint does not let anyone own.
    fn narrow(&self, version: &Version, config: &mut Value) {
        let map = object::as_map(config);
        if self.subresource == "status" {
            map.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        } else if version.status {
            map.remove("status");
        }
    }
}

/// Namespaces stay until their own finalizer is gone.
fn holds_namespace(kind: &Kind, object: &Value) -> bool {
    kind.is("", "Namespace")
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}
