//! One build's access to the tree, its bounds and what it gathers on the way.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use sluice_manifest::yaml::{self, Node, NodeValue};
use sluice_tree::{Error as TreeError, Files, Kind};
use sluice_types::RelPath;

use crate::error::{Error, ErrorKind, Result, bad};
use crate::id::{Gvk, split_api_version};
use crate::loader::Loader;
use crate::node;
use crate::objects::{check_objects, has_separator};
use crate::options::{OpenApi, Options, Warning};
use crate::resource::Resource;
use crate::schema::{Schemas, Standing};
use crate::scope::is_known;

/// Files that were parsed, by place.
pub(crate) type Parsed = HashMap<RelPath, Known>;

/// What is known of a file that was parsed.
pub(crate) enum Known {
    /// Its objects, which nobody has taken yet.
    Ready(Vec<Node>),
    /// That they were taken. Most files are asked for once, and keeping a copy of each would double a build.
    Taken,
    /// A copy for the third time and all that come after.
    Kept(Arc<Vec<Node>>),
}

/// What one build holds in its hands.
pub(crate) struct Session<'a> {
    files: &'a dyn Files,
    pub(crate) options: &'a Options<'a>,
    bytes: Cell<usize>,
    reads: Cell<usize>,
    expanded: Cell<usize>,
    steps: Cell<usize>,
    held: Cell<usize>,
    twins: Cell<u32>,
    /// Whether comments are wanted, since an object was met whose name depends on them.
    remarked: Cell<bool>,
    pub(crate) warnings: RefCell<Vec<Warning>>,
    pub(crate) schemas: RefCell<Arc<Schemas>>,
    /// Whether some kustomization chose a schema already.
    schema_chosen: Cell<bool>,
    /// Whether some object was merged by it.
    schema_used: Cell<bool>,
    /// Whether some object is of a kind that is not built in.
    schema_missed: Cell<bool>,
    contents: RefCell<HashMap<RelPath, Arc<[u8]>>>,
    parsed: RefCell<Parsed>,
}

/// One of the readers of [`yaml`].
pub(crate) type Reader = fn(&str, yaml::Limits) -> std::result::Result<serde_json::Value, yaml::Error>;

impl<'a> Session<'a> {
    pub(crate) fn new(files: &'a dyn Files, options: &'a Options<'a>, parsed: Parsed) -> Self {
        Self {
            files,
            options,
            bytes: Cell::new(0),
            reads: Cell::new(0),
            expanded: Cell::new(0),
            steps: Cell::new(0),
            held: Cell::new(0),
            twins: Cell::new(1),
            remarked: Cell::new(false),
            warnings: RefCell::default(),
            schemas: RefCell::default(),
            schema_chosen: Cell::new(false),
            schema_used: Cell::new(false),
            schema_missed: Cell::new(false),
            contents: RefCell::default(),
            parsed: RefCell::new(parsed),
        }
    }

    /// Fails when the caller wants the build to end.
    pub(crate) fn check(&self) -> Result<()> {
        match self.options.cancelled {
            Some(cancelled) if cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, "the build was cancelled"))
            }
            _ => Ok(()),
        }
    }

    /// Those on a text that is read now: what is held already leaves less room.
    pub(crate) fn yaml_limits(&self) -> yaml::Limits {
        let limits = self.options.limits.yaml();
        let room = self.options.limits.held.saturating_sub(self.held.get());
        yaml::Limits { nodes: limits.nodes.min(room), ..limits }
    }

    /// Counts the nodes of objects that are held until the end.
    pub(crate) fn hold(&self, nodes: &[Node]) -> Result<()> {
        let limit = self.options.limits.held;
        let count: usize = nodes.iter().map(node::count).sum();
        self.held.set(self.held.get().saturating_add(count));
        if self.held.get() > limit {
            Err(Error::limit("number of nodes of all files", limit))
        } else {
            Ok(())
        }
    }

    /// Counts what is about to be multiplied.
    pub(crate) fn spend(&self, bytes: usize) -> Result<()> {
        let limit = self.options.limits.expanded;
        self.expanded.set(self.expanded.get().saturating_add(bytes));
        if self.expanded.get() > limit {
            Err(Error::limit("size of everything in bytes", limit))
        } else {
            Ok(())
        }
    }

    /// Counts what is about to be looked at, and asks now and then whether to go on.
    pub(crate) fn step(&self, count: usize) -> Result<()> {
        const BETWEEN_QUESTIONS: usize = 1 << 18;
        let before = self.steps.get();
        let steps = before.saturating_add(count);
        self.steps.set(steps);
        let limit = self.options.limits.steps;
        if steps > limit {
            return Err(Error::limit("number of steps", limit));
        }
        if steps / BETWEEN_QUESTIONS == before / BETWEEN_QUESTIONS { Ok(()) } else { self.check() }
    }

    /// Fresh numbers for so many groups of twins.
    pub(crate) fn twins(&self, count: usize) -> std::ops::Range<u32> {
        let start = self.twins.get();
        let end = start.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.twins.set(end);
        start..end
    }

    pub(crate) fn check_count(&self, resources: usize) -> Result<()> {
        let limit = self.options.limits.resources;
        if resources > limit { Err(Error::limit("number of resources", limit)) } else { self.check() }
    }

    /// A path as a reader of messages knows it.
    pub(crate) fn shown(&self, path: &RelPath) -> String {
        let root = self.options.shown_root;
        if path.is_root() && !root.is_empty() { root.to_owned() } else { format!("{root}/{}", path.as_str()) }
    }

    /// Where a path as written in `root` lies; `Err` is the path as shown when it leaves the tree.
    pub(crate) fn place(&self, root: &RelPath, text: &str) -> std::result::Result<RelPath, String> {
        let placed = match text.strip_prefix('/') {
            Some(_) if !self.options.absolute_paths => return Err(text.to_owned()),
            Some(_) => match text.strip_prefix(self.options.shown_root) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    RelPath::new(rest.trim_start_matches('/'))
                }
                _ => return Err(text.to_owned()),
            },
            None => root.join(text),
        };
        placed.map_err(|_| format!("{}/{text}", self.shown(root).trim_end_matches('/')))
    }

    /// The part of a path that is not there, as `lstat` would report it.
    fn missing(&self, path: &RelPath) -> String {
        let mut at = RelPath::root();
        for part in path.components() {
            let Ok(next) = at.join(part) else { break };
            match self.files.kind(&next) {
                Ok(Kind::Directory) => at = next,
                Ok(_) if next != *path => return "not a directory".to_owned(),
                Ok(_) => break,
                Err(_) => return format!("lstat {}: no such file or directory", self.shown(&next)),
            }
        }
        format!("lstat {}: no such file or directory", self.shown(path))
    }

    /// The place with links resolved, and what is there.
    pub(crate) fn find(&self, path: &RelPath) -> std::result::Result<(RelPath, Kind), TreeError> {
        self.files.canonical(path).and_then(|real| self.files.kind(&real).map(|kind| (real, kind)))
    }

    /// As [`Self::find`], telling which part of the path is missing.
    pub(crate) fn resolve(&self, path: &RelPath) -> Result<(RelPath, Kind)> {
        self.find(path).map_err(|error| {
            let reason = match error {
                TreeError::NotFound(_) | TreeError::NotADirectory(_) => self.missing(path),
                other => other.to_string(),
            };
            bad!("evalsymlink failure on '{}' : {reason}", self.shown(path))
        })
    }

    pub(crate) fn read(&self, path: &RelPath) -> Result<Arc<[u8]>> {
        if let Some(content) = self.contents.borrow().get(path) {
            return Ok(content.clone());
        }
        self.check()?;
        let limits = &self.options.limits;
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() > limits.files {
            return Err(Error::limit("number of files", limits.files).concerning(self.shown(path)));
        }
        let content = self.files.read(path).map_err(|error| match error {
            TreeError::NotFound(_) => bad!("open {}: no such file or directory", self.shown(path)),
            TreeError::NotAFile(_) => bad!("read {}: is a directory", self.shown(path)),
            TreeError::TooLarge { limit, .. } => Error::new(
                ErrorKind::Limit,
                format!("'{}' exceeds the limit of {limit} bytes", self.shown(path)),
            ),
            other => bad!("open {}: {other}", self.shown(path)),
        })?;
        self.bytes.set(self.bytes.get() + content.len());
        if self.bytes.get() > limits.bytes {
            let error = Error::limit("size of all files in bytes", limits.bytes);
            return Err(error.concerning(self.shown(path)));
        }
        self.contents.borrow_mut().insert(path.clone(), content.clone());
        Ok(content)
    }

    /// The objects of a file, parsed by `parse` unless they are at hand.
    pub(crate) fn objects_at(
        &self,
        path: &RelPath,
        parse: impl FnOnce() -> Result<Vec<Node>>,
    ) -> Result<Vec<Node>> {
        let known = self.parsed.borrow_mut().get_mut(path).map(|known| match known {
            Known::Kept(nodes) => Known::Kept(nodes.clone()),
            known => std::mem::replace(known, Known::Taken),
        });
        match known {
            Some(Known::Ready(nodes)) => Ok(nodes),
            Some(Known::Kept(nodes)) => Ok(nodes.to_vec()),
            Some(Known::Taken) => {
                let nodes = parse()?;
                self.parsed.borrow_mut().insert(path.clone(), Known::Kept(Arc::new(nodes.clone())));
                Ok(nodes)
            }
            None => {
                let nodes = parse()?;
                self.parsed.borrow_mut().insert(path.clone(), Known::Taken);
                Ok(nodes)
            }
        }
    }

    /// Notes the objects of a file for whoever asks first.
    pub(crate) fn note_objects(&self, path: RelPath, nodes: Vec<Node>) {
        self.parsed.borrow_mut().insert(path, Known::Ready(nodes));
    }

    /// Lets go of all files, once nothing more is loaded.
    pub(crate) fn forget_files(&self) {
        self.contents.take();
        self.parsed.take();
    }

    /// Ends the session; what was parsed may be of use to another.
    pub(crate) fn into_parsed(self) -> Parsed {
        self.parsed.into_inner()
    }

    /// Takes the schema a kustomization asks for, unless one was taken before.
    pub(crate) fn choose_schema(
        &self,
        loader: &Loader,
        wanted: &std::collections::BTreeMap<String, String>,
    ) -> Result<()> {
        let document = match wanted.get("path") {
            Some(path) => Some(loader.load(self, path)?),
            None => None,
        };
        if self.schema_chosen.get() {
            return Ok(());
        }
        let version = wanted.get("version").map_or("", String::as_str);
        let Some((path, content)) = document else {
            if version.is_empty() {
                return Ok(());
            }
            if version != "v1.21.2" {
                return Err(bad!("the specified OpenAPI version is not built in"));
            }
            self.schema_chosen.set(true);
            return Ok(());
        };
        if wanted.contains_key("version") {
            return Err(bad!("builtin version and custom schema provided, cannot use both"));
        }
        let value = yaml::read_text(&content)
            .and_then(|text| yaml::parse_v2_json(text, self.yaml_limits()))
            .map_err(|error| self.not_json(&path, error).wrap("invalid schema"))?;
        let mut schemas = Schemas::default();
        schemas.set_custom(value, self.schema_standing())?;
        self.schema_chosen.set(true);
        *self.schemas.borrow_mut() = Arc::new(schemas);
        Ok(())
    }

    /// Upstream reads the built-in schema when it is first wanted, and keeps it when another is chosen later.
    fn schema_standing(&self) -> Standing {
        match self.options.openapi {
            OpenApi::Add => Standing::Above,
            OpenApi::Replace if self.schema_used.get() => Standing::Above,
            OpenApi::Replace if self.schema_missed.get() => Standing::Below,
            OpenApi::Replace => Standing::Alone,
        }
    }

    /// Reads a file of settings as JSON with one of the readers of [`yaml`].
    pub(crate) fn parse_json(&self, path: &RelPath, text: &str, read: Reader) -> Result<serde_json::Value> {
        read(text, self.yaml_limits()).map_err(|error| self.not_json(path, error))
    }

    fn not_json(&self, path: &RelPath, error: yaml::Error) -> Error {
        let error = unreadable(error);
        let error = if error.is_final() { error } else { error.wrap("error converting YAML to JSON") };
        error.concerning(self.shown(path)).located(path.as_str(), None)
    }

    /// Whether the schema that was chosen says so; it has no say on the built-in kinds.
    pub(crate) fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        self.schemas.borrow().is_cluster_scoped(gvk) && !is_known(&gvk.group, &gvk.version, &gvk.kind)
    }

    /// The schemas to merge by.
    pub(crate) fn schemas(&self) -> Arc<Schemas> {
        self.schema_used.set(true);
        self.schemas.borrow().clone()
    }

    /// The objects a text holds.
    pub(crate) fn parse_objects(&self, text: &str) -> Result<Vec<Node>> {
        // Some hashes are taken over places and comments.
        if text.contains("needsHashSuffix") {
            self.remarked.set(true);
        }
        let read = if self.remarked.get() { yaml::parse_remarked } else { yaml::parse_stream };
        let mut nodes = read(text, self.yaml_limits()).map_err(malformed)?;
        if let [only] = &mut nodes[..]
            && matches!(node::key_text(only, "kind"), "List" | "ResourceList")
            && (only.get("items").is_some() || only.get("functionConfig").is_some())
            && !has_separator(text)
        {
            let items = only.remove("items").map(|items| items.value);
            nodes = match items {
                Some(NodeValue::Sequence(items)) => items,
                _ => Vec::new(),
            };
        }
        let mut queue = std::collections::VecDeque::new();
        check_objects(nodes, |node| queue.push_back(node))?;
        let mut found = Vec::new();
        while let Some(object) = queue.pop_front() {
            if !node::key_text(&object, "kind").ends_with("List") {
                found.push(object);
                continue;
            }
            match object.get("items") {
                None => found.push(object),
                Some(items) if items.is_null() => {}
                Some(items) => {
                    let kind = node::key_text(&object, "kind");
                    if items.items().is_none() {
                        let seen = if items.is_mapping() { "map[string]interface {}" } else { "string" };
                        return Err(bad!("expected array in {kind}/items, but found {seen}"));
                    }
                    // What comes out of a list goes through JSON, and to the end of the queue.
                    let whole = node::to_json(&object)
                        .map_err(|error| error.wrap(format!("trouble expanding list of {kind}")))?;
                    let items = whole.get("items").and_then(serde_json::Value::as_array);
                    let mut inner = Vec::new();
                    for item in items.into_iter().flatten() {
                        if text.contains("needsHashSuffix") {
                            let item = crate::gojson::compact(item);
                            inner.extend(yaml::parse_stream(&item, self.yaml_limits()).map_err(malformed)?);
                        } else {
                            inner.push(Node::from(item));
                        }
                    }
                    check_objects(inner, |node| queue.push_back(node))?;
                }
            }
        }
        Ok(found)
    }

    /// The resources that objects become.
    pub(crate) fn resources(&self, objects: Vec<Node>) -> Result<Vec<Resource>> {
        let resources: Vec<Resource> = objects.into_iter().map(Resource::new).collect();
        if resources.iter().any(|resource| resource.is_noted) {
            self.remarked.set(true);
        }
        if let Some(broken) = resources.iter().find(|resource| resource.has_broken_history()) {
            return Err(bad!(
                "number of previous names, number of previous namespaces, number of previous kinds not equal"
            )
            .concerning(broken.id()));
        }
        if !self.schema_missed.get() && !self.schema_chosen.get() {
            let known = |resource: &Resource| {
                let (group, version) = split_api_version(resource.api_version());
                is_known(group, version, resource.kind())
            };
            self.schema_missed.set(!resources.iter().all(known));
        }
        Ok(resources)
    }

    /// As [`Self::parse_objects`], as resources.
    pub(crate) fn parse_resources(&self, text: &str) -> Result<Vec<Resource>> {
        let nodes = self.parse_objects(text)?;
        self.hold(&nodes)?;
        self.resources(nodes)
    }
}

pub(crate) fn malformed(error: yaml::Error) -> Error {
    let is_yaml = !matches!(error, yaml::Error::Merge(_) | yaml::Error::Split(_));
    match unreadable(error) {
        error if error.is_final() || !is_yaml => error,
        error => error.of_kind(ErrorKind::MalformedYaml).wrap("MalformedYAMLError"),
    }
}

/// What a reader of YAML stumbled over: a bound, or anything else.
pub(crate) fn unreadable(error: yaml::Error) -> Error {
    let (text, place) = (error.to_string(), error.place());
    let is_bound = ["exceeded max depth", "excessive aliasing", "exceeds the limit of"]
        .iter()
        .any(|words| text.contains(words));
    let kind = match error {
        yaml::Error::Limit { .. } => ErrorKind::Limit,
        _ if is_bound => ErrorKind::Limit,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, text).at_line(place)
}

impl Session<'_> {
    pub(crate) fn directory(&self, path: &RelPath) -> Result<(RelPath, String)> {
        let (real, kind) = self.resolve(path).map_err(|error| error.wrap("not a valid directory"))?;
        if kind != Kind::Directory {
            return Err(bad!("'{}': file is not directory", self.shown(path)));
        }
        let shown = self.shown(&real);
        Ok((real, shown))
    }
}
