//! Writes about ourselves: pushed scores, the actions as objects of a cluster, the status of policies there. Records and metrics
//! come in, messages go out. It never decides, and a message that cannot be delivered never stops the work
//! it is about.

pub mod actions;
pub mod events;
pub mod lease;
pub mod policies;
mod projection;
pub mod pushgateway;
pub mod refresh;
pub mod remote_write;

#[cfg(feature = "cluster-tests")]
#[cfg(test)]
mod server_tests;
