//! The line of `tars check` about the calls between services: what is declared, and what Jaeger adds to it. Settings come in,
//! a line goes out, if there is something to say.

use super::checklist::{Line, pass, warn};
use super::failure::Failure;
use super::output::counted;
use super::settings;
use crate::config::Settings;
use crate::model::causes::causes;
use crate::model::services::ServiceGraph;
use crate::observe::calls::CallSource as _;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::reconcile::calls::LOOK_BACK_S;

/// # Errors
/// When Jaeger cannot even be set up.
pub async fn check(settings: &Settings) -> Result<Option<Line>, Failure> {
    let declared = ServiceGraph::joined(&settings.calls, []).calls();
    let said = format!("{} declared", counted(declared, "call", "calls"));
    let Some(jaeger) = settings::jaeger(&settings.watching)? else {
        return Ok((!settings.calls.is_empty()).then(|| pass("services", said)));
    };
    let seen = match jaeger.seen(SystemClock.now(), LOOK_BACK_S).await {
        Ok(seen) => seen,
        Err(error) => {
            let fix = "check jaeger.url; until it answers, only what is declared is known after a start";
            return Ok(Some(warn("services", format!("{said}; Jaeger: {}", causes(&error)), fix)));
        }
    };
    let more = ServiceGraph::joined(&settings.calls, &seen.calls).calls() - declared;
    let left_out = match seen.names_left_out {
        0 => String::new(),
        it => format!("; {} no signal can have left out", counted(it, "name that", "names that")),
    };
    let of = "that Jaeger saw in the last day (tars source calls --window 1d)";
    Ok(Some(pass("services", format!("{said}, {more} more {of}{left_out}"))))
}
