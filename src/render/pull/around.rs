//! What a pull request says about another one: a revert about what it takes back, and that one about the revert.
//! Records and addresses come in; one short paragraph of Markdown goes out.

use super::context::Canvas;
use crate::model::action::{ActionState, Purpose, RemediationAction};
use crate::model::ids::ActionId;
use crate::render::escape::inline_within;
use crate::render::text;

/// Longest address that becomes a link, bytes.
const MAX_ADDRESS_BYTES: usize = 300;

/// What a text may name beside its own records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// What the actions of this pull request take back.
    pub undone: &'a [&'a RemediationAction],
    /// Addresses of pull requests, by action.
    pub pulls: &'a [(ActionId, String)],
}

impl Around<'_> {
    /// `act-0123456789ab`, or a link with that text.
    pub fn named(&self, id: &ActionId) -> String {
        let found = self.pulls.iter().find(|(action, _)| action == id);
        match found.map(|(_, address)| address.as_str()).filter(|address| is_address(address)) {
            Some(address) => format!("[`{id}`]({address})"),
            None => format!("`{id}`"),
        }
    }
}

/// Could nothing in it end a link?
fn is_address(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~:/?#@!&+,;=%".contains(&c);
    text.len() <= MAX_ADDRESS_BYTES
        && (text.starts_with("https://") || text.starts_with("http://"))
        && text.bytes().all(plain)
}

/// What was expected and what happened, for a revert; what took it back, for an action that was. Empty otherwise.
pub fn related(record: &RemediationAction, around: &Around<'_>, canvas: Canvas<'_>) -> String {
    let inline = |text: &str| inline_within(text, canvas.form.inline_chars);
    if let (ActionState::Reverted | ActionState::Expired, Some(by)) =
        (record.state(), &record.status.undone_by)
    {
        return format!("Taken back by {}.", around.named(by));
    }
    let (Purpose::Revert { of } | Purpose::Expire { of }) = &record.spec.purpose else {
        return String::new();
    };
    let name = around.named(of);
    let verdict = around.undone.iter().find(|it| it.id() == of).and_then(|it| it.status.verdict.as_ref());
    match verdict {
        Some(verdict) => format!(
            "Takes back {name}. Expected was {}. What happened: {}.",
            inline(&text::verify(record)),
            inline(verdict.text.trim_end_matches('.'))
        ),
        None => format!("Takes back {name}."),
    }
}
