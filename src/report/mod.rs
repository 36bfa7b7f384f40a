//! Writes about ourselves: pushed scores, and the actions as objects of a cluster. Records and metrics
//! come in, messages go out. It never decides, and a message that cannot be delivered never stops the work
//! it is about.

pub mod actions;
pub mod pushgateway;
pub mod remote_write;

#[cfg(test)]
mod server_tests;
