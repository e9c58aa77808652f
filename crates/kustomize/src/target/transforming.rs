//! The transformers of a kustomization, in the order they run.

use sluice_manifest::yaml;

use super::{Accumulator, Cause, Target};
use crate::config::{Config, label_fields};
use crate::error::{Error, Result, bad};
use crate::fieldspec::{FieldSpec, spend_on};
use crate::images::Images;
use crate::kustomization::Patch;
use crate::origin::Origin;
use crate::patches::{JsonEntry, PatchEntry, load_strategic};
use crate::plugins;
use crate::replacement;
use crate::resource::Resource;
use crate::transform::{Subjects, Transformer};

impl Target<'_, '_> {
    pub(super) fn transform(&self, acc: &mut Accumulator) -> Result<()> {
        let mut all: Vec<(Transformer, Option<Origin>, Cause<'_>)> = Vec::new();
        for (transformer, cause) in self.builtin_transformers(&acc.config)? {
            let origin = self.origin.as_ref().map(|o| o.of_builtin(self.file_name, transformer.kind()));
            all.push((transformer, origin, cause));
        }
        let cause = Cause::Field("transformers");
        let plugins = self.load_plugins(&self.kustomization.transformers, "transformer");
        for config in plugins.map_err(self.causes(cause))? {
            let origin = Origin::of_plugin(&config).filter(|_| self.origin.is_some());
            let transformers = plugins::configure(self.session, &self.loader, &config);
            let transformers = transformers.map_err(self.causes(cause))?;
            all.extend(transformers.into_iter().map(|transformer| (transformer, None, cause)));
            // Of two that stand for one, the last leaves the note.
            if let Some((_, noted, _)) = all.last_mut() {
                *noted = origin;
            }
        }
        for (transformer, origin, cause) in &all {
            let applied = transformer.apply(self.session, &mut acc.resources).map_err(|error| {
                error.concerning(format_args!("{} of {}", transformer.kind(), self.shown()))
            });
            applied.map_err(self.causes(*cause))?;
            if transformer.changes_scalars() {
                acc.resources.list_mut().iter_mut().for_each(Resource::settle_twins);
            }
            if let Some(origin) = origin {
                origin.note(self.session, acc.resources.list_mut())?;
            }
        }
        Ok(())
    }

    pub(super) fn validate(&self, acc: &mut Accumulator) -> Result<()> {
        for config in self.load_plugins(&self.kustomization.validators, "transformer")? {
            let before = acc.resources.snapshot()?;
            for validator in plugins::configure(self.session, &self.loader, &config)? {
                validator.apply(self.session, &mut acc.resources)?;
            }
            acc.resources.check_unchanged(&before)?;
        }
        Ok(())
    }

    fn builtin_transformers(&self, config: &Config) -> Result<Vec<(Transformer, Cause<'_>)>> {
        let (session, loader, kustomization) = (self.session, &self.loader, &self.kustomization);
        let mut list = Vec::new();
        let copy = |fields: &[FieldSpec]| spend_on(session, fields).map(|()| fields.to_vec());
        let trouble = |kind: &str, shown: &str| {
            let prefix = format!("trouble configuring builtin {kind} with config: `\n{shown}`");
            move |error: Error| if error.is_final() { error } else { error.wrap(&prefix) }
        };
        if !kustomization.patches_strategic_merge.is_empty() {
            let paths = &kustomization.patches_strategic_merge;
            let shown = yaml::emit_v2(&serde_json::json!({ "paths": paths }));
            let load = || {
                let patches = load_strategic(session, loader, paths)?;
                if patches.is_empty() {
                    return Err(bad!("patch appears to be empty; files=[{}], Patch=", paths.join(" ")));
                }
                Ok(patches)
            };
            let cause = Cause::Field("patchesStrategicMerge");
            let patches = load()
                .map_err(trouble("PatchStrategicMergeTransformer", &shown))
                .map_err(self.causes(cause))?;
            list.push((Transformer::StrategicMerge(patches), cause));
        }
        for patch in &kustomization.patches {
            let cause = Self::cause_of(patch, "patches");
            let shown = yaml::emit_v2(&serde_json::to_value(patch).unwrap_or_default());
            let entry = PatchEntry::new(session, loader, patch, &shown)
                .map_err(trouble("PatchTransformer", &shown))
                .map_err(self.causes(cause))?;
            list.push((Transformer::Patch(Box::new(entry)), cause));
        }
        if !kustomization.namespace.is_empty() {
            list.push((
                Transformer::Namespace {
                    namespace: kustomization.namespace.clone(),
                    fields: copy(&config.namespace)?,
                    unset_only: false,
                    subjects: Subjects::DefaultOnly,
                },
                Cause::Field("namespace"),
            ));
        }
        if !kustomization.name_prefix.is_empty() {
            let prefix = kustomization.name_prefix.clone();
            list.push((
                Transformer::Prefix { prefix, fields: copy(&config.name_prefix)? },
                Cause::Field("namePrefix"),
            ));
        }
        if !kustomization.name_suffix.is_empty() {
            let suffix = kustomization.name_suffix.clone();
            list.push((
                Transformer::Suffix { suffix, fields: copy(&config.name_suffix)? },
                Cause::Field("nameSuffix"),
            ));
        }
        for label in &kustomization.labels {
            let fields = label_fields(session, label, config)
                .map_err(|error| error.wrap("failed to merge labels"))
                .map_err(self.sets("labels"))?;
            list.push((Transformer::Labels { labels: label.pairs.clone(), fields }, Cause::Field("labels")));
        }
        if !kustomization.labels.is_empty() || !kustomization.common_labels.is_empty() {
            let labels = kustomization.common_labels.clone();
            list.push((
                Transformer::Labels { labels, fields: copy(&config.common_labels)? },
                Cause::Field("commonLabels"),
            ));
        }
        if !kustomization.common_annotations.is_empty() {
            let annotations = kustomization.common_annotations.clone();
            list.push((
                Transformer::Annotations { annotations, fields: copy(&config.common_annotations)? },
                Cause::Field("commonAnnotations"),
            ));
        }
        for patch in &kustomization.patches_json6902 {
            let cause = Self::cause_of(patch, "patchesJson6902");
            let entry = JsonEntry::new(session, loader, patch)
                .map_err(trouble("PatchJson6902Transformer", &JsonEntry::shown(patch)))
                .map_err(self.causes(cause))?;
            list.push((Transformer::Json(entry), cause));
        }
        for replica in &kustomization.replicas {
            let transformer =
                Transformer::Replicas { replica: replica.clone(), fields: copy(&config.replicas)? };
            list.push((transformer, Cause::Word(&replica.name)));
        }
        for image in &kustomization.images {
            let images = Images::new(image, copy(&config.images)?);
            list.push((Transformer::Images(Box::new(images)), Cause::Word(&image.name)));
        }
        if !kustomization.replacements.is_empty() {
            let given = replacement::handed_on(&kustomization.replacements);
            let shown = replacement::shown(&given);
            let all = replacement::load(session, loader, &given)
                .map_err(trouble("ReplacementTransformer", &shown))
                .map_err(self.sets("replacements"))?;
            list.push((Transformer::Replacement(all), Cause::Field("replacements")));
        }
        Ok(list)
    }

    /// What led to a patch of the list `field`.
    fn cause_of<'w>(patch: &'w Patch, field: &'static str) -> Cause<'w> {
        if patch.word().is_empty() { Cause::Field(field) } else { Cause::Word(patch.word()) }
    }
}
