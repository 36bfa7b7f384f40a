//! Why a file was not read or an edit not made: one variant per reason, each with the line it was found at.

use thiserror::Error;

/// A refusal. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum YamlError {
    #[error("line {line}: more than {limit} {what}")]
    Bound { what: &'static str, limit: usize, line: usize },
    #[error("line {line}: the text is not UTF-8")]
    NotUtf8 { line: usize },
    #[error("line {line}: this is not YAML (a Helm or other text template is edited where its values are)")]
    Syntax {
        line: usize,
        #[source]
        source: granit_parser::ScanError,
    },
    #[error("libyaml, which Kubernetes tools read with, rejects the file")]
    SecondParser(#[source] yaml_serde::Error),
    #[error("line {line}: YAML parsers read this differently; write it in one unambiguous way first")]
    ParsersDisagree { line: usize },
    #[error("path {path:?}: {reason}")]
    BadPath { path: String, reason: &'static str },
    #[error("the stream has {found} documents, none with index {wanted}")]
    NoDocument { wanted: usize, found: usize },
    #[error("line {line}: nothing at {path}")]
    NotFound { path: String, line: usize },
    #[error("line {line}: {path} matches more than one item, at lines {lines:?}")]
    ManyMatches { path: String, line: usize, lines: Vec<usize> },
    #[error("line {line}: the key {key:?} is there twice; readers disagree which one counts")]
    DuplicateKey { key: String, line: usize },
    #[error(
        "line {line}: the anchor &{anchor} is used by aliases at lines {aliases:?}, which would change too"
    )]
    Shared { anchor: String, line: usize, aliases: Vec<usize> },
    #[error(
        "line {line}: this is the alias *{alias}, not a value of its own; its anchor is at line {anchor_line}"
    )]
    Alias { alias: String, line: usize, anchor_line: usize },
    #[error("line {line}: {path} comes from a merge key; edit it where it is defined")]
    Merged { path: String, line: usize },
    #[error("line {line}: the tag {tag} says another type than the new value has")]
    Tag { tag: String, line: usize },
    #[error("line {line}: YAML parsers read the plain scalar {text:?} differently; quote it first")]
    Ambiguous { text: String, line: usize },
    #[error("line {line}: a template placeholder stands here; change what fills it")]
    Templated { line: usize },
    #[error("line {line}: expected {expected}, found {found}")]
    Shape { expected: &'static str, found: &'static str, line: usize },
    #[error(
        "line {line}: the text of this block scalar is not YAML that can be edited (its lines count from 1)"
    )]
    Embedded {
        line: usize,
        #[source]
        source: Box<YamlError>,
    },
    #[error("line {line}: {reason}")]
    Unsupported { reason: &'static str, line: usize },
    #[error("the edited file reads differently than intended: {reason}")]
    Oracle { reason: String },
}

impl YamlError {
    /// The same refusal seen from a file in which the text starts below line `by`.
    pub(super) fn below(mut self, by: usize) -> Self {
        match &mut self {
            Self::Shared { line, aliases: lines, .. } | Self::ManyMatches { line, lines, .. } => {
                *line += by;
                lines.iter_mut().for_each(|line| *line += by);
            }
            Self::Alias { line, anchor_line, .. } => {
                *line += by;
                *anchor_line += by;
            }
            Self::Bound { line, .. }
            | Self::NotUtf8 { line }
            | Self::Syntax { line, .. }
            | Self::ParsersDisagree { line }
            | Self::NotFound { line, .. }
            | Self::DuplicateKey { line, .. }
            | Self::Merged { line, .. }
            | Self::Tag { line, .. }
            | Self::Ambiguous { line, .. }
            | Self::Templated { line }
            | Self::Shape { line, .. }
            | Self::Embedded { line, .. }
            | Self::Unsupported { line, .. } => *line += by,
            Self::SecondParser(_) | Self::BadPath { .. } | Self::NoDocument { .. } | Self::Oracle { .. } => {}
        }
        self
    }

    #[cfg(test)]
    /// The 1-based line of the refusal, where it has one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Bound { line, .. }
            | Self::NotUtf8 { line }
            | Self::Syntax { line, .. }
            | Self::ParsersDisagree { line }
            | Self::NotFound { line, .. }
            | Self::ManyMatches { line, .. }
            | Self::DuplicateKey { line, .. }
            | Self::Shared { line, .. }
            | Self::Alias { line, .. }
            | Self::Merged { line, .. }
            | Self::Tag { line, .. }
            | Self::Ambiguous { line, .. }
            | Self::Templated { line }
            | Self::Shape { line, .. }
            | Self::Embedded { line, .. }
            | Self::Unsupported { line, .. } => Some(*line),
            Self::SecondParser(source) => source.location().map(|at| at.line()),
            Self::BadPath { .. } | Self::NoDocument { .. } | Self::Oracle { .. } => None,
        }
    }
}
