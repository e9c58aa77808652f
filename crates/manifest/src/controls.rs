//! What labels and annotations on an object ask for.

use serde_json::{Map, Value};

use crate::object::Object;

/// How an object is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SsaMode {
    /// Take over what other tools set by hand.
    #[default]
    Override,
    /// Apply, and leave other tools' fields alone.
    Merge,
    /// Create only.
    IfNotPresent,
    /// Leave alone altogether.
    Ignore,
}

/// The per-object controls of one object, desired or live. Values are compared without case,
/// except for `substitute`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// `reconcile: disabled`
    pub reconcile_disabled: bool,
    /// `ssa`, when it says something known.
    pub ssa: Option<SsaMode>,
    /// `force: enabled`
    pub force: bool,
    /// `prune: disabled`
    pub prune_disabled: bool,
    /// `substitute: disabled`, in exactly this case.
    pub substitute_disabled: bool,
    /// `decrypt: disabled`, as an annotation only.
    pub decrypt_disabled: bool,
}

impl Controls {
    /// Reads the controls of an object; `prefix` is the group the keys belong to, for example
    /// `kustomize.toolkit.fluxcd.io`.
    pub fn of(object: &Object, prefix: &str) -> Self {
        Self::from_metadata(object.labels(), object.annotations(), prefix)
    }

    /// Reads the controls from labels and annotations.
    pub fn from_metadata(
        labels: Option<&Map<String, Value>>,
        annotations: Option<&Map<String, Value>>,
        prefix: &str,
    ) -> Self {
        let value = |map: Option<&Map<String, Value>>, key: &str| {
            map.and_then(|m| m.get(&format!("{prefix}/{key}"))).and_then(Value::as_str).map(str::to_owned)
        };
        let values = |key: &str| {
            [value(labels, key), value(annotations, key)].into_iter().flatten().collect::<Vec<_>>()
        };
        let says = |key: &str, wanted: &str| values(key).iter().any(|v| v.eq_ignore_ascii_case(wanted));
        let ssa = [
            ("ignore", SsaMode::Ignore),
            ("ifnotpresent", SsaMode::IfNotPresent),
            ("merge", SsaMode::Merge),
            ("override", SsaMode::Override),
        ];
        Self {
            reconcile_disabled: says("reconcile", "disabled"),
            ssa: ssa.into_iter().find(|(name, _)| says("ssa", name)).map(|(_, mode)| mode),
            force: says("force", "enabled"),
            prune_disabled: says("prune", "disabled"),
            substitute_disabled: values("substitute").iter().any(|v| v == "disabled"),
            decrypt_disabled: value(annotations, "decrypt")
                .is_some_and(|v| v.eq_ignore_ascii_case("disabled")),
        }
    }

    fn hands_off(&self) -> bool {
        self.reconcile_disabled || self.ssa == Some(SsaMode::Ignore)
    }

    /// Whether an object with these controls is not applied. `live` are those of the object in the
    /// cluster, when there is one.
    pub fn skips_apply(&self, live: Option<&Self>) -> bool {
        self.hands_off()
            || live.is_some_and(|live| live.hands_off() || self.ssa == Some(SsaMode::IfNotPresent))
    }

    /// Whether other tools' fields are left alone.
    pub fn merges(&self, live: Option<&Self>) -> bool {
        self.ssa == Some(SsaMode::Merge) || live.is_some_and(|live| live.ssa == Some(SsaMode::Merge))
    }

    /// Whether the object may be recreated when a field is immutable.
    pub fn forces(&self, live: Option<&Self>) -> bool {
        self.force || live.is_some_and(|live| live.force)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PREFIX: &str = "kustomize.toolkit.fluxcd.io";

    fn of(labels: Value, annotations: Value) -> Controls {
        Controls::from_metadata(labels.as_object(), annotations.as_object(), PREFIX)
    }

    #[test]
    fn labels_and_annotations_count_alike_without_case() {
        assert!(
            of(json!({"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}), json!({})).reconcile_disabled
        );
        let ignored = of(json!({}), json!({"kustomize.toolkit.fluxcd.io/ssa": "ignore"}));
        assert!(ignored.skips_apply(None));
        assert!(
            !of(json!({"kustomize.toolkit.fluxcd.io/substitute": "Disabled"}), json!({})).substitute_disabled
        );
        assert!(!of(json!({"kustomize.toolkit.fluxcd.io/decrypt": "disabled"}), json!({})).decrypt_disabled);
    }

    #[test]
    fn create_only_objects_are_skipped_once_they_exist() {
        let desired = of(json!({}), json!({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}));
        let live = Controls::default();
        assert!(!desired.skips_apply(None));
        assert!(desired.skips_apply(Some(&live)));
        // On the live object alone the mode has no effect.
        assert!(!Controls::default().skips_apply(Some(&desired)));
    }
}
