//! The one integration binary: house rules, documents, supply chain, and the program seen from outside.
//! Comes in: the checked-out tree and the built `tars`. Never: a network address beyond loopback, a real
//! home folder, or a file written outside a temporary folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a panic is a failed test, and the suite plays the outside world itself"
)]

mod architecture;
mod audit;
mod charts;
mod cli;
mod commands;
mod demo;
mod detection;
mod forge;
mod git;
mod github;
mod hostile;
mod install;
mod layouts;
mod live;
mod preview;
mod race;
mod readme;
mod roles;
mod scoring;
mod sops;
mod sources;
mod supply_chain;
mod support;
