//! One kustomization after the other: loading, accumulating, transforming.

mod transforming;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluice_manifest::yaml;
use sluice_types::RelPath;

use crate::config::Config;
use crate::crds;
use crate::error::{Error, ErrorKind, Result, bad};
use crate::fieldspec::FieldSpec;
use crate::generate::{generate, merge_options};
use crate::kustomization::Kustomization;
use crate::loader::Loader;
use crate::origin::Origin;
use crate::places::{line_naming, line_setting};
use crate::plugins;
use crate::resource::{ORIGIN, Resource};
use crate::resources::{Resources, quote};
use crate::session::Session;
use crate::transform::set_entries;
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
    fn merge(&mut self, session: &Session<'_>, other: Accumulator) -> Result<()> {
        self.resources.append_all(other.resources)?;
        self.config = Config::union(session, &self.config, &other.config)?;
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

/// What in a kustomization file led to something.
#[derive(Clone, Copy)]
enum Cause<'w> {
    /// An entry that is named so.
    Word(&'w str),
    /// A field at the top.
    Field(&'static str),
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
            let message = error.message();
            let unknown = message.rsplit_once("unknown field \"").map(|(_, rest)| rest.trim_end_matches('"'));
            let mistyped = message.rsplit_once("Go struct field Kustomization.").map(|(_, rest)| rest);
            let mistyped = mistyped.and_then(|rest| rest.split(['.', ' ']).next());
            let line = unknown.or(mistyped).and_then(|field| line_setting(&content, field));
            error.located(path.as_str(), line)
        })?;
        drop(warnings);
        Ok(Self { session, loader, kustomization, file_name, path, content, defaults, origin: None })
    }

    /// Notes that this kustomization led to a failure, by the line that names `word`.
    pub(crate) fn asks(&self, word: &str) -> impl Fn(Error) -> Error {
        move |error| error.asked_by(self.path.as_str(), || line_naming(&self.content, word))
    }

    /// As [`Self::asks`] or [`Self::sets`].
    fn causes(&self, cause: Cause<'_>) -> impl Fn(Error) -> Error {
        move |error| match cause {
            Cause::Word(word) => self.asks(word)(error),
            Cause::Field(field) => self.sets(field)(error),
        }
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
        self.validate(&mut acc).map_err(self.sets("validators"))?;
        let vars = &kustomization.vars;
        acc.vars
            .declare(vars, &mut acc.resources)
            .map_err(|error| error.wrap(format!("merging vars {}", vars::show(vars))))
            .map_err(self.sets("vars"))?;
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
        acc.merge(self.session, own)
            .map_err(|error| error.wrap(format!("recursed merging from path '{shown}'")))
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
                let merged = acc.resources.check_distinct().and_then(|()| acc.config.settled(self.session));
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
        let session = self.session;
        let mut config = self.defaults.clone();
        let mut own = Arc::new(Config::default());
        for path in &self.kustomization.configurations {
            let more = self.loader.load_text(self.session, path).and_then(|(file, text)| {
                let value = self.session.parse_json(&file, &text, yaml::parse_v2_strict)?;
                Config::from_json(value).map_err(|error| error.located(file.as_str(), None))
            });
            let more = more.map_err(self.asks(path))?;
            own = Config::union(session, &own, &Arc::new(more)).map_err(self.asks(path))?;
        }
        config = Config::union(session, &config, &own).map_err(self.sets("configurations"))?;
        acc.config = Config::union(session, &acc.config, &config)
            .map_err(|error| error.wrap("merging config"))
            .map_err(self.sets("configurations"))?;
        for path in &self.kustomization.crds {
            let mut derived = Config::default();
            let mut load = || {
                let (file, text) = self.loader.load_text(self.session, path)?;
                let definitions = self.session.parse_json(&file, &text, crds::read).map_err(|error| {
                    error.wrap(format!("unable to parse open API definition from '{path}'"))
                })?;
                crds::derive(session, &definitions, &mut derived)
            };
            load()
                .map_err(|error| error.wrap(format!("loading CRDs [{}]", self.kustomization.crds.join(" "))))
                .map_err(self.asks(path))?;
            acc.config = Config::union(session, &acc.config, &Arc::new(derived))
                .map_err(|error| error.wrap("merging CRDs"))?;
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
            let refused = bad!(
                "trouble configuring builtin HelmChartInflationGenerator with config: `\n{}`: must specify --enable-helm",
                yaml::emit_v2(&shown)
            );
            return Err(self.sets("helmCharts")(refused));
        }
        let plugins = self
            .load_plugins(&kustomization.generators, "generator")
            .map_err(|error| error.wrap("loading generator plugins"))
            .map_err(self.sets("generators"))?;
        for config in &plugins {
            plugins::check_generator(config)
                .map_err(|e| e.wrap("loading generator plugins: failed to load generator"))
                .map_err(self.sets("generators"))?;
        }
        let lists = [
            ("ConfigMap", &kustomization.config_map_generator, "configMapGenerator"),
            ("Secret", &kustomization.secret_generator, "secretGenerator"),
        ];
        for (kind, list, field) in lists {
            for arguments in list {
                let cause = match arguments.name.as_str() {
                    "" => Cause::Field(field),
                    name => Cause::Word(name),
                };
                let options =
                    merge_options(kustomization.generator_options.as_ref(), arguments.options.as_ref());
                let mut made = generate(self.session, &self.loader, kind, arguments, options.as_ref())
                    .map_err(self.causes(cause))?;
                if let Some(origin) = &self.origin {
                    let origin = origin.of_builtin(self.file_name, &format!("{kind}Generator"));
                    made.annotate(ORIGIN, &origin.to_text());
                }
                absorb(acc, made, kind).map_err(self.causes(cause))?;
            }
        }
        for config in &plugins {
            let all = plugins::run_generator(self.session, &self.loader, config);
            for mut made in all.map_err(self.sets("generators"))? {
                if let Some(origin) = Origin::of_plugin(config).filter(|_| self.origin.is_some()) {
                    made.annotate(ORIGIN, &origin.to_text());
                }
                absorb(acc, made, config.kind()).map_err(self.sets("generators"))?;
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
}

fn absorb(acc: &mut Accumulator, made: Resource, kind: &str) -> Result<()> {
    let name = made.name().to_owned();
    acc.resources.absorb(made).map_err(|e| e.wrap(format!("merging from generator &{{{kind} {name}}}")))
}
