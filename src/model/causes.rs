//! An error with everything below it, in one line. An error comes in, text goes out; nothing is translated or cut.

use std::error::Error;

/// The message and those of its causes, outermost first, joined by `: `.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}
