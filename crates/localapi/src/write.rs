//! The write path: create, replace, patch and apply, from decoded body to stored object.

mod apply;
mod finish;
mod typed;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::builtin;
use crate::decode::{Findings, decode};
use crate::kinds::{Kind, Resource, Version};
use crate::managed::{self, Operation, Writer};
use crate::object::{self, fresh_uid, is_deleting, meta, metadata};
use crate::patch::{self, Patch};
use crate::status::{Cause, Refusal, Subject};
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
            let text =
                format!("{kind} in version \"{}\" cannot be handled as a {kind}: {misfit}", self.version);
            return Err(Refusal::bad_request(text));
        }
        if !findings.unknown.is_empty() {
            let list: Vec<String> =
                findings.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
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
        if api_version != self.api_version() && !self.kind.builtin {
            let expected = self.api_version();
            return Err(Refusal::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            )));
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
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "selfLink",
        ] {
            metadata.remove(field);
        }
        let version = self.served()?;
        managed::track_update(version.ty(), Some(&self.blank()), &mut value, &self.writer(Operation::Update));
        self.admit_new(store, value, warnings)
    }

    /// An object with nothing set.
    fn blank(&self) -> Value {
        if self.kind.builtin { builtin::blank(&self.kind) } else { json!({"metadata": {}}) }
    }

    fn reset_status(&self, value: &mut Value) {
        let has_status = self.served().is_ok_and(|version| version.status);
        if has_status {
            object::as_map(value).remove("status");
        }
    }

    /// System fields, validation and storage of an object that is not there yet.
    fn admit_new(
        &self,
        store: &mut Store,
        mut value: Value,
        warnings: Vec<String>,
    ) -> Result<Written, Refusal> {
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
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                self.namespace
            );
            let cause = Cause::new(
                "NamespaceTerminating",
                "metadata.namespace",
                format!("namespace {} is being terminated", self.namespace),
            );
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
        if causes.is_empty() {
            Ok(())
        } else {
            Err(Refusal::invalid(&self.kind.subject(meta(value, "name")), causes))
        }
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
            let cause =
                Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
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
        let mut value =
            self.read(&patched, &mut warnings).map_err(|refusal| self.misfit(&patched, refusal))?;
        self.place(&mut value)?;
        self.update(store, &old, value, warnings)
    }

    /// What a patch makes of a built-in object is refused as a field of the patch.
    fn misfit(&self, patched: &Value, refusal: Refusal) -> Refusal {
        let Some((_, why)) = refusal.message.split_once(" cannot be handled as a ") else { return refusal };
        match why.split_once(": ") {
            Some((_, why)) if self.kind.builtin => {
                let cause = Cause::invalid("patch", &json!(patched.to_string()), why);
                Refusal::invalid(&Subject::default(), vec![cause])
            }
            _ => refusal,
        }
    }

    fn update(
        &self,
        store: &mut Store,
        old: &Arc<Value>,
        mut value: Value,
        warnings: Vec<String>,
    ) -> Result<Written, Refusal> {
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
}
