//! What tars answers to a control under a pull request, as Markdown: the list of controls, and every "no" with what
//! to do instead. A control or a refusal comes in, text goes out. It mentions nobody, and no line of it is a command.

use super::escape;
use crate::model::control::{CONTROLS, Control, SNOOZE_MAX_S, SNOOZE_MIN_S, Unusable};
use crate::model::duration::format_s;
use crate::model::forge::Access;
use crate::model::ids::InstanceId;
use crate::model::playbook::PlaybookName;

/// Most characters of somebody's words in an answer.
const MAX_QUOTED_CHARS: usize = 80;

/// The list of controls, with what somebody of this access may use.
#[must_use]
pub fn help(access: Access, instance: &InstanceId) -> String {
    let mut text = String::from("| Comment | What it does | You |\n|---|---|---|\n");
    for (word, rest, what, needs) in CONTROLS {
        let space = if rest.is_empty() { "" } else { " " };
        let may = if access >= needs { "yes".to_owned() } else { format!("needs {}", needs.as_str()) };
        text.push_str(&format!("| `/tars {word}{space}{rest}` | {what} | {may} |\n"));
    }
    text.push_str(&format!(
        "\nOne command per comment, at the start of a line; an edited comment is not read. This is instance \
         `{instance}`: with `/tars@{instance}` only it is meant. Approve and merge with the buttons of the forge; to \
         close is to say no; a commit of yours on the branch makes it yours.\n"
    ));
    text
}

/// Why nothing was done.
#[must_use]
pub fn refusal(why: &Unusable) -> String {
    match why {
        Unusable::Unknown { word, near: Some(near) } => {
            format!("There is no {}. Did you mean `/tars {near}`?", quoted(word))
        }
        Unusable::Unknown { word, near: None } => {
            format!("There is no {}. The list: `/tars help`.", quoted(word))
        }
        Unusable::NeverByComment("merge") => {
            "Nothing merges by comment: a comment is not bound by the rules of the branch. Use the merge button."
                .to_owned()
        }
        Unusable::NeverByComment(_) => {
            "Nothing is approved by comment: it would not count for the rules of the branch. Approve in a review."
                .to_owned()
        }
        Unusable::NoDuration => "For how long? For example `/tars snooze 4h`.".to_owned(),
        Unusable::Duration { given } => {
            format!("{} is not a duration such as `30m`, `4h` or `1h30m`.", quoted(given))
        }
        Unusable::OutOfRange { given } => {
            let (least, most) = (format_s(SNOOZE_MIN_S), format_s(SNOOZE_MAX_S));
            format!("{} is out of range: from `{least}` to `{most}`.", quoted(given))
        }
        Unusable::Playbook { given, near: Some(near) } => {
            format!("There is no action {}. Did you mean `{near}`?", quoted(given))
        }
        Unusable::Playbook { given, near: None } => {
            let all: Vec<String> = PlaybookName::ALL.iter().map(|it| format!("`{}`", it.folder())).collect();
            format!("There is no action {}. There are {}.", quoted(given), all.join(", "))
        }
        Unusable::Surplus { control, given } => {
            format!("`/tars {control}` does not take {}. Nothing was done.", quoted(given))
        }
        Unusable::Several => {
            "More than one command in one comment. Nothing was done; write one comment for each.".to_owned()
        }
        Unusable::TooLong => "The command is too long. Nothing was done.".to_owned(),
    }
}

/// Why this person may not.
#[must_use]
pub fn not_allowed(control: &Control, access: Access) -> String {
    let (needs, has) = (control.needs().as_str(), access.as_str());
    format!(
        "`/tars {}` needs {needs} access to this repository, and tars can be sure of {has} access only. Nothing was \
         done.",
        control.word()
    )
}

/// Somebody's words as code, which no forge reads for mentions, links or commands.
fn quoted(words: &str) -> String {
    let code = escape::code_within(words, MAX_QUOTED_CHARS);
    if code.is_empty() { "such thing".to_owned() } else { format!("`{code}`") }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::model::control::{Asked, asked};
    use crate::model::forge::Comment;

    fn prod() -> InstanceId {
        InstanceId::new("prod-eu").unwrap()
    }

    /// As if a person had copied our words into a comment.
    fn read(body: &str) -> Asked {
        let comment = Comment {
            id: 1,
            by: "someone".to_owned(),
            is_bot: false,
            at: Timestamp::UNIX_EPOCH,
            is_edited: false,
            body: body.to_owned(),
        };
        asked(&comment, "tars-bot", Some(&prod()))
    }

    #[test]
    fn the_help_says_what_this_person_may_do() {
        let text = help(Access::Triage, &prod());
        for line in [
            "| `/tars hold [REASON]` | no automatic merge until `unhold`; the label `tars/hold` does the same | yes |",
            "| `/tars snooze DURATION [REASON]` | close, and do not propose this again for so long | needs write |",
            "with `/tars@prod-eu` only it is meant",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(help(Access::Write, &prod()).matches("| yes |").count(), CONTROLS.len());
        assert!(!text.contains("/tars merge") && !text.contains("/tars approve"));
    }

    #[test]
    fn a_refusal_says_what_to_do_instead() {
        for (line, expected) in [
            ("/tars holt", "There is no `holt`. Did you mean `/tars hold`?"),
            ("/tars merge", "Use the merge button."),
            ("/tars approve", "Approve in a review."),
            ("/tars snooze", "For example `/tars snooze 4h`."),
            ("/tars snooze 2d", "`2d` is not a duration such as"),
            ("/tars snooze 1s", "from `5m` to `720h`"),
            ("/tars explain --why-not x", "There are `scale-out`, `rollback`, `restart-pod`."),
            ("/tars refresh now", "`/tars refresh` does not take `now`."),
        ] {
            let Asked::Unusable(why) = read(line) else { panic!("{line}") };
            assert!(refusal(&why).contains(expected), "{line}: {}", refusal(&why));
        }
        let no = not_allowed(&Control::Revert, Access::Read);
        assert!(no.contains("`/tars revert` needs write access") && no.contains("read access only"), "{no}");
    }

    proptest! {
        #[test]
        fn an_answer_is_no_command_and_mentions_nobody(words in "[ -~\u{a0}-\u{24f}`@#<|\n]{0,60}") {
            let mut answers = vec![
                help(Access::Read, &prod()),
                not_allowed(&Control::Hold { reason: Some(words.clone()) }, Access::None),
                refusal(&Unusable::Several),
                refusal(&Unusable::TooLong),
                refusal(&Unusable::NoDuration),
                refusal(&Unusable::NeverByComment("merge")),
                refusal(&Unusable::NeverByComment("approve")),
            ];
            let given = || words.clone();
            for why in [
                Unusable::Unknown { word: given(), near: None },
                Unusable::Unknown { word: given(), near: Some("hold") },
                Unusable::Duration { given: given() },
                Unusable::OutOfRange { given: given() },
                Unusable::Playbook { given: given(), near: None },
                Unusable::Surplus { control: "refresh", given: given() },
            ] {
                answers.push(refusal(&why));
            }
            for answer in answers {
                prop_assert_eq!(read(&answer), Asked::Nothing, "{}", answer);
                // Outside of code spans there is none of somebody's words.
                let plain: String = answer.split('`').step_by(2).collect();
                prop_assert!(!plain.contains(['@', '#', '<']), "{}", answer);
                prop_assert!(answer.len() < 2_000);
            }
        }
    }
}
