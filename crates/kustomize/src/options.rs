//! What a caller decides about a build.

/// Which files a kustomization may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadRestrictions {
    /// Only files in or below its own directory; the default of the command line.
    #[default]
    RootOnly,
    /// Any file of the tree; what Flux uses.
    None,
}

/// The order of the result where the root kustomization does not say one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reorder {
    /// As accumulated, unless the kustomization says otherwise.
    #[default]
    Unspecified,
    /// As [`Self::Legacy`], unless the kustomization says otherwise: the default of the command line.
    ByDefault,
    /// As accumulated; a kustomization that says otherwise is followed with a warning.
    None,
    /// Namespaces and definitions first, webhooks last; a kustomization that says otherwise is followed with a
    /// warning.
    Legacy,
}

/// What a custom schema does to the built-in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenApi {
    /// Takes its place, as in the stock command.
    #[default]
    Replace,
    /// Adds to it, as in Flux.
    Add,
}

/// Bounds on one build.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of all files read together.
    pub bytes: usize,
    /// Most files read.
    pub files: usize,
    /// Most documents in one file.
    pub documents: usize,
    /// Deepest nesting of one document.
    pub depth: usize,
    /// Most nodes of one file after aliases were expanded.
    pub nodes: usize,
    /// Most nodes of all files together, counted as often as they are used. A node takes some 100 bytes.
    pub held: usize,
    /// Most resources held at any time.
    pub resources: usize,
    /// Longest chain of kustomizations including each other.
    pub recursion: usize,
    /// Most bytes everything may grow to: files counted as often as they are used, and what is copied,
    /// labelled or replaced.
    pub expanded: usize,
    /// Most steps: what transformers look at, for each of their entries.
    pub steps: usize,
}

impl Limits {
    /// Those on one text.
    pub(crate) fn yaml(&self) -> sluice_manifest::yaml::Limits {
        sluice_manifest::yaml::Limits {
            bytes: self.bytes,
            documents: self.documents,
            depth: self.depth,
            nodes: self.nodes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            files: 50_000,
            documents: 100_000,
            depth: 250,
            nodes: 5_000_000,
            held: 10_000_000,
            resources: 200_000,
            recursion: 64,
            expanded: 512 << 20,
            steps: 1 << 28,
        }
    }
}

/// What a caller decides about a build.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Which files may be named.
    pub load_restrictions: LoadRestrictions,
    /// The fallback order.
    pub reorder: Reorder,
    /// Whether `app.kubernetes.io/managed-by: kustomize-…` is put on every resource.
    pub managed_by: bool,
    /// The version in that label.
    pub version: &'a str,
    /// What a custom schema does.
    pub openapi: OpenApi,
    /// Bounds.
    pub limits: Limits,
    /// Where the tree's root lies in the eyes of the reader of an error, without a slash at the end.
    pub shown_root: &'a str,
    /// Whether a path from the root of the file system may lie in the tree. Flux unpacks it where nobody knows of.
    pub absolute_paths: bool,
    /// Asked now and then; `true` ends the build with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            load_restrictions: LoadRestrictions::default(),
            reorder: Reorder::default(),
            managed_by: false,
            version: "v5.8.1",
            openapi: OpenApi::default(),
            limits: Limits::default(),
            shown_root: "",
            absolute_paths: true,
            cancelled: None,
        }
    }
}

/// Something a human should know although the build succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The text, in upstream's words where it has some.
    pub message: String,
    /// The directory of the kustomization concerned, as a path from the root of the tree.
    pub directory: Option<String>,
}
