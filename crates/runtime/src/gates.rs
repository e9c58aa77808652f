//! Feature gates: names that switch behaviour, each with a default.

use crate::args::boolean;

/// A switch that a controller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    /// Its name in `--feature-gates`.
    pub name: &'static str,
    /// Its position when nobody says anything.
    pub default: bool,
    /// What it switches, for documentation.
    pub about: &'static str,
}

impl Gate {
    /// A switch.
    pub const fn new(name: &'static str, default: bool, about: &'static str) -> Self {
        Self { name, default, about }
    }
}

/// Objects may log in to clouds as ServiceAccounts of their own.
pub const OBJECT_LEVEL_WORKLOAD_IDENTITY: Gate = Gate::new(
    "ObjectLevelWorkloadIdentity",
    false,
    "Objects may sign in to clouds as ServiceAccounts of their own",
);
/// Secrets and ConfigMaps are kept in memory.
pub const CACHE_SECRETS_AND_CONFIG_MAPS: Gate = Gate::new(
    "CacheSecretsAndConfigMaps",
    false,
    "Accepted, without effect: Secrets and ConfigMaps are read when they are used, once for all objects that need \
     them in the same moment, and never kept in memory",
);

/// What `--feature-gates` says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No gate of this name.
    #[error("feature-gate '{0}' not supported")]
    Unknown(String),
    /// A flag is of no use without a gate.
    #[error("--{flag} needs the feature gate {gate}")]
    Needed {
        /// The flag.
        flag: &'static str,
        /// The gate.
        gate: &'static str,
    },
    /// Not `Name=bool`.
    #[error("invalid value of feature-gate '{0}': use Name=true or Name=false")]
    Malformed(String),
}

/// The positions of every switch of a controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates(Vec<(&'static str, bool)>);

impl Gates {
    /// Reads `Name=bool` entries over the defaults of the known gates; the last entry of a name wins.
    ///
    /// # Errors
    /// When a name is unknown or an entry malformed.
    pub fn parse(known: &[Gate], entries: &[String]) -> Result<Self, Error> {
        let mut gates: Vec<(&'static str, bool)> =
            known.iter().map(|gate| (gate.name, gate.default)).collect();
        for entry in entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()) {
            let malformed = || Error::Malformed(entry.to_owned());
            let (name, value) = entry.split_once('=').ok_or_else(malformed)?;
            let value = boolean(value.trim()).map_err(|_| malformed())?;
            let known = gates.iter_mut().find(|(known, _)| *known == name.trim());
            known.ok_or_else(|| Error::Unknown(name.trim().to_owned()))?.1 = value;
        }
        Ok(Self(gates))
    }

    /// The position of a switch; its default when the controller does not know it.
    pub fn is_on(&self, gate: Gate) -> bool {
        self.0.iter().find(|(name, _)| *name == gate.name).map_or(gate.default, |(_, on)| *on)
    }

    /// Refuses a flag that has a value while the gate it needs is off.
    ///
    /// # Errors
    /// When that is so.
    pub fn require(&self, gate: Gate, flag: &'static str, value: &str) -> Result<(), Error> {
        if value.is_empty() || self.is_on(gate) {
            Ok(())
        } else {
            Err(Error::Needed { flag, gate: gate.name })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Gate = Gate::new("A", false, "");
    const B: Gate = Gate::new("B", true, "");

    #[test]
    fn entries_change_defaults_and_unknown_names_are_refused() {
        for (entries, expected) in [
            (vec![], Ok((false, true))),
            (vec!["A=true", "B=false"], Ok((true, false))),
            (vec!["A=true", "A=0"], Ok((false, true))),
            (vec![" A = T ", ""], Ok((true, true))),
            (vec!["C=true"], Err(Error::Unknown("C".to_owned()))),
            (vec!["A"], Err(Error::Malformed("A".to_owned()))),
            (vec!["A=maybe"], Err(Error::Malformed("A=maybe".to_owned()))),
        ] {
            let entries: Vec<String> = entries.into_iter().map(str::to_owned).collect();
            let gates = Gates::parse(&[A, B], &entries).map(|gates| (gates.is_on(A), gates.is_on(B)));
            assert_eq!(gates, expected);
        }
    }

    #[test]
    fn a_flag_may_need_a_gate() {
        let gates = Gates::parse(&[A, B], &[]).unwrap();
        assert_eq!(gates.require(A, "x", "value"), Err(Error::Needed { flag: "x", gate: "A" }));
        assert_eq!(gates.require(A, "x", ""), Ok(()));
        assert_eq!(gates.require(B, "x", "value"), Ok(()));
    }
}
