//! From a well-shaped document to a model policy, and the rules that hold between fields.
//! A tree that passed the schema comes in; a policy or problems go out.

use std::collections::BTreeMap;

use crate::model::anomaly::{Score, Severity};
use crate::model::duration;
use crate::model::forecast::{Crossing, MAX_PROBABILITY, MAX_WITHIN_S, MIN_WITHIN_S};
use crate::model::ids::{
    InvalidName, KindName, Namespace, ObjectId, ObjectName, PolicyName, RepoPath, SignalName,
};
use crate::model::playbook::{PlaybookSpec, RollbackScope, ScaleBy};
use crate::model::policy::{AllowedResource, Mode, Policy, Trigger, VerifySpec, WriteField, WriteTo};
use crate::model::signal::SignalKey;

use super::problem::{PolicyProblem, ProblemSeverity, Report};
use super::quantity;
use super::tree::Node;
use super::wire;

const DAY_S: u32 = 86_400;
const FORECAST_FIELDS: [&str; 7] = ["signal", "service", "above", "below", "within", "probability", "for"];
/// When a forecast trigger names none.
const DEFAULT_PROBABILITY: f64 = 0.9;
const MONTH_S: u32 = 30 * DAY_S;

/// The policy of `root`, unless a rule is broken, and everything that was found.
pub(super) fn policy(
    root: &Node,
    report: &Report<'_>,
    commit: &ObjectId,
) -> (Option<Policy>, Vec<PolicyProblem>) {
    let mut check = Check { root, report, problems: Vec::new() };
    let policy = match serde_json::from_value::<wire::PolicyFile>(root.to_json()) {
        Ok(file) => check.file(file, commit),
        // The schema accepted the document, so this is a number that no field can hold.
        Err(error) => {
            check.error(
                "TARS-P012",
                "spec",
                format!("the policy cannot be read: {error}"),
                "check its numbers",
            );
            None
        }
    };
    let failed = check.problems.iter().any(|it| it.severity == ProblemSeverity::Error);
    (policy.filter(|_| !failed), check.problems)
}

struct Check<'a> {
    root: &'a Node,
    report: &'a Report<'a>,
    problems: Vec<PolicyProblem>,
}

impl Check<'_> {
    fn error(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: &str) {
        self.problems.push(self.report.error(code, self.root.at(path), message, help));
    }

    /// An error about a field as such: its key is underlined.
    fn field_error(&mut self, code: &'static str, path: &str, message: String, help: &str) {
        self.problems.push(self.report.error(code, self.root.key_at(path), message, help));
    }

    fn warning(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: &str) {
        self.problems.push(self.report.warning(code, self.root.at(path), message, help));
    }

    fn name<T>(&mut self, path: &str, name: Result<T, InvalidName>) -> Option<T> {
        match name {
            Ok(name) => Some(name),
            Err(error) => {
                self.error(
                    "TARS-P015",
                    path,
                    format!("invalid {} {:?}", error.what, error.given),
                    error.rule,
                );
                None
            }
        }
    }

    /// Seconds of the duration at `path`, in `1..=max_s` (or from 0 when `least_s` is 0).
    fn duration(
        &mut self,
        path: &str,
        text: Option<&str>,
        default_s: u32,
        bounds_s: (u32, u32),
    ) -> Option<u32> {
        let Some(text) = text else { return Some(default_s) };
        match duration::parse_s(text) {
            Ok(seconds) if (bounds_s.0..=bounds_s.1).contains(&seconds) => Some(seconds),
            Ok(_) => {
                let (least, most) = (duration::format_s(bounds_s.0), duration::format_s(bounds_s.1));
                self.error(
                    "TARS-P016",
                    path,
                    format!("{text} is out of bounds"),
                    &format!("from {least} to {most}"),
                );
                None
            }
            Err(error) => {
                self.error("TARS-P016", path, error.to_string(), "hours, minutes, seconds: 1h30m");
                None
            }
        }
    }

    fn signal(&mut self, path: &str, signal: &str, service: &str) -> Option<SignalKey> {
        let signal = self.name(&format!("{path}.signal"), SignalName::new(signal));
        let service = self.name(&format!("{path}.service"), SignalName::new(service));
        Some(SignalKey { signal: signal?, service: service? })
    }

    fn file(&mut self, file: wire::PolicyFile, commit: &ObjectId) -> Option<Policy> {
        let wire::PolicyFile { metadata, spec, .. } = file;
        let name = self.name("metadata.name", PolicyName::new(metadata.name));
        let namespace = self.name("metadata.namespace", Namespace::new(metadata.namespace));
        let mode = self.mode(&spec);
        let triggers: Vec<Option<Trigger>> =
            spec.triggers.iter().enumerate().map(|(index, it)| self.trigger(index, it)).collect();
        let actions: Vec<Option<PlaybookSpec>> =
            spec.actions.iter().enumerate().map(|(index, it)| self.action(index, it, mode)).collect();
        let allowed_resources = self.allowed(&spec.allowed_resources);
        let allowed_paths = self.paths(&spec.allowed_paths);
        let write_to = self.write_to(&spec.write_to, allowed_paths.as_deref().unwrap_or_default());
        let triggers: Option<Vec<Trigger>> = triggers.into_iter().collect();
        let verify = self.verify(&spec.verify.unwrap_or_default(), triggers.as_deref());
        let revert = spec.revert_after.as_deref();
        let revert_after_s = match revert {
            None => Some(None),
            some => self.duration("spec.revertAfter", some, 0, (1, MONTH_S)).map(Some),
        };
        Some(Policy {
            name: name?,
            namespace: namespace?,
            path: self.report.path().clone(),
            commit: commit.clone(),
            mode,
            suspend: spec.suspend,
            triggers: triggers?,
            actions: actions.into_iter().collect::<Option<_>>()?,
            allowed_resources: allowed_resources?,
            allowed_paths: allowed_paths?,
            write_to: write_to?,
            cooldown_s: spec.cooldown_seconds,
            max_executions_per_hour: spec.max_executions_per_hour,
            verify: verify?,
            revert_after_s: revert_after_s?,
            auto_revert: spec.auto_revert,
        })
    }

    /// Without a word about it a policy proposes: the least that is of use, the most that is safe.
    fn mode(&mut self, spec: &wire::Spec) -> Mode {
        match (spec.mode, spec.dry_run) {
            (Some(wire::Mode::Propose | wire::Mode::AutoMerge), true) => {
                let message = "`dryRun: true` contradicts the policy's mode";
                self.error("TARS-P030", "spec.dryRun", message, "remove dryRun, or write mode: Observe");
                Mode::Observe
            }
            (_, true) | (Some(wire::Mode::Observe), _) => Mode::Observe,
            (Some(wire::Mode::AutoMerge), false) => Mode::AutoMerge,
            (Some(wire::Mode::Propose) | None, false) => Mode::Propose,
        }
    }

    fn trigger(&mut self, index: usize, it: &wire::Trigger) -> Option<Trigger> {
        use wire::TriggerType as T;
        let path = format!("spec.triggers.{index}");
        let (word, given) = match it.kind {
            T::Anomaly => ("an anomaly", ["signal", "service", "threshold", "minSeverity", "for"].as_slice()),
            T::Forecast => ("a forecast", FORECAST_FIELDS.as_slice()),
            T::Promql => ("a promql", ["query", "for"].as_slice()),
            T::Webhook => ("a webhook", ["alertname", "labels"].as_slice()),
        };
        let fields = [
            ("signal", it.signal.is_some()),
            ("service", it.service.is_some()),
            ("threshold", it.threshold.is_some()),
            ("minSeverity", it.min_severity.is_some()),
            ("for", it.hold.is_some()),
            ("above", it.above.is_some()),
            ("below", it.below.is_some()),
            ("within", it.within.is_some()),
            ("probability", it.probability.is_some()),
            ("query", it.query.is_some()),
            ("alertname", it.alertname.is_some()),
            ("labels", it.labels.is_some()),
        ];
        self.only(&path, word, "trigger", given, &fields);
        let for_s = self.duration(&format!("{path}.for"), it.hold.as_deref(), 0, (0, DAY_S));
        match it.kind {
            T::Anomaly => {
                let signal = self.needed(&path, word, "signal", it.signal.as_ref());
                let service = self.needed(&path, word, "service", it.service.as_ref());
                let signal = self.signal(&path, signal?, service?)?;
                let threshold = Score::new(it.threshold.unwrap_or(0.8)).ok()?;
                let min_severity = it.min_severity.map(severity);
                Some(Trigger::Anomaly { signal, threshold, min_severity, for_s: for_s? })
            }
            T::Forecast => self.forecast(&path, it, for_s?),
            T::Promql => {
                let query = self.needed(&path, word, "query", it.query.as_ref())?.clone();
                Some(Trigger::Promql { query, for_s: for_s? })
            }
            T::Webhook => {
                let alertname = self.needed(&path, word, "alertname", it.alertname.as_ref())?.clone();
                let labels: BTreeMap<_, _> = it.labels.clone().unwrap_or_default();
                Some(Trigger::Webhook { alertname, labels })
            }
        }
    }

    fn forecast(&mut self, path: &str, it: &wire::Trigger, for_s: u32) -> Option<Trigger> {
        let word = "a forecast";
        let signal = self.needed(path, word, "signal", it.signal.as_ref());
        let service = self.needed(path, word, "service", it.service.as_ref());
        let within = (it.within.as_deref(), (MIN_WITHIN_S, MAX_WITHIN_S));
        let within_s = self.duration(&format!("{path}.within"), within.0, 1200, within.1);
        let above = self.quantity(&format!("{path}.above"), it.above.as_ref())?;
        let below = self.quantity(&format!("{path}.below"), it.below.as_ref())?;
        let crossing = match (above, below) {
            (Some(limit), None) => Some(Crossing::Above(limit)),
            (None, Some(limit)) => Some(Crossing::Below(limit)),
            (above, _) => {
                let message = if above.is_some() { "two limits" } else { "no limit" };
                let message = format!("a forecast trigger has {message}");
                self.error(
                    "TARS-P025",
                    &format!("{path}.type"),
                    message,
                    "give one of `above:` and `below:`",
                );
                None
            }
        };
        let probability = self.quantity(&format!("{path}.probability"), it.probability.as_ref())?;
        let probability = probability.unwrap_or(DEFAULT_PROBABILITY);
        if probability <= 0.5 || probability > MAX_PROBABILITY {
            let message = format!("a probability of {probability} is never meant or never reached");
            let help = format!("more than \"0.5\", at most \"{MAX_PROBABILITY}\"");
            self.error("TARS-P026", &format!("{path}.probability"), message, &help);
            return None;
        }
        Some(Trigger::Forecast {
            signal: self.signal(path, signal?, service?)?,
            crossing: crossing?,
            within_s: within_s?,
            probability: Score::new(probability).ok()?,
            for_s,
        })
    }

    fn needed<'v, T>(&mut self, path: &str, word: &str, field: &str, value: Option<&'v T>) -> Option<&'v T> {
        if value.is_none() {
            let message = format!("{word} trigger has no `{field}`");
            self.error("TARS-P011", &format!("{path}.type"), message, &format!("add `{field}:`"));
        }
        value
    }

    /// Refuses every given field that is not one of `known`.
    fn only(&mut self, path: &str, word: &str, noun: &str, known: &[&str], fields: &[(&str, bool)]) {
        for (field, _) in fields.iter().filter(|(field, given)| *given && !known.contains(field)) {
            let message = format!("`{field}` does not belong to {word} {noun}");
            self.field_error(
                "TARS-P022",
                &format!("{path}.{field}"),
                message,
                &format!("it has: {}", known.join(", ")),
            );
        }
    }

    fn action(&mut self, index: usize, it: &wire::Action, mode: Mode) -> Option<PlaybookSpec> {
        use wire::ActionType as A;
        let path = format!("spec.actions.{index}");
        let (word, block, short) = match it.kind {
            A::ScaleOut => {
                ("a ScaleOut", "scaleOut", ["step", "factorPercent", "queue", "maxReplicas"].as_slice())
            }
            A::Rollback => ("a Rollback", "rollback", ["scope", "maxAge"].as_slice()),
            A::RestartPod => ("a RestartPod", "restartPod", ["maxPods"].as_slice()),
        };
        let fields = [
            ("scaleOut", it.scale_out.is_some()),
            ("rollback", it.rollback.is_some()),
            ("restartPod", it.restart_pod.is_some()),
            ("step", it.step.is_some()),
            ("factorPercent", it.factor_percent.is_some()),
            ("queue", it.queue.is_some()),
            ("maxReplicas", it.max_replicas.is_some()),
            ("scope", it.scope.is_some()),
            ("maxAge", it.max_age.is_some()),
            ("maxPods", it.max_pods.is_some()),
        ];
        let known: Vec<&str> = std::iter::once(block).chain(short.iter().copied()).collect();
        self.only(&path, word, "action", &known, &fields);
        let given = |field: &str| fields.iter().any(|(name, given)| *name == field && *given);
        let inline = short.iter().find(|field| given(field));
        if let Some(field) = inline.filter(|_| given(block)) {
            let message = format!("`{field}` stands beside `{block}`");
            self.field_error(
                "TARS-P023",
                &format!("{path}.{field}"),
                message,
                &format!("move it into `{block}`"),
            );
            return None;
        }
        let path = if given(block) { format!("{path}.{block}") } else { path };
        if it.kind == A::Rollback && mode == Mode::AutoMerge {
            let message = "a Rollback never merges by itself: it is high risk";
            self.warning(
                "TARS-P031",
                &format!("spec.actions.{index}.type"),
                message,
                "a person will merge it",
            );
        }
        match it.kind {
            A::ScaleOut => self.scale_out(&path, it),
            A::Rollback => {
                let block = it.rollback.as_ref();
                let scope = block.map_or(it.scope, |it| it.scope).unwrap_or(wire::Scope::Image);
                let max_age = block.map_or(it.max_age.as_deref(), |it| it.max_age.as_deref());
                let max_age_s = self.duration(&format!("{path}.maxAge"), max_age, 3600, (1, MONTH_S))?;
                Some(PlaybookSpec::Rollback { scope: rollback_scope(scope), max_age_s })
            }
            A::RestartPod => {
                let max_pods = it.restart_pod.as_ref().map_or(it.max_pods, |it| it.max_pods).unwrap_or(1);
                Some(PlaybookSpec::RestartPod { max_pods })
            }
        }
    }

    fn scale_out(&mut self, path: &str, it: &wire::Action) -> Option<PlaybookSpec> {
        let (step, factor, queue, max_replicas) = match &it.scale_out {
            Some(it) => (it.step, it.factor_percent, it.queue.as_ref(), it.max_replicas),
            None => (it.step, it.factor_percent, it.queue.as_ref(), it.max_replicas),
        };
        let max_replicas = max_replicas.unwrap_or(10);
        let by = match (step, factor, queue) {
            (None, None, None) => ScaleBy::Step(1),
            (Some(step), None, None) => ScaleBy::Step(step),
            (None, Some(factor), None) => ScaleBy::FactorPercent(factor),
            (None, None, Some(queue)) => ScaleBy::Queue {
                load: self.signal(&format!("{path}.queue"), &queue.signal, &queue.service)?,
                per_replica: queue.per_replica,
                utilisation_percent: queue.utilisation_percent,
            },
            _ => {
                let second = if queue.is_some() { "queue" } else { "factorPercent" };
                let message = format!("`{second}` is one way to scale too many");
                let help = "keep one of step, factorPercent, queue";
                self.field_error("TARS-P023", &format!("{path}.{second}"), message, help);
                return None;
            }
        };
        if let ScaleBy::Step(step) = by
            && step > max_replicas
        {
            let message = format!("maxReplicas {max_replicas} is smaller than step {step}");
            self.error("TARS-P024", &format!("{path}.maxReplicas"), message, &format!("at least {step}"));
            return None;
        }
        Some(PlaybookSpec::ScaleOut { by, max_replicas })
    }

    fn allowed(&mut self, entries: &[wire::Allowed]) -> Option<Vec<AllowedResource>> {
        let mut resources: Vec<Option<AllowedResource>> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("spec.allowedResources.{index}");
            let resource = self.resource(&path, entry);
            if resource.is_some() && resources.contains(&resource) {
                self.warning("TARS-P034", &path, "this resource is allowed already", "remove one of the two");
            } else {
                if let (Some(it), wire::Allowed::Short(_)) = (&resource, entry) {
                    self.not_for_servers(&path, &format!("write {{kind: {}, name: {}}}", it.kind, it.name));
                }
                resources.push(resource);
            }
        }
        resources.into_iter().collect()
    }

    fn resource(&mut self, path: &str, entry: &wire::Allowed) -> Option<AllowedResource> {
        let (kind, name, kind_path, name_path) = match entry {
            wire::Allowed::Pair(pair) => {
                (pair.kind.as_str(), pair.name.as_str(), format!("{path}.kind"), format!("{path}.name"))
            }
            wire::Allowed::Short(text) => {
                let Some((kind, name)) = text.split_once('/') else {
                    self.error("TARS-P015", path, "this is not Kind/name", "for example Deployment/backend");
                    return None;
                };
                (kind, name, path.to_owned(), path.to_owned())
            }
        };
        let kind = self.name(&kind_path, KindName::new(kind));
        let name = self.name(&name_path, ObjectName::new(name));
        Some(AllowedResource { kind: kind?, name: name? })
    }

    /// A form that is read here and that no API server takes, for want of a schema that could say it.
    fn not_for_servers(&mut self, path: &str, help: &str) {
        self.warning("TARS-P044", path, "an API server does not take this form", help);
    }

    fn quantity(&mut self, path: &str, given: Option<&wire::Quantity>) -> Option<Option<f64>> {
        match given {
            None => Some(None),
            Some(wire::Quantity::Number(number)) => {
                if number.fract() != 0.0 {
                    self.not_for_servers(path, &format!("write \"{number}\", in quotes"));
                }
                Some(Some(*number))
            }
            Some(wire::Quantity::Text(text)) => {
                let number = quantity::parse(text);
                if number.is_none() {
                    let message = format!("{:?} is not a number", text.chars().take(40).collect::<String>());
                    self.error("TARS-P039", path, message, "for example 250, \"0.25\" or 250m");
                }
                number.map(Some)
            }
        }
    }

    fn paths(&mut self, entries: &[String]) -> Option<Vec<RepoPath>> {
        let mut paths = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            // People write folders with a slash at the end.
            match RepoPath::new(entry.strip_suffix('/').unwrap_or(entry)) {
                Ok(path) => paths.push(path),
                Err(error) => {
                    let path = format!("spec.allowedPaths.{index}");
                    self.error("TARS-P035", &path, format!("invalid path {:?}", error.given), error.rule);
                }
            }
        }
        (paths.len() == entries.len()).then_some(paths)
    }

    fn write_to(&mut self, entries: &[wire::WriteTo], allowed: &[RepoPath]) -> Option<Vec<WriteTo>> {
        let read: Vec<Option<WriteTo>> =
            entries.iter().enumerate().map(|(index, it)| self.place(index, it, allowed)).collect();
        read.into_iter().collect()
    }

    fn place(&mut self, index: usize, entry: &wire::WriteTo, allowed: &[RepoPath]) -> Option<WriteTo> {
        let at = format!("spec.writeTo.{index}");
        let resource = match &entry.resource {
            None => Some(None),
            Some(named) => self.resource(&format!("{at}.resource"), named).map(Some),
        };
        let place = format!("{at}.file");
        let file = match RepoPath::new(entry.file.as_str()) {
            Ok(file) => Some(file),
            Err(error) => {
                self.error("TARS-P036", &place, format!("invalid path {:?}", error.given), error.rule);
                None
            }
        };
        let below = |file: &RepoPath, prefix: &RepoPath| {
            let rest = file.as_str().strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(file) = file.as_ref().filter(|_| !allowed.is_empty())
            && !allowed.iter().any(|prefix| below(file, prefix))
        {
            let message = format!("{file} is outside allowedPaths");
            self.error("TARS-P037", &place, message, "allow the file, or name another");
            return None;
        }
        let field = match entry.field {
            wire::WriteField::Replicas => WriteField::Replicas,
            wire::WriteField::MinReplicas => WriteField::MinReplicas,
            wire::WriteField::Image => WriteField::Image,
            wire::WriteField::RestartedAt => WriteField::RestartedAt,
        };
        if entry.path.is_empty() {
            self.error("TARS-P038", &format!("{at}.path"), "the path is empty", "for example image.tag");
            return None;
        }
        let path = entry.path.clone();
        Some(WriteTo { field, resource: resource?, file: file?, document: entry.document, path })
    }

    fn verify(&mut self, verify: &wire::Verify, triggers: Option<&[Trigger]>) -> Option<VerifySpec> {
        let window_s = self.duration("spec.verify.window", verify.window.as_deref(), 600, (1, DAY_S));
        let within_s = self.duration("spec.verify.within", verify.within.as_deref(), 1200, (1, DAY_S));
        if let (Some(window_s), Some(within_s)) = (window_s, within_s)
            && within_s < window_s
        {
            let (window, within) = (duration::format_s(window_s), duration::format_s(within_s));
            let message = format!("within {within} is shorter than window {window}");
            let place = if verify.within.is_some() { "spec.verify.within" } else { "spec.verify.window" };
            self.error("TARS-P033", place, message, &format!("within is at least {window}"));
        }
        let below = self.quantity("spec.verify.below", verify.below.as_ref());
        let dependants: Vec<Option<SignalKey>> = verify
            .dependants
            .iter()
            .enumerate()
            .map(|(index, it)| {
                self.signal(&format!("spec.verify.dependants.{index}"), &it.signal, &it.service)
            })
            .collect();
        let first = triggers?.iter().find_map(|it| match it {
            Trigger::Anomaly { signal, .. } | Trigger::Forecast { signal, .. } => Some(signal),
            Trigger::Promql { .. } | Trigger::Webhook { .. } => None,
        });
        let signal = verify.signal.as_deref().or(first.map(|it| it.signal.as_str()));
        let service = verify.service.as_deref().or(first.map(|it| it.service.as_str()));
        let (Some(signal), Some(service)) = (signal, service) else {
            let message = "nothing says which signal shows recovery";
            self.error("TARS-P032", "spec.verify", message, "add verify: {signal: ..., service: ...}");
            return None;
        };
        Some(VerifySpec {
            signal: self.signal("spec.verify", signal, service)?,
            below: below?,
            window_s: window_s?,
            within_s: within_s?,
            dependants: dependants.into_iter().collect::<Option<_>>()?,
        })
    }
}

fn severity(it: wire::Severity) -> Severity {
    match it {
        wire::Severity::Low => Severity::Low,
        wire::Severity::Medium => Severity::Medium,
        wire::Severity::High => Severity::High,
        wire::Severity::Critical => Severity::Critical,
    }
}

fn rollback_scope(it: wire::Scope) -> RollbackScope {
    match it {
        wire::Scope::Image => RollbackScope::Image,
        wire::Scope::PodTemplate => RollbackScope::PodTemplate,
    }
}
