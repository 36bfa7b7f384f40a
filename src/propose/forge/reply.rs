//! An answer as what it should be. A reply comes in; the value goes out, or the forge's "no", or that it is none of its API.

use serde::de::DeserializeOwned;

use super::error::ForgeError;
use crate::outside::http::HttpReply;

/// The body of a success as `T`; anything else as an error. `is_read`: nothing was to be changed.
pub(super) fn decoded<T: DeserializeOwned>(
    what: &'static str,
    reply: &HttpReply,
    is_read: bool,
) -> Result<T, ForgeError> {
    if !(200..300).contains(&reply.status) {
        return Err(ForgeError::refused(what, reply, is_read));
    }
    serde_json::from_slice(&reply.body)
        .map_err(|error| ForgeError::unreadable(what, &error.to_string(), is_read))
}
