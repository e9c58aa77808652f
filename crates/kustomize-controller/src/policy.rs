//! How objects of a Kustomization are applied and deleted.

use std::sync::Arc;

use sluice_apply::{DeleteOptions, IgnoreRules, Owner, Policy, Selector};

use crate::context::Context;
use crate::error::Failure;
use crate::request::Request;

/// How they are applied.
pub(crate) fn applying(context: &Context, request: &Request) -> Result<Policy, Failure> {
    let options = &context.options;
    Ok(Policy {
        concurrency: options.concurrent_ssa,
        spare: Arc::clone(&context.spare_applies),
        force: request.force,
        all_or_nothing: !options.ways.partial_apply,
        migrate_api_version: options.gates.migrate_api_version,
        ignore: ignore_rules(request)?.into(),
    })
}

/// How they are deleted.
pub(crate) fn deleting(context: &Context, request: &Request) -> DeleteOptions {
    DeleteOptions { owner: owner(request), concurrency: context.options.concurrent_ssa }
}

/// Whose objects they are.
pub(crate) fn owner(request: &Request) -> Owner {
    Owner { namespace: request.key.namespace.to_string(), name: request.key.name.to_string() }
}

fn ignore_rules(request: &Request) -> Result<IgnoreRules, Failure> {
    let mut rules = Vec::new();
    for rule in &request.ignore {
        let target = match &rule.target {
            None => None,
            Some(wanted) => Some(
                Selector::new(
                    wanted.group.as_deref(),
                    wanted.version.as_deref(),
                    wanted.kind.as_deref(),
                    wanted.name.as_deref(),
                    wanted.namespace.as_deref(),
                    wanted.label_selector.as_deref(),
                    wanted.annotation_selector.as_deref(),
                )
                .map_err(|error| Failure::Apply {
                    text: format!("spec.ignore: {error}"),
                    on: Vec::new(),
                    told: false,
                })?,
            ),
        };
        rules.push(sluice_apply::IgnoreRule { paths: rule.paths.clone(), target });
    }
    Ok(IgnoreRules::new(rules))
}
