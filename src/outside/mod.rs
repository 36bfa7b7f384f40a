//! Thin drivers for process, socket, file, clock and random: the only room that names them.
//! Plain strings and bytes come in and go out. No word of the domain appears here, and nothing is logged:
//! every failure is a value the caller must look at.

pub mod api;
pub mod clock;
pub mod command;
pub mod files;
mod gentle;
pub mod git;
pub mod helm;
pub mod http;
pub mod kube;
pub mod pager;
#[cfg(test)]
#[path = "../../tests/suite/support/ports.rs"]
pub mod ports;
pub mod protobuf;
pub mod random;
mod remembered;
pub mod secret;
pub mod sign;
pub mod system;
