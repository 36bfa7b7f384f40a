//! What can be wrong with a policy file, and how it looks: a code, a place, a sentence and a fix.
//! Places and texts come in, problems and their plain-text rendering go out. No colour and no terminal here.

use crate::model::ids::RepoPath;

use super::tree::Place;

/// Error: the document is not used. Warning: it is used, and may not do what its author expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemSeverity {
    Error,
    Warning,
}

/// One thing wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PolicyProblem {
    /// `TARS-P0xx`, a key of [`CODES`]; never renamed, never reused.
    pub code: &'static str,
    pub severity: ProblemSeverity,
    pub path: RepoPath,
    /// Both 1-based; the column counts characters.
    pub line: u32,
    pub column: u32,
    /// Characters to underline, at least 1.
    pub length: u32,
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl std::fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {} [{}]", self.path, self.line, self.column, self.message, self.code)
    }
}

/// The same name stands in an earlier file: neither a policy's budget nor its proposals could be told apart.
#[must_use]
pub fn duplicate_policy(path: &RepoPath, name: &str, first: &RepoPath) -> PolicyProblem {
    PolicyProblem {
        code: "TARS-P041",
        severity: ProblemSeverity::Error,
        path: path.clone(),
        line: 1,
        column: 1,
        length: 1,
        message: format!("policy {name} is declared in {first} already"),
        help: "give one of the two another metadata.name".to_owned(),
    }
}

/// A file below the policy folder that tars does not read. `folder` is the policy folder, `shown` the path as it
/// stands in git, which may be none that tars accepts.
#[must_use]
pub fn unread_policy(folder: &RepoPath, shown: &str, why: &str) -> PolicyProblem {
    PolicyProblem {
        code: "TARS-P043",
        severity: ProblemSeverity::Error,
        path: RepoPath::new(shown).unwrap_or_else(|_| folder.clone()),
        line: 1,
        column: 1,
        length: 1,
        message: format!("{} {why}", quoted(shown)),
        help: "keep policies in plain files of at most 256 KiB, with paths of letters, digits and ._-+@="
            .to_owned(),
    }
}

/// The file is a link: what it leads to may change without anybody reviewing a policy.
#[must_use]
pub fn linked_policy(path: &RepoPath) -> PolicyProblem {
    PolicyProblem {
        code: "TARS-P042",
        severity: ProblemSeverity::Error,
        path: path.clone(),
        line: 1,
        column: 1,
        length: 1,
        message: "the file is a symlink or a submodule, which is never followed".to_owned(),
        help: "put the policy itself here".to_owned(),
    }
}

/// Every code with its explanation, for `tars explain CODE`.
pub const CODES: &[(&str, &str)] = &[
    ("TARS-P001", "The file is not YAML. tars reads YAML 1.2 as Kubernetes does; keys must be plain text."),
    ("TARS-P002", "The file is too large (256 KiB) or is not UTF-8."),
    (
        "TARS-P003",
        "A key stands twice in the same mapping. Parsers disagree about which one wins, so neither does.",
    ),
    (
        "TARS-P004",
        "Anchors, aliases and tags are not used in policies: a reviewer must see each value where it counts.",
    ),
    (
        "TARS-P010",
        "The document looks like a policy, but its kind or apiVersion is not one this version reads.",
    ),
    ("TARS-P011", "A field that every policy needs is missing."),
    ("TARS-P012", "The value has the wrong type, for example text where a whole number is expected."),
    ("TARS-P013", "The value is not one of the values this field may have."),
    ("TARS-P014", "The number is outside the bounds of this field, or a list that needs an entry is empty."),
    ("TARS-P015", "The name breaks the rule for names of this sort. Kubernetes would refuse it as well."),
    (
        "TARS-P016",
        "The value is not a duration such as 90s, 10m or 1h30m, or is outside the bounds of this field.",
    ),
    ("TARS-P017", "Two policies in one file have the same name and namespace; the second one is not used."),
    (
        "TARS-P021",
        "No such field. Unknown fields are errors, because a mistyped limit would otherwise be no limit.",
    ),
    ("TARS-P022", "The field exists, but does not belong to a trigger or an action of this type."),
    (
        "TARS-P023",
        "The parameters of an action are given twice or contradict each other: use either the block named \
         after the action or the short form, and only one of step, factorPercent and queue.",
    ),
    ("TARS-P024", "maxReplicas is smaller than step: the action could never be taken."),
    ("TARS-P025", "A forecast trigger needs exactly one limit: above, or below."),
    (
        "TARS-P026",
        "A forecast of even odds is no reason to act, and none is ever surer than the errors of its own past allow: the \
         probability of a forecast trigger is more than 0.5 and at most 0.98.",
    ),
    (
        "TARS-P030",
        "dryRun: true means mode Observe. A policy that says both dryRun and another mode is ambiguous.",
    ),
    (
        "TARS-P031",
        "The policy's mode is AutoMerge, but this action is high risk and never merges by itself, whatever \
         the mode: a person merges it. The other actions of the policy are not affected.",
    ),
    (
        "TARS-P032",
        "No signal to verify with: name one under verify, unless an anomaly or forecast trigger already names it.",
    ),
    ("TARS-P033", "verify.within is shorter than verify.window: no verdict could ever be reached in time."),
    ("TARS-P034", "The same entry stands twice in a list."),
    ("TARS-P035", "The part of the repository that may be written is not a plain relative path."),
    ("TARS-P036", "The file of a writeTo entry is not a plain relative path."),
    ("TARS-P037", "A writeTo entry names a file that allowedPaths does not allow."),
    ("TARS-P038", "A writeTo entry names no field of its file."),
    ("TARS-P039", "A number written as text is digits, with one of m, k, M, G, Ki, Mi, Gi behind them."),
    ("TARS-P040", "The document is not a policy and is ignored."),
    (
        "TARS-P041",
        "Two files declare a policy of the same name. Names are unique in one repository: budgets count by name.",
    ),
    (
        "TARS-P042",
        "The file is a symlink or a submodule. Neither is followed: a policy stands where it is reviewed.",
    ),
    (
        "TARS-P043",
        "A file below the policy folder is not read: it is too large, or its path has characters that tars does \
         not accept. Were it left out in silence, a limit in it would be no limit.",
    ),
    (
        "TARS-P044",
        "tars reads this form from a file, but an API server has no schema for it: a resource as Kind/name, or a \
         number that is not whole and not in quotes. It matters only where the policy is also applied to a cluster.",
    ),
    (
        "TARS-P050",
        "A RemediationAction in a cluster shows what the ledger records; what it was proposed as never changes.",
    ),
];

/// Makes problems for one file.
#[derive(Debug)]
pub(super) struct Report<'a> {
    path: &'a RepoPath,
}

impl<'a> Report<'a> {
    pub(super) fn new(path: &'a RepoPath) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &RepoPath {
        self.path
    }

    pub(super) fn error(
        &self,
        code: &'static str,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> PolicyProblem {
        PolicyProblem {
            code,
            severity: ProblemSeverity::Error,
            path: self.path.clone(),
            line: place.line,
            column: place.column,
            length: place.length.max(1),
            message: message.into().chars().map(printable).collect(),
            help: help.into().chars().map(printable).collect(),
        }
    }

    pub(super) fn warning(
        &self,
        code: &'static str,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> PolicyProblem {
        PolicyProblem { severity: ProblemSeverity::Warning, ..self.error(code, place, message, help) }
    }
}

/// `text` for use inside a message: short, and without anything a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(printable).collect();
    if text.chars().count() > 60 {
        short.push_str("...");
    }
    short
}

/// Tabs keep their width of one so that the underline stays below its text.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        // Besides control characters: the bidirectional overrides that make source look like other source.
        c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
        c => c,
    }
}

/// Longest stretch of a source line that is shown, characters.
const MAX_SHOWN: usize = 160;

/// The problem in the look of rustc's diagnostics, as plain text with a final line break.
#[must_use]
pub fn render_problem(problem: &PolicyProblem, source_text: &str) -> String {
    let word = match problem.severity {
        ProblemSeverity::Error => "error",
        ProblemSeverity::Warning => "warning",
    };
    let number = problem.line.to_string();
    let gutter = " ".repeat(number.len());
    let index = usize::try_from(problem.line).unwrap_or(usize::MAX).saturating_sub(1);
    let line = source_text.lines().nth(index).unwrap_or_default();
    let shown: String = line.chars().take(MAX_SHOWN).map(printable).collect();
    let before = usize::try_from(problem.column).unwrap_or(1).saturating_sub(1).min(MAX_SHOWN);
    let room = shown.chars().count().saturating_sub(before).max(1);
    let carets = "^".repeat(usize::try_from(problem.length).unwrap_or(1).clamp(1, room));
    let indent = " ".repeat(before);
    let PolicyProblem { code, path, line, column, message, help, .. } = problem;
    format!(
        "{word}[{code}]: {message}\n\
         {gutter} --> {path}:{line}:{column}\n\
         {gutter} |\n\
         {number} | {shown}\n\
         {gutter} | {indent}{carets} {help}\n\
         {gutter} |\n\
         {gutter} = help: tars explain {code}\n"
    )
}
