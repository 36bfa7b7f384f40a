//! `tars check`: everything tars needs, tried, with what to do about what is missing.

use std::path::Path;

use super::args::Check;
use super::checklist::{self, Line, fail, pass, warn};
use super::failure::Failure;
use super::output::{Console, counted};
use super::settings::{self, GitSide};
use super::{calls, cluster, detectors, senses};
use crate::config::{DetectorSettings, InForce, Overrides, Settings, WebhookAuth};
use crate::layout::Surroundings;
use crate::model::causes::causes;
use crate::model::ids::ObjectId;
use crate::model::policy::{Policy, Trigger};
use crate::observe::repository::{Repository, Snapshot};
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::git::Mirror;
use crate::reconcile::memory::Memory;
use crate::render::Templates;
use crate::sops::Access;

/// Checks everything and prints it.
///
/// # Errors
/// Exit code 1 when a check failed, 2 when the settings are wrong, 7 when the time is over.
pub fn run(args: &Check, console: &Console) -> Result<(), Failure> {
    let settings = settings::load_role(&args.settings.config, &Overrides::default())?;
    let file = args.settings.config.display().to_string();
    let mut lines = Vec::new();
    let checks = async {
        match &settings {
            InForce::Detector(settings) => check_detector(settings, &file, &mut lines).await,
            InForce::Whole(settings) => check(settings, &file, &mut lines).await,
        }
    };
    let outcome = checklist::run(args.patience.timeout, "the checks", checks);
    checklist::conclude(&lines, None, outcome, console)
}

/// Runs the checks in order; what is known stays in `lines`, however it ends.
async fn check(settings: &Settings, file: &str, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let signals = counted(settings.watching.signals.len(), "signal", "signals");
    lines.push(pass("settings", format!("{file}, {signals}")));
    let parts = match settings::git_side(settings) {
        Ok(parts) => parts,
        Err(failure) => {
            lines.push(unusable("keys", &failure, "check the file it names"));
            return Ok(());
        }
    };
    lines.push(pass("keys", format!("signs as {}", parts.writer.signer.fingerprint())));
    let surroundings = match settings::surroundings(settings) {
        Ok(surroundings) => surroundings,
        Err(failure) => {
            lines.push(unusable("sops", &failure, "see tars config schema"));
            return Ok(());
        }
    };
    lines.push(sops(&surroundings.sops));
    lines.extend(git(settings, parts, surroundings).await);
    lines.extend(senses::signals(&settings.watching).await?);
    lines.push(senses::detection(&settings.watching));
    lines.extend(calls::check(settings).await?);
    if let Some(at) = &settings.detectors {
        lines.extend(detectors::check(at).await?);
    }
    if let Some(settings) = &settings.cluster {
        lines.extend(cluster::check(settings).await);
    }
    lines.push(webhook(settings));
    Ok(())
}

/// A detector has no repository, no key and no forge: what it reads, and who may ask it.
async fn check_detector(
    settings: &DetectorSettings,
    file: &str,
    lines: &mut Vec<Line>,
) -> Result<(), Failure> {
    let signals = counted(settings.watching.signals.len(), "signal", "signals");
    lines.push(pass("settings", format!("{file}, shard {}, {signals}", settings.shard)));
    lines.extend(senses::signals(&settings.watching).await?);
    lines.push(senses::detection(&settings.watching));
    lines.push(match &settings.secret_file {
        Some(file) => secret("anomalies", file),
        None => warn("anomalies", "open to everybody on this machine", "set shard.secret_file"),
    });
    Ok(())
}

/// What the settings name cannot be used: why, and what the failure itself advises, or else `fix`.
fn unusable(check: &'static str, failure: &Failure, fix: &str) -> Line {
    let detail = failure.source.as_deref().map_or_else(String::new, |it| format!(": {}", causes(it)));
    let fix = failure.hints.first().map_or(fix, String::as_str);
    fail(check, format!("{}{detail}", failure.message), fix)
}

/// Whose identities there are; never the identities.
fn sops(access: &Access) -> Line {
    let names = |list: Vec<String>| if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
    let who = names(access.identities.recipients().to_vec());
    let Some(expected) = &access.expected else {
        return match access.identities.is_empty() {
            true => pass("sops", "no identity: only plain values that no MAC covers are changed"),
            false => warn(
                "sops",
                format!("opens files as {who}; who else can read them is not checked"),
                "list everybody in sops.recipients",
            ),
        };
    };
    let all = names(expected.iter().map(ToString::to_string).collect());
    let known = |it: &String| expected.iter().any(|recipient| recipient.name == *it);
    match access.identities.recipients().iter().find(|it| !known(it)) {
        Some(other) => {
            let fix = "add it to sops.recipients, or remove its key file";
            fail("sops", format!("{other} is an identity at hand and no expected recipient"), fix)
        }
        None => pass("sops", format!("opens files as {who}; expected recipients: {all}")),
    }
}

async fn git(settings: &Settings, parts: GitSide, surroundings: Surroundings) -> Vec<Line> {
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
    lines.extend(collisions(&mirror).await);
    lines.push(ledger(parts.memory, &mirror, refs.get(&ledger_ref).map(String::as_str)));
    let mut repository = Repository::new(settings.policies_path.clone()).in_surroundings(surroundings);
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
            match &snapshot.suspended {
                Some(stop) if stop.holds(SystemClock.now()) => {
                    lines.push(warn("suspended", stop.to_string(), "tars resume takes it back"));
                }
                Some(stop) => lines.push(pass("suspended", format!("no longer: {stop}"))),
                None => {}
            }
            lines.extend(own_template(&snapshot));
            lines.extend(targets(&snapshot));
            if settings.watching.prometheus.is_none() {
                lines.extend(snapshot.policies.iter().filter_map(asks_nobody));
            }
            lines.extend(skipped(&snapshot));
            let notes = snapshot.index.delivery_notes().into_iter();
            lines.extend(notes.map(|note| warn("deliveries", note, "targets behind it may need writeTo")));
        }
    }
    lines
}

/// The repository's own text of pull requests, when it cannot be used.
fn own_template(snapshot: &Snapshot) -> Option<Line> {
    let problem = Templates::built_in().ok()?.in_repository(&snapshot.tree).1?;
    Some(warn("template", format!("{problem}; the built-in one is used"), problem.help))
}

/// A git that would take two objects made to have one name for the same.
async fn collisions(mirror: &Mirror) -> Option<Line> {
    let fix = "install a git built with SHA1_DC, which is how git is built unless somebody chose otherwise";
    match mirror.careless_sha1().await {
        Ok(None) => None,
        Ok(Some(sha1)) => {
            Some(warn("git", format!("its SHA-1 does not notice forged collisions: {sha1}"), fix))
        }
        Err(error) => Some(warn("git", causes(&error), fix)),
    }
}

/// Files that were not understood; a target in one of them could not be acted on.
fn skipped(snapshot: &Snapshot) -> Option<Line> {
    let skipped = snapshot.index.skipped();
    let first = skipped.first()?;
    let detail = format!("{} files are not read; the first: {}: {}", skipped.len(), first.file, first.why);
    Some(warn("files", detail, "fine for Helm templates; anything else should be valid YAML"))
}

/// A policy with a trigger that only Prometheus can answer, where there is none.
fn asks_nobody(policy: &Policy) -> Option<Line> {
    policy.triggers.iter().find(|it| matches!(it, Trigger::Promql { .. }))?;
    let detail = format!("{} has a promql trigger, and the settings name no Prometheus", policy.name);
    Some(fail("policies", detail, "set prometheus.url, or give the policy another trigger"))
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

fn webhook(settings: &Settings) -> Line {
    match &settings.webhook {
        WebhookAuth::Off => warn("webhook", "off", "set webhook.secret_file to receive alerts"),
        WebhookAuth::InsecureLoopback => {
            warn("webhook", "open to everybody on this machine", "set webhook.secret_file")
        }
        WebhookAuth::SecretFile(file) => secret("webhook", file),
    }
}

/// Whether a file holds a secret.
pub fn secret(check: &'static str, file: &Path) -> Line {
    match settings::secret(file) {
        Ok(_) => pass(check, format!("secret in {}", file.display())),
        Err(failure) => {
            let detail = failure.source.as_deref().map_or_else(String::new, |it| format!(": {}", causes(it)));
            fail(check, format!("{}{detail}", failure.message), "create the file with a long random line")
        }
    }
}
