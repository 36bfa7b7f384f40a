//! One pull request for several actions on one branch: a table of them, then the text of each. Records in the order
//! of their commits come in, bounded text goes out. What a record says stands in it as it was written there.

use super::{BOXES, MAX_TITLE_CHARS};
use crate::model::action::RemediationAction;
use crate::model::change::PullRequestText;
use crate::model::forge::ForgeCapabilities;
use crate::render::escape::{inline_within, title};
use crate::render::text;

/// Longest row of the table, heading and stand-in for a text, characters.
const MAX_LINE_CHARS: usize = 240;
/// What comes before and after the table.
const MAX_FRAME_CHARS: usize = 1_000;

/// Title and body for the actions of one branch, for a forge. An action without a text of its
/// own, and one whose text has no room, is named.
#[must_use]
pub fn batch(
    line: &[(&RemediationAction, Option<PullRequestText>)],
    caps: &ForgeCapabilities,
) -> PullRequestText {
    let chars_max = caps.body_chars_max;
    let target = |it: &RemediationAction| format!("{}/{}", it.spec.target.namespace, it.spec.target.name);
    let targets: Vec<String> = line.iter().map(|(it, _)| target(it)).collect();
    let heading = format!("tars: {} remediations ({})", line.len(), targets.join(", "));
    let mut body = String::new();
    if let Some((first, _)) = line.first() {
        body.push_str(&format!("<!-- tars:v1 actions={} first={} -->\n", line.len(), first.id()));
    }
    if caps.callouts {
        body.push_str("> [!IMPORTANT]\n");
    }
    body.push_str(&format!(
        "> **Waiting for you.** {} actions on one branch, one commit each.\n\n\
         | | Action | Risk | Commit |\n|---|---|---|---|\n",
        line.len()
    ));
    let rows = line.len().min(chars_max.saturating_sub(MAX_FRAME_CHARS) / MAX_LINE_CHARS);
    for (index, (record, _)) in line[..rows].iter().enumerate() {
        body.push_str(&format!(
            "| {} | {} | {} | `{}` |\n",
            index + 1,
            inline_within(&text::what(record), MAX_TITLE_CHARS),
            text::risk_word(record.spec.risk.class),
            commit(record)
        ));
    }
    if rows < line.len() {
        body.push_str(&format!("\nAnd {} more; the commits name them all.\n", line.len() - rows));
    }
    body.push_str(
        "\nMerge = yes to all of them; bringing in only the first commits is yes to those. Each commit can be\n\
         reverted by itself. Close = no to all. Push a commit to the branch = tars stops touching it.\n",
    );
    if caps.checkboxes {
        body.push_str(&format!("\n{BOXES}\n"));
    }
    for (index, (record, own)) in line.iter().enumerate() {
        let rest = MAX_LINE_CHARS.saturating_mul(line.len() - index - 1);
        let room = chars_max.saturating_sub(body.chars().count() + rest);
        body.push_str(&section(index + 1, record, own.as_ref(), room));
    }
    PullRequestText { title: title(&heading, MAX_TITLE_CHARS), body }
}

/// What one action says, when there is `room` for it; otherwise where it is said; otherwise nothing.
fn section(number: usize, record: &RemediationAction, own: Option<&PullRequestText>, room: usize) -> String {
    let heading = own.map_or_else(|| text::what(record), |it| it.title.clone());
    let heading = format!("\n## {number}. {}\n\n", inline_within(&heading, MAX_TITLE_CHARS));
    let whole = own.map(|own| format!("{heading}{}\n", inside(&own.body)));
    let instead = format!("{heading}No room for its text here: `git show {}`\n", commit(record));
    let fits = |it: &String| it.chars().count() <= room;
    whole.filter(fits).or_else(|| Some(instead).filter(fits)).unwrap_or_default()
}

/// A body without the lines that only machines read.
fn inside(body: &str) -> &str {
    let body = match body.split_once('\n') {
        Some((first, rest)) if first.starts_with("<!-- tars:v1 ") => rest,
        _ => body,
    };
    let body = body.trim_end();
    match body.rsplit_once('\n') {
        Some((rest, last)) if last.starts_with("<!-- tars-data:") => rest.trim_end(),
        _ => body,
    }
}

fn commit(record: &RemediationAction) -> &str {
    record.spec.change.as_ref().map_or("", |it| it.head.short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{at, proposed, target};

    fn records(count: u64) -> Vec<RemediationAction> {
        let one = |number| proposed("p", &target(&format!("shop/Deployment/w{number}")), number, at(0));
        (0..count).map(one).collect()
    }

    fn with<'a>(
        records: &'a [RemediationAction],
        body: &str,
    ) -> Vec<(&'a RemediationAction, Option<PullRequestText>)> {
        let title = |it: &RemediationAction| format!("tars: scale out shop/{}", it.spec.target.name);
        let own = |it| Some(PullRequestText { title: title(it), body: body.to_owned() });
        records.iter().map(|it| (it, own(it))).collect()
    }

    #[test]
    fn every_action_has_a_row_and_its_own_text() {
        let records = records(3);
        let text = batch(
            &with(&records, "<!-- tars:v1 x -->\nBODY\n<!-- tars-data:eA== -->\n"),
            &ForgeCapabilities::LOCAL,
        );
        assert_eq!(text.title, "tars: 3 remediations (shop/w0, shop/w1, shop/w2)");
        assert_eq!(text.body.matches("BODY\n").count(), 3);
        assert_eq!(text.body.matches("<!--").count(), 1, "{}", text.body);
        assert!(
            text.body.contains("| 2 | Scale out shop/w1 from 3 to 5 replicas | low | `"),
            "{}",
            text.body
        );
    }

    #[test]
    fn fifty_long_texts_stay_below_what_a_forge_takes_and_every_action_is_named() {
        let records = records(50);
        let text = batch(&with(&records, &"x".repeat(40_000)), &ForgeCapabilities::LOCAL);
        assert!(
            text.body.chars().count() <= ForgeCapabilities::LOCAL.body_chars_max,
            "{}",
            text.body.chars().count()
        );
        assert!(text.title.chars().count() <= MAX_TITLE_CHARS + 1);
        assert!(text.body.contains("## 50. tars: scale out shop/w49"), "{}", text.body);
    }

    #[test]
    fn a_forge_that_takes_little_gets_as_many_rows_as_fit() {
        let records = records(50);
        for chars_max in [1_900, 4_000, 10_239] {
            let caps = ForgeCapabilities { body_chars_max: chars_max, ..ForgeCapabilities::LOCAL };
            let text = batch(&with(&records, &"x".repeat(40_000)), &caps);
            assert!(text.body.chars().count() <= chars_max, "{}", text.body.chars().count());
            assert!(text.body.contains("the commits name them all"), "{}", text.body);
        }
    }
}
