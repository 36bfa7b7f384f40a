//! Writes about ourselves: pushed scores and, later, conditions, Events and notices. Records and metrics
//! come in, messages go out. It never decides, and a message that cannot be delivered never stops the work
//! it is about.

pub mod pushgateway;
