//! The order of the result.

use crate::error::{Result, bad};
use crate::id::Gvk;
use crate::kustomization::SortOptions;
use crate::options::{Reorder, Warning};
use crate::resource::Resource;
use crate::session::Session;

const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

fn or<'a>(text: &'a str, empty: &'static str) -> &'a str {
    if text.is_empty() { empty } else { text }
}

fn gvk_text(gvk: &Gvk) -> String {
    format!("{}_{}_{}", or(&gvk.group, "~G"), or(&gvk.version, "~V"), or(&gvk.kind, "~K"))
}

/// Sorts as the root kustomization or else the caller asks.
pub(crate) fn sort(
    session: &Session<'_>,
    list: &mut [Resource],
    options: Option<&SortOptions>,
) -> Result<()> {
    let Some(options) = options else {
        if matches!(session.options.reorder, Reorder::Legacy | Reorder::ByDefault) {
            sort_legacy(list, FIRST, LAST);
        }
        return Ok(());
    };
    if matches!(session.options.reorder, Reorder::Legacy | Reorder::None) {
        session.warnings.borrow_mut().push(Warning {
            message: "Warning: Sorting order is set both in 'kustomization.yaml' ('sortOptions') and in a CLI flag ('--reorder'). Using the kustomization file over the CLI flag.".to_owned(),
            directory: None,
        });
    }
    match options.order.as_str() {
        "fifo" if options.legacy_sort_options.is_some() => {
            return Err(bad!(
                "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'"
            ));
        }
        "legacy" => match &options.legacy_sort_options {
            None => sort_legacy(list, FIRST, LAST),
            Some(own) => {
                let first: Vec<&str> = own.order_first.iter().map(String::as_str).collect();
                let last: Vec<&str> = own.order_last.iter().map(String::as_str).collect();
                session.step((first.len() + last.len()).saturating_mul(list.len()))?;
                sort_legacy(list, &first, &last);
            }
        },
        "fifo" => {}
        _ => return Err(bad!("the field 'sortOptions.order' must be one of [fifo, legacy]")),
    }
    Ok(())
}

fn rank(kind: &str, first: &[&str], last: &[&str]) -> i64 {
    let place = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    if let Some(at) = last.iter().rposition(|known| *known == kind) {
        return 1 + place(at);
    }
    match first.iter().rposition(|known| *known == kind) {
        Some(at) => place(at) - place(first.len()),
        None => 0,
    }
}

/// The place of a kind among others.
pub(crate) fn sort_key(gvk: &Gvk) -> (i64, String) {
    (rank(&gvk.kind, FIRST, LAST), gvk_text(gvk))
}

fn sort_legacy(list: &mut [Resource], first: &[&str], last: &[&str]) {
    list.sort_by_cached_key(|resource| {
        let id = resource.id();
        let rank = rank(&id.gvk.kind, first, last);
        // Among namespaces, those of the core group come first; not so before kinds without a rank.
        let leads = rank != 0 && id.gvk.kind == "Namespace" && id.gvk.group.is_empty();
        let gvk = if leads { String::new() } else { gvk_text(&id.gvk) };
        let full = format!("{gvk}|{}|{}", or(&id.namespace, "~X"), or(&id.name, "~N"));
        (rank, gvk, full)
    });
}
