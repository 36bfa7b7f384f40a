//! The body of `POST /predict` and its answer. In goes JSON that was bounded before, out comes a series on
//! a regular grid, or the name of the field that is wrong. Values are placed on the grid, never moved or
//! filled in.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::model::anomaly::Anomaly;
use crate::model::ids::SignalName;
use crate::model::signal::{Series, SignalKey};

/// Most points of a posted series, gaps between timestamps included.
pub const MAX_POINTS: usize = 20_000;
/// Most series of one request.
pub const MAX_SERIES: usize = 100;
/// Distance of values that come without `timestamps` and without `step_s`, seconds.
const DEFAULT_STEP_S: u32 = 60;
/// Largest distance, seconds.
const MAX_STEP_S: u32 = 86_400;
const FIELDS: [&str; 6] = ["values", "timestamps", "step_s", "period", "signal", "service"];

/// What was posted: one series, or a list of them below `series`.
#[derive(Debug, Clone, PartialEq)]
pub enum Posted {
    One(Request),
    Many(Vec<Request>),
}

impl Posted {
    /// Checks a body.
    ///
    /// # Errors
    /// A 400 when the body is no JSON object, otherwise a 422 that names the field.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let hint =
                if has_no_number(body) { "; JSON has no NaN and no Infinity: a gap is null" } else { "" };
            Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}{hint}"))
        })?;
        let Value::Object(mut request) = value else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the body must be a JSON object"));
        };
        let Some(series) = request.remove("series") else { return Request::of(&request).map(Self::One) };
        if let Some(beside) = request.keys().next() {
            let field: String = beside.escape_debug().take(80).collect();
            return Err(Problem::field(
                field,
                "beside `series` there is nothing; it belongs into each of them",
            ));
        }
        let Value::Array(series) = series else {
            return Err(Problem::field("series", "must be a list of objects like a single request"));
        };
        if series.is_empty() || series.len() > MAX_SERIES {
            return Err(Problem::field("series", format!("1 to {MAX_SERIES} series")));
        }
        let mut requests = Vec::with_capacity(series.len());
        let mut points = 0;
        for (index, one) in series.iter().enumerate() {
            let Value::Object(one) = one else {
                return Err(Problem::field(format!("series[{index}]"), "must be an object"));
            };
            let request = Request::of(one).map_err(|problem| problem.in_series(index))?;
            points += request.series.values.len();
            if points > MAX_POINTS {
                return Err(Problem::field("series", format!("at most {MAX_POINTS} points in all of them")));
            }
            requests.push(request);
        }
        Ok(Self::Many(requests))
    }
}

/// What other languages write for what is no number.
fn has_no_number(body: &[u8]) -> bool {
    ["NaN", "Inf"].iter().any(|it| body.windows(3).any(|three| three == it.as_bytes()))
}

/// A checked series with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub series: Series,
    /// Season in slots, when the client knows it.
    pub period: Option<u32>,
    /// Did the client say when the values were measured?
    pub timed: bool,
}

impl Request {
    /// Checks one series; the errors are 422.
    fn of(request: &Map<String, Value>) -> Result<Self, Problem> {
        if let Some(unknown) = request.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            let field: String = unknown.escape_debug().take(80).collect();
            return Err(Problem::field(field, format!("is not known; the fields are {}", FIELDS.join(", "))));
        }
        let values = values(request)?;
        let step_s = whole(request, "step_s", 1, MAX_STEP_S)?;
        let period = whole(request, "period", 2, MAX_POINTS as u32)?;
        let key = SignalKey { signal: name(request, "signal")?, service: name(request, "service")? };
        let series = match present(request, "timestamps") {
            Some(timestamps) => on_grid(key, values, &times(timestamps)?, step_s)?,
            None => {
                let step_s = step_s.unwrap_or(DEFAULT_STEP_S);
                Series { key, start: Timestamp::UNIX_EPOCH, step_s, values }
            }
        };
        Ok(Self { series, period, timed: present(request, "timestamps").is_some() })
    }
}

fn present<'a>(request: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    request.get(field).filter(|value| !value.is_null())
}

fn values(request: &Map<String, Value>) -> Result<Vec<Option<f64>>, Problem> {
    let Some(values) = request.get("values").and_then(Value::as_array) else {
        return Err(Problem::field("values", "must be a list of numbers and nulls"));
    };
    if values.len() > MAX_POINTS {
        return Err(Problem::field("values", format!("at most {MAX_POINTS} points")));
    }
    let number = |(index, value): (usize, &Value)| match value {
        Value::Null => Ok(None),
        _ => match value.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::field(format!("values[{index}]"), "must be a number or null")),
        },
    };
    let values: Vec<Option<f64>> = values.iter().enumerate().map(number).collect::<Result<_, _>>()?;
    if values.iter().flatten().next().is_none() {
        return Err(Problem::field("values", "holds no number"));
    }
    Ok(values)
}

fn whole(request: &Map<String, Value>, field: &str, min: u32, max: u32) -> Result<Option<u32>, Problem> {
    let Some(value) = present(request, field) else { return Ok(None) };
    match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(Problem::field(field, format!("must be a whole number from {min} to {max}"))),
    }
}

fn name(request: &Map<String, Value>, field: &'static str) -> Result<SignalName, Problem> {
    let text = match present(request, field) {
        None => "posted",
        Some(value) => value.as_str().ok_or_else(|| Problem::field(field, "must be a string"))?,
    };
    SignalName::new(text).map_err(|error| Problem::field(field, format!("must be {}", error.rule)))
}

fn times(value: &Value) -> Result<Vec<Timestamp>, Problem> {
    let Some(times) = value.as_array() else {
        return Err(Problem::field("timestamps", "must be a list"));
    };
    let mut checked: Vec<Timestamp> = Vec::with_capacity(times.len().min(MAX_POINTS));
    for (index, time) in times.iter().take(MAX_POINTS + 1).enumerate() {
        let bad = |rule: &str| Problem::field(format!("timestamps[{index}]"), rule);
        let rule = "must be seconds since 1970 or an RFC 3339 time";
        let at = match time {
            Value::Number(seconds) => seconds.as_f64().and_then(from_unix),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let at = at.ok_or_else(|| bad(rule))?;
        if checked.last().is_some_and(|before| *before >= at) {
            return Err(bad("must be later than the one before"));
        }
        checked.push(at);
    }
    Ok(checked)
}

fn from_unix(seconds: f64) -> Option<Timestamp> {
    let ms = seconds.is_finite().then(|| (seconds * 1_000.0).round())?;
    // Out of the range of i64 saturates, and that is out of the range of a timestamp too.
    Timestamp::from_millisecond(ms as i64).ok()
}

/// Places the values at their times; what lies between is a gap.
fn on_grid(
    key: SignalKey,
    values: Vec<Option<f64>>,
    times: &[Timestamp],
    step_s: Option<u32>,
) -> Result<Series, Problem> {
    if times.len() != values.len() {
        let detail = format!("there are {} values; give as many timestamps", values.len());
        return Err(Problem::field("timestamps", detail));
    }
    let Some(&start) = times.first() else {
        return Err(Problem::field("values", "holds no number"));
    };
    let smallest_gap = times.windows(2).map(|pair| pair[1].duration_since(pair[0])).min();
    let step_s = match (step_s, smallest_gap) {
        (Some(step_s), _) => step_s,
        (None, None) => DEFAULT_STEP_S,
        (None, Some(gap)) => {
            let step_s = u32::try_from(gap.as_secs()).ok().filter(|step_s| (1..=MAX_STEP_S).contains(step_s));
            step_s.ok_or_else(|| Problem::field("timestamps", "must be 1 s to 1 day apart"))?
        }
    };
    let step = SignedDuration::from_secs(i64::from(step_s));
    let mut series = Series { key, start, step_s, values: Vec::new() };
    for (index, (at, value)) in times.iter().zip(values).enumerate() {
        let offset_ns = at.duration_since(start).as_nanos();
        let bad = |detail: String| Problem::field(format!("timestamps[{index}]"), detail);
        if offset_ns % step.as_nanos() != 0 {
            return Err(bad(format!("does not lie a multiple of {step_s} s after the first")));
        }
        let slot = usize::try_from(offset_ns / step.as_nanos()).ok().filter(|slot| *slot < MAX_POINTS);
        let slot = slot.ok_or_else(|| bad(format!("the series would have more than {MAX_POINTS} points")))?;
        series.values.resize(slot, None);
        series.values.push(value);
    }
    Ok(series)
}

/// The answer: in the form and order of the request.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Predicted {
    One(Prediction),
    Many { predictions: Vec<Prediction> },
}

/// What is said of one series.
#[derive(Debug, Serialize)]
pub struct Prediction {
    signal: String,
    service: String,
    /// Time of the scored value; left out when the request named no times.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    value: f64,
    score: f64,
    confidence: f64,
    severity: &'static str,
    /// `stream`: learned from all values; `window`: too few for that.
    method: &'static str,
    warming_up: bool,
    expected: Expected,
    period: Option<u32>,
    models: Vec<Vote>,
}

#[derive(Debug, Serialize)]
struct Expected {
    lower: f64,
    upper: f64,
}

#[derive(Debug, Serialize)]
struct Vote {
    model: &'static str,
    score: f64,
    weight: f64,
    evidence: String,
}

impl Prediction {
    pub fn of(anomaly: Anomaly, timed: bool) -> Self {
        let votes = anomaly.models.into_iter().map(|vote| Vote {
            model: vote.model.as_str(),
            score: vote.score.get(),
            weight: vote.weight,
            evidence: vote.evidence,
        });
        Self {
            signal: anomaly.key.signal.into(),
            service: anomaly.key.service.into(),
            at: timed.then_some(anomaly.at),
            value: anomaly.value,
            score: anomaly.score.get(),
            confidence: anomaly.confidence.get(),
            severity: anomaly.severity.as_str(),
            method: anomaly.method.as_str(),
            warming_up: anomaly.warming_up,
            expected: Expected { lower: anomaly.expected.0, upper: anomaly.expected.1 },
            period: anomaly.period,
            models: votes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Result<Request, Problem> {
        match Posted::parse(body.to_string().as_bytes())? {
            Posted::One(request) => Ok(request),
            Posted::Many(_) => panic!("{body} is one series"),
        }
    }

    #[test]
    fn many_series_are_checked_one_by_one_and_bounded_together() {
        let posted = |body: Value| Posted::parse(body.to_string().as_bytes());
        let two = json!({"series": [{"values": [1]}, {"values": [2, 3], "signal": "errors"}]});
        let Ok(Posted::Many(found)) = posted(two) else { panic!("two series") };
        assert_eq!(found.iter().map(|it| it.series.values.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(found[1].series.key.signal.as_str(), "errors");
        let many = vec![json!({"values": [1]}); MAX_SERIES + 1];
        let long = vec![json!({"values": vec![1; MAX_POINTS / 2 + 1]}); 2];
        for (body, field) in [
            (json!({"series": {}}), "series"),
            (json!({"series": []}), "series"),
            (json!({"series": many}), "series"),
            (json!({"series": long}), "series"),
            (json!({"series": [{"values": [1]}], "step_s": 5}), "step_s"),
            (json!({"series": [{"values": [1]}, 7]}), "series[1]"),
            (json!({"series": [{"values": [1]}, {"values": ["x"]}]}), "series[1].values[0]"),
            (json!({"series": [{"series": []}]}), "series[0].series"),
        ] {
            let problem = serde_json::to_value(posted(body).unwrap_err()).unwrap();
            assert_eq!((&problem["field"], &problem["status"]), (&json!(field), &json!(422)), "{problem}");
        }
    }

    #[test]
    fn values_alone_are_a_minute_apart() {
        let request = parse(&json!({"values": [1, null, 2.5]})).unwrap();
        assert_eq!(request.series.values, [Some(1.0), None, Some(2.5)]);
        assert_eq!((request.series.step_s, request.timed), (60, false));
    }

    #[test]
    fn timestamps_place_the_values_and_a_jump_is_a_gap() {
        for timestamps in [
            json!([1_795_428_000, 1_795_428_030, 1_795_428_120]),
            json!(["2026-11-23T10:00:00Z", "2026-11-23T10:00:30Z", "2026-11-23T11:02:00+01:00"]),
            json!([1_795_428_000.25, 1_795_428_030.25, 1_795_428_120.25]),
        ] {
            let request = parse(&json!({"values": [1, 2, 3], "timestamps": timestamps})).unwrap();
            assert_eq!(request.series.step_s, 30);
            assert_eq!(request.series.values, [Some(1.0), Some(2.0), None, None, Some(3.0)]);
            assert_eq!(request.series.start.as_second(), 1_795_428_000);
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let long = vec![1; MAX_POINTS + 1];
        for (body, field) in [
            (json!({}), "values"),
            (json!({"values": 3}), "values"),
            (json!({"values": []}), "values"),
            (json!({"values": [null, null]}), "values"),
            (json!({"values": long}), "values"),
            (json!({"values": [1, "2"]}), "values[1]"),
            (json!({"values": [1], "timestamps": 5}), "timestamps"),
            (json!({"values": [1], "timestamps": [1, 2]}), "timestamps"),
            (json!({"values": [1, 2], "timestamps": [2, 1]}), "timestamps[1]"),
            (json!({"values": [1, 2], "timestamps": [1, "soon"]}), "timestamps[1]"),
            (json!({"values": [1, 2], "timestamps": [1, 1e300]}), "timestamps[1]"),
            (json!({"values": [1, 2], "timestamps": [1, 1.5]}), "timestamps"),
            (json!({"values": [1, 2, 3], "timestamps": [0, 60, 150]}), "timestamps[2]"),
            (json!({"values": [1, 2, 3], "timestamps": [0, 1, 1_000_000]}), "timestamps[2]"),
            (json!({"values": [1], "step_s": 0}), "step_s"),
            (json!({"values": [1], "step_s": "60"}), "step_s"),
            (json!({"values": [1], "period": 1.5}), "period"),
            (json!({"values": [1], "signal": "a b"}), "signal"),
            (json!({"values": [1], "service": 7}), "service"),
            (json!({"values": [1], "vaules": [1]}), "vaules"),
        ] {
            let problem = serde_json::to_value(parse(&body).unwrap_err()).unwrap();
            assert_eq!(problem["field"], field, "{problem}");
            assert_eq!(problem["status"], 422);
        }
        for body in ["", "[1]", "{\"values\":[1e999]}", "{\"values\":[NaN]}"] {
            let problem = serde_json::to_value(Posted::parse(body.as_bytes()).unwrap_err()).unwrap();
            assert_eq!(problem["status"], 400, "{body}");
        }
    }

    proptest! {
        /// Whatever times are posted, an accepted series holds exactly the posted values at the posted times.
        #[test]
        fn an_accepted_series_has_every_value_at_its_time(
            gaps in prop::collection::vec(1_i64..20, 1..50),
            step_s in prop::option::of(1_u32..5),
        ) {
            let mut times = vec![1_000_i64];
            times.extend(gaps.iter().scan(1_000, |at, gap| { *at += gap; Some(*at) }));
            let values: Vec<i64> = (0..times.len() as i64).collect();
            let body = json!({"values": values, "timestamps": times, "step_s": step_s});
            if let Ok(Request { series, .. }) = parse(&body) {
                prop_assert_eq!(series.present(), values.len());
                for (at, value) in times.iter().zip(&values) {
                    let index = ((at - 1_000) / i64::from(series.step_s)) as usize;
                    prop_assert_eq!(series.at(index).as_second(), *at);
                    prop_assert_eq!(series.values[index], Some(*value as f64));
                }
            }
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Posted::parse(&body);
        }
    }
}
