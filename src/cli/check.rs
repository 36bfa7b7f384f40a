//! `tars check`: everything tars needs, tried, with what to do about what is missing.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;

use super::args::Check;
use super::failure::{Failure, Kind};
use super::output::{Console, Page, Symbol, counted};
use super::settings::{self, GitSide};
use crate::config::{Overrides, Settings, WebhookAuth};
use crate::model::causes::causes;
use crate::model::duration;
use crate::model::ids::ObjectId;
use crate::observe::metrics::MetricSource as _;
use crate::observe::repository::{Repository, Snapshot};
use crate::outside::clock::{Clock, SystemClock};
use crate::outside::git::Mirror;
use crate::reconcile::memory::Memory;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Line {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn pass(check: &'static str, detail: impl Into<String>) -> Line {
    Line { check, verdict: Verdict::Pass, detail: detail.into(), fix: None }
}

fn warn(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Line {
    Line { check, verdict: Verdict::Warn, detail: detail.into(), fix: Some(fix.into()) }
}

fn fail(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Line {
    Line { check, verdict: Verdict::Fail, detail: detail.into(), fix: Some(fix.into()) }
}

/// Checks everything and prints it.
///
/// # Errors
/// Exit code 1 when a check failed, 2 when the settings are wrong, 7 when the time is over.
pub fn run(args: &Check, console: &Console) -> Result<(), Failure> {
    let settings = settings::load(&args.settings.config, &Overrides::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    let file = args.settings.config.display().to_string();
    let mut lines = Vec::new();
    let checks = check(&settings, &file, &mut lines);
    let outcome = runtime.block_on(within(args.patience.timeout, "the checks", checks));
    // Whatever still waits for the outside is of no use any more.
    runtime.shutdown_background();
    if outcome.is_ok() || !lines.is_empty() {
        print(&lines, console)?;
    }
    outcome?;
    let failed = lines.iter().any(|line| line.verdict == Verdict::Fail);
    if failed { Err(Failure::answered_no()) } else { Ok(()) }
}

/// Gives `work` at most this many seconds, if any.
///
/// # Errors
/// Exit code 7 when they have passed; otherwise those of `work`.
pub async fn within<T>(
    timeout_s: Option<u32>,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(seconds) = timeout_s else { return work.await };
    match tokio::time::timeout(Duration::from_secs(u64::from(seconds)), work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let after = duration::format_s(seconds);
            Err(Failure::new(Kind::TimedOut, format!("{what} did not finish within {after}"))
                .hint("give it more time with --timeout"))
        }
    }
}

/// Runs the checks in order; what is known stays in `lines`, however it ends.
async fn check(settings: &Settings, file: &str, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let signals = counted(settings.signals.len(), "signal", "signals");
    lines.push(pass("settings", format!("{file}, {signals}")));
    let parts = match settings::git_side(settings) {
        Ok(parts) => parts,
        Err(failure) => {
            let detail = failure.source.as_deref().map_or_else(String::new, |it| format!(": {}", causes(it)));
            let fix = failure.hints.first().cloned().unwrap_or_else(|| "check the file it names".to_owned());
            lines.push(fail("keys", format!("{}{detail}", failure.message), fix));
            return Ok(());
        }
    };
    lines.push(pass("keys", format!("signs as {}", parts.writer.signer.fingerprint())));
    lines.extend(git(settings, parts).await);
    lines.extend(prometheus(settings).await?);
    lines.push(webhook(settings));
    Ok(())
}

async fn git(settings: &Settings, parts: GitSide) -> Vec<Line> {
    let url = &settings.repository_url;
    let mirror = match Mirror::open(&parts.git).await {
        Ok(mirror) => mirror,
        Err(error) => {
            return vec![fail("git", causes(&error), "check repository.url and that git is installed")];
        }
    };
    let main_ref = format!("refs/heads/{}", settings.branch);
    let ledger_ref = format!("refs/heads/{}", settings.ledger_branch);
    let refs = match mirror.fetch(&[&main_ref, &ledger_ref]).await {
        Ok(refs) => refs,
        Err(error) => {
            let fix = format!("can this machine reach {url}, and is repository.token_file right?");
            return vec![fail("git", causes(&error), fix)];
        }
    };
    let Some(main) = refs.get(&main_ref).and_then(|oid| ObjectId::new(oid.as_str()).ok()) else {
        let fix = "set repository.branch to the branch Argo CD or Flux follow";
        return vec![fail("git", format!("{url} has no branch {}", settings.branch), fix)];
    };
    let mut lines = vec![pass("git", format!("{url}, {} at {}", settings.branch, main.short()))];
    lines.push(ledger(parts.memory, &mirror, refs.get(&ledger_ref).map(String::as_str)));
    let mut repository = Repository::new(settings.policies_path.clone());
    let charts = repository.charts();
    match charts.settle(|| repository.snapshot(mirror.objects(), &main)).await {
        Err(error) => lines.push(fail("policies", causes(&error), "tars policy lint on a clone shows more")),
        Ok(snapshot) => {
            for problem in &snapshot.problems {
                lines.push(fail("policies", problem.to_string(), "tars policy lint shows the place"));
            }
            match (snapshot.policies.len(), snapshot.problems.is_empty()) {
                (0, true) => lines.push(warn(
                    "policies",
                    format!("none below {}", settings.policies_path),
                    "write one; see gitops-example/policies",
                )),
                (count, _) => lines.push(pass("policies", format!("{count} read from {}", settings.branch))),
            }
            if let Some(reason) = &snapshot.suspended {
                lines.push(warn("suspended", reason.clone(), "remove the file SUSPENDED to resume"));
            }
            lines.extend(targets(&snapshot));
            lines.extend(skipped(&snapshot));
            let notes = snapshot.index.delivery_notes().into_iter();
            lines.extend(notes.map(|note| warn("deliveries", note, "targets behind it may need writeTo")));
        }
    }
    lines
}

/// Files that were not understood; a target in one of them could not be acted on.
fn skipped(snapshot: &Snapshot) -> Option<Line> {
    let skipped = snapshot.index.skipped();
    let first = skipped.first()?;
    let detail = format!("{} files are not read; the first: {}: {}", skipped.len(), first.file, first.why);
    Some(warn("files", detail, "fine for Helm templates; anything else should be valid YAML"))
}

fn targets(snapshot: &Snapshot) -> Vec<Line> {
    let mut lines = Vec::new();
    for policy in &snapshot.policies {
        for target in policy.targets() {
            if let Err(reason) = snapshot.index.workload_of(&target, &policy.write_to) {
                let fix = format!("fix allowedResources in {}", policy.path);
                lines.push(fail("targets", format!("{target} of policy {}: {reason}", policy.name), fix));
            }
        }
    }
    lines
}

fn ledger(mut memory: Memory, mirror: &Mirror, head: Option<&str>) -> Line {
    match memory.refresh(mirror.objects(), head, SystemClock.now()) {
        Err(error) => fail("ledger", causes(&error), error.hint()),
        Ok(()) => match memory.history().seq {
            None => pass("ledger", "empty: the first action creates it"),
            Some(seq) => pass("ledger", format!("{} entries, all signatures good", seq + 1)),
        },
    }
}

async fn prometheus(settings: &Settings) -> Result<Vec<Line>, Failure> {
    let clock = SystemClock;
    let source = settings::prometheus(settings, Arc::new(clock))?;
    let mut lines = Vec::new();
    let mut answered = 0;
    for signal in &settings.signals {
        let now = clock.now();
        let since = now.checked_sub(SignedDuration::from_mins(5)).unwrap_or(now);
        match source.range(&signal.query, since, now, signal.step_s).await {
            Err(error) => {
                let fix = "check prometheus.url and the query";
                lines.push(fail("prometheus", format!("{}: {}", signal.key, causes(&error)), fix));
            }
            Ok(range) if range.samples.is_empty() => lines.push(warn(
                "prometheus",
                format!("{}: no data in the last 5 minutes", signal.key),
                "is the metric scraped, and are its labels the query's?",
            )),
            Ok(_) => answered += 1,
        }
    }
    lines.push(pass("prometheus", format!("{answered} of {} signals have data", settings.signals.len())));
    if let Some(outside) = source.outside_clock() {
        let skew = outside.seen_at.duration_since(outside.says).as_secs();
        let limit = i64::from(settings.clock_max_skew_s);
        lines.push(if skew.abs() > limit {
            fail(
                "clock",
                format!("{skew} s away from Prometheus"),
                "synchronise the clocks; nothing merges until then",
            )
        } else {
            pass("clock", format!("within {} s of Prometheus", skew.abs() + 1))
        });
    }
    Ok(lines)
}

fn webhook(settings: &Settings) -> Line {
    match &settings.webhook {
        WebhookAuth::Off => warn("webhook", "off", "set webhook.secret_file to receive alerts"),
        WebhookAuth::InsecureLoopback => {
            warn("webhook", "open to everybody on this machine", "set webhook.secret_file")
        }
        WebhookAuth::SecretFile(file) => match settings::secret(file) {
            Ok(_) => pass("webhook", format!("secret in {}", file.display())),
            Err(failure) => fail("webhook", failure.message, "create the file with a long random line"),
        },
    }
}

fn print(lines: &[Line], console: &Console) -> Result<(), Failure> {
    let names: Vec<String> = lines.iter().map(|line| line.check.to_owned()).collect();
    let list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": lines });
    console.answer(&names, &list, || {
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        let mut page = Page::new();
        for line in lines {
            page.put(match line.verdict {
                Verdict::Pass => Symbol::Done,
                Verdict::Warn => Symbol::Warning,
                Verdict::Fail => Symbol::Failed,
            });
            page.put(format!(" {:<12} {}", line.check, line.detail)).line();
            if let Some(fix) = &line.fix {
                page.put(format!("               → {fix}")).line();
            }
        }
        let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
        page.put(format!("{failed} failed, {warned} warned, {} passed", count(Verdict::Pass))).line();
        page
    })
}
