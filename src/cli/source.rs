//! `tars source`: what the sources of signals hold, read once as the reconciler would. It scores nothing and writes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::checklist;
use super::failure::{Failure, Kind};
use super::output::{Console, Piece, Table, rfc3339};
use super::settings;
use super::sourcing::{SourceCalls, SourceQuery, SourceVerb};
use crate::config::Watching;
use crate::detect;
use crate::model::causes::causes;
use crate::model::duration;
use crate::model::signal::{Sample, ServiceOf, SourceKind};
use crate::observe::metrics::{FoundSeries, Labels, MetricSource, RangeResult, SourceError};
use crate::observe::signals::SignalConfig;
use crate::observe::sources::Sources;
use crate::observe::watched::ANSWER_SAMPLES;
use crate::observe::window::Span;
use crate::outside::clock::{Clock, SystemClock};

/// One query of a verb about sources.
#[derive(Debug)]
pub struct Asked {
    pub name: String,
    pub config: SignalConfig,
}

/// The signals that are meant: those of the settings, or the one of this name.
///
/// # Errors
/// When there is none.
pub fn asked(watching: &Watching, only: Option<&str>) -> Result<Vec<Asked>, Failure> {
    let all = settings::signals(watching);
    let meant = |it: &SignalConfig| only.is_none_or(|name| it.signal.as_str() == name || it.name() == name);
    let found: Vec<Asked> =
        all.iter().filter(|it| meant(it)).map(|it| Asked { name: it.name(), config: it.clone() }).collect();
    if found.is_empty() {
        let known = all.iter().map(SignalConfig::name).collect::<Vec<_>>().join(", ");
        let hint = match known.as_str() {
            "" => "the settings have no signals; see `signals` in tars config schema".to_owned(),
            known => format!("the settings have: {known}"),
        };
        return Err(Failure::new(Kind::No, "there is no such signal").hint(hint));
    }
    Ok(found)
}

/// The window of a signal on its grid, a part at a time and the oldest first: an answer about many series has to fit.
#[derive(Debug)]
pub struct Parts<'a> {
    source: &'a Arc<dyn MetricSource>,
    config: &'a SignalConfig,
    /// What is left, seconds since the epoch.
    span: Span,
    /// Series that are expected.
    series: usize,
    /// Slots of the part before.
    slots: usize,
}

impl<'a> Parts<'a> {
    /// Asks how many series there are.
    ///
    /// # Errors
    /// [`SourceError`]; what is pushed is known to the running tars alone.
    pub async fn of(
        sources: &'a Sources,
        config: &'a SignalConfig,
        now: Timestamp,
    ) -> Result<Self, SourceError> {
        let source = sources.of(answering(config.source))?;
        let step_s = i64::from(config.step_s.max(1));
        let end_s = now.as_second() - now.as_second().rem_euclid(step_s);
        let start_s = end_s - (i64::from(config.window_s) / step_s - 1).max(0) * step_s;
        let mut parts = Self { source, config, span: Span { start_s, end_s }, series: 1, slots: 1 };
        if let ServiceOf::Label(_) = &config.service {
            parts.series = parts.ask(Span { start_s: end_s, end_s }).await?.series.len();
        }
        Ok(parts)
    }

    async fn ask(&self, span: Span) -> Result<RangeResult, SourceError> {
        let at =
            |second| Timestamp::from_second(second).map_err(|_| SourceError::BadRange("beyond all time"));
        let (start, end) = (at(span.start_s)?, at(span.end_s)?);
        self.source.range(&self.config.query, start, end, self.config.step_s).await
    }

    /// The next part; `None` after the last.
    ///
    /// # Errors
    /// [`SourceError`]; among them several series where the settings name one service.
    pub async fn next(&mut self) -> Result<Option<RangeResult>, SourceError> {
        if self.span.start_s > self.span.end_s {
            return Ok(None);
        }
        // Where nobody knows yet how many there are, they may begin with any slot.
        self.slots = match self.series {
            0 => self.slots * 2,
            known => (ANSWER_SAMPLES / known).max(1),
        };
        let part = self.span.first(self.slots, self.config.step_s);
        let mut answer = self.ask(part).await?;
        self.span.start_s = part.end_s + i64::from(self.config.step_s.max(1));
        self.series = self.series.max(answer.series.len());
        if let ServiceOf::Named(_) = &self.config.service {
            let labels = answer.series.first().map(|it| it.labels.clone()).unwrap_or_default();
            let warnings = std::mem::take(&mut answer.warnings);
            let series = vec![FoundSeries { labels, samples: answer.only()? }];
            answer = RangeResult { series, warnings };
        }
        Ok(Some(answer))
    }
}

/// Who answers for this source. A selector is PromQL as well: who pushes is asked for what it has.
fn answering(source: SourceKind) -> SourceKind {
    match source {
        SourceKind::Push => SourceKind::Prometheus,
        other => other,
    }
}

/// All series of a signal over its window, and what the source warned of.
///
/// # Errors
/// As [`Parts::next`].
async fn read(
    sources: &Sources,
    config: &SignalConfig,
    now: Timestamp,
) -> Result<(Vec<FoundSeries>, BTreeSet<String>), SourceError> {
    let mut parts = Parts::of(sources, config, now).await?;
    let mut all: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    let mut warnings = BTreeSet::new();
    while let Some(part) = parts.next().await? {
        warnings.extend(part.warnings);
        for FoundSeries { labels, samples } in part.series {
            all.entry(labels).or_default().extend(samples);
        }
    }
    all.retain(|_, samples| !samples.is_empty());
    Ok((all.into_iter().map(|(labels, samples)| FoundSeries { labels, samples }).collect(), warnings))
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    signal: String,
    /// Labels as the source has them.
    series: String,
    samples: usize,
    step_s: u32,
    /// Slots between the first and the last sample that have none.
    missing: usize,
    longest_gap_s: u64,
    newest: Option<String>,
    /// Lengths of the seasons that were found, the shortest first.
    periods_s: Vec<u64>,
    /// The longest season that there are enough cycles of to be found; `None`: with so many gaps none is looked for.
    periods_up_to_s: Option<u64>,
    least: Option<f64>,
    most: Option<f64>,
}

/// Runs `tars source`.
///
/// # Errors
/// When the settings are wrong or a source cannot be asked.
pub fn run(verb: &SourceVerb, console: &Console) -> Result<(), Failure> {
    match verb {
        SourceVerb::Query(args) => checklist::run(args.patience.timeout, "asking", query(args, console)),
        SourceVerb::Calls(args) => checklist::run(args.patience.timeout, "asking", calls(args, console)),
    }
}

async fn query(args: &SourceQuery, console: &Console) -> Result<(), Failure> {
    let watching = settings::watching(&args.settings.config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sources = settings::feeds(&watching, &clock)?.sources;
    let asked = match &args.ask {
        Some(query) => vec![ad_hoc(args, query)?],
        None => asked(&watching, args.signal.as_deref())?,
    };
    let mut lines = Vec::new();
    let (mut unread, mut is_empty) = (Unread::of(&asked), false);
    for it in &asked {
        match read(&sources, &it.config, clock.now()).await {
            Ok((found, warnings)) => {
                tell_pushed(it, console);
                lines.extend(found.iter().map(|series| line(it, series)));
                warnings.iter().for_each(|warning| console.warn(&format!("{}: {warning}", it.name)));
                if found.is_empty() {
                    is_empty = true;
                    let window = duration::format_s(it.config.window_s);
                    console.warn(&format!("{}: no series in the last {window}", it.name));
                }
            }
            Err(error) => unread.note(it, error, console),
        }
    }
    if unread.is_all() {
        return unread.end();
    }
    let rows = lines.iter().map(cells).collect();
    let headers = vec![
        "SIGNAL",
        "SERIES",
        "SAMPLES",
        "STEP",
        "MISSING",
        "LONGEST GAP",
        "SEASON",
        "NEWEST",
        "LEAST",
        "MOST",
    ];
    let names: Vec<String> = lines.iter().map(|it| format!("{} {}", it.signal, it.series)).collect();
    console.list(&Table { headers, wide: 2, rows }, &names, &lines, "no series")?;
    unread.end()?;
    if is_empty { Err(Failure::answered_no()) } else { Ok(()) }
}

/// Of what is pushed only the running tars knows; whoever pushes it mostly has it too.
pub fn tell_pushed(asked: &Asked, console: &Console) {
    if asked.config.source == SourceKind::Push {
        console.warn(&format!(
            "{}: what is pushed is known to the running tars alone (tars check asks it); this is what prometheus.url has \
             of the same selector",
            asked.name
        ));
    }
}

/// What could not be asked, for people.
pub fn unanswered(name: &str, source: SourceKind, error: SourceError) -> Failure {
    let kind = match &error {
        SourceError::Unreachable { .. } | SourceError::OutOfTime | SourceError::Slow(_) => Kind::Unreachable,
        SourceError::Refused { status: 401 | 403, .. } => Kind::Denied,
        SourceError::Refused { status: 400 | 422, .. }
        | SourceError::BadQuery(_)
        | SourceError::NotConfigured(_) => Kind::Usage,
        _ => Kind::No,
    };
    let hint = what_to_do(&error, source);
    Failure::new(kind, format!("could not read {name}")).because(error).hint(hint)
}

/// What to look at when a source gave no answer.
pub fn what_to_do(error: &SourceError, source: SourceKind) -> String {
    let what = source.as_str();
    match (error, source) {
        (SourceError::Refused { status: 401 | 403, .. }, SourceKind::Jaeger) => {
            format!("set {what}.bearer_token_file")
        }
        (SourceError::Refused { status: 401 | 403, .. }, _) => {
            format!("set {what}.bearer_token_file, or {what}.tenant where several share the server")
        }
        (SourceError::NotConfigured(SourceKind::Prometheus), _) => {
            "set prometheus.url; what is pushed is known to the running tars alone: tars check asks it"
                .to_owned()
        }
        (SourceError::NotConfigured(kind), _) => format!("set {}.url", kind.as_str()),
        (SourceError::Unreachable { .. } | SourceError::NotTheApi(_), _) => format!("check {what}.url"),
        (SourceError::Refused { status: 400 | 422, .. } | SourceError::BadQuery(_), _) => {
            "check the query".to_owned()
        }
        _ => format!("check {what}.url and the query"),
    }
}

/// What could not be read of several signals: each is told when it happens, and all of them at the end.
#[derive(Debug)]
pub struct Unread {
    asked: usize,
    failed: Vec<Failure>,
}

impl Unread {
    #[must_use]
    pub fn of(asked: &[Asked]) -> Self {
        Self { asked: asked.len(), failed: Vec::new() }
    }

    pub fn note(&mut self, asked: &Asked, error: SourceError, console: &Console) {
        if self.asked > 1 {
            console.warn(&format!("{}: {}", asked.name, causes(&error)));
        }
        self.failed.push(unanswered(&asked.name, answering(asked.config.source), error));
    }

    /// Was nothing read at all?
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.failed.len() == self.asked
    }

    /// The one failure of a single signal, or how many there were.
    ///
    /// # Errors
    /// When there was one.
    pub fn end(mut self) -> Result<(), Failure> {
        let Some(last) = self.failed.pop() else { return Ok(()) };
        if self.asked == 1 {
            return Err(last);
        }
        let message = format!("{} of {} signals could not be read", self.failed.len() + 1, self.asked);
        let kind = last.kind;
        let hints: BTreeSet<String> = self.failed.into_iter().chain([last]).flat_map(|it| it.hints).collect();
        Err(hints.into_iter().fold(Failure::new(kind, message), Failure::hint))
    }
}

fn ad_hoc(args: &SourceQuery, query: &str) -> Result<Asked, Failure> {
    let signal = crate::model::ids::SignalName::new("asked");
    let signal = signal.map_err(|error| Failure::usage("no signal").because(error))?;
    let config = SignalConfig {
        signal,
        // All series are shown, whichever labels they have.
        service: ServiceOf::Label(String::new()),
        source: args.source.kind(),
        query: query.to_owned(),
        step_s: args.step,
        window_s: args.window,
        period: None,
        staleness_s: args.step,
    };
    Ok(Asked { name: "(asked)".to_owned(), config })
}

fn line(asked: &Asked, found: &FoundSeries) -> Line {
    let step_s = asked.config.step_s.max(1);
    let values = on_grid(&found.samples, step_s);
    let present: Vec<f64> = values.iter().copied().flatten().collect();
    let longest = values.split(Option::is_some).map(<[_]>::len).max().unwrap_or(0);
    let is_full = present.len() * 10 >= values.len() * 9;
    let periods = if is_full { detect::find_periods(&carried(&values)) } else { Vec::new() };
    let length_s = |slots: usize| slots as u64 * u64::from(step_s);
    Line {
        signal: asked.name.clone(),
        series: found.labels.to_string(),
        samples: present.len(),
        step_s,
        missing: values.len() - present.len(),
        longest_gap_s: length_s(longest),
        newest: found.samples.iter().rfind(|it| it.value.is_finite()).map(|it| rfc3339(it.at)),
        periods_s: periods.into_iter().map(|slots| whole_s(length_s(slots as usize))).collect(),
        periods_up_to_s: is_full.then(|| length_s(values.len() / detect::CYCLES)),
        least: present.iter().copied().reduce(f64::min),
        most: present.iter().copied().reduce(f64::max),
    }
}

/// What is about as long as a day or a week is one: some days have an hour more or less, and the detector keeps these two
/// seasons for every series. The tides, at 24.8 hours, are farther off.
fn whole_s(period_s: u64) -> u64 {
    let is_near = |it: &u64| period_s.abs_diff(*it) * 32 <= *it;
    [86_400, 604_800].into_iter().find(is_near).unwrap_or(period_s)
}

/// The samples slot by slot, from the first to the last.
fn on_grid(samples: &[Sample], step_s: u32) -> Vec<Option<f64>> {
    let finite = || samples.iter().filter(|it| it.value.is_finite());
    let (Some(first), Some(last)) = (finite().next(), finite().next_back()) else { return Vec::new() };
    let step = SignedDuration::from_secs(i64::from(step_s));
    let slot = |at: Timestamp| (at.duration_since(first.at).as_millis() / step.as_millis()) as usize;
    let mut values = vec![None; slot(last.at) + 1];
    for sample in finite() {
        if let Some(place) = values.get_mut(slot(sample.at)) {
            *place = Some(sample.value);
        }
    }
    values
}

/// A season is looked for in a row without gaps; few gaps are bridged with the value before.
fn carried(values: &[Option<f64>]) -> Vec<f64> {
    let mut last = values.iter().copied().flatten().next().unwrap_or_default();
    let carry = |value: &Option<f64>| {
        last = value.unwrap_or(last);
        last
    };
    values.iter().map(carry).collect()
}

fn cells(line: &Line) -> Vec<Piece> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |it| format!("{it:.4}"));
    let time = |seconds: u64| duration::format_s(u32::try_from(seconds).unwrap_or(u32::MAX));
    let found: Vec<String> = line.periods_s.iter().copied().map(time).collect();
    let seasons = match line.periods_up_to_s {
        None => "too many gaps".to_owned(),
        Some(up_to_s) if found.is_empty() => format!("none up to {}", time(up_to_s)),
        Some(_) => found.join(", "),
    };
    let gap = if line.longest_gap_s == 0 { "-".to_owned() } else { time(line.longest_gap_s) };
    vec![
        line.signal.clone().into(),
        line.series.clone().into(),
        line.samples.to_string().into(),
        time(u64::from(line.step_s)).into(),
        line.missing.to_string().into(),
        gap.into(),
        seasons.into(),
        line.newest.clone().unwrap_or_else(|| "-".to_owned()).into(),
        number(line.least).into(),
        number(line.most).into(),
    ]
}

async fn calls(args: &SourceCalls, console: &Console) -> Result<(), Failure> {
    let watching = settings::watching(&args.settings.config)?;
    let jaeger = settings::jaeger(&watching)?
        .ok_or_else(|| Failure::usage("the settings name no Jaeger").hint("set jaeger.url"))?;
    let edges = jaeger.calls(SystemClock.now(), args.window).await;
    let edges = edges.map_err(|error| unanswered("the calls", SourceKind::Jaeger, error))?;
    let row = |it: &crate::observe::jaeger::Edge| -> Vec<Piece> {
        vec![it.parent.clone().into(), it.child.clone().into(), it.call_count.to_string().into()]
    };
    let table =
        Table { headers: vec!["FROM", "TO", "CALLS"], wide: 0, rows: edges.iter().map(row).collect() };
    let names: Vec<String> = edges.iter().map(|it| format!("{} {}", it.parent, it.child)).collect();
    console.list(&table, &names, &edges, "no calls")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::at;
    use crate::model::ids::SignalName;
    use crate::observe::metrics::InstantResult;
    use crate::outside::clock::OutsideClock;

    /// A source in which every slot of the range has a value of every series, and what it was asked for.
    #[derive(Debug)]
    struct Fleet {
        series: usize,
        /// From here on there are values.
        from_s: i64,
        asked: std::sync::Mutex<Vec<(i64, i64)>>,
    }

    impl MetricSource for Fleet {
        fn range<'a>(
            &'a self,
            _: &'a str,
            start: Timestamp,
            end: Timestamp,
            step_s: u32,
        ) -> futures_util::future::BoxFuture<'a, Result<RangeResult, SourceError>> {
            let second = |it: Timestamp| it.as_second() - at(0).as_second();
            self.asked.lock().unwrap().push((second(start), second(end)));
            let slots =
                (second(start)..=second(end)).step_by(step_s as usize).filter(|it| *it >= self.from_s);
            let samples: Vec<Sample> = slots.map(|it| Sample { at: at(it), value: it as f64 }).collect();
            let series = |n: usize| FoundSeries {
                labels: Labels::of(vec![("app".to_owned(), format!("{n:05}"))]),
                samples: samples.clone(),
            };
            let all = if samples.is_empty() { 0 } else { self.series };
            let series = (0..all).map(series).collect();
            Box::pin(std::future::ready(Ok(RangeResult { series, warnings: Vec::new() })))
        }

        fn instant<'a>(
            &'a self,
            _: &'a str,
            _: Timestamp,
        ) -> futures_util::future::BoxFuture<'a, Result<InstantResult, SourceError>> {
            Box::pin(std::future::ready(Err(SourceError::OutOfTime)))
        }

        fn outside_clock(&self) -> Option<OutsideClock> {
            None
        }
    }

    fn config(service: ServiceOf, slots: u32) -> SignalConfig {
        SignalConfig {
            signal: SignalName::new("latency").unwrap(),
            service,
            source: SourceKind::Prometheus,
            query: "latency".to_owned(),
            step_s: 60,
            window_s: slots * 60,
            period: None,
            staleness_s: 120,
        }
    }

    #[tokio::test]
    async fn a_fleet_is_read_in_parts_that_fit_and_one_series_at_once() {
        let fleet = |series, from_s| Arc::new(Fleet { series, from_s, asked: std::sync::Mutex::default() });
        let many = fleet(10_000, 0);
        let sources = Sources::only(Arc::clone(&many) as Arc<dyn MetricSource>);
        let by_app = config(ServiceOf::Label("app".to_owned()), 90);
        let (found, _) = read(&sources, &by_app, at(89 * 60)).await.unwrap();
        assert_eq!(
            (found.len(), found[9_999].samples.len(), found[7].samples.first().unwrap().at),
            (10_000, 90, at(0))
        );
        // As many as there are at the newest slot, and then forty slots of each.
        assert_eq!(*many.asked.lock().unwrap(), [(5_340, 5_340), (0, 2_340), (2_400, 4_740), (4_800, 5_340)]);

        let one = fleet(1, 0);
        let sources = Sources::only(Arc::clone(&one) as Arc<dyn MetricSource>);
        let named = config(ServiceOf::Named(SignalName::new("web").unwrap()), 90);
        assert_eq!(read(&sources, &named, at(89 * 60)).await.unwrap().0[0].samples.len(), 90);
        assert_eq!(*one.asked.lock().unwrap(), [(0, 5_340)]);

        let gone = fleet(1, 1_000_000);
        let sources = Sources::only(Arc::clone(&gone) as Arc<dyn MetricSource>);
        assert!(read(&sources, &by_app, at(89 * 60)).await.unwrap().0.is_empty());
        assert_eq!(gone.asked.lock().unwrap().len(), 1 + 6, "parts grow while nothing is there");
    }

    #[test]
    fn gaps_are_slots_without_a_sample_between_the_first_and_the_last() {
        let sample = |at_s: i64, value: f64| Sample { at: at(at_s), value };
        let samples = [sample(60, 1.0), sample(90, f64::NAN), sample(120, 2.0), sample(210, 3.0)];
        let values = on_grid(&samples, 30);
        assert_eq!(values, [Some(1.0), None, Some(2.0), None, None, Some(3.0)]);
        assert_eq!(carried(&values), [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]);
        assert!(on_grid(&[sample(0, f64::NAN)], 30).is_empty());
    }

    #[test]
    fn every_season_that_was_found_is_shown_and_a_series_with_many_gaps_has_none() {
        let config = config(ServiceOf::Label("app".to_owned()), 5 * 1440);
        let asked = Asked { name: "latency".to_owned(), config };
        let wave = |slot: usize, period: f64| (std::f64::consts::TAU * slot as f64 / period).sin();
        let value = |slot: usize| 180.0 + 20.0 * wave(slot, 60.0) + 40.0 * wave(slot, 1440.0);
        let sample = |slot: usize| Sample { at: at(60 * slot as i64), value: value(slot) };
        let full = FoundSeries { labels: Labels::default(), samples: (0..5 * 1440).map(sample).collect() };
        let found = line(&asked, &full);
        assert_eq!(found.periods_s, [3_600, 86_400]);
        assert!(format!("{:?}", cells(&found)[6]).contains("1h, 24h"), "{found:?}");
        let labels = Labels::default;
        let two_days = full.samples[..2 * 1440].iter().map(|it| Sample { value: it.value.signum(), ..*it });
        let few = line(&asked, &FoundSeries { samples: two_days.collect(), labels: labels() });
        assert!(format!("{:?}", cells(&few)[6]).contains("none up to 16h"), "{few:?}");
        let thin = full.samples.into_iter().step_by(2).collect();
        let thin = line(&asked, &FoundSeries { samples: thin, labels: labels() });
        assert!(
            thin.periods_s.is_empty() && format!("{:?}", cells(&thin)[6]).contains("too many gaps"),
            "{thin:?}"
        );
    }

    #[test]
    fn a_day_with_an_hour_more_is_still_a_day_and_the_tides_are_none() {
        assert_eq!([85_680, 86_430, 83_700].map(whole_s), [86_400; 3]);
        assert_eq!([603_000, 7_200, 89_400].map(whole_s), [604_800, 7_200, 89_400]);
    }
}
