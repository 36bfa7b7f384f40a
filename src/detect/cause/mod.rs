//! Who is the cause and who is a victim: ranks services by how far their metrics changed when an incident
//! began, and by the graph of calls. Tracks, a beginning, `now` and a graph come in; suspects with their reasons
//! go out. No label, no memory between calls, no decision.
//!
//! Change point and robust score as in BARO (Pham et al., 2024), with three rules from the graph:
//! bad answers are explained by what is called and does worse; slow calls that nothing called explains are
//! the fault of the way there; and a cause has victims.

mod groups;
mod role;
mod sign;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::services::ServiceGraph;

pub use groups::{Trouble, groups};
pub use role::Role;
pub use sign::{Sign, Track};

use sign::{AFTER_SLOTS, sign};

/// Most suspects that are named.
pub const SUSPECTS_MAX: usize = 20;
/// Most victims that are named for one suspect.
const VICTIMS_MAX: usize = 20;

/// Strength up to which a change is everyday noise (3 sigma), and how much of it still counts: it decides only
/// where there is nothing else.
const NOISE: f64 = 1.4;
const NOISE_SHARE: f64 = 0.25;
/// Slow calls are weaker evidence than slow answers: many are polls that wait on purpose.
const CALLS_SHARE: f64 = 0.5;
/// How much of the suspicion hangs on the victims, and how much trouble there must be before that counts.
const VICTIMS_SHARE: f64 = 0.75;
const TROUBLE_MIN: f64 = 2.0;

/// How many times as suspicious the cause has to be as the one that is held to be its victim.
const CLEARLY: f64 = 2.0;

/// Why a service is suspected.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    pub service: String,
    /// 0 or more; only comparable within one ranking.
    pub score: f64,
    /// The strongest change inside it and the strongest of its answers, the stronger one first.
    pub signs: Vec<Sign>,
    /// Direct callers whose trouble nothing else that they call explains.
    pub blamed_by: Vec<String>,
    /// Services in trouble that call it, directly or not, the worst first.
    pub victims: Vec<String>,
}

impl Suspect {
    /// When it began here, as far as anything of its own shows.
    #[must_use]
    pub fn onset_s(&self) -> Option<i64> {
        self.signs.iter().map(|it| it.onset_s).min()
    }
}

/// What is known of one service.
#[derive(Debug, Default)]
struct State {
    inside: Option<Sign>,
    answers: Option<Sign>,
    calls: Option<Sign>,
    /// Are its calls measured at all?
    measures_calls: bool,
    /// Share of the time in which its answers are known.
    known: f64,
}

impl State {
    fn take(&mut self, track: &Track<'_>, since_s: i64, now_s: i64) {
        let role = Role::of(track.metric);
        let place = match role {
            Role::Inside => &mut self.inside,
            Role::Answers { .. } => &mut self.answers,
            Role::Calls => &mut self.calls,
            Role::Load => return,
        };
        if let Some(sign) = sign(track, since_s, now_s, AFTER_SLOTS) {
            // The name decides between equals, so that the order of the tracks does not.
            let rank = |it: &Sign| (it.strength(), std::cmp::Reverse(it.metric.clone()));
            if place.as_ref().is_none_or(|old| rank(&sign) > rank(old)) {
                *place = Some(sign);
            }
        }
        let present = track.values.iter().flatten().count() as f64 / track.values.len().max(1) as f64;
        match role {
            Role::Calls => self.measures_calls = true,
            Role::Answers { .. } => self.known = self.known.max(present),
            Role::Inside | Role::Load => {}
        }
    }

    fn of(sign: Option<&Sign>) -> f64 {
        sign.map_or(0.0, Sign::strength)
    }

    fn answering(&self) -> f64 {
        Self::of(self.answers.as_ref())
    }

    /// Trouble of its own making or not.
    fn trouble(&self) -> f64 {
        self.answering().max(Self::of(self.inside.as_ref()))
    }
}

fn beyond_noise(strength: f64) -> f64 {
    (strength - NOISE).max(0.0) + NOISE_SHARE * strength
}

/// What is left of `strength` beside an explanation of that strength: all of it without one, nothing when the
/// explanation is as strong.
fn unexplained(strength: f64, explanation: f64) -> f64 {
    if strength <= 0.0 { 0.0 } else { strength * (1.0 - (explanation / strength).min(1.0).powi(2)) }
}

/// When the first of the `symptoms` changed, at or after `from_s`; what was before is their past. `None`: none did.
#[must_use]
pub fn begins(symptoms: &[Track<'_>], from_s: i64, now_s: i64) -> Option<i64> {
    symptoms.iter().filter_map(|track| sign(track, from_s, now_s, usize::MAX)).map(|it| it.onset_s).min()
}

/// Ranks the services of `tracks` and `graph` by how likely each is the cause of what began at `since_s`, most
/// likely first; of equals the first by name. What happened after `now_s` is not looked at.
#[must_use]
pub fn rank(tracks: &[Track<'_>], graph: &ServiceGraph, since_s: i64, now_s: i64) -> Vec<Suspect> {
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    for track in tracks {
        states.entry(track.service).or_default().take(track, since_s, now_s);
    }
    for service in graph.services() {
        states.entry(service).or_default();
    }
    let scene = Scene { states, graph };
    let mut all: Vec<Suspect> = scene.states.keys().map(|service| scene.suspect(service)).collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.service.cmp(&b.service)));
    all.truncate(SUSPECTS_MAX);
    all
}

/// The suspect that `service` is merely a victim of: the first one, when it is called from there, shows something
/// of its own, and is clearly more suspicious. Doubt acquits nobody and accuses nobody: `None`.
#[must_use]
pub fn culprit<'a>(ranked: &'a [Suspect], service: &str, graph: &ServiceGraph) -> Option<&'a Suspect> {
    let first = ranked.first().filter(|it| it.service != service)?;
    let own = ranked.iter().find(|it| it.service == service).map_or(0.0, |it| it.score);
    let shows = first.signs.first().is_some_and(|it| it.strength() > NOISE);
    let is_clear = shows && first.score >= CLEARLY * own;
    (is_clear && graph.way(service, &first.service).is_some()).then_some(first)
}

struct Scene<'a> {
    states: BTreeMap<&'a str, State>,
    graph: &'a ServiceGraph,
}

impl Scene<'_> {
    fn trouble(&self, service: &str) -> f64 {
        self.states.get(service).map_or(0.0, State::trouble)
    }

    fn answering(&self, service: &str) -> f64 {
        self.states.get(service).map_or(0.0, State::answering)
    }

    /// What `service` shows that nothing it calls explains.
    fn own(&self, service: &str, state: &State) -> f64 {
        let called = self.graph.callees(service).map(|it| self.trouble(it)).reduce(f64::max);
        let explanation = called.map_or(0.0, |it| it.max(State::of(state.calls.as_ref())));
        let answers = unexplained(state.answering(), explanation);
        beyond_noise(State::of(state.inside.as_ref())).max(beyond_noise(answers))
    }

    /// How much of the trouble of `caller` has to be on its ways to those it calls, if `but` is not looked at.
    fn below(&self, caller: &str, but: &str) -> f64 {
        let Some(state) = self.states.get(caller).filter(|it| it.measures_calls) else { return 0.0 };
        let strength = state.answering().max(CALLS_SHARE * State::of(state.calls.as_ref()));
        let others = self.graph.callees(caller).filter(|it| *it != but);
        unexplained(strength, others.map(|it| self.trouble(it)).fold(0.0, f64::max))
    }

    /// What the direct callers say against `service`: their mean, in which one that calls many says little.
    fn blame(&self, service: &str) -> (f64, Vec<String>) {
        let (mut sum, mut weights, mut by) = (0.0, 0.0, Vec::new());
        for caller in self.graph.callers(service) {
            let known = self.states.get(caller).map_or(0.0, |it| it.known);
            let weight = known / self.graph.callees(caller).count().max(1) as f64;
            let below = self.below(caller, service);
            sum += weight * below;
            weights += weight;
            if below > NOISE {
                by.push(caller.to_owned());
            }
        }
        (if weights > 0.0 { beyond_noise(sum / weights) } else { 0.0 }, by)
    }

    fn suspect(&self, service: &str) -> Suspect {
        let state = &self.states[service];
        let upstream = self.graph.upstream(service);
        let troubled = |it: &str| beyond_noise(self.answering(it));
        let all: f64 = self.states.keys().map(|it| troubled(it)).sum();
        let explained = troubled(service) + upstream.iter().map(|it| troubled(it)).sum::<f64>();
        let (blame, blamed_by) = self.blame(service);
        let victims_share = match self.graph.is_empty() {
            true => 1.0,
            false => (explained + TROUBLE_MIN) / (all + TROUBLE_MIN),
        };
        let score =
            (self.own(service, state) + blame) * (1.0 - VICTIMS_SHARE + VICTIMS_SHARE * victims_share);
        let mut signs: Vec<Sign> = state.inside.iter().chain(&state.answers).cloned().collect();
        signs.sort_by(|a, b| b.strength().total_cmp(&a.strength()));
        Suspect { service: service.to_owned(), score, signs, blamed_by, victims: self.victims(&upstream) }
    }

    fn victims(&self, upstream: &BTreeSet<&str>) -> Vec<String> {
        let mut victims: Vec<&str> =
            upstream.iter().copied().filter(|it| self.answering(it) > NOISE).collect();
        victims.sort_by(|a, b| self.answering(b).total_cmp(&self.answering(a)).then(a.cmp(b)));
        victims.truncate(VICTIMS_MAX);
        victims.into_iter().map(str::to_owned).collect()
    }
}
