//! One kustomization after the other: loading, accumulating, transforming.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluice_manifest::yaml;
use sluice_types::RelPath;

use crate::config::{Config, label_fields};
use crate::crds;
use crate::error::{Error, ErrorKind, Result, bad};
use crate::fieldspec::FieldSpec;
use crate::generate::{generate, merge_options};
use crate::images::Images;
use crate::kustomization::Kustomization;
use crate::loader::Loader;
use crate::origin::Origin;
use crate::patches::{JsonEntry, PatchEntry, load_strategic};
use crate::places::{line_naming, line_setting};
use crate::plugins;
use crate::replacement;
use crate::resource::{ORIGIN, Resource};
use crate::resources::{Resources, quote};
use crate::session::Session;
use crate::transform::{Subjects, Transformer, set_entries};
use crate::vars::{self, Vars};

const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What has been gathered so far.
#[derive(Debug, Default)]
pub(crate) struct Accumulator {
    pub(crate) resources: Resources,
    pub(crate) config: Arc<Config>,
    pub(crate) vars: Vars,
}

impl Accumulator {
    fn merge(&mut self, other: Accumulator) -> Result<()> {
        self.resources.append_all(other.resources)?;
        self.config = Config::union(&self.config, &other.config)?;
        self.vars.merge(&other.vars)
    }
}

/// One kustomization at work.
pub(crate) struct Target<'s, 'a> {
    session: &'s Session<'a>,
    loader: Loader,
    pub(crate) kustomization: Kustomization,
    file_name: &'static str,
    path: RelPath,
    content: Arc<[u8]>,
    defaults: Arc<Config>,
    /// Set when the root asks for annotations about provenance.
    origin: Option<Origin>,
}

impl<'s, 'a> Target<'s, 'a> {
    /// Loads the kustomization the whole build starts from.
    pub(crate) fn root(session: &'s Session<'a>, loader: Loader) -> Result<Self> {
        let mut target = Self::load(session, loader, Config::defaults())?;
        target.choose_schema()?;
        // Whatever is asked for, upstream keeps all notes and drops the unwanted ones in the end.
        if !target.kustomization.build_metadata.is_empty() {
            target.origin = Some(Origin::default());
        }
        Ok(target)
    }

    fn choose_schema(&self) -> Result<()> {
        let chosen = self.session.choose_schema(&self.loader, &self.kustomization.openapi);
        chosen.map_err(self.asks("openapi"))
    }

    fn load(session: &'s Session<'a>, loader: Loader, defaults: Arc<Config>) -> Result<Self> {
        session.check()?;
        let shown = session.shown(&loader.root);
        let mut found = None;
        for name in FILE_NAMES {
            match loader.load(session, name) {
                Ok((path, content)) => {
                    if found.replace((name, path, content)).is_some() {
                        return Err(bad!("Found multiple kustomization files under: {shown}\n"));
                    }
                }
                Err(error) if error.is_final() => return Err(error),
                Err(_) => {}
            }
        }
        let Some((file_name, path, content)) = found else {
            return Err(bad!(
                "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{shown}'"
            ));
        };
        let mut warnings = session.warnings.borrow_mut();
        let kustomization = Kustomization::parse(
            &content,
            session.yaml_limits(),
            loader.root.as_str(),
            &shown,
            &mut warnings,
        )
        .map_err(|error| {
            let field =
                error.message().rsplit_once("unknown field \"").map(|(_, rest)| rest.trim_end_matches('"'));
            let line = field.and_then(|field| line_setting(&content, field));
            error.located(path.as_str(), line)
        })?;
        drop(warnings);
        Ok(Self { session, loader, kustomization, file_name, path, content, defaults, origin: None })
    }

    /// Notes that this kustomization led to a failure, by the line that names `word`.
    fn asks(&self, word: &str) -> impl Fn(Error) -> Error {
        move |error| error.asked_by(self.path.as_str(), || line_naming(&self.content, word))
    }

    /// Notes that this kustomization led to a failure, by the line that sets `field`.
    pub(crate) fn sets(&self, field: &str) -> impl Fn(Error) -> Error {
        move |error| error.asked_by(self.path.as_str(), || line_setting(&self.content, field))
    }

    /// Accumulates on an empty collection.
    pub(crate) fn accumulate(&self) -> Result<Accumulator> {
        self.accumulate_on(Accumulator::default())
    }

    fn accumulate_on(&self, acc: Accumulator) -> Result<Accumulator> {
        self.work_on(acc).map_err(self.asks(""))
    }

    fn work_on(&self, mut acc: Accumulator) -> Result<Accumulator> {
        let kustomization = &self.kustomization;
        self.add_resources(&mut acc, &kustomization.resources)
            .map_err(|e| e.wrap("accumulating resources"))?;
        self.add_config(&mut acc)?;
        self.generate(&mut acc)?;
        acc = self.add_components(acc).map_err(|error| error.wrap("accumulating components"))?;
        self.transform(&mut acc)?;
        self.validate(&mut acc)?;
        let vars = &kustomization.vars;
        acc.vars
            .declare(vars, &mut acc.resources)
            .map_err(|error| error.wrap(format!("merging vars {}", vars::show(vars))))?;
        self.session.check_count(acc.resources.len()).map_err(|error| error.concerning(self.shown()))?;
        Ok(acc)
    }

    fn add_resources(&self, acc: &mut Accumulator, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| self.add_entry(acc, path).map_err(self.asks(path)))
    }

    fn add_entry(&self, acc: &mut Accumulator, path: &str) -> Result<()> {
        let Err(file_error) = self.add_file(acc, path) else { return Ok(()) };
        if file_error.is_final() {
            return Err(file_error);
        }
        let explain = |error: Error| {
            if error.is_final() {
                return error;
            }
            let error = error.wrap(format!("accumulation err='{}'", file_error.message()));
            error.or_place_of(file_error.clone())
        };
        let loader = match self.loader.descend(self.session, path) {
            Ok(loader) => loader,
            Err(_) if file_error.kind() == ErrorKind::MalformedYaml => return Err(file_error),
            Err(error) => return Err(explain(error)),
        };
        let child = self.child(loader, path).map_err(explain)?;
        child.enter(acc).map_err(explain)
    }

    fn add_file(&self, acc: &mut Accumulator, path: &str) -> Result<()> {
        let mut resources = self
            .loader
            .load_resources(self.session, path)
            .and_then(Resources::distinct)
            .map_err(|error| error.wrap(format!("accumulating resources from '{path}'")))?;
        if let Some(origin) = &self.origin {
            self.annotate_all(&mut resources, &origin.append(path))
                .map_err(|error| error.wrap(format!("cannot add path annotation for '{path}'")))?;
        }
        acc.resources
            .append_all(resources)
            .map_err(|error| error.wrap(format!("merging resources from '{path}'")))?;
        self.session.check_count(acc.resources.len()).map_err(|error| error.concerning(path))
    }

    /// Notes where objects were read; unlike later notes, this leaves their other annotations as they are.
    fn annotate_all(&self, resources: &mut Resources, origin: &Origin) -> Result<()> {
        let entry = BTreeMap::from([(ORIGIN.to_owned(), origin.to_text())]);
        set_entries(self.session, resources, &entry, &[FieldSpec::anywhere("metadata/annotations", true)])
    }

    /// Loads the kustomization of a directory below or beside this one.
    fn child(&self, loader: Loader, path: &str) -> Result<Self> {
        let shown = self.session.shown(&loader.root);
        let mut child = Self::load(self.session, loader, self.defaults.clone())
            .map_err(|error| error.wrap(format!("couldn't make target for path '{shown}'")))?;
        child.origin = self.origin.as_ref().map(|origin| origin.append(path));
        child.choose_schema()?;
        Ok(child)
    }

    fn shown(&self) -> String {
        self.session.shown(&self.loader.root)
    }

    /// Builds this kustomization and merges it into its parent's collection.
    fn enter(&self, acc: &mut Accumulator) -> Result<()> {
        let shown = self.shown();
        if self.kustomization.is_component() {
            return Err(bad!("expected kind != 'Component' for path '{shown}'"));
        }
        let own =
            self.accumulate().map_err(|e| e.wrap(format!("recursed accumulation of path '{shown}'")))?;
        acc.merge(own).map_err(|error| error.wrap(format!("recursed merging from path '{shown}'")))
    }

    fn add_components(&self, mut acc: Accumulator) -> Result<Accumulator> {
        for path in &self.kustomization.components {
            let loader = self
                .loader
                .descend(self.session, path)
                .map_err(|error| error.reword(|text| format!("loader.New {}", quote(text))))
                .map_err(self.asks(path))?;
            let work = |acc: Accumulator| {
                let child = self.child(loader, path)?;
                let shown = child.shown();
                if !child.kustomization.is_component() {
                    return Err(bad!(
                        "expected kind 'Component' for path '{shown}' but got '{}'",
                        child.kustomization.kind
                    ));
                }
                let mut acc = child
                    .accumulate_on(acc)
                    .map_err(|e| e.wrap(format!("recursed accumulation of path '{shown}'")))?;
                // Upstream merges the result into an empty accumulator.
                let merged = acc.resources.check_distinct().and_then(|()| acc.config.settled());
                acc.config = merged.map_err(|e| e.wrap(format!("recursed merging from path '{shown}'")))?;
                Ok(acc)
            };
            acc = work(acc)
                .map_err(|error| error.reword(|text| format!("accumulateDirectory: {}", quote(text))))
                .map_err(self.asks(path))?;
        }
        Ok(acc)
    }

    fn add_config(&self, acc: &mut Accumulator) -> Result<()> {
        let mut config = self.defaults.clone();
        let mut own = Arc::new(Config::default());
        for path in &self.kustomization.configurations {
            let more = self.loader.load_text(self.session, path).and_then(|(file, text)| {
                let value = self.session.parse_json(&file, &text, yaml::parse_v2_strict)?;
                Config::from_json(value).map_err(|error| error.located(file.as_str(), None))
            });
            let more = more.map_err(self.asks(path))?;
            own = Config::union(&own, &Arc::new(more))?;
        }
        config = Config::union(&config, &own)?;
        acc.config = Config::union(&acc.config, &config).map_err(|error| error.wrap("merging config"))?;
        for path in &self.kustomization.crds {
            let mut derived = Config::default();
            let mut load = || {
                let (file, text) = self.loader.load_text(self.session, path)?;
                let definitions = self.session.parse_json(&file, &text, crds::read).map_err(|error| {
                    error.wrap(format!("unable to parse open API definition from '{path}'"))
                })?;
                crds::derive(&definitions, &mut derived)
            };
            load().map_err(|error| {
                error.wrap(format!("loading CRDs [{}]", self.kustomization.crds.join(" ")))
            })?;
            acc.config =
                Config::union(&acc.config, &Arc::new(derived)).map_err(|error| error.wrap("merging CRDs"))?;
        }
        Ok(())
    }

    fn generate(&self, acc: &mut Accumulator) -> Result<()> {
        let kustomization = &self.kustomization;
        if let Some(chart) = kustomization.helm_charts.first() {
            let mut shown = chart.clone();
            let globals = kustomization.helm_globals.as_ref().and_then(Value::as_object);
            if let (Some(shown), Some(globals)) = (shown.as_object_mut(), globals) {
                shown.extend(globals.clone());
            }
            return Err(bad!(
                "trouble configuring builtin HelmChartInflationGenerator with config: `\n{}`: must specify --enable-helm",
                yaml::emit_v2(&shown)
            ));
        }
        let plugins = self
            .load_plugins(&kustomization.generators, "generator")
            .map_err(|error| error.wrap("loading generator plugins"))?;
        for config in &plugins {
            plugins::check_generator(config)
                .map_err(|e| e.wrap("loading generator plugins: failed to load generator"))?;
        }
        let lists =
            [("ConfigMap", &kustomization.config_map_generator), ("Secret", &kustomization.secret_generator)];
        for (kind, list) in lists {
            for arguments in list {
                let options =
                    merge_options(kustomization.generator_options.as_ref(), arguments.options.as_ref());
                let mut made = generate(self.session, &self.loader, kind, arguments, options.as_ref())
                    .map_err(self.asks(&arguments.name))?;
                if let Some(origin) = &self.origin {
                    let origin = origin.of_builtin(self.file_name, &format!("{kind}Generator"));
                    made.annotate(ORIGIN, &origin.to_text());
                }
                absorb(acc, made, kind).map_err(self.asks(&arguments.name))?;
            }
        }
        for config in &plugins {
            for mut made in plugins::run_generator(self.session, &self.loader, config)? {
                if let Some(origin) = Origin::of_plugin(config).filter(|_| self.origin.is_some()) {
                    made.annotate(ORIGIN, &origin.to_text());
                }
                absorb(acc, made, config.kind())?;
            }
        }
        Ok(())
    }

    /// The objects that configure plugins: inline or in files and directories.
    fn load_plugins(&self, entries: &[String], what: &str) -> Result<Vec<Resource>> {
        let mut acc = Accumulator::default();
        let mut paths = Vec::new();
        for entry in entries {
            match self.session.parse_resources(entry) {
                Ok(inline) => {
                    let mut inline = Resources::of(inline);
                    if let Some(origin) = &self.origin {
                        self.annotate_all(&mut inline, &origin.append(self.file_name))?;
                    }
                    let added = acc.resources.append_all(inline);
                    added.map_err(|error| error.wrap(format!("configuring external {what}")))?;
                }
                Err(error) if error.is_final() => return Err(error),
                Err(_) => paths.push(entry.clone()),
            }
        }
        self.add_resources(&mut acc, &paths)?;
        Ok(acc.resources.into_list())
    }

    fn transform(&self, acc: &mut Accumulator) -> Result<()> {
        let mut all: Vec<(Transformer, Option<Origin>, &str)> = Vec::new();
        for (transformer, word) in self.builtin_transformers(&acc.config)? {
            let origin = self.origin.as_ref().map(|o| o.of_builtin(self.file_name, transformer.kind()));
            all.push((transformer, origin, word));
        }
        for config in self.load_plugins(&self.kustomization.transformers, "transformer")? {
            let origin = Origin::of_plugin(&config).filter(|_| self.origin.is_some());
            let transformers = plugins::configure(self.session, &self.loader, &config)?;
            all.extend(transformers.into_iter().map(|transformer| (transformer, None, "")));
            // Of two that stand for one, the last leaves the note.
            if let Some((_, noted, _)) = all.last_mut() {
                *noted = origin;
            }
        }
        for (transformer, origin, word) in &all {
            let applied = transformer.apply(self.session, &mut acc.resources).map_err(|error| {
                error.concerning(format_args!("{} of {}", transformer.kind(), self.shown()))
            });
            applied.map_err(self.asks(word))?;
            if transformer.changes_scalars() {
                acc.resources.list_mut().iter_mut().for_each(Resource::settle_twins);
            }
            if let Some(origin) = origin {
                origin.note(acc.resources.list_mut());
            }
        }
        Ok(())
    }

    fn validate(&self, acc: &mut Accumulator) -> Result<()> {
        for config in self.load_plugins(&self.kustomization.validators, "transformer")? {
            let before = acc.resources.snapshot()?;
            for validator in plugins::configure(self.session, &self.loader, &config)? {
                validator.apply(self.session, &mut acc.resources)?;
            }
            acc.resources.check_unchanged(&before)?;
        }
        Ok(())
    }

    fn builtin_transformers(&self, config: &Config) -> Result<Vec<(Transformer, &str)>> {
        let (session, loader, kustomization) = (self.session, &self.loader, &self.kustomization);
        let mut list = Vec::new();
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
            let patches = load().map_err(trouble("PatchStrategicMergeTransformer", &shown))?;
            list.push((Transformer::StrategicMerge(patches), ""));
        }
        for patch in &kustomization.patches {
            let shown = yaml::emit_v2(&serde_json::to_value(patch).unwrap_or_default());
            let entry = PatchEntry::new(session, loader, patch, &shown)
                .map_err(trouble("PatchTransformer", &shown))
                .map_err(self.asks(patch.word()))?;
            list.push((Transformer::Patch(Box::new(entry)), patch.word()));
        }
        if !kustomization.namespace.is_empty() {
            list.push((
                Transformer::Namespace {
                    namespace: kustomization.namespace.clone(),
                    fields: config.namespace.clone(),
                    unset_only: false,
                    subjects: Subjects::DefaultOnly,
                },
                "",
            ));
        }
        if !kustomization.name_prefix.is_empty() {
            let prefix = kustomization.name_prefix.clone();
            list.push((Transformer::Prefix { prefix, fields: config.name_prefix.clone() }, ""));
        }
        if !kustomization.name_suffix.is_empty() {
            let suffix = kustomization.name_suffix.clone();
            list.push((Transformer::Suffix { suffix, fields: config.name_suffix.clone() }, ""));
        }
        for label in &kustomization.labels {
            let fields = label_fields(label, config).map_err(|error| error.wrap("failed to merge labels"))?;
            list.push((Transformer::Labels { labels: label.pairs.clone(), fields }, ""));
        }
        if !kustomization.labels.is_empty() || !kustomization.common_labels.is_empty() {
            let labels = kustomization.common_labels.clone();
            list.push((Transformer::Labels { labels, fields: config.common_labels.clone() }, ""));
        }
        if !kustomization.common_annotations.is_empty() {
            let annotations = kustomization.common_annotations.clone();
            list.push((
                Transformer::Annotations { annotations, fields: config.common_annotations.clone() },
                "",
            ));
        }
        for patch in &kustomization.patches_json6902 {
            let entry = JsonEntry::new(session, loader, patch)
                .map_err(trouble("PatchJson6902Transformer", &JsonEntry::shown(patch)))
                .map_err(self.asks(patch.word()))?;
            list.push((Transformer::Json(entry), patch.word()));
        }
        for replica in &kustomization.replicas {
            let transformer =
                Transformer::Replicas { replica: replica.clone(), fields: config.replicas.clone() };
            list.push((transformer, &replica.name));
        }
        for image in &kustomization.images {
            let images = Images::new(image, &config.images).map_err(self.asks(&image.name))?;
            list.push((Transformer::Images(Box::new(images)), &image.name));
        }
        if !kustomization.replacements.is_empty() {
            let given = replacement::handed_on(&kustomization.replacements);
            let shown = replacement::shown(&given);
            let all = replacement::load(session, loader, &given)
                .map_err(trouble("ReplacementTransformer", &shown))?;
            list.push((Transformer::Replacement(all), ""));
        }
        Ok(list)
    }
}

fn absorb(acc: &mut Accumulator, made: Resource, kind: &str) -> Result<()> {
    let name = made.name().to_owned();
    acc.resources.absorb(made).map_err(|e| e.wrap(format!("merging from generator &{{{kind} {name}}}")))
}
