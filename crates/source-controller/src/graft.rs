//! Copies included trees into the tree that was fetched.

use std::sync::Arc;

use sluice_api::source::v1::Include;
use sluice_tree::{Files, Kind, Memory, Overlay};
use sluice_types::RelPath;

use crate::error::Error;

/// Lays the included trees over `base`, in order. Paths are confined to their trees, as a chroot would
/// confine them; a target that already holds something is refused.
pub(crate) fn graft(base: Arc<dyn Files>, included: &[(Include, Memory)]) -> Result<Arc<dyn Files>, Error> {
    if included.is_empty() {
        return Ok(base);
    }
    let mut tree = Overlay::new(base);
    for (include, source) in included {
        let (from, to) = (RelPath::clamped(include.from()), RelPath::clamped(include.to()));
        let failed = |why: String| Error::Copy {
            name: include.repository.name.clone(),
            from: from.to_string(),
            to: to.to_string(),
            why,
        };
        let occupied = match tree.kind(&to) {
            Ok(Kind::Directory) => tree.list(&to).map_or(true, |entries| !entries.is_empty()),
            Ok(_) => true,
            Err(_) => false,
        };
        if occupied {
            return Err(failed("the target exists and is not empty".to_owned()));
        }
        copy(source, &from, &to, &mut tree).map_err(|error| failed(error.to_string()))?;
    }
    Ok(Arc::new(tree))
}

fn copy(
    source: &Memory,
    from: &RelPath,
    to: &RelPath,
    tree: &mut Overlay<Arc<dyn Files>>,
) -> Result<(), sluice_tree::Error> {
    match source.kind(from)? {
        Kind::File => tree.insert(to, source.read(from)?),
        Kind::Executable => tree.insert_executable(to, source.read(from)?),
        Kind::Directory => {
            for entry in source.list(from)? {
                copy(source, &from.join(&entry.name)?, &to.join(&entry.name)?, tree)?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn grafted(include: Include) -> Result<Memory, String> {
        let base = Memory::of([("app/a", "1"), ("README", "2")]).map_err(|error| error.to_string())?;
        let source = Memory::of([("lib/x", "3"), ("lib/deep/y", "4")]).map_err(|error| error.to_string())?;
        let tree = graft(Arc::new(base), &[(include, source)]).map_err(|error| error.to_string())?;
        let (archive, _) = sluice_tree::pack(&tree, &sluice_tree::Ignore::none(), Default::default())
            .map_err(|error| error.to_string())?;
        sluice_tree::unpack_to_memory(archive.as_slice(), Default::default())
            .map_err(|error| error.to_string())
    }

    fn include(from: Option<&str>, to: Option<&str>) -> Include {
        Include { from_path: from.map(Into::into), to_path: to.map(Into::into), ..sample::include("other") }
    }

    fn paths(tree: &Memory) -> Vec<String> {
        tree.paths().iter().map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn an_include_lands_under_its_own_name_unless_told_otherwise() {
        let tree = grafted(include(None, None)).unwrap();
        assert_eq!(paths(&tree), ["README", "app/a", "other/lib/deep/y", "other/lib/x"]);
        let tree = grafted(include(Some("lib/deep"), Some("app/sub"))).unwrap();
        assert_eq!(paths(&tree), ["README", "app/a", "app/sub/y"]);
    }

    #[test]
    fn paths_cannot_leave_either_tree() {
        let tree = grafted(include(Some("../../lib"), Some("../../x"))).unwrap();
        assert_eq!(paths(&tree), ["README", "app/a", "x/deep/y", "x/x"]);
    }

    #[test]
    fn missing_sources_and_occupied_targets_are_refused() {
        for (from, to) in
            [(Some("../../../nowhere"), None), (None, Some("app")), (None, Some("README")), (None, Some("."))]
        {
            let refused = grafted(include(from, to)).unwrap_err();
            assert!(refused.starts_with("failed to copy 'other' include from "), "{refused}");
        }
    }
}
