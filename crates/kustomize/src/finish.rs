//! What is done once, at the root, after everything was accumulated.

use crate::error::Result;
use crate::nameref;
use crate::options::Warning;
use crate::resource::LOCAL_CONFIG;
use crate::session::Session;
use crate::target::Accumulator;
use crate::transform::add_hashes;

/// Hashes, references and variables; drops what is for the build alone.
pub(crate) fn finish(session: &Session<'_>, acc: &mut Accumulator) -> Result<()> {
    add_hashes(&mut acc.resources)?;
    nameref::fix(session, &mut acc.resources, &acc.config)?;
    let unused = acc.vars.resolve(session, &mut acc.resources, &acc.config.var_references)?;
    if !unused.is_empty() {
        session.warnings.borrow_mut().push(Warning {
            message: format!("well-defined vars that were never replaced: {}", unused.join(",")),
            directory: None,
        });
    }
    acc.resources.list().iter().try_for_each(|resource| resource.check_meta())?;
    acc.resources
        .list_mut()
        .retain(|resource| resource.annotation(LOCAL_CONFIG).is_none_or(|value| value == "false"));
    // A patch may have renamed one resource to another; upstream panics here.
    acc.resources.check_distinct()
}
