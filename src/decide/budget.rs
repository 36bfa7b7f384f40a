//! What stands between a proposal and an automatic merge, counted from the history: budgets, clock, freeze,
//! cooldown. History and limits come in; reasons with numbers go out. Never takes a slot: the ledger does.

use jiff::Timestamp;

use super::Guards;
use crate::model::history::History;
use crate::model::ids::{ActionId, PolicyName, WorkloadRef};
use crate::model::limits::{BudgetUse, GlobalLimits};
use crate::model::reason::{Reason, ReasonCode};

/// Local clock and ledger may differ by this many seconds before nothing merges by itself.
pub const CLOCK_LIMIT_S: i64 = 30;

/// The two budgets of one question.
pub struct Budgets<'a> {
    pub policy: &'a PolicyName,
    pub policy_per_hour: u32,
    pub global_per_hour: u32,
    /// The action that asks: a reservation of its own that is not resolved does not count against it.
    pub asking: Option<&'a ActionId>,
}

impl<'a> Budgets<'a> {
    pub fn new(policy: &'a PolicyName, policy_per_hour: u32, limits: &GlobalLimits) -> Self {
        Self { policy, policy_per_hour, global_per_hour: limits.max_executions_per_hour, asking: None }
    }

    /// (code, whose budget, policy to count, limit)
    fn rows(&self) -> [(ReasonCode, String, Option<&'a PolicyName>, u32); 2] {
        [
            (ReasonCode::BudgetExhausted, self.policy.to_string(), Some(self.policy), self.policy_per_hour),
            (ReasonCode::GlobalBudgetExhausted, "all policies".to_owned(), None, self.global_per_hour),
        ]
    }

    /// Budget lines as they would be if one more merged.
    pub fn lines(&self, history: &History, now: Timestamp) -> Vec<BudgetUse> {
        let line = |(_, name, policy, limit): (ReasonCode, String, Option<&PolicyName>, u32)| {
            let window = history.executions_within(now, policy, self.asking);
            BudgetUse { name, used: window.used.saturating_add(1), limit, next_free: window.next_free(limit) }
        };
        self.rows().into_iter().map(line).collect()
    }

    /// One reason per spent budget.
    pub fn spent(&self, history: &History, now: Timestamp) -> Vec<Reason> {
        let check = |(code, name, policy, limit): (ReasonCode, String, Option<&PolicyName>, u32)| {
            let window = history.executions_within(now, policy, self.asking);
            let next = match window.next_free(limit) {
                Some(at) => format!("next slot at {}", clock_time(at)),
                None if limit == 0 => "the limit is 0".to_owned(),
                None => "next slot when an open reservation ends and its hour has passed".to_owned(),
            };
            (window.used >= limit).then(|| {
                let used = window.used;
                Reason::new(code, format!("{used} of {limit} executions of {name} in the last hour; {next}"))
            })
        };
        self.rows().into_iter().filter_map(check).collect()
    }
}

/// `10:41:07Z`
pub fn clock_time(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// `2026-11-23T10:41:07Z`
pub fn date_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Freeze and clock: what stops every automatic merge, whatever it is.
pub fn brakes(history: &History, guards: &Guards, now: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(stop) = guards.frozen.as_ref().filter(|it| it.holds(now)) {
        reasons.push(Reason::new(ReasonCode::Frozen, stop.to_string()));
    }
    if let Err(reason) = &guards.clock {
        reasons.push(reason.clone());
    }
    let ahead_s = history.ahead_s(now);
    if ahead_s > CLOCK_LIMIT_S {
        let text = format!("the newest ledger entry is {ahead_s} s after the local clock");
        reasons.push(Reason::new(ReasonCode::ClockUntrusted, text));
    }
    reasons
}

/// The cooldown of `target`, if it runs.
pub fn cooldown(
    history: &History,
    target: &WorkloadRef,
    cooldown_s: u32,
    asking: Option<&ActionId>,
    now: Timestamp,
) -> Option<Reason> {
    let until = history.cooling_until(target, cooldown_s, asking, now)?;
    let last = history.last_execution(target)?;
    let text = format!(
        "{} ran on {target} at {}; {cooldown_s} s have passed at {}",
        last.action,
        clock_time(last.at),
        clock_time(until)
    );
    Some(Reason::new(ReasonCode::Cooldown, text))
}
