use std::collections::HashMap;
use std::path::Path;

use sluice_types::Proxies;

use crate::Error;

/// Variables by name, as the process was given them; tests make their own.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

/// Most bytes of a token file.
const LARGEST_TOKEN: u64 = 64 * 1024;

impl Environment {
    /// The value of a variable, unless it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The proxies that the variables name.
    pub fn proxies(&self) -> Proxies {
        Proxies::read(|name| self.get(name).map(str::to_owned))
    }

    /// Reads the small file that a variable names, for example a projected token.
    pub(crate) async fn file(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.get(name) else { return Ok(None) };
        let failed =
            |error: std::io::Error| Error::Configuration(format!("{name}: cannot read {path}: {error}"));
        let size = tokio::fs::metadata(Path::new(path)).await.map_err(failed)?.len();
        if size > LARGEST_TOKEN {
            return Err(Error::Configuration(format!(
                "{name}: {path} has {size} bytes, more than {LARGEST_TOKEN}"
            )));
        }
        let text = tokio::fs::read_to_string(path).await.map_err(failed)?;
        Ok(Some(text.trim().to_owned()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
