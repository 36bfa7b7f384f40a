//! tars watches live metrics, decides with declared policies whether something known and bounded can be done
//! about an anomaly, and writes that remediation as a commit to the GitOps repository.
//!
//! ```text
//! observe -> detect -> decide -> render -> propose -> verify -> report
//!                        ^ ledger (git history as memory)
//! ```
//!
//! The rooms are private on purpose: the program is the interface, and an unused function is a warning.

mod cli;
mod config;
mod crd;
mod decide;
mod detect;
mod eval;
mod layout;
mod ledger;
mod model;
mod observe;
mod outside;
mod propose;
mod reconcile;
mod render;
mod report;
mod serve;
mod sops;
mod telemetry;
mod verify;
mod yaml;

/// Runs the command line and returns the process's exit code.
#[must_use]
pub fn main() -> std::process::ExitCode {
    cli::main()
}
