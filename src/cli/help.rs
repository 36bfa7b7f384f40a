//! What the help says beside the arguments: verbs by what a person wants to do, examples that can be pasted, and
//! the line that is shown while a verb works. A verb that is in no group still stands in the help.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory as _};

use super::args::{Cli, Verb};

/// Verbs by purpose, in the order of the help.
const GROUPS: [(&str, &[&str]); 3] = [
    (
        "Look commands",
        &["status", "get", "explain", "log", "tree", "audit", "source", "record", "label", "eval"],
    ),
    ("Act commands", &["run", "render", "diff", "suspend", "resume", "snooze", "revert"]),
    (
        "Setup commands",
        &["demo", "init", "check", "forge", "policy", "config", "sops", "completion", "version"],
    ),
];
const OTHERS: &str = "Other commands";

/// A verb, as typed, and its examples: a command and what it is for.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "demo",
        &[
            ("tars demo", "the whole loop in seconds, nothing needed"),
            ("tars demo storm --keep storm", "keep what it made, to look around in"),
        ],
    ),
    (
        "init",
        &[
            ("tars init gitops --dry-run", "what it finds and would offer, nothing written"),
            ("tars init gitops", "push the branch tars/onboarding"),
        ],
    ),
    (
        "run",
        &[
            ("tars run --config tars.yaml", "watch, decide, propose, verify; Ctrl-C ends it"),
            ("tars run --once --mode observe", "one look, and write down what it would do"),
        ],
    ),
    (
        "status",
        &[
            ("tars status -C gitops", "what is open in this clone, and what needs you"),
            ("tars status -C gitops -n shop", "only what concerns one namespace"),
        ],
    ),
    (
        "get",
        &[
            ("tars get proposals -C gitops", "every proposal and where it stands"),
            ("tars get proposal last -C gitops", "the text of the newest pull request"),
            ("tars get rem -C gitops -l verdict=Worse", "what made it worse"),
        ],
    ),
    (
        "explain",
        &[
            ("tars explain last -C gitops", "the newest action, from the signal to the verdict"),
            ("tars explain shop/Deployment/checkout -C gitops --why-not Rollback", "why not that"),
            ("tars explain CooldownActive", "what a reason means"),
        ],
    ),
    (
        "log",
        &[
            ("tars log -C gitops", "every step tars took, newest first"),
            ("tars log -C gitops --target shop/Deployment/checkout -o json", "for a program"),
        ],
    ),
    (
        "eval",
        &[
            ("tars eval labelled", "every data set, three detectors"),
            ("tars eval labelled --models batch,ewma --every 60 --csv figures.csv", "the ensemble, thinned"),
            (
                "tars eval labelled --causes --services tars.yaml",
                "who names the root cause, with which calls",
            ),
            (
                "tars eval labelled --ahead",
                "how far off forecasts are, and how often the truth is in their interval",
            ),
            ("tars eval labelled --report detection.md", "a page with tables, and pictures of ten incidents"),
        ],
    ),
    (
        "source query",
        &[
            ("tars source query", "every signal of the settings: series, gaps, season"),
            ("tars source query --signal latency_p95 -o json", "one of them, for a program"),
            ("tars source query --ask 'up{job=\"api\"}' --step 1m", "a query that is no signal yet"),
        ],
    ),
    ("source calls", &[("tars source calls", "which service calls which, as Jaeger has seen it")]),
    (
        "record",
        &[
            ("tars record labelled", "the windows of all signals; again later adds what is new"),
            ("tars record labelled --signal latency_p95", "one signal only"),
        ],
    ),
    (
        "label",
        &[
            ("tars label labelled -C gitops", "1 where an action helped, 0 where a person closed one"),
            ("tars label labelled -C gitops --dry-run", "what it would set"),
        ],
    ),
    (
        "tree",
        &[("tars tree shop/Deployment/checkout -C gitops", "its files, and where replicas are written")],
    ),
    (
        "render",
        &[
            ("tars render ScaleOut --target shop/Deployment/checkout -C gitops", "the diff"),
            (
                "tars render RestartPod --target shop/Deployment/web --set maxPods=1 --what all",
                "without a policy, with commit and pull request",
            ),
        ],
    ),
    (
        "diff",
        &[
            ("tars diff -C gitops", "what every policy would change now"),
            ("tars diff checkout-latency -C gitops", "one policy; exit code 1 when something would change"),
        ],
    ),
    (
        "suspend",
        &[
            ("tars suspend --reason incident -C gitops", "nothing merges by itself any more, at once"),
            ("tars suspend --for 2h --reason load-test", "for two hours"),
            ("tars suspend checkout-latency --reason tuning --review", "one policy, after a review"),
        ],
    ),
    (
        "resume",
        &[
            ("tars resume -C gitops", "a branch that ends the stop once merged"),
            ("tars resume checkout-latency --push", "one policy, at once"),
        ],
    ),
    (
        "snooze",
        &[
            ("tars snooze act-0123456789ab --for 4h --reason known", "close it, and quiet about its cause"),
            ("tars snooze shop/Deployment/checkout --for 30m --reason load-test", "one target"),
            ("tars snooze checkout-latency --off", "end the quiet of a policy"),
        ],
    ),
    (
        "revert",
        &[
            ("tars revert act-0123456789ab --reason wrong", "open the proposal that undoes it"),
            ("tars revert shop/Deployment/checkout --dry-run", "what would go back"),
        ],
    ),
    (
        "check",
        &[
            ("tars check --config tars.yaml", "settings, keys, git, policies, Prometheus, clock"),
            ("tars check --timeout 30s -o json", "for a monitor"),
        ],
    ),
    (
        "audit verify",
        &[("tars audit verify -C gitops --allowed-signers allowed", "trust nobody: check every entry")],
    ),
    ("policy lint", &[("tars policy lint policies", "line, column and fix of every mistake below a folder")]),
    (
        "policy schema",
        &[
            ("tars policy schema > policy.schema.json", "for an editor that completes and checks"),
            ("tars policy schema --crd", "the custom resource definitions, for kubectl apply"),
        ],
    ),
    ("config view", &[("tars config view --config tars.yaml", "what counts, after environment and flags")]),
    ("config validate", &[("tars config validate --config tars.yaml", "before a roll-out")]),
    ("forge check", &[("tars forge check", "what would keep pull requests from merging by themselves")]),
    (
        "forge login",
        &[
            ("tars forge login < token", "is the token good? Then keep it, for its owner only"),
            ("tars forge login --from /run/secrets/token", "the same from a file"),
        ],
    ),
    (
        "forge webhook-test",
        &[
            ("tars forge webhook-test", "does the running tars hear the forge?"),
            (
                "tars forge webhook-test --to https://tars.example.com/webhook/forge",
                "also through the ingress",
            ),
        ],
    ),
    ("forge prs", &[("tars forge prs", "open pull requests of tars, with their checks")]),
    (
        "sops check",
        &[
            ("tars sops check", "every SOPS file below this folder"),
            ("tars sops check --commit main -C gitops", "as they are on a branch"),
        ],
    ),
    ("sops diff", &[("tars sops diff HEAD:secret.yaml secret.yaml", "which keys, never which values")]),
    (
        "sops set",
        &[(
            "tars sops set secret.yaml stringData.password < new > changed.yaml",
            "one value, all other bytes as they were",
        )],
    ),
    ("completion", &[("source <(tars completion bash)", "for this shell")]),
];

/// The command line with groups and examples.
#[must_use]
pub fn command() -> Command {
    let mut command = Cli::command();
    let template = template(&command);
    for (path, examples) in EXAMPLES {
        let words: Vec<&str> = path.split(' ').collect();
        command = with_examples(command, &words, examples);
    }
    command.help_template(template)
}

fn with_examples(command: Command, path: &[&str], examples: &[(&str, &str)]) -> Command {
    match path {
        [] => command.after_help(shown(examples)),
        [first, rest @ ..] if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(*first, |it| with_examples(it, rest, examples))
        }
        _ => command,
    }
}

fn shown(examples: &[(&str, &str)]) -> StyledStr {
    let mut text = heading("Examples");
    for (line, what) in examples {
        let _ = write!(text, "\n  # {what}\n  {line}");
    }
    text.into()
}

/// As clap writes its own headings; taken out again where there is no colour.
fn heading(text: &str) -> String {
    let style = anstyle::Style::new().bold().underline();
    format!("{style}{text}:{style:#}")
}

fn template(command: &Command) -> StyledStr {
    let verbs: Vec<&Command> = command.get_subcommands().filter(|it| !it.is_hide_set()).collect();
    let width = verbs.iter().map(|it| it.get_name().len()).max().unwrap_or_default();
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others: Vec<&str> = verbs.iter().map(|it| it.get_name()).filter(|it| !grouped(it)).collect();
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS.iter().copied().chain([(OTHERS, &others[..])]) {
        let known = names.iter().filter_map(|name| verbs.iter().find(|it| it.get_name() == *name));
        let rows: Vec<String> = known
            .map(|it| {
                let (name, bold) = (it.get_name(), anstyle::Style::new().bold());
                let about = it.get_about().map(ToString::to_string).unwrap_or_default();
                format!("  {bold}{name}{bold:#}{}  {about}\n", " ".repeat(width - name.len()))
            })
            .collect();
        if !rows.is_empty() {
            let _ = write!(text, "\n{}\n{}", heading(title), rows.concat());
        }
    }
    let _ = write!(text, "\n{}\n{{options}}{{after-help}}", heading("Options"));
    text.into()
}

/// What to say while a verb works; `None` for one that speaks as it goes, or waits for nothing.
#[must_use]
pub fn waiting_for(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Status(_) | Verb::Get(_) | Verb::Explain(_) | Verb::Log(_) => Some("reading the ledger"),
        Verb::Tree(_) | Verb::Render(_) | Verb::Diff(_) => Some("reading the repository"),
        Verb::Init(_) => Some("looking through the repository"),
        Verb::Suspend(_) | Verb::Resume(_) => Some("asking the remote"),
        Verb::Snooze(_) | Verb::Revert(_) => Some("reading the ledger"),
        Verb::Check(_) => Some("trying everything tars needs"),
        Verb::Audit(_) => Some("checking the audit trail"),
        Verb::Eval(_) => Some("scoring the series"),
        Verb::Source(_) | Verb::Record(_) => Some("asking the sources"),
        Verb::Label(_) => Some("reading the ledger"),
        Verb::Forge(_) => Some("asking the forge"),
        Verb::Policy(_) | Verb::Sops(_) => Some("reading the files"),
        Verb::Demo(_) | Verb::Run(_) | Verb::Config(_) | Verb::Completion { .. } | Verb::Version => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_one_group_and_no_group_names_a_verb_that_is_gone() {
        let command = Cli::command();
        let mut verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        verbs.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, verbs);
    }

    #[test]
    fn every_verb_has_an_example_and_every_example_is_understood() {
        let with = |name: &str| EXAMPLES.iter().any(|(path, _)| path.split(' ').next() == Some(name));
        let bare: Vec<String> = Cli::command()
            .get_subcommands()
            .map(|it| it.get_name().to_owned())
            .filter(|name| name != "version" && !with(name))
            .collect();
        assert!(bare.is_empty(), "no example: {bare:?}");
        for (path, examples) in EXAMPLES {
            for (line, _) in *examples {
                let words: Vec<&str> = line
                    .split([' ', '(', ')'])
                    .skip_while(|word| *word != "tars")
                    .take_while(|word| !["<", ">"].contains(word))
                    .filter(|word| !word.is_empty())
                    .collect();
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(words[1..].join(" ").starts_with(path), "{line} is no example of {path}");
            }
        }
    }

    #[test]
    fn a_verb_in_no_group_stands_in_the_help_all_the_same() {
        let mut command = Cli::command().subcommand(Command::new("newest").about("Brand new"));
        command = command.clone().help_template(template(&command));
        let text = command.render_help().to_string();
        assert!(text.contains("\nOther commands:\n  newest      Brand new\n"), "{text}");
    }
}
