//! The onboarding proposal: what was found in a repository, one policy in Observe mode for each workload that could
//! be helped, settings to start from, and the text of the pull request that asks for all of it. What was found
//! comes in, a plan goes out. Nothing is written here, and every file is made as a tree, never by text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::escape::{code_within, inline};
use crate::model::action::API_VERSION;
use crate::model::ids::{BranchName, Fingerprint, PolicyName, RepoPath, SignalName, WorkloadRef};
use crate::model::workload::{ReplicaOwner, Workload};
use crate::yaml::{self, Edit, Fresh, Value, YamlError};

/// Most characters of a name in a text.
const NAME_CHARS_MAX: usize = 120;

/// The one branch of onboarding: a second run updates it.
pub const BRANCH: &str = "tars/onboarding";
/// Most policies of one onboarding: a person reads them.
const POLICIES_MAX: usize = 100;
/// Most rows of a list in the pull request.
const ROWS_MAX: usize = 50;
/// Longest policy name before a digest is put behind it.
const NAME_MAX: usize = 54;
/// Address that is written when none could be found.
const PROMETHEUS: &str = "http://prometheus.monitoring.svc:9090";
/// Address that is written when the clone does not say one that others can use.
const REPOSITORY: &str = "https://git.example.com/team/gitops.git";

/// Always the same: by its first line a later run knows the commit that it may replace.
const COMMIT_MESSAGE: &str = "Watch what runs here with tars, change nothing\n\nOne policy in Observe mode for each workload: \
                              decisions are recorded, nothing is written.\n";
const POLICY_NOTE: &str = "# Written by tars init. In Observe mode nothing is changed: tars records what it would do.\n\
                           # Check the signal, maxReplicas and `below` before you set mode: Propose.\n";
const SETTINGS_NOTE: &str = "# Written by tars init: settings to start from; tars config schema explains every one.\n\
                             # Nothing merges by itself while mode is Observe.\n";

/// A workload of the repository, as the index knows it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub target: WorkloadRef,
    /// Its desired state, or why it cannot be told.
    pub workload: Result<Workload, String>,
    /// A policy of the watched branch allows it already.
    pub covered: bool,
}

/// What a look at a repository found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub workloads: Vec<Seen>,
    pub autoscalers: Vec<WorkloadRef>,
    /// `Application`s, `Kustomization`s and the like.
    pub deliveries: Vec<WorkloadRef>,
    /// What a delivery brings from elsewhere, and files that cannot be read.
    pub notes: Vec<String>,
    /// A Service or object that looks like a Prometheus.
    pub prometheus: Option<WorkloadRef>,
    /// Address of the repository, when it is one that others can use.
    pub url: Option<String>,
    pub branch: String,
    pub policies_path: String,
    /// Paths that are there already and stay as they are.
    pub taken: BTreeSet<RepoPath>,
    /// Names of policies that are there already.
    pub names: BTreeSet<PolicyName>,
}

/// Everything the onboarding proposal consists of.
#[derive(Debug, Clone)]
pub struct OnboardingPlan {
    pub branch: BranchName,
    pub title: String,
    pub body: String,
    pub commit_message: String,
    /// New files; empty: there is nothing to add.
    pub files: Vec<(RepoPath, Vec<u8>)>,
}

/// A policy to be.
struct Draft<'a> {
    name: PolicyName,
    path: RepoPath,
    target: &'a WorkloadRef,
    most: u32,
    why: String,
}

/// Plans the onboarding of a repository.
///
/// # Errors
/// Never for names that were checked: a tree could not be written as YAML.
pub fn onboarding(found: &Found) -> Result<OnboardingPlan, YamlError> {
    let (drafts, rest) = drafts(found);
    let mut files = Vec::new();
    for draft in &drafts {
        files.push((draft.path.clone(), file(POLICY_NOTE, policy(draft))?));
    }
    let settings = RepoPath::new("tars.yaml").ok().filter(|path| !found.taken.contains(path));
    if let Some(path) = &settings
        && !drafts.is_empty()
    {
        files.push((path.clone(), file(SETTINGS_NOTE, self::settings(found, &drafts))?));
    }
    let title = match drafts.len() {
        1 => "tars: watch 1 workload, change nothing".to_owned(),
        count => format!("tars: watch {count} workloads, change nothing"),
    };
    let branch =
        BranchName::new(BRANCH).map_err(|error| YamlError::Unsupported { reason: error.rule, line: 0 })?;
    Ok(OnboardingPlan {
        branch,
        body: body(found, &drafts, &rest, settings.is_some()),
        commit_message: COMMIT_MESSAGE.to_owned(),
        title,
        files,
    })
}

/// The policies to write, and what gets none, with the reason.
fn drafts(found: &Found) -> (Vec<Draft<'_>>, Vec<(&WorkloadRef, String)>) {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let mut rest = Vec::new();
    let mut names = found.names.clone();
    for seen in &found.workloads {
        let why_not = |why: &str| (&seen.target, why.to_owned());
        let workload = match &seen.workload {
            _ if seen.covered => {
                rest.push(why_not("a policy allows it already"));
                continue;
            }
            _ if drafts.len() == POLICIES_MAX => {
                rest.push(why_not("enough for one review: run tars init again afterwards"));
                continue;
            }
            Err(why) => {
                rest.push((&seen.target, why.clone()));
                continue;
            }
            Ok(workload) => workload,
        };
        let (most, why) = match bounds(workload) {
            Ok(bounds) => bounds,
            Err(why) => {
                rest.push((&seen.target, why));
                continue;
            }
        };
        let Some(name) = name(&seen.target, &names) else { continue };
        let Ok(path) = RepoPath::new(format!("{}/{name}.yaml", found.policies_path)) else { continue };
        if found.taken.contains(&path) {
            rest.push(why_not("its policy file is there already"));
            continue;
        }
        names.insert(name.clone());
        drafts.push(Draft { name, path, target: &seen.target, most, why });
    }
    (drafts, rest)
}

/// The most replicas a first policy may ask for, and where that comes from.
fn bounds(workload: &Workload) -> Result<(u32, String), String> {
    match (&workload.owner, workload.replicas) {
        (ReplicaOwner::Autoscaler { target, min, max }, _) if max > min => {
            Ok((*max, format!("raises minReplicas of {target}, {min} to {max}")))
        }
        (ReplicaOwner::Autoscaler { target, .. }, _) => Err(format!("{target} leaves no room to scale")),
        (ReplicaOwner::Other(what), _) => Err(what.clone()),
        (ReplicaOwner::Workload, Some(0)) => Err("it has no replicas: somebody switched it off".to_owned()),
        (ReplicaOwner::Workload, Some(count)) => {
            let most = count.saturating_mul(2).max(count.saturating_add(2));
            Ok((most, format!("{count} replicas now, at most {most}")))
        }
        (ReplicaOwner::Workload, None) => Err("its manifest names no replicas".to_owned()),
    }
}

/// `<namespace>-<name>-latency`, made shorter and distinct where it must be.
fn name(target: &WorkloadRef, taken: &BTreeSet<PolicyName>) -> Option<PolicyName> {
    let plain = format!("{}-{}", target.namespace, target.name).replace('.', "-");
    let whole = PolicyName::new(format!("{plain}-latency")).ok().filter(|name| !taken.contains(name));
    whole.or_else(|| {
        let policy = PolicyName::new("onboarding").ok()?;
        let digest = Fingerprint::of(&policy, target, "", "");
        let short: String = plain.chars().take(NAME_MAX).collect();
        let name = PolicyName::new(format!("{}-{}", short.trim_end_matches('-'), digest.short())).ok()?;
        (!taken.contains(&name)).then_some(name)
    })
}

fn text(text: impl Into<String>) -> Fresh {
    Fresh::Scalar(Value::Text(text.into()))
}

fn number(number: u32) -> Fresh {
    Fresh::Scalar(Value::Int(i64::from(number)))
}

fn map<const N: usize>(entries: [(&str, Fresh); N]) -> Fresh {
    Fresh::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The service whose signal a policy asks for: named after the target, or, where that is too long for a name of a
/// signal, after the policy.
fn service(draft: &Draft<'_>) -> String {
    let whole = format!("{}/{}", draft.target.namespace, draft.target.name);
    if SignalName::new(&whole).is_ok() { whole } else { draft.name.to_string() }
}

fn policy(draft: &Draft<'_>) -> Fresh {
    let target = draft.target;
    let trigger =
        map([("type", text("anomaly")), ("signal", text("latency_p95")), ("service", text(service(draft)))]);
    let action = map([
        ("type", text("ScaleOut")),
        ("scaleOut", map([("step", number(1)), ("maxReplicas", number(draft.most))])),
    ]);
    let resource = map([("kind", text(target.kind.as_str())), ("name", text(target.name.as_str()))]);
    map([
        ("apiVersion", text(API_VERSION)),
        ("kind", text("RemediationPolicy")),
        (
            "metadata",
            map([("name", text(draft.name.as_str())), ("namespace", text(target.namespace.as_str()))]),
        ),
        (
            "spec",
            map([
                ("mode", text("Observe")),
                ("triggers", Fresh::List(vec![trigger])),
                ("actions", Fresh::List(vec![action])),
                ("allowedResources", Fresh::List(vec![resource])),
                ("verify", map([("window", text("10m")), ("within", text("20m"))])),
            ]),
        ),
    ])
}

fn prometheus(found: &Found) -> String {
    found.prometheus.as_ref().map_or_else(
        || PROMETHEUS.to_owned(),
        |service| format!("http://{}.{}.svc:9090", service.name, service.namespace),
    )
}

fn settings(found: &Found, drafts: &[Draft<'_>]) -> Fresh {
    let signal = |draft: &Draft<'_>| {
        let (namespace, name) = (&draft.target.namespace, &draft.target.name);
        let query = format!(
            "1000 * histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket\
             {{namespace=\"{namespace}\", app=\"{name}\"}}[2m])))"
        );
        map([("signal", text("latency_p95")), ("service", text(service(draft))), ("query", text(query))])
    };
    map([
        (
            "repository",
            map([
                ("url", text(found.url.as_deref().unwrap_or(REPOSITORY))),
                ("branch", text(found.branch.as_str())),
                ("policies_path", text(found.policies_path.as_str())),
            ]),
        ),
        ("mode", text("Observe")),
        (
            "signing",
            map([
                ("key_file", text("/etc/tars/signing-key")),
                ("allowed_signers_file", text("/etc/tars/allowed_signers")),
            ]),
        ),
        ("prometheus", map([("url", text(prometheus(found)))])),
        ("signals", Fresh::List(drafts.iter().map(signal).collect())),
        ("webhook", map([("enabled", Fresh::Scalar(Value::Bool(false)))])),
    ])
}

fn file(note: &str, tree: Fresh) -> Result<Vec<u8>, YamlError> {
    yaml::apply(note.as_bytes(), &[Edit::AddDocument { tree }])
}

/// A list of at most [`ROWS_MAX`] lines.
fn rows(out: &mut String, lines: &[String]) {
    for line in lines.iter().take(ROWS_MAX) {
        let _ = writeln!(out, "- {line}");
    }
    if lines.len() > ROWS_MAX {
        let _ = writeln!(out, "- and {} more", lines.len() - ROWS_MAX);
    }
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(out, "\n### {title}\n");
        rows(out, lines);
    }
}

fn body(found: &Found, drafts: &[Draft<'_>], rest: &[(&WorkloadRef, String)], with_settings: bool) -> String {
    let shown = |target: &WorkloadRef| format!("`{}`", code(&target.to_string()));
    let mut out = String::from(
        "Merging this changes nothing that runs: every policy is in `Observe` mode, so tars writes down what it would \
         do and does nothing else. **Close this to say no**; tars then does not ask again.\n",
    );
    let lines: Vec<String> = drafts
        .iter()
        .map(|it| format!("{}: {} (`{}`)", shown(it.target), inline(&it.why), code(it.path.as_str())))
        .collect();
    section(&mut out, "Policies this adds", &lines);
    let lines: Vec<String> =
        rest.iter().map(|(target, why)| format!("{}: {}", shown(target), inline(why))).collect();
    section(&mut out, "Found, without a new policy", &lines);
    section(&mut out, "Autoscalers", &found.autoscalers.iter().map(shown).collect::<Vec<_>>());
    section(&mut out, "What delivers it", &found.deliveries.iter().map(shown).collect::<Vec<_>>());
    section(&mut out, "Not seen by tars", &found.notes.iter().map(|it| inline(it)).collect::<Vec<_>>());
    section(&mut out, "What tars would need", &needs(found, with_settings));
    out
}

fn needs(found: &Found, with_settings: bool) -> Vec<String> {
    let url = prometheus(found);
    let mut lines = vec![
        "to read this repository, and to push branches below `tars/`; to the watched branch only for policies that \
         are later set to `AutoMerge`"
            .to_owned(),
        "a signing key of its own, and its public half in the list of allowed signers".to_owned(),
        match &found.prometheus {
            Some(service) => format!("Prometheus: `{}` looks like it, so `{}` is written", service, code(&url)),
            None => format!("the address of Prometheus, which could not be guessed: `{}` is a stand-in", code(&url)),
        },
        "queries that fit your metrics: those in `tars.yaml` assume a histogram \
         `http_request_duration_seconds_bucket` with the labels `namespace` and `app`"
            .to_owned(),
    ];
    if found.url.is_none() {
        lines.push(format!("the address of this repository: `{}` is a stand-in", code(REPOSITORY)));
    }
    if !with_settings {
        lines.push(
            "`tars.yaml` is there already and was left as it is: its signals are yours to add".to_owned(),
        );
    }
    lines
}

/// A name as a code span's content.
fn code(text: &str) -> String {
    code_within(text, NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::target;

    fn seen(name: &str, replicas: Option<u32>, owner: ReplicaOwner) -> Seen {
        let target = target(name);
        let workload = Workload {
            target: target.clone(),
            declared_in: RepoPath::new("a.yaml").unwrap(),
            replicas,
            owner,
            containers: Vec::new(),
            restarted_at: None,
            max_unavailable: None,
            last_release: None,
            previous: None,
            no_release: None,
            unrendered: None,
        };
        Seen { target, workload: Ok(workload), covered: false }
    }

    fn found(workloads: Vec<Seen>) -> Found {
        let (branch, policies_path) = ("main".to_owned(), "policies".to_owned());
        Found { workloads, branch, policies_path, ..Found::default() }
    }

    #[test]
    fn every_policy_observes_only_and_stays_inside_what_was_found() {
        let hpa = target("shop/HorizontalPodAutoscaler/web");
        let owner = ReplicaOwner::Autoscaler { target: hpa, min: 2, max: 9 };
        let long = format!("shop/Deployment/{}.x", "a".repeat(200));
        let plan = onboarding(&found(vec![
            seen("shop/Deployment/backend", Some(3), ReplicaOwner::Workload),
            seen("shop/Deployment/web", None, owner),
            seen(&long, Some(1), ReplicaOwner::Workload),
            seen("shop/Deployment/off", Some(0), ReplicaOwner::Workload),
        ]))
        .unwrap();
        let policies = plan.files.iter().filter(|(path, _)| path.as_str() != "tars.yaml");
        let texts: Vec<_> = policies.map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts.iter().all(|it| it.contains("\n  mode: Observe\n")), "{texts:?}");
        let long = texts.iter().find(|it| it.contains(".x\n")).unwrap();
        assert!(!long.contains("service: shop/"), "too long for the name of a service: {long}");
        for (name, most) in [("name: backend", 6), ("name: web", 9)] {
            let text = texts.iter().find(|it| it.contains(name)).unwrap();
            assert!(text.contains(&format!("maxReplicas: {most}\n")), "{text}");
        }
        assert!(plan.title.contains("3 workloads"), "{}", plan.title);
        assert!(plan.body.contains("somebody switched it off"), "{}", plan.body);
        assert!(plan.body.contains("could not be guessed"), "{}", plan.body);
    }

    #[test]
    fn the_same_repository_gives_the_same_plan_and_what_is_there_is_left_alone() {
        let backend = || seen("shop/Deployment/backend", Some(3), ReplicaOwner::Workload);
        let first = onboarding(&found(vec![backend()])).unwrap();
        let again = onboarding(&found(vec![backend()])).unwrap();
        assert_eq!((&first.files, &first.body), (&again.files, &again.body));
        let mut covered = found(vec![Seen { covered: true, ..backend() }]);
        assert!(onboarding(&covered).unwrap().files.is_empty());
        covered.workloads = vec![backend()];
        covered.taken.insert(RepoPath::new("tars.yaml").unwrap());
        let plan = onboarding(&covered).unwrap();
        assert!(plan.files.iter().all(|(path, _)| path.as_str() != "tars.yaml"));
    }

    #[test]
    fn words_of_others_do_not_become_markdown() {
        let mut found = found(vec![seen("shop/Deployment/backend", Some(3), ReplicaOwner::Workload)]);
        found.notes = vec!["chart <img src=x> @everyone [x](http://evil)".to_owned()];
        let body = onboarding(&found).unwrap().body;
        assert!(!body.contains("<img") && !body.contains("@everyone") && !body.contains("[x]("), "{body}");
    }
}
