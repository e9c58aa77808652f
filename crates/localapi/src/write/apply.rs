//! Server-side apply: from configuration to stored object.

use serde_json::Value;

use super::{Write, Written, typed};
use crate::decode::{Findings, decode};
use crate::kinds::Version;
use crate::managed::{self, Operation};
use crate::object::{self, meta, metadata};
use crate::status::{Cause, Refusal, Subject};
use crate::store::Store;

impl Write {
    /// PATCH with an apply configuration: merges by ownership, creates when absent.
    pub(crate) fn apply(&mut self, store: &mut Store, config: &Value) -> Result<Written, Refusal> {
        self.check_apply(config)?;
        let old = store.get(&self.resource(), &self.key()).cloned();
        let version = self.served()?;
        let mut findings = Findings::default();
        decode(version.ty(), config, &mut findings);
        let unknown = findings.unknown.first().map(|path| format!(".{path}: field not declared in schema"));
        let misfit = unknown.or(findings.misfit.map(|misfit| misfit.applying));
        let (namespace, name) = (meta(config, "namespace"), meta(config, "name"));
        let group_version = format!("{}/{}", self.kind.group, self.version);
        let object = format!("({namespace}/{name}; {group_version}, Kind={})", self.kind.kind);
        if let Some(what) = misfit.or_else(|| typed::repeated(version.ty(), config, "")) {
            let text = format!("failed to create typed patch object {object}: {what}");
            return Err(Refusal::unforeseen(text));
        }
        if typed::has_no_quantity(version.ty(), config) {
            return Err(Refusal::unforeseen(format!(
                "failed to convert new object {object} to proper version: unable to convert unstructured object to {group_version}, Kind={}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                self.kind.kind
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
            let given = meta(&config, "uid");
            if !given.is_empty() && given != meta(before, "uid") {
                let cause = Cause::invalid("metadata.uid", &Value::from(given), "field is immutable");
                return Err(Refusal::invalid(&self.kind.subject(&self.name), vec![cause.clone(), cause]));
            }
            self.check_preconditions(before, &config)?;
        } else if !meta(&config, "uid").is_empty() {
            let text = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                meta(&config, "uid")
            );
            return Err(Refusal::conflict(&self.kind.subject(&self.name), &text));
        }
        let applied = managed::apply(
            version.ty(),
            before.as_ref(),
            &self.blank(),
            &config,
            &self.writer(Operation::Apply),
            self.force,
        )?;
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
            let subject =
                Subject { group: "meta.k8s.io".into(), kind: "PatchOptions".into(), ..Default::default() };
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid(&subject, vec![cause]));
        }
        if config
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
        {
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
