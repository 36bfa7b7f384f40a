//! The byte-exact YAML editor: a file and typed edits come in, the same file with only the addressed bytes
//! changed goes out, or a refusal that names the line and the reason.
//!
//! Two parsers read every file: `granit-parser` gives events with byte spans, `yaml_serde` (libyaml, the
//! family Kubernetes tools read with) gives a second opinion. After every edit both read the result again,
//! and anything that differs away from the addressed path discards it. YAML is never made from text templates
//! here, aliases are never expanded into copies of themselves, and nothing touches a file, a clock or a
//! socket.

mod block;
mod edit;
mod error;
mod fresh;
mod grow;
mod inside;
#[cfg_attr(not(test), expect(dead_code, reason = "no caller reads markers yet"))]
mod marker;
mod node;
mod oracle;
mod parse;
mod path;
mod plan;
mod scalar;
mod shrink;
mod source;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod nasty;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod property;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod threats;

pub use edit::{Edit, apply};
pub use error::YamlError;
pub use fresh::Fresh;
#[expect(unused_imports, reason = "no caller reads markers yet")]
pub use marker::{Marked, comment, markers};
pub use node::{Document, Node, NodeKind, Style};
pub use path::{Path, Step};
pub use scalar::Value;

/// Largest file read or written, in bytes. A Kubernetes object is at most 1.5 MiB in etcd; manifests are far
/// smaller.
pub const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Deepest nesting of collections.
pub const MAX_NESTING: usize = 64;
/// Most documents in one stream.
pub const MAX_DOCUMENTS: usize = 1_000;
/// Most nodes (keys, scalars, aliases, collections) in one stream.
pub const MAX_NODES: usize = 200_000;
/// Most bytes a stream may cost once a reader copies every alias's target (what libyaml based readers do).
pub const MAX_EXPANDED_BYTES: usize = 32 << 20;

/// Reads every document of a stream. An empty stream has no document; an empty document has a null root.
///
/// Aliases stay alias nodes, so a small file cannot grow in memory.
///
/// # Errors
/// [`YamlError::Bound`] over a limit of this module, [`YamlError::NotUtf8`], or [`YamlError::Syntax`].
pub fn read(source: &[u8]) -> Result<Vec<Document>, YamlError> {
    parse::parse(source::text(source)?)
}
