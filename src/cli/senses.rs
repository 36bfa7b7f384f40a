//! The lines of `tars check` about what is watched and how it is scored: sources are asked once, of what is pushed a tars
//! that runs here is asked. Settings come in, lines go out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::check::secret;
use super::checklist::{self, Line, fail, pass, warn};
use super::failure::Failure;
use super::output::counted;
use super::settings;
use super::source::what_to_do;
use crate::config::{DetectionSettings, PushAuth, Watching};
use crate::model::anomaly::ModelName;
use crate::model::causes::causes;
use crate::model::duration;
use crate::model::selector::Selector;
use crate::model::signal::{ServiceOf, SourceKind};
use crate::observe::metrics::SourceError;
use crate::observe::signals::SignalConfig;
use crate::observe::watched::{Services, by_service};
use crate::outside::clock::{Clock, SystemClock};
use crate::outside::http::HttpError;

/// For a tars that runs here to say what arrived.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// A probe asks for values at least so far apart, seconds.
const PROBE_STEP_S: u32 = 60;

/// How the names of counters end (Prometheus, "Metric and label naming"; OpenMetrics 1.0).
const COUNTER_ENDS: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];
/// What every Prometheus can answer.
const PROBE_QUERY: &str = "vector(1)";

/// What can be asked of every signal, and what is pushed.
///
/// # Errors
/// When a source cannot even be set up.
pub async fn signals(watching: &Watching) -> Result<Vec<Line>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sources = settings::feeds(watching, &clock)?.sources;
    let mut lines = Vec::new();
    let mut answered = 0;
    let all = settings::signals(watching);
    let (pushed, asked): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.source == SourceKind::Push);
    for signal in &asked {
        let (name, what) = (signal.name(), signal.source.as_str());
        let now = clock.now();
        let since = now.checked_sub(SignedDuration::from_mins(5)).unwrap_or(now);
        let answer = match sources.of(signal.source) {
            // Few values of each, for an answer about many series has to fit.
            Ok(source) => source.range(&signal.query, since, now, signal.step_s.max(PROBE_STEP_S)).await,
            Err(error) => Err(error),
        };
        let answer = answer.and_then(|it| match &signal.service {
            ServiceOf::Named(_) => it.only().map(|samples| (usize::from(!samples.is_empty()), None)),
            ServiceOf::Label(label) => {
                let Services { found, unusable, .. } = by_service(it.series, label);
                let lost = (unusable > 0).then(|| SourceError::NoService(unusable, label.clone()));
                Ok((found.len(), lost))
            }
        });
        match answer {
            Err(error) => {
                let fix = what_to_do(&error, signal.source);
                lines.push(fail(what, format!("{name}: {}", causes(&error)), fix));
            }
            Ok((usable, Some(lost))) => {
                answered += usize::from(usable > 0);
                let fix = "aggregate by that label in the query, or set service_label to one that each series has of its own";
                lines.push(warn(what, format!("{name}: {lost}; {usable} are watched"), fix));
            }
            Ok((0, None)) => lines.push(warn(
                what,
                format!("{name}: no data in the last 5 minutes"),
                "is the metric scraped, and are its labels the query's?",
            )),
            Ok(_) => answered += 1,
        }
    }
    // Triggers and the sync probe may ask it all the same, and nothing has shown that it is there.
    if watching.prometheus.is_some() && asked.iter().all(|it| it.source != SourceKind::Prometheus) {
        lines.push(match sources.instant(PROBE_QUERY, clock.now()).await {
            Ok(_) => pass("prometheus", "answers; no signal asks it"),
            Err(error) => {
                let fix = what_to_do(&error, SourceKind::Prometheus);
                fail("prometheus", causes(&error), fix)
            }
        });
    }
    // Without an answer the lines above have said everything.
    if answered > 0 {
        let all = asked.len();
        lines.push(pass("signals", format!("{answered} of {all} that can be asked for have data")));
    }
    if let (Some(auth), false) = (&watching.push, pushed.is_empty()) {
        lines.extend(arrivals(watching, auth, &pushed).await?);
    }
    lines.extend(match &watching.prometheus {
        Some(_) => checklist::clock("Prometheus", sources.outside_clock(), watching.clock_max_skew_s),
        None => Some(warn(
            "clock",
            "no Prometheus whose clock could be compared with this one",
            "keep this machine's clock synchronised: budgets and cooldowns count by it",
        )),
    });
    Ok(lines)
}

/// Where senders of samples have to go, and what came of each signal. Nobody can be asked for what is pushed but the tars
/// that receives it.
async fn arrivals(
    watching: &Watching,
    auth: &PushAuth,
    pushed: &[SignalConfig],
) -> Result<Vec<Line>, Failure> {
    let mut lines = vec![door(watching.listen, auth)];
    let page = metrics(watching.listen).await?;
    lines.extend(pushed.iter().filter_map(counter));
    for signal in pushed {
        let waits = format!("{} waits for {} by remote write", signal.name(), signal.query);
        let page = match &page {
            Ok(page) => page,
            Err(why) => {
                lines.push(pass("push", format!("{waits}; what came is not known: {why}")));
                continue;
            }
        };
        let ages = ages(page, signal);
        lines.push(match ages.iter().copied().reduce(f64::min).filter(|it| it.is_finite()) {
            None => warn(
                "push",
                format!("{waits}; nothing came so far"),
                "does a sender write such series to this address? tars_pushed_samples_total says what became of samples",
            ),
            Some(age_s) => {
                let (series, age_s) = (counted(ages.len(), "series", "series"), age_s.max(0.0) as u32);
                let detail = format!("{waits}; {series}, the newest sample is {} old", duration::format_s(age_s));
                match age_s > signal.staleness_s {
                    true => warn("push", detail, "does the sender still write it?"),
                    false => pass("push", detail),
                }
            }
        });
    }
    Ok(lines)
}

/// What counts up is no signal: nobody has computed its rate by the time it is here.
fn counter(signal: &SignalConfig) -> Option<Line> {
    let selector = Selector::parse(&signal.query).ok()?;
    let metric = selector.metric()?;
    COUNTER_ENDS.iter().find(|end| metric.ends_with(**end))?;
    let detail = format!(
        "{} takes {metric} as it comes, a counter by its name: it grows, and falls to 0 at restarts",
        signal.name()
    );
    Some(warn(
        "push",
        detail,
        "push its rate, from a recording rule or an aggregation of the sender, and watch that",
    ))
}

fn door(listen: SocketAddr, auth: &PushAuth) -> Line {
    let place = format!("remote write 1.0 and 2.0 at /api/v1/write of {listen}");
    let (file, place) = match auth {
        PushAuth::TokenFile(file) => (file, format!("{place}, with the bearer token in {}", file.display())),
        PushAuth::Basic { user, password_file: file } => {
            (file, format!("{place}, as user {user} with the password in {}", file.display()))
        }
        PushAuth::InsecureLoopback => {
            return warn("push", format!("{place}, from everybody on this machine"), "set push.secret_file");
        }
    };
    match secret("push", file) {
        unreadable if !checklist::all_passed(std::slice::from_ref(&unreadable)) => unreadable,
        _ => pass("push", place),
    }
}

/// Where this machine reaches what listens there.
fn local(listen: SocketAddr) -> SocketAddr {
    let here = match listen.ip() {
        IpAddr::V4(it) if it.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(it) if it.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(here, listen.port())
}

/// What a tars that listens here says of itself, or why that is not known.
async fn metrics(listen: SocketAddr) -> Result<Result<String, String>, Failure> {
    let here = local(listen);
    let nobody = || format!("no tars answers at {here}");
    let page = match settings::http(ASK_TIMEOUT)?.get(&format!("http://{here}/metrics"), &[], None).await {
        Ok(reply) if reply.status == 200 => Ok(String::from_utf8_lossy(&reply.body).into_owned()),
        Ok(_) | Err(HttpError::Connect { .. }) => Err(nobody()),
        Err(error) => Err(causes(&error)),
    };
    Ok(page.and_then(|it| if it.contains("tars_build_info") { Ok(it) } else { Err(nobody()) }))
}

/// Seconds since the newest sample of each series of a signal; infinite for one that never had any.
fn ages(page: &str, signal: &SignalConfig) -> Vec<f64> {
    let start = format!("tars_signal_age_seconds{{signal=\"{}\",", signal.signal);
    let own = match &signal.service {
        ServiceOf::Named(service) => Some(format!("service=\"{service}\"")),
        ServiceOf::Label(_) => None,
    };
    let is_own = |line: &&str| own.as_ref().is_none_or(|it| line.contains(it));
    let lines = page.lines().filter(|it| it.starts_with(&start)).filter(is_own);
    lines.filter_map(|it| it.rsplit_once(' ')?.1.parse().ok()).collect()
}

/// What the settings about scoring come to.
pub fn detection(watching: &Watching) -> Line {
    let DetectionSettings { weights, warm_up_samples, false_alarms_per_week } = &watching.detection;
    let share = |model: ModelName| {
        let percent = 100.0 * weights.of(model);
        (percent > 0.0).then(|| format!("{} {percent:.0} %", model.as_str()))
    };
    let shares: Vec<String> = ModelName::ALL.into_iter().filter_map(share).collect();
    let is_pushed = settings::signals(watching).iter().any(|it| it.source == SourceKind::Push);
    let pushed = if is_pushed { ", of what is pushed the window alone for the first 4 h" } else { "" };
    pass(
        "detection",
        format!(
            "a score of 0.8 comes {} per series without faults; {}; ewma alone for the first {warm_up_samples} values{pushed}",
            rate(*false_alarms_per_week),
            shares.join(", "),
        ),
    )
}

/// `about once a week`, `about 7 times a week`, `about once in 4 weeks`.
fn rate(per_week: f64) -> String {
    let number = |it: f64| {
        let text = format!("{it:.1}");
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    match per_week {
        it if number(it) == "1" => "about once a week".to_owned(),
        it if it > 1.0 => format!("about {} times a week", number(it)),
        it => format!("about once in {} weeks", number(1.0 / it)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::SignalName;

    fn pushed(service: ServiceOf, query: &str) -> SignalConfig {
        SignalConfig {
            signal: SignalName::new("latency").unwrap(),
            service,
            source: SourceKind::Push,
            query: query.to_owned(),
            step_s: 30,
            window_s: 3_600,
            period: None,
            staleness_s: 300,
        }
    }

    #[test]
    fn a_counter_that_is_pushed_as_it_is_is_no_signal() {
        let said = |query: &str| counter(&pushed(ServiceOf::Label("app".into()), query));
        for query in ["http_requests_total{code=\"500\"}", "latency_seconds_sum"] {
            let line = format!("{:?}", said(query).unwrap());
            assert!(line.contains("latency by app takes ") && line.contains("push its rate"), "{line}");
        }
        for query in ["queue_length", "totals", "job:requests:rate2m", "{app=\"x\"}"] {
            assert!(said(query).is_none(), "{query}");
        }
    }

    #[test]
    fn a_rate_is_said_as_people_count() {
        for (per_week, said) in [
            (1.0, "about once a week"),
            (7.0, "about 7 times a week"),
            (1.5, "about 1.5 times a week"),
            (0.25, "about once in 4 weeks"),
            (0.3, "about once in 3.3 weeks"),
            (0.01, "about once in 100 weeks"),
        ] {
            assert_eq!(rate(per_week), said);
        }
    }

    #[test]
    fn one_pushed_series_has_its_own_age_and_not_that_of_another_service() {
        let page = "tars_signal_age_seconds{signal=\"latency\",service=\"backend\"} 5\n\
                    tars_signal_age_seconds{signal=\"latency\",service=\"frontend\"} +Inf\n\
                    tars_signal_age_seconds{signal=\"latency_p95\",service=\"backend\"} 7\n";
        let of = |service: ServiceOf| ages(page, &pushed(service, "latency"));
        let named = |service: &str| of(ServiceOf::Named(SignalName::new(service).unwrap()));
        assert_eq!(named("backend"), [5.0]);
        assert_eq!(named("frontend"), [f64::INFINITY]);
        assert_eq!(of(ServiceOf::Label("app".into())), [5.0, f64::INFINITY]);
    }
}
