//! The output rules, on the built program: forms, expressions, filters, colour, terminals, pagers, exit codes.
//! A demo that was played once comes in; what the program wrote goes out. A terminal is the one that `script`
//! of util-linux makes.

use std::net::TcpListener;
use std::path::Path;

use regex::Regex;

use super::{empty, played, refused, write};
use crate::support::program::{Said, git, shell, tars};

/// Every verb that prints columns or sentences.
const VERBS: [&str; 10] = [
    "status -C kept/repo.git",
    "get policies -C kept/repo.git",
    "get remediations -C kept/repo.git",
    "get proposals -C kept/repo.git",
    "get budgets -C kept/repo.git",
    "log -C kept/repo.git",
    "explain last -C kept/repo.git",
    "audit verify -C kept/repo.git",
    "explain --list-codes",
    "version",
];

/// Runs a line on a terminal of 80 columns and `rows` rows, and says what stands there in the end: line ends
/// become plain ones, and a line that was only shown while the command worked is gone.
fn at_terminal(dir: &Path, rows: u32, line: &str) -> Said {
    let mut said = all_at_terminal(dir, rows, line);
    let waiting = Regex::new("(?:\r\u{1b}\\[K[^\r\n]*)*\r\u{1b}\\[K").unwrap();
    said.out = waiting.replace_all(&said.out, "").into_owned();
    said
}

/// As [`at_terminal`], with everything that was ever shown.
pub(super) fn all_at_terminal(dir: &Path, rows: u32, line: &str) -> Said {
    std::fs::write(dir.join("typed"), format!("stty rows {rows} cols 80\n{line}\n")).unwrap();
    let mut said = shell(dir, "TERM=xterm-256color script -qefc 'bash typed' /dev/null");
    said.out = said.out.replace("\r\n", "\n");
    said
}

fn without_colour(text: &str) -> String {
    Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(text, "").into_owned()
}

#[test]
fn colour_adds_escapes_to_a_pipe_only_when_forced_and_changes_nothing_else() {
    let home = played();
    for verb in VERBS {
        for form in ["", "-o wide", "-o json", "-o yaml", "-o name"] {
            let plain = shell(home.path(), &format!("tars {verb} {form}"));
            assert!(!plain.out.contains('\u{1b}') && !plain.err.contains('\u{1b}'), "{verb} {form}");
            let forced = shell(home.path(), &format!("CLICOLOR_FORCE=1 tars {verb} {form}"));
            assert_eq!(
                (&without_colour(&forced.out), forced.code),
                (&plain.out, plain.code),
                "{verb} {form}"
            );
            let coloured = forced.out.contains('\u{1b}');
            assert!(form.is_empty() || form == "-o wide" || !coloured, "{verb} {form} is for programs");
            for never in ["--color never", "--color=auto"] {
                let line = format!("NO_COLOR=1 CLICOLOR_FORCE=1 tars {verb} {form} {never}");
                assert_eq!(shell(home.path(), &line).out, plain.out, "{line}");
            }
        }
    }
    let table = shell(home.path(), "tars get rem -C kept/repo.git --color=always").ok();
    assert!(table.contains("\u{1b}[32mVerified\u{1b}[0m"), "{table}");
}

#[test]
fn help_is_as_wide_as_a_small_terminal_and_says_what_every_exit_code_means() {
    let home = empty();
    let mut verbs = vec![String::new()];
    verbs.extend(super::VERBS.map(str::to_owned));
    verbs.extend(["audit verify", "policy lint", "config view", "config env"].map(str::to_owned));
    for verb in verbs {
        let help = shell(home.path(), &format!("tars {verb} --help")).ok();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "tars {verb} --help: {line}");
        }
        let titled = verb.is_empty() || help.contains("\nOutput:\n");
        assert!(titled && help.contains("--jq <EXPRESSION>"), "{verb}: {help}");
    }
    let help = tars(home.path(), &["--help"]).ok();
    for code in ["0  ", "1  ", "2  ", "3  ", "4  ", "5  ", "6  ", "7  ", "130"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(code)), "{code}: {help}");
    }
    let coloured = tars(home.path(), &["--help", "--color", "always"]).ok();
    assert_ne!(coloured, help);
    assert_eq!(without_colour(&coloured), help);
}

#[test]
fn jq_and_jsonpath_work_on_the_json_answer() {
    let home = played();
    let ask =
        |more: &[&str]| tars(home.path(), &[&["get", "rem", "-C", "kept/repo.git"], more].concat()).ok();
    let names = ask(&["-o", "name"]);
    assert_eq!(ask(&["--jq", ".items[].metadata.name"]), names);
    assert_eq!(ask(&["-o", "json", "--jq", ".items[].metadata.name"]), names);
    assert_eq!(ask(&["-o", "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}"]), names);
    let (first, second) = names.trim_end().split_once('\n').unwrap();
    assert_eq!(ask(&["-o", "jsonpath={.items[*].metadata.name}"]), format!("{first} {second}"));
    let verified = "{.items[?(@.status.state==\"Verified\")].metadata.name}";
    assert_eq!(
        ask(&["-o", &format!("jsonpath={verified}")]),
        ask(&["--jq", ".items[]|select(.status.state==\"Verified\").metadata.name"]).trim_end()
    );
    assert_eq!(ask(&["--jq", "[.kind, (.items|length)]"]), "[\"List\",2]\n");
    // One object is itself, not a list of one.
    assert_eq!(ask(&["--jq", ".metadata.name", first]), format!("{first}\n"));
    for verb in VERBS {
        let kind = shell(home.path(), &format!("tars {verb} --jq type")).ok();
        assert_eq!(kind, "object\n", "{verb}");
    }
    for verb in ["config schema", "policy schema", "demo --list", "config env", "config path"] {
        assert_eq!(shell(home.path(), &format!("tars {verb} --jq type")).ok(), "object\n", "{verb}");
    }
    assert!(shell(home.path(), "tars config schema -o yaml").ok().contains("\ntitle: tars settings\n"));
}

#[test]
fn a_wrong_expression_is_pointed_at_before_any_work() {
    let home = empty();
    let dir = home.path();
    // No repository is here: the expression is what is told.
    let caret = |args: &[&str], words: &[&str]| {
        let said = refused(dir, &[&["log"], args].concat(), 2, words);
        assert!(said.err.lines().any(|line| line.contains('^')), "{said:?}");
    };
    caret(&["--jq", ".items["], &["--> --jq:1:7", "never closed"]);
    caret(&["--jq", "env.HOME"], &["--> --jq:1:1", "there is no filter", "hint:"]);
    caret(&["--jq", "include \"x\"; ."], &["modules cannot be loaded"]);
    caret(&["-o", "jsonpath={.items[}"], &["--> -o jsonpath:1:9"]);
    caret(&["-o", "jsonpath={.a && .b}"], &["there is no `&&`", "--jq"]);
    caret(&["-l", "risk is Low"], &["--> -l:1:6"]);
    caret(&["-l", "polcy=a"], &["did you mean `policy`?"]);
    refused(dir, &["log", "-o", "yaml", "--jq", "."], 2, &["another form"]);
    refused(dir, &["log", "-o", "custom-columns=A:.a"], 2, &["jsonpath="]);
    refused(dir, &["completion", "bash", "-o", "json"], 2, &["no other form"]);
    refused(dir, &["config", "schema", "-o", "name"], 2, &["-o json, yaml"]);
    let home = played();
    refused(
        home.path(),
        &["log", "-C", "kept/repo.git", "--jq", ".items | .[0].seq | keys"],
        2,
        &["does not fit"],
    );
    refused(
        home.path(),
        &["log", "-C", "kept/repo.git", "-o", "jsonpath={.items[99]}"],
        2,
        &["no element [99]"],
    );
}

#[test]
fn lists_are_narrowed_by_namespace_and_label() {
    let home = played();
    let count = |verb: &str| {
        let said = shell(home.path(), &format!("tars {verb} -C kept/repo.git -o name"));
        said.ok().lines().count()
    };
    for (verb, expected) in [
        ("get rem", 2),
        ("get rem -A", 2),
        ("get rem -n production", 2),
        ("get rem -n staging", 0),
        ("get rem -l state=Verified", 1),
        ("get rem -l state!=Verified", 1),
        ("get rem -l 'purpose in (expire, revert)'", 1),
        ("get rem -l 'policy=backend-latency,risk=low,!verdict'", 1),
        ("get rem -l signal=latency_p95,service=backend", 1),
        ("get policies -l playbook=ScaleOut", 1),
        ("get policies -l 'playbook notin (ScaleOut)'", 2),
        ("get proposals -l name=backend", 1),
        ("get proposals -l kind=StatefulSet", 0),
        ("get budgets", 5),
        ("get budgets -l policy=backend-latency", 1),
        ("get budgets backend-latency", 1),
        ("log -n production", 6),
        ("log -l entry=Merged", 1),
        ("log -l phase=Running,entry!=Merged", 2),
        ("log -n staging", 0),
        ("status -n production", 1),
        ("status -n staging", 0),
    ] {
        assert_eq!(count(verb), expected, "{verb}");
    }
    refused(home.path(), &["get", "rem", "-A", "-n", "production"], 2, &["cannot be used with"]);
}

#[test]
fn quiet_leaves_errors_and_no_headers_leaves_rows() {
    let home = played();
    git(&home.path().join("kept/repo.git"), &["config", "--unset", "gpg.ssh.allowedSignersFile"]);
    let loud = tars(home.path(), &["get", "rem", "-C", "kept/repo.git", "-n", "staging"]);
    assert_eq!((loud.code, loud.out.as_str()), (0, ""));
    assert!(loud.err.contains("warning: signatures") && loud.err.contains("no remediations"), "{loud:?}");
    let quiet = tars(home.path(), &["get", "rem", "-C", "kept/repo.git", "-n", "staging", "-q"]);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));
    let failed = tars(home.path(), &["-q", "explain", "-C", "kept/repo.git", "nothing-has-this-name"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.starts_with("error: nothing in this ledger"), "{failed:?}");
    let with = tars(home.path(), &["get", "budgets", "-C", "kept/repo.git", "-q"]).ok();
    let without = tars(home.path(), &["get", "budgets", "-C", "kept/repo.git", "-q", "--no-headers"]).ok();
    assert_eq!(with.lines().count(), without.lines().count() + 1);
    assert!(with.starts_with("BUDGET") && !without.contains("BUDGET"), "{without}");
}

#[test]
fn a_locale_without_utf8_gets_ascii_symbols() {
    let home = played();
    let audit = |locale: &str| {
        shell(home.path(), &format!("unset LC_ALL; {locale} tars audit verify -C kept/repo.git")).ok()
    };
    for locale in ["LANG=C", "", "LC_ALL=POSIX LANG=C.UTF-8", "LC_CTYPE=de_DE.ISO-8859-1 LANG=C.UTF-8"] {
        let text = audit(locale);
        assert!(text.is_ascii() && text.contains("\n+ the audit trail"), "{locale}: {text}");
    }
    for locale in ["LANG=C.UTF-8", "LC_CTYPE=en_US.utf8 LANG=C", "LC_ALL=C.UTF-8 LC_CTYPE=C"] {
        assert!(audit(locale).contains("\n✔ the audit trail"), "{locale}");
    }
    let table = shell(home.path(), "LC_ALL=C tars get proposals -C kept/repo.git -o wide").ok();
    assert!(table.is_ascii() && table.contains("5->3"), "{table}");
    let demo = shell(home.path(), "LC_ALL=C tars demo --keep ascii").ok();
    assert!(demo.is_ascii(), "{demo}");
    // A record is what it is in every locale.
    let json = "get proposals -C kept/repo.git -o json";
    assert_eq!(
        shell(home.path(), &format!("LC_ALL=C tars {json}")).out,
        shell(home.path(), &format!("tars {json}")).out
    );
}

#[test]
fn a_terminal_gets_colour_relative_times_and_links_and_a_pipe_behind_it_does_not() {
    let home = played();
    git(&home.path().join("kept/repo.git"), &["remote", "add", "origin", "git@github.com:shop/gitops.git"]);
    let said = at_terminal(home.path(), 60, "tars log -C kept/repo.git -o wide");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("\u{1b}[1mSEQ\u{1b}[0m"), "{said:?}");
    assert!(Regex::new("(in [0-9]+[smhd]|[0-9]+[smhd] ago) ").unwrap().is_match(&said.out), "{said:?}");
    assert!(!said.out.contains("T09:"), "{said:?}");
    let link =
        Regex::new("\u{1b}]8;;https://github.com/shop/gitops/commit/[0-9a-f]{40}\u{1b}\\\\[0-9a-f]{12}");
    assert!(link.unwrap().is_match(&said.out), "{said:?}");
    for unstyled in ["NO_COLOR=1 tars", "TERM=dumb tars", "CLICOLOR=0 tars"] {
        let said = at_terminal(home.path(), 60, &format!("{unstyled} log -C kept/repo.git"));
        assert!(!said.out.contains('\u{1b}') && said.out.contains("SEQ"), "{unstyled}: {said:?}");
    }
    let piped = at_terminal(home.path(), 60, "tars log -C kept/repo.git -o wide | cat");
    assert_eq!(piped.out, tars(home.path(), &["log", "-C", "kept/repo.git", "-o", "wide"]).ok());
    let json = at_terminal(home.path(), 600, "tars log -C kept/repo.git -o json");
    assert_eq!(json.out, tars(home.path(), &["log", "-C", "kept/repo.git", "-o", "json"]).ok());
    let path = at_terminal(home.path(), 60, "tars log -C kept/repo.git -o jsonpath='{.kind}'");
    assert_eq!(path.out, "List\n", "a prompt does not stick to the answer");
}

#[test]
fn long_answers_go_through_the_pager_and_no_shell_reads_it() {
    let home = played();
    let long = "tars log -C kept/repo.git";
    let paged =
        |environment: &str, line: &str| at_terminal(home.path(), 4, &format!("{environment} {line}")).out;
    assert!(paged("TARS_PAGER=\"sed 's/^/| /'\"", long).contains("| "));
    assert!(paged("PAGER='sed s/^/=/'", long).contains("="));
    assert!(paged("TARS_PAGER='sed s/^/=/' PAGER=false", long).contains("=\u{1b}["));
    let direct = paged("TARS_PAGER=cat", long);
    assert!(direct.contains("SEQ"));
    for line in [
        format!("{long} --no-pager"),
        format!("{long} --max-count 1"),
        "tars completion bash | head -2".to_owned(),
    ] {
        assert!(!paged("TARS_PAGER='echo paged'", &line).contains("paged"), "{line}");
    }
    assert!(!at_terminal(home.path(), 60, &format!("TARS_PAGER='echo paged' {long}")).out.contains("paged"));
    assert!(!shell(home.path(), &format!("TARS_PAGER='echo paged' {long}")).ok().contains("paged"));
    // What looks like a command to a shell is an argument; a pager that is not there is not needed.
    paged("TARS_PAGER='true ; touch made'", long);
    paged("TARS_PAGER='true $(touch made) `touch made`'", long);
    assert!(!home.path().join("made").exists());
    assert!(paged("TARS_PAGER=no-such-pager", long).contains("SEQ"));
}

#[test]
fn text_of_others_cannot_steer_a_terminal() {
    let home = played();
    let dir = home.path();
    git(dir, &["clone", "-q", "kept/repo.git", "work"]);
    let work = dir.join("work");
    let evil = "stop \u{1b}]52;c;cm0=\u{7} \u{9b}2J \u{202e}gnp\r";
    std::fs::write(work.join("policies/SUSPENDED"), evil).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["-c", "user.name=a", "-c", "user.email=a@b.invalid", "commit", "-q", "-m", "stop"]);
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    let bad = |text: &str| {
        let plain = without_colour(text);
        plain.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}')
    };
    for line in [
        "tars status -C kept/repo.git",
        "tars status -C kept/repo.git -o json",
        "tars status -C kept/repo.git -o yaml",
        "tars status -C kept/repo.git --jq .suspended",
    ] {
        let said = at_terminal(dir, 100, line);
        assert_eq!((said.code, bad(&said.out)), (0, None), "{line}: {said:?}");
        assert!(said.out.contains("stop"), "{line}: {said:?}");
    }
    let piped = tars(dir, &["status", "-C", "kept/repo.git"]).ok();
    assert_eq!(bad(&piped), None, "{piped:?}");
    let json = tars(dir, &["status", "-C", "kept/repo.git", "-o", "json"]);
    assert_eq!((json.json()["suspended"].as_str().map(str::trim), bad(&json.out)), (Some(evil.trim()), None));
    let named = refused(
        dir,
        &["explain", "-C", "kept/repo.git", "\u{1b}[2J\u{202e}x"],
        1,
        &["nothing in this ledger"],
    );
    assert_eq!(bad(&named.err), None, "{named:?}");
}

#[test]
fn a_check_that_takes_too_long_ends_with_seven() {
    let home = empty();
    let dir = home.path();
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    write(dir, "");
    let settings = std::fs::read_to_string(dir.join("tars.yaml")).unwrap();
    std::fs::write(dir.join("tars.yaml"), settings.replace("127.0.0.1:9", &address.to_string())).unwrap();
    shell(dir, "ssh-keygen -q -t ed25519 -N '' -f key && sed 's/^/a@b.invalid /' key.pub > allowed").ok();
    let said = tars(dir, &["check", "--timeout", "1s"]);
    assert_eq!(said.code, 7, "{said:?}");
    assert!(said.err.contains("did not finish within 1s") && said.err.contains("--timeout"), "{said:?}");
    assert!(said.out.contains("✔ keys"), "what is known is told: {said:?}");
    refused(dir, &["check", "--timeout", "soon"], 2, &["90s"]);
    refused(dir, &["check", "--timeout", "0s"], 2, &["no time"]);
    refused(dir, &["run", "--timeout", "5s"], 2, &["--once"]);
    // A remote that accepts and never answers, for the tick.
    let settings = std::fs::read_to_string(dir.join("tars.yaml")).unwrap();
    let remote = format!("url: http://{address}/repo.git");
    let place = format!("url: {}/repo.git", dir.display());
    std::fs::write(dir.join("tars.yaml"), settings.replace(&place, &remote)).unwrap();
    let said = tars(dir, &["run", "--once", "--timeout", "1s", "-q"]);
    assert_eq!((said.code, said.out.as_str()), (7, ""), "{said:?}");
    drop(silent);
}
