/// The names under which one controller works: its label and annotation group and its field manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// Prefix of owner labels and per-object controls, such as `kustomize.toolkit.fluxcd.io`.
    pub group: &'static str,
    /// Field manager of the objects applied, such as `kustomize-controller`.
    pub manager: &'static str,
}

impl Dialect {
    /// A key of this controller's group: `<group>/<word>`.
    pub(crate) fn key(&self, word: &str) -> String {
        format!("{}/{word}", self.group)
    }
}

/// Whose objects these are; stands in two labels, `<group>/name` and `<group>/namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The owner's namespace.
    pub namespace: String,
    /// The owner's name.
    pub name: String,
}

/// As whom a tenant's objects are read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Identity {
    /// As the controller itself, or as the user of the kubeconfig.
    #[default]
    Own,
    /// As `system:serviceaccount:<namespace>:<name>`, without groups.
    ServiceAccount {
        /// The account's namespace.
        namespace: String,
        /// The account's name.
        name: String,
    },
}

impl Identity {
    pub(crate) fn user(&self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::ServiceAccount { namespace, name } => {
                Some(format!("system:serviceaccount:{namespace}:{name}"))
            }
        }
    }
}
