//! `tars audit verify`: everything tars promises, checked from a clone and a list of allowed keys.

use jiff::Timestamp;
use serde::Serialize;

use super::args::{Audit, Look};
use super::failure::{Failure, Kind};
use super::history::{self, LEDGER_BRANCH};
use super::output::{Console, Page, Piece, Style, Symbol, counted};
use crate::ledger::{self, AuditReport, MainCommit};
use crate::model::causes::causes;
use crate::model::entry::{Entry, Signer};
use crate::model::ids::ObjectId;
use crate::outside::git::Objects;
use crate::outside::sign::{AllowedSigners, SignatureCheck};
use crate::reconcile::memory::read_entry;

const COMMITS_MAX: usize = 1_000_000;

/// Runs the verb.
///
/// # Errors
/// Exit code 1 when anything is wrong, 2 when there is nothing to check or no list of keys.
pub fn run(verb: &Audit, console: &Console) -> Result<(), Failure> {
    let Audit::Verify(look) = verb;
    verify(look, console)
}

fn verify(look: &Look, console: &Console) -> Result<(), Failure> {
    let objects = history::open_clone(&look.repository)?;
    let allowed = history::allowed_signers(&objects, &look.allowed)?.ok_or_else(|| {
        Failure::usage("an audit without a list of allowed keys proves nothing").hint(
            "name one with --allowed-signers FILE or --allowed-keys FILE, or set \
                 gpg.ssh.allowedSignersFile in the clone",
        )
    })?;
    let head = history::branch(&objects, LEDGER_BRANCH)?
        .ok_or_else(|| Failure::usage(format!("the clone has no branch {LEDGER_BRANCH}")))?;
    let main = history::watched_branch(&objects, &look.branch)?;
    let mut unreadable = Vec::new();
    let entries = read_all(&objects, &head, &allowed, &mut unreadable)?;
    let main = read_main(&objects, &main, &allowed)?;
    let report = ledger::audit(&entries, &main);
    print(look, &head, &report, &unreadable, console)
}

fn reading(error: crate::outside::git::GitError) -> Failure {
    Failure::new(Kind::No, "could not read the clone").because(error)
}

/// Entries oldest first; a commit that is no entry is a finding, not the end.
fn read_all(
    objects: &Objects,
    head: &ObjectId,
    allowed: &AllowedSigners,
    unreadable: &mut Vec<String>,
) -> Result<Vec<Entry>, Failure> {
    let commits = objects.walk(head.as_str(), None, COMMITS_MAX).map_err(reading)?;
    let mut entries = Vec::with_capacity(commits.len());
    for commit in commits.into_iter().rev() {
        let Ok(commit) = ObjectId::new(commit) else { continue };
        match read_entry(objects, &commit, Some(allowed)) {
            Ok(entry) => entries.push(entry),
            Err(error) => unreadable.push(causes(&error)),
        }
    }
    Ok(entries)
}

fn read_main(
    objects: &Objects,
    main: &ObjectId,
    allowed: &AllowedSigners,
) -> Result<Vec<MainCommit>, Failure> {
    let mut commits = Vec::new();
    for oid in objects.walk_all(&[main.as_str()], COMMITS_MAX).map_err(reading)? {
        let raw = objects.commit(&oid).map_err(reading)?;
        let signer = match allowed.verify(&raw.payload, raw.signature.as_deref(), raw.time_s) {
            SignatureCheck::Allowed(key) => Signer::Allowed(key),
            SignatureCheck::Unsigned => Signer::Unsigned,
            SignatureCheck::Rejected(why) => Signer::Rejected(why),
        };
        let id = |oid: String| {
            ObjectId::new(oid)
                .map_err(|error| Failure::new(Kind::No, "could not read the clone").because(error))
        };
        commits.push(MainCommit {
            commit: id(raw.id)?,
            parents: raw.parents.into_iter().map(id).collect::<Result<_, _>>()?,
            tree: id(raw.tree)?,
            message: raw.message,
            signer,
            time: Timestamp::from_second(raw.time_s).unwrap_or(Timestamp::UNIX_EPOCH),
        });
    }
    Ok(commits)
}

/// `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    passed: bool,
    ledger_head: &'a str,
    checked: Checked,
    findings: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    entries: u64,
    signatures: u64,
    checkpoints: u64,
    executions: u64,
    main_commits: u64,
    main_claims: u64,
}

fn print(
    look: &Look,
    head: &ObjectId,
    report: &AuditReport,
    unreadable: &[String],
    console: &Console,
) -> Result<(), Failure> {
    let mut findings = unreadable.to_vec();
    findings.extend(report.findings.iter().map(ToString::to_string));
    let passed = findings.is_empty();
    let checked = Checked {
        entries: report.entries,
        signatures: report.signatures,
        checkpoints: report.checkpoints,
        executions: report.executions,
        main_commits: report.main_commits,
        main_claims: report.main_claims,
    };
    let printed = Printed { passed, ledger_head: head.as_str(), checked, findings: &findings };
    console.answer(&[head.to_string()], &printed, || page(&look.branch, head, &printed))?;
    if passed { Ok(()) } else { Err(Failure::answered_no()) }
}

fn page(main: &str, head: &ObjectId, printed: &Printed<'_>) -> Page {
    let of_main = format!("commits on {main}: each one that claims to be tars' has its entry");
    let checked = &printed.checked;
    let mut page = Page::new();
    page.put(Piece::from("Checked").styled(Style::Strong)).line();
    for (count, what) in [
        (checked.entries, "ledger entries: sequence, links, times, files, rules"),
        (checked.signatures, "signatures of allowed keys"),
        (checked.checkpoints, "checkpoints against the entries before them"),
        (checked.executions, "executions, counted again against every budget and cooldown"),
        (checked.main_commits, of_main.as_str()),
        (checked.main_claims, "of these claim to be tars'"),
    ] {
        page.put(format!("  {count:>6}  {what}")).line();
    }
    if printed.passed {
        page.put(Symbol::Done);
        page.put(format!(" the audit trail is complete and consistent up to {}", head.short())).line();
        page.put("  A clone cannot show entries cut off its end: compare that id with another clone.").line();
        return page;
    }
    page.put(counted(printed.findings.len(), "finding", "findings")).line();
    for finding in printed.findings {
        page.put(Symbol::Failed).put(format!(" {finding}")).line();
    }
    page
}
