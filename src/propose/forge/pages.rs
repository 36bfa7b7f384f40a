//! Lists that a forge gives page by page. A place and a query come in, every item goes out until somebody has seen
//! enough. Never more than [`PAGES_MAX`] pages: an endless list is an error, not an endless loop.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::error::{ForgeError, Trouble};
use super::reply::decoded;
use crate::outside::api::Api;

/// Most pages of one list.
const PAGES_MAX: usize = 40;

/// Hands every item of a list to `see`, page by page, until it breaks.
pub(super) async fn each<P: DeserializeOwned + IntoIterator<Item = T>, T>(
    api: &Api,
    what: &'static str,
    (path, query): (&[&str], &[(&str, &str)]),
    mut see: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), ForgeError> {
    let unanswered = |error| ForgeError::unanswered(what, error);
    let mut page = api.first_page(path, query).map_err(unanswered)?;
    for _ in 0..PAGES_MAX {
        let (reply, next) = api.page(&page).await.map_err(unanswered)?;
        for item in decoded::<P>(what, &reply, true)? {
            if see(item).is_break() {
                return Ok(());
            }
        }
        match next {
            Some(next) => page = next,
            None => return Ok(()),
        }
    }
    let why = format!("the list has more than {PAGES_MAX} pages");
    Err(ForgeError::refused_here(what, Trouble::Protocol, &why))
}
