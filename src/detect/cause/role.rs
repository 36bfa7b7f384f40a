//! What a metric says about its service, told by the words in its name. A name comes in, a role goes out; values
//! are not looked at. A name without a known word is taken for something inside the service.
//!
//! Words are whole: "ops" is in `PodWorkload(Ops)`, and neither in `packet_drops` nor in `event_loops`.

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
/// What has gone wrong counts as that, of whatever it is the number: of requests, or of "unsuccessful".
const FAILED: [&str; 21] = [
    "error",
    "errors",
    "exception",
    "exceptions",
    "fail",
    "failed",
    "fails",
    "failure",
    "failures",
    "rejected",
    "rejections",
    "refused",
    "aborted",
    "dropped",
    "drops",
    "timeouts",
    "unavailable",
    "unavailability",
    "unsuccessful",
    "5xx",
    "4xx",
];
const ANSWERS_DOWN: [&str; 6] = ["availability", "success", "successes", "successful", "succeeded", "apdex"];
const ANSWERS_UP: [&str; 4] = ["latency", "latencies", "duration", "durations"];
/// Work that waits is where the service stands, not what is asked of it.
const WAITING: [&str; 6] = ["pending", "queue", "queues", "queued", "waiting", "backlog"];
const LOAD: [&str; 10] =
    ["request", "requests", "req", "reqs", "workload", "workloads", "traffic", "ops", "qps", "rps"];

impl Role {
    #[must_use]
    pub fn of(metric: &str) -> Self {
        let words = words(metric);
        let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        match () {
            () if has(&CALLS) => Self::Calls,
            () if has(&FAILED) => Self::Answers { worse_is_up: true },
            () if has(&ANSWERS_DOWN) => Self::Answers { worse_is_up: false },
            () if has(&ANSWERS_UP) => Self::Answers { worse_is_up: true },
            () if has(&WAITING) => Self::Inside,
            () if has(&LOAD) => Self::Load,
            () => Self::Inside,
        }
    }
}

/// In small letters, parted at everything that is neither letter nor digit, and where the case says so: `HTTPErrorRate`
/// is "http error rate".
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before: Option<char> = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_upper = letter.is_ascii_uppercase();
        let follows_small = before.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
        let ends_capitals = before.is_some_and(|it| it.is_ascii_uppercase())
            && letters.peek().is_some_and(char::is_ascii_lowercase);
        if !letter.is_ascii_alphanumeric() || (is_upper && (follows_small || ends_capitals)) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_ascii_alphanumeric()) {
            word.push(letter.to_ascii_lowercase());
        }
        before = Some(letter);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Role = Role::Answers { worse_is_up: true };
    const DOWN: Role = Role::Answers { worse_is_up: false };

    #[test]
    fn names_that_people_use_get_the_role_they_mean() {
        for (name, role) in [
            ("latency_p95", UP),
            ("http_error_rate", UP),
            ("errors_5xx", UP),
            ("request_duration_seconds", UP),
            ("HTTPErrorRate", UP),
            ("request.errors", UP),
            ("failed_requests", UP),
            ("rejected-requests", UP),
            ("packet_drops", UP),
            ("tcp_drops", UP),
            ("unsuccessful_logins", UP),
            ("unavailability", UP),
            ("unavailableReplicas", UP),
            ("request_success_rate", DOWN),
            ("availability", DOWN),
            ("client_latency_p95", Role::Calls),
            ("client_errors", Role::Calls),
            ("requests_per_second", Role::Load),
            ("redis_ops", Role::Load),
            ("cpu_usage", Role::Inside),
            ("queue_length", Role::Inside),
            ("pending_requests", Role::Inside),
            ("request_queue_length", Role::Inside),
            ("event_loops", Role::Inside),
            ("connected_clients", Role::Inside),
        ] {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }

    /// As the labelled cases of Nezha and PetShop call them.
    #[test]
    fn names_of_the_labelled_cases_keep_their_roles() {
        for (name, role) in [
            ("PodWorkload(Ops)", Role::Load),
            ("requests|Sum", Role::Load),
            ("PodServerLatencyP95(s)", UP),
            ("LatencyP99(s)", UP),
            ("latency|Average", UP),
            ("SuccessRate(%)", DOWN),
            ("availability|Average", DOWN),
            ("PodClientLatencyP95(s)", Role::Calls),
            ("CpuUsageRate(%)", Role::Inside),
            ("MemoryUsageRate(%)", Role::Inside),
            ("SyscallRead", Role::Inside),
            ("NetworkReceiveBytes", Role::Inside),
        ] {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }

    #[test]
    fn any_name_is_parted_into_its_letters_and_digits() {
        assert_eq!(words("HTTPErrorRate5xx.p95"), ["http", "error", "rate5xx", "p95"]);
        assert_eq!(words(""), [""]);
        assert_eq!(words("Größe(%)").concat(), "gre");
    }
}
