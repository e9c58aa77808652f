//! What the stories commit.

/// A ConfigMap with one key, `step`.
pub fn config_map(name: &str, step: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{step: \"{step}\"}}\n")
}
