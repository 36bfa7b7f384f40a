//! What tars answers over HTTP/1: webhooks in; predictions, metrics and health out. In go a listening
//! address and a backend the caller implements, out comes a bounded server. No scoring, no disk and no verb
//! about the repository lives here.

mod anomalies;
pub mod door;
mod hooks;
mod listener;
mod predict;
mod problem;
mod routes;
pub mod server;
mod write;

#[cfg(test)]
mod hooks_tests;
#[cfg(test)]
mod tests;
