use crate::version::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `=` or nothing: exact when all parts are given, else the same as [`Operator::Tilde`].
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

/// Which parts of a comparator's version were written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// `*`: no part.
    Nothing,
    /// `1` or `1.x`.
    Major,
    /// `1.2` or `1.2.x`.
    Minor,
    /// `1.2.3`.
    All,
}

/// One operator with its version; missing parts are zero.
#[derive(Clone, Debug)]
pub(crate) struct Comparator {
    pub(crate) operator: Operator,
    pub(crate) given: Given,
    pub(crate) version: Version,
}

impl Comparator {
    /// Applies the operator; whether prereleases are admitted at all is the group's business.
    pub(crate) fn admits(&self, version: &Version) -> bool {
        let bound = &self.version;
        match self.operator {
            Operator::Equal if self.given == Given::All => version == bound,
            Operator::Equal | Operator::Tilde => self.tilde(version),
            Operator::NotEqual => self.differs(version),
            Operator::Greater => match self.given {
                Given::Major => version.major > bound.major,
                Given::Minor => (version.major, version.minor) > (bound.major, bound.minor),
                Given::Nothing | Given::All => version > bound,
            },
            Operator::GreaterEqual => version >= bound,
            Operator::Less => version < bound,
            Operator::LessEqual => match self.given {
                Given::All => version <= bound,
                Given::Major => version.major <= bound.major,
                Given::Nothing | Given::Minor => (version.major, version.minor) <= (bound.major, bound.minor),
            },
            Operator::Caret => self.caret(version),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let bound = &self.version;
        if version < bound {
            return false;
        }
        let open = bound.core() == (0, 0, 0) && matches!(self.given, Given::Nothing | Given::All);
        open || version.major == bound.major && (self.given == Given::Major || version.minor == bound.minor)
    }

    fn caret(&self, version: &Version) -> bool {
        let bound = &self.version;
        if version < bound || version.major != bound.major {
            return false;
        }
        if bound.major > 0 || self.given == Given::Major {
            return true;
        }
        if version.minor != bound.minor {
            return false;
        }
        bound.minor > 0 || self.given == Given::Minor || version.patch == bound.patch
    }

    fn differs(&self, version: &Version) -> bool {
        let bound = &self.version;
        match self.given {
            Given::Nothing | Given::All => version != bound,
            Given::Major => version.major != bound.major,
            Given::Minor => {
                (version.major, version.minor) != (bound.major, bound.minor)
                    || (version.is_prerelease() || bound.is_prerelease()) && version.pre != bound.pre
            }
        }
    }
}
