//! The words of a command. A line comes in, a control or what is wrong with it goes out; nothing is guessed.

use super::lines::{self, OwnLine};
use super::{
    Asked, COMMAND_BYTES_MAX, COMMENT_BYTES_MAX, CONTROLS, Control, REASON_CHARS_MAX, SNOOZE_MAX_S,
    SNOOZE_MIN_S, Unusable,
};
use crate::model::duration;
use crate::model::ids::InstanceId;
use crate::model::playbook::PlaybookName;

const ADDRESS: &str = "/tars";
/// What a comment can never do, whoever wrote it.
const NEVER: [&str; 2] = ["merge", "approve"];
/// Longest piece of somebody's words that is repeated, characters.
const GIVEN_CHARS_MAX: usize = 40;

/// The command of a whole comment.
pub fn read(body: &str, instance: Option<&InstanceId>) -> Asked {
    if body.len() > COMMENT_BYTES_MAX {
        return Asked::Nothing;
    }
    let text = lines::unified(body);
    let own = lines::own(&text);
    let mut commands = own.iter().filter_map(|line| addressed(line, instance));
    let Some(command) = commands.next() else { return Asked::Nothing };
    if commands.next().is_some() {
        return Asked::Unusable(Unusable::Several);
    }
    if command.len() > COMMAND_BYTES_MAX {
        return Asked::Unusable(Unusable::TooLong);
    }
    match control(command) {
        Ok(control) => Asked::Control(control),
        Err(why) => Asked::Unusable(why),
    }
}

/// What follows `/tars` or `/tars@INSTANCE`, when that is us.
fn addressed<'a>(line: &OwnLine<'a>, instance: Option<&InstanceId>) -> Option<&'a str> {
    let rest = line.text.strip_prefix(ADDRESS).filter(|_| line.is_plain)?;
    let (address, words) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
    let is_ours = address.is_empty()
        || address.strip_prefix('@').is_some_and(|name| instance.is_some_and(|it| it.as_str() == name));
    is_ours.then_some(words.trim())
}

fn control(words: &str) -> Result<Control, Unusable> {
    let (word, rest) = split(words);
    match word.to_ascii_lowercase().as_str() {
        "hold" => Ok(Control::Hold { reason: reason(rest) }),
        "unhold" => Ok(Control::Unhold { reason: reason(rest) }),
        "refresh" => alone(Control::Refresh, rest),
        "snooze" => snooze(rest),
        "explain" => explain(rest),
        "revert" => alone(Control::Revert, rest),
        // To call a name and say nothing is a question too.
        "help" | "" => alone(Control::Help, rest),
        other => Err(unknown(other)),
    }
}

fn unknown(word: &str) -> Unusable {
    match NEVER.iter().find(|it| **it == word) {
        Some(never) => Unusable::NeverByComment(never),
        None => Unusable::Unknown { word: given(word), near: near(word, CONTROLS.iter().map(|it| it.0)) },
    }
}

fn snooze(rest: &str) -> Result<Control, Unusable> {
    let (word, rest) = split(rest);
    if word.is_empty() {
        return Err(Unusable::NoDuration);
    }
    Ok(Control::Snooze { for_s: snooze_s(word)?, reason: reason(rest) })
}

fn snooze_s(word: &str) -> Result<u32, Unusable> {
    let for_s = duration::parse_s(word).map_err(|_| Unusable::Duration { given: given(word) })?;
    match for_s {
        SNOOZE_MIN_S..=SNOOZE_MAX_S => Ok(for_s),
        _ => Err(Unusable::OutOfRange { given: given(word) }),
    }
}

fn explain(rest: &str) -> Result<Control, Unusable> {
    let (option, value) = split(rest);
    let (option, value) = option.split_once('=').unwrap_or((option, value));
    let surplus = || Unusable::Surplus { control: "explain", given: given(rest) };
    match (option, value) {
        ("", "") => Ok(Control::Explain { why_not: None }),
        ("--why-not", value) if !value.is_empty() => {
            let (name, more) = split(value);
            if !more.is_empty() {
                return Err(surplus());
            }
            Ok(Control::Explain { why_not: Some(playbook(name)?) })
        }
        _ => Err(surplus()),
    }
}

/// `ScaleOut` as the policies spell it, or `scale-out`.
fn playbook(name: &str) -> Result<PlaybookName, Unusable> {
    let plain = |text: &str| text.replace('-', "").to_ascii_lowercase();
    let wanted = plain(name);
    let found = PlaybookName::ALL.into_iter().find(|it| plain(it.as_str()) == wanted);
    found.ok_or_else(|| {
        let near = near(&name.to_ascii_lowercase(), PlaybookName::ALL.iter().map(|it| it.folder()));
        Unusable::Playbook { given: given(name), near }
    })
}

fn alone(control: Control, rest: &str) -> Result<Control, Unusable> {
    if rest.is_empty() {
        return Ok(control);
    }
    Err(Unusable::Surplus { control: control.word(), given: given(rest) })
}

/// A box in the body that somebody ticked.
pub fn ticked(line: &str) -> Option<Control> {
    let line = ["- [x] ", "- [X] "].iter().find_map(|box_| line.strip_prefix(box_))?;
    let (marker, _) = line.strip_prefix("<!-- tars:")?.split_once(" -->")?;
    match marker.split_once('=') {
        None if marker == "refresh" => Some(Control::Refresh),
        Some(("snooze", length)) => {
            snooze_s(length).ok().map(|for_s| Control::Snooze { for_s, reason: None })
        }
        _ => None,
    }
}

/// The first word and what follows it.
fn split(words: &str) -> (&str, &str) {
    let (word, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    (word, rest.trim_start())
}

fn reason(words: &str) -> Option<String> {
    (!words.is_empty()).then(|| cut(words, REASON_CHARS_MAX))
}

fn given(words: &str) -> String {
    cut(words, GIVEN_CHARS_MAX)
}

fn cut(words: &str, chars_max: usize) -> String {
    let visible = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(chars_max).collect()
}

/// The closest of the known words, when at most a third of its letters are wrong.
fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let closest = known.map(|it| (strsim::damerau_levenshtein(word, it), it)).min()?;
    (closest.0 <= (closest.1.len() / 3).max(1)).then_some(closest.1)
}
