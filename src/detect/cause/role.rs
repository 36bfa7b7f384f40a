//! What a metric says about its service, told by the words in its name. A name comes in, a role goes out; values
//! are not looked at. A name without a known word is taken for something inside the service.

/// What a change of a metric means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// What the service is made of: processor, memory, queues, restarts. Any change is its own.
    Inside,
    /// How it answers those who call it; worse is up (latency, errors) or down (availability, success).
    Answers { worse_is_up: bool },
    /// How those whom it calls answer it, measured on its own side.
    Calls,
    /// How much is asked of it: that is its callers' doing.
    Load,
}

const CALLS: [&str; 3] = ["client", "upstream", "outbound"];
const ANSWERS_UP: [&str; 4] = ["latency", "duration", "error", "failure"];
const ANSWERS_DOWN: [&str; 3] = ["availability", "success", "apdex"];
const LOAD: [&str; 6] = ["request", "workload", "traffic", "ops", "qps", "rps"];

impl Role {
    #[must_use]
    pub fn of(metric: &str) -> Self {
        let name = metric.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        match () {
            () if has(&CALLS) => Self::Calls,
            () if has(&ANSWERS_DOWN) => Self::Answers { worse_is_up: false },
            () if has(&ANSWERS_UP) => Self::Answers { worse_is_up: true },
            () if has(&LOAD) => Self::Load,
            () => Self::Inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_get_the_role_they_mean() {
        let up = Role::Answers { worse_is_up: true };
        for (name, role) in [
            ("latency_p95", up),
            ("http_error_rate", up),
            ("request_duration_seconds", up),
            ("SuccessRate(%)", Role::Answers { worse_is_up: false }),
            ("client_latency_p95", Role::Calls),
            ("requests_per_second", Role::Load),
            ("cpu_usage", Role::Inside),
            ("queue_length", Role::Inside),
        ] {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }
}
