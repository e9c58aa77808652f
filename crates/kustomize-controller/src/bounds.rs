//! Artifacts beyond a bound: what to do about them.

use sluice_artifact::FetchError;
use sluice_tree::UnpackError;

/// The flag whose bound the artifact exceeds. The same artifact exceeds it again.
pub(crate) const fn flag(error: &FetchError) -> Option<&'static str> {
    Some(match error {
        FetchError::TooLarge { .. } => "--artifact-max-download-size",
        FetchError::Unpack(UnpackError::Bytes(_)) => "--artifact-max-size",
        FetchError::Unpack(UnpackError::FileBytes { .. }) => "--artifact-max-file-size",
        FetchError::Unpack(UnpackError::Entries(_)) => "--artifact-max-entries",
        FetchError::Unpack(UnpackError::Depth { .. }) => "--artifact-max-depth",
        _ => return None,
    })
}

/// The error's words and, where a bound is exceeded, what to do.
pub(crate) fn explain(error: &FetchError) -> String {
    match flag(error) {
        Some(flag) => format!(
            "{error}: exclude what is not needed in .sourceignore or spec.ignore of the source, \
             or raise {flag} of kustomize-controller"
        ),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_names_a_flag_that_exists() {
        let path = || sluice_types::RelPath::root();
        for error in [
            FetchError::TooLarge { url: "http://x".into(), limit: 1 },
            UnpackError::Bytes(1).into(),
            UnpackError::FileBytes { path: path(), limit: 1 }.into(),
            UnpackError::Entries(1).into(),
            UnpackError::Depth { path: path(), limit: 1 }.into(),
        ] {
            let flag = flag(&error).unwrap();
            let command = crate::command();
            let known = |name: &str| command.get_arguments().any(|known| known.get_long() == Some(name));
            assert!(flag.strip_prefix("--").is_some_and(known), "{flag}");
            assert!(explain(&error).contains(flag));
        }
    }
}
