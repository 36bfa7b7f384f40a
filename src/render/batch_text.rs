//! One pull request for several actions on one branch: a table of them, then the text of each. Records in the order
//! of their commits come in, bounded text goes out. What a record says stands in it as it was written there.

use super::escape::{code, inline, one_line};
use super::pull_request::{MAX_BODY_CHARS, MAX_TITLE_CHARS};
use super::text;
use crate::model::action::RemediationAction;
use crate::model::change::PullRequestText;

/// Title and body for the actions of one branch.
#[must_use]
pub fn batch(line: &[&RemediationAction]) -> PullRequestText {
    let targets: Vec<String> =
        line.iter().map(|it| format!("{}/{}", it.spec.target.namespace, it.spec.target.name)).collect();
    let title = format!("tars: {} remediations ({})", line.len(), targets.join(", "));
    let mut body = format!(
        "> [!IMPORTANT]\n> **Waiting for you.** {} actions on one branch, one commit each.\n\n\
         | | Action | Risk | Commit |\n|---|---|---|---|\n",
        line.len()
    );
    for (index, record) in line.iter().enumerate() {
        body.push_str(&format!(
            "| {} | {} | {} | `{}` |\n",
            index + 1,
            inline(&one_line(&text::what(record), MAX_TITLE_CHARS)),
            text::risk_word(record.spec.risk.class),
            commit(record)
        ));
    }
    body.push_str(
        "\nMerge = yes to all of them; bringing in only the first commits is yes to those. Each commit can be\n\
         reverted by itself. Close = no to all. Push a commit to the branch = tars stops touching it.\n",
    );
    for (index, record) in line.iter().enumerate() {
        let own = record.spec.pull_request.as_ref();
        let heading = own.map_or_else(|| text::what(record), |it| it.title.clone());
        let heading = format!("\n## {}. {}\n\n", index + 1, inline(&heading));
        let room = MAX_BODY_CHARS.saturating_sub(body.chars().count() + heading.chars().count());
        body.push_str(&heading);
        match own.filter(|it| it.body.chars().count() + left_for(line.len() - index) <= room) {
            Some(own) => body.push_str(own.body.trim_end()),
            None => body.push_str(&format!("No room for its text here: `git show {}`", commit(record))),
        }
        body.push('\n');
    }
    PullRequestText { title: one_line(&title, MAX_TITLE_CHARS), body }
}

/// Characters that the headings of the actions after this one need at least.
fn left_for(actions: usize) -> usize {
    /// A heading, and the line that stands for a text without room.
    const SHORTEST_SECTION_CHARS: usize = MAX_TITLE_CHARS * 5 + 200;
    actions * SHORTEST_SECTION_CHARS
}

fn commit(record: &RemediationAction) -> String {
    record.spec.change.as_ref().map_or_else(String::new, |it| code(it.head.short()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{at, proposed, target};

    fn records(count: u64, body: &str) -> Vec<RemediationAction> {
        (0..count)
            .map(|number| {
                let mut it = proposed("p", &target(&format!("shop/Deployment/w{number}")), number, at(0));
                let title = format!("tars: scale out shop/w{number}");
                it.spec.pull_request = Some(PullRequestText { title, body: body.to_owned() });
                it
            })
            .collect()
    }

    #[test]
    fn every_action_has_a_row_and_its_own_text() {
        let records = records(3, "BODY\n");
        let text = batch(&records.iter().collect::<Vec<_>>());
        assert_eq!(text.title, "tars: 3 remediations (shop/w0, shop/w1, shop/w2)");
        assert_eq!(text.body.matches("BODY").count(), 3);
        assert!(
            text.body.contains("| 2 | Scale out shop/w1 from 3 to 5 replicas | low | `"),
            "{}",
            text.body
        );
        assert!(text.body.contains("\n## 3. tars: scale out shop/w2\n\nBODY\n"), "{}", text.body);
    }

    #[test]
    fn fifty_long_texts_stay_below_what_a_forge_takes_and_every_action_is_named() {
        let records = records(50, &"x".repeat(40_000));
        let text = batch(&records.iter().collect::<Vec<_>>());
        assert!(text.body.chars().count() <= MAX_BODY_CHARS, "{}", text.body.chars().count());
        assert!(text.title.chars().count() <= MAX_TITLE_CHARS + 1);
        assert!(text.body.contains("## 50. tars: scale out shop/w49"), "{}", text.body);
    }
}
