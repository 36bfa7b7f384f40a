//! Waits for Helm where a command asks about charts. A question that needs rendered charts comes in, its last
//! answer goes out.

use super::failure::{Failure, Kind};
use crate::observe::charts::Charts;

/// Asks until Helm has rendered everything that the answer needs.
///
/// # Errors
/// When no runtime can be started.
pub fn settled<T>(charts: &Charts, answer: impl FnMut() -> T) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    Ok(runtime.block_on(charts.settle(answer)))
}
