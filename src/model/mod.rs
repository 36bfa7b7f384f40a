//! The nouns: plain values with checked constructors. What stages exchange lives here and nowhere else.
//! Nothing comes in and nothing goes out: no clock, no file, no socket, no log line, no async.

pub mod action;
pub mod alert;
pub mod anomaly;
pub mod batch;
pub mod causes;
pub mod change;
pub mod control;
pub mod correlation;
pub mod decision;
pub mod delivery;
pub mod duration;
pub mod entry;
pub mod forecast;
pub mod forge;
pub mod history;
pub mod ids;
pub mod limits;
pub mod playbook;
pub mod policy;
pub mod pushed;
pub mod reason;
pub mod request;
pub mod rival;
pub mod selector;
pub mod services;
pub mod shard;
pub mod signal;
pub mod suspension;
pub mod trailers;
pub mod tree;
pub mod verdict;
pub mod workload;

#[cfg(test)]
pub mod fixtures;
