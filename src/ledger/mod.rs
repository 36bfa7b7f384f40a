//! Git history as memory: grammar of an entry, the fold of entries into a history, and the audit of both.
//! Entries come in, a history or a violation goes out. It never reads git itself and never asks for the time.

mod audit;
mod checkpoint;
mod files;
mod fold;
mod grammar;
mod rules;

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod grammar_tests;
#[cfg(test)]
mod scripted;

pub use audit::{AuditReport, MainCommit, audit};
pub use checkpoint::{
    CheckpointError, MAX_CHECKPOINT_BYTES, checkpoint_due, checkpoint_file, from_json, to_json,
};
pub use files::{
    MAX_RECORD_BYTES, RecordError, files, paths, record_from_yaml, request_file, request_from_yaml,
    request_path,
};
pub use fold::{Draft, fold, next_envelope, next_seq, step};
pub use grammar::{GrammarError, message, parse_message};
pub use rules::{Rule, Violation, check_not_future};

#[cfg(test)]
pub use files::record_to_yaml;
#[cfg(test)]
pub use rules::FUTURE_LIMIT_S;
