//! `-n`, `-A` and `-l`: which records a list shows. Labels of a record come in, yes or no goes out.
//! The grammar of `-l` is that of kubectl's label selectors
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>).

use std::collections::BTreeMap;

use clap::Args;

use super::failure::Failure;
use super::output::expression::{Mistake, bounded};
use crate::model::action::{MergedBy, Purpose, RemediationAction};
use crate::model::policy::Policy;

/// What a list may be narrowed by.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Only what concerns this namespace
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All namespaces, which is what happens without -n
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    #[arg(short = 'l', long, value_name = "LABELS", help = LABELS_HELP)]
    pub selector: Option<String>,
}

/// The labels, where `-l` is explained.
const LABELS_HELP: &str = "Only records with these labels: a=b, a!=b, 'a in (b,c)', 'a notin (b,c)', a, '!a'; \
     commas mean and, case does not matter. Labels: namespace, kind, name (of the target), policy, playbook, purpose, mode, \
     risk, state, phase, incident, trigger, signal, service, verdict, merged-by; of a policy: namespace, policy, \
     playbook, mode, suspended, kind, name, signal, service; of a log entry also: entry";

/// Every label there is.
const LABELS: [&str; 18] = [
    "namespace",
    "kind",
    "name",
    "policy",
    "playbook",
    "purpose",
    "mode",
    "risk",
    "state",
    "phase",
    "incident",
    "trigger",
    "signal",
    "service",
    "verdict",
    "merged-by",
    "suspended",
    "entry",
];

/// Where the expression comes from, for messages.
const FLAG: &str = "-l";

/// Labels of one record. A policy has several playbooks and targets, so a label may have several values: it
/// equals a value when one of them does.
#[derive(Debug, Clone, Default)]
pub struct Labels(BTreeMap<&'static str, Vec<String>>);

impl Labels {
    /// Adds a value.
    pub fn add(&mut self, label: &'static str, value: impl Into<String>) {
        self.0.entry(label).or_default().push(value.into());
    }

    /// Labels of an action.
    #[must_use]
    pub fn of_action(record: &RemediationAction) -> Self {
        let (spec, status) = (&record.spec, &record.status);
        let mut labels = Self::default();
        labels.add("namespace", spec.target.namespace.as_str());
        labels.add("kind", spec.target.kind.as_str());
        labels.add("name", spec.target.name.as_str());
        labels.add("policy", spec.policy.as_str());
        labels.add("playbook", spec.playbook.as_str());
        labels.add(
            "purpose",
            match spec.purpose {
                Purpose::Remediate => "remediate",
                Purpose::Expire { .. } => "expire",
                Purpose::Revert { .. } => "revert",
            },
        );
        labels.add("mode", format!("{:?}", spec.mode));
        labels.add("risk", format!("{:?}", spec.risk.class));
        labels.add("state", record.state().as_str());
        labels.add("phase", format!("{:?}", status.phase));
        labels.add("incident", spec.incident.as_str());
        labels.add("trigger", spec.cause.trigger.as_str());
        for anomaly in &spec.cause.anomalies {
            labels.add("signal", anomaly.key.signal.as_str());
            labels.add("service", anomaly.key.service.as_str());
        }
        if let Some(verdict) = &status.verdict {
            labels.add("verdict", format!("{:?}", verdict.outcome));
        }
        if let Some(merge) = &status.merge {
            labels.add(
                "merged-by",
                match merge.by {
                    MergedBy::Tars => "tars",
                    MergedBy::Person => "person",
                },
            );
        }
        labels
    }

    /// Labels of a policy.
    #[must_use]
    pub fn of_policy(policy: &Policy) -> Self {
        let mut labels = Self::default();
        labels.add("namespace", policy.namespace.as_str());
        labels.add("policy", policy.name.as_str());
        labels.add("mode", format!("{:?}", policy.mode));
        labels.add("suspended", policy.suspend.to_string());
        for action in &policy.actions {
            labels.add("playbook", action.name().as_str());
        }
        for target in policy.targets() {
            labels.add("kind", target.kind.as_str());
            labels.add("name", target.name.as_str());
        }
        labels.add("signal", policy.verify.signal.signal.as_str());
        labels.add("service", policy.verify.signal.service.as_str());
        labels
    }

    fn has(&self, label: &str, value: &str) -> bool {
        self.0.get(label).is_some_and(|values| values.iter().any(|it| it.eq_ignore_ascii_case(value)))
    }
}

/// The filters, understood.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    namespace: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selection {
    /// Reads the flags.
    ///
    /// # Errors
    /// A usage error that points into the selector.
    pub fn new(filters: &Filters) -> Result<Self, Failure> {
        let text = filters.selector.as_deref().unwrap_or("");
        let rules = bounded(text)
            .and_then(|()| Parser { text, at: 0 }.rules())
            .map_err(|mistake| mistake.in_expression(FLAG, text))?;
        Ok(Self { namespace: filters.namespace.clone(), rules })
    }

    /// Does everything pass?
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.namespace.is_none() && self.rules.is_empty()
    }

    /// Does a record with these labels pass?
    #[must_use]
    pub fn takes(&self, labels: &Labels) -> bool {
        let in_namespace = self.namespace.as_ref().is_none_or(|it| labels.has("namespace", it));
        in_namespace
            && self.rules.iter().all(|rule| match rule {
                Rule::In(label, values) => values.iter().any(|it| labels.has(label, it)),
                Rule::NotIn(label, values) => !values.iter().any(|it| labels.has(label, it)),
                Rule::Exists(label) => labels.0.contains_key(label.as_str()),
                Rule::Absent(label) => !labels.0.contains_key(label.as_str()),
            })
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn wrong(&self, label: impl Into<String>) -> Mistake {
        let length = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Mistake::new(self.at..self.at + length, label)
    }

    /// A label or a value; a value may be empty.
    fn word(&mut self) -> String {
        self.blanks();
        let is_word = |c: &char| c.is_alphanumeric() || "._-/:".contains(*c);
        let word: String = self.text[self.at..].chars().take_while(is_word).collect();
        self.at += word.len();
        word
    }

    fn rules(&mut self) -> Result<Vec<Rule>, Mistake> {
        let mut rules = Vec::new();
        self.blanks();
        if self.at == self.text.len() {
            return Ok(rules);
        }
        loop {
            rules.push(self.rule()?);
            self.blanks();
            if self.at == self.text.len() {
                return Ok(rules);
            }
            if !self.take(",") {
                return Err(self
                    .wrong("expected `,`")
                    .hint("one of: a=b a!=b 'a in (b,c)' 'a notin (b,c)' a !a"));
            }
        }
    }

    fn label(&mut self) -> Result<String, Mistake> {
        self.blanks();
        let start = self.at;
        let label = self.word();
        if label.is_empty() {
            return Err(self.wrong("expected a label"));
        }
        if LABELS.contains(&label.as_str()) {
            return Ok(label);
        }
        let near = LABELS
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, &label), *known))
            .min()
            .filter(|(distance, _)| *distance <= 2)
            .map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"));
        Err(Mistake::new(start..self.at, format!("no record has such a label{near}"))
            .hint("tars get --help lists the labels"))
    }

    fn rule(&mut self) -> Result<Rule, Mistake> {
        if self.take("!") {
            return self.label().map(Rule::Absent);
        }
        let label = self.label()?;
        if self.take("!=") {
            return Ok(Rule::NotIn(label, vec![self.word()]));
        }
        if self.take("==") || self.take("=") {
            return Ok(Rule::In(label, vec![self.word()]));
        }
        let start = self.at;
        match self.word().as_str() {
            "in" => Ok(Rule::In(label, self.values()?)),
            "notin" => Ok(Rule::NotIn(label, self.values()?)),
            "" => Ok(Rule::Exists(label)),
            _ => Err(Mistake::new(start..self.at, "expected =, !=, in or notin")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, Mistake> {
        self.blanks();
        let open = self.at;
        if !self.take("(") {
            return Err(self.wrong("expected `(` and values: (b,c)"));
        }
        let mut values = vec![self.word()];
        while self.take(",") {
            values.push(self.word());
        }
        if self.take(")") {
            return Ok(values);
        }
        match self.at == self.text.len() {
            true => Err(Mistake::new(open..open + 1, "no `)` closes this")),
            false => Err(self.wrong("expected `,` or `)`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels() -> Labels {
        let mut labels = Labels::default();
        labels.add("namespace", "production");
        labels.add("policy", "backend-latency");
        labels.add("risk", "Low");
        labels.add("playbook", "ScaleOut");
        labels.add("playbook", "Rollback");
        labels
    }

    fn selection(selector: &str, namespace: Option<&str>) -> Result<Selection, Failure> {
        Selection::new(&Filters {
            namespace: namespace.map(str::to_owned),
            selector: Some(selector.to_owned()),
            ..Filters::default()
        })
    }

    #[test]
    fn every_kind_of_rule_is_understood() {
        for (selector, taken) in [
            ("", true),
            ("risk=Low", true),
            ("risk==low", true),
            ("risk=High", false),
            ("risk!=High", true),
            ("verdict!=Worse", true),
            ("verdict=Worse", false),
            ("risk in (Medium, Low)", true),
            ("risk in (Medium,High)", false),
            ("risk notin (Medium,High)", true),
            ("verdict notin (Worse)", true),
            ("risk", true),
            ("verdict", false),
            ("!verdict", true),
            ("! risk", false),
            ("playbook=ScaleOut,playbook=Rollback", true),
            ("playbook!=Rollback", false),
            (" policy = backend-latency , risk in ( Low ) ,!verdict ", true),
            ("policy=", false),
        ] {
            let selection = selection(selector, None).unwrap_or_else(|it| panic!("{}", it.render()));
            assert_eq!(selection.takes(&labels()), taken, "{selector}");
        }
    }

    #[test]
    fn a_namespace_and_a_selector_must_both_fit() {
        assert!(selection("risk=Low", Some("production")).unwrap().takes(&labels()));
        assert!(!selection("risk=Low", Some("staging")).unwrap().takes(&labels()));
        assert!(!selection("risk=High", Some("production")).unwrap().takes(&labels()));
        assert!(Selection::default().is_everything() && !selection("risk", None).unwrap().is_everything());
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        for (selector, place, words) in [
            ("polcy=a", ":1:1", "did you mean `policy`?"),
            ("risk in Low", ":1:9", "expected `(`"),
            ("risk in (Low", ":1:9", "no `)` closes this"),
            ("risk=Low risk", ":1:10", "expected `,`"),
            ("risk is Low", ":1:6", "expected =, !=, in or notin"),
            ("risk=Low,", ":1:10", "expected a label"),
            ("=b", ":1:1", "expected a label"),
        ] {
            let text = selection(selector, None).unwrap_err().render();
            assert!(text.contains(place) && text.contains(words) && text.contains('^'), "{selector}: {text}");
        }
    }

    #[test]
    fn the_help_names_every_label() {
        for label in LABELS {
            assert!(LABELS_HELP.contains(label), "{label}");
        }
    }

    proptest! {
        #[test]
        fn no_selector_makes_it_panic(selector in "[a-z!=,() inoét\"]{0,24}") {
            let _ = selection(&selector, None);
        }
    }
}
