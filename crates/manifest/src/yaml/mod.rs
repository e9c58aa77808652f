//! YAML as the Go tools read and write it.
//!
//! Two readers: `parse_stream` and `to_json` follow go-yaml v3 (resource files), `parse_v2_json`
//! follows go-yaml v2 through `sigs.k8s.io/yaml` (kustomization files, substitution results).
//! Two writers: `emit_v2` (final bytes of a build, after `reread`) and `emit_node` (embedded documents).
//! Input is a tenant's: every parse is bounded by `Limits`.

mod comments;
mod compose;
mod decode;
mod emit;
mod float;
mod json;
mod key_order;
mod limits;
mod node;
mod parse;
mod reread;
mod resolve;
mod scan;
mod timestamp;

pub use comments::Comments;
pub use emit::{emit_commented, emit_node, emit_stream, emit_v2, emit_v2_into, emit_v3};
pub use float::{go_g as float_shown, go_g32 as float_text};
pub use json::{to_json, to_json_into};
pub use key_order::natural_order;
pub use limits::{Error, Limits};
pub use node::{Node, NodeValue, Remarks, Style, Tag, Text};
pub use parse::{
    parse_commented, parse_documents, parse_remarked, parse_stream, parse_v2_json, parse_v2_stream,
    parse_v2_strict, read_text,
};
pub use reread::reread;
