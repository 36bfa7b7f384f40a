//! The JSON of the Prometheus HTTP API, version 1 (prometheus.io, "HTTP API"), and nothing else. In goes a
//! body that the driver has bounded, out come samples or the reason why there are none. Also the form
//! encoding of the question. Nothing is sent from here.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::metrics::{FoundSeries, InstantResult, Labels, RangeResult, SourceError, shown_text};
use crate::model::signal::Sample;

/// Most warnings kept of one answer.
const MAX_WARNINGS: usize = 10;

/// An answer of ten thousand series is read with every tick: texts are borrowed, and what is no sample and no label
/// is passed over.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// Seconds since the epoch, possibly with a fraction, and the value as a string (JSON has no NaN).
#[derive(Debug)]
struct Point(Sample);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PointVisitor)
    }
}

struct PointVisitor;

impl<'de> Visitor<'de> for PointVisitor {
    type Value = Point;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time and a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Point, A::Error> {
        let short = || A::Error::custom("a sample has no value");
        let at_s: f64 = seq.next_element()?.ok_or_else(short)?;
        // The source's times have milliseconds; the float holds them exactly for the next 250 000 years.
        let at = at_s.is_finite().then(|| (at_s * 1_000.0).round() as i64);
        let at = at.and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
        let at = at.ok_or_else(|| A::Error::custom(format!("{at_s} is not a time")))?;
        let Text(value) = seq.next_element()?.ok_or_else(short)?;
        let value = value.parse().map_err(|_| A::Error::custom("a sample value is not a number"))?;
        Ok(Point(Sample { at, value }))
    }
}

/// A text that is borrowed where nothing in it is escaped.
#[derive(Debug, serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Default)]
struct Metric(Labels);

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetricVisitor)
    }
}

struct MetricVisitor;

impl<'de> Visitor<'de> for MetricVisitor {
    type Value = Metric;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metric, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Metric(Labels::of(pairs)))
    }
}

#[derive(Debug, serde::Deserialize)]
struct MatrixSeries {
    #[serde(default)]
    metric: Metric,
    values: Option<Vec<Point>>,
}

#[derive(Debug, serde::Deserialize)]
struct VectorSeries {
    value: Option<Point>,
}

/// Decodes the answer to a range query.
pub fn decode_range(status: u16, body: &[u8]) -> Result<RangeResult, SourceError> {
    let (data, mut warnings) = decode(status, body)?;
    let matrix: Vec<MatrixSeries> = match &*data.result_type {
        "matrix" => result(&data)?,
        "vector" => return Err(SourceError::WrongType("vector")),
        "scalar" => return Err(SourceError::WrongType("scalar")),
        "string" => return Err(SourceError::WrongType("string")),
        // What LogQL gives without a function around it.
        "streams" => return Err(SourceError::WrongType("list of log lines")),
        other => return Err(SourceError::NotTheApi(format!("a result of type {}", shown_text(other)))),
    };
    let all = matrix.len();
    let found = |it: MatrixSeries| {
        let samples = it.values?.into_iter().map(|it| it.0).collect();
        Some(FoundSeries { labels: it.metric.0, samples })
    };
    let series: Vec<FoundSeries> = matrix.into_iter().filter_map(found).collect();
    match all - series.len() {
        0 => {}
        _ if series.is_empty() => return Err(SourceError::WrongType("native histogram")),
        left_out => warnings.push(format!(
            "{left_out} of {all} series are native histograms, which have no single value per time, and were left out"
        )),
    }
    Ok(RangeResult { series, warnings })
}

/// Decodes the answer to an instant query.
pub fn decode_instant(status: u16, body: &[u8]) -> Result<InstantResult, SourceError> {
    let (data, _) = decode(status, body)?;
    let (count, point) = match &*data.result_type {
        "vector" => {
            let mut series: Vec<VectorSeries> = result(&data)?;
            (series.len(), series.pop().and_then(|it| it.value))
        }
        "scalar" => (1, Some(result(&data)?)),
        "matrix" => return Err(SourceError::WrongType("range")),
        "string" => return Err(SourceError::WrongType("string")),
        other => return Err(SourceError::NotTheApi(format!("a result of type {}", shown_text(other)))),
    };
    let value = point.filter(|_| count == 1).map(|it| it.0.value).filter(|value| value.is_finite());
    Ok(InstantResult { non_empty: count > 0, value })
}

fn result<'a, T: Deserialize<'a>>(data: &Data<'a>) -> Result<T, SourceError> {
    serde_json::from_str(data.result.get())
        .map_err(|error| SourceError::NotTheApi(shown_text(&error.to_string())))
}

fn decode(status: u16, body: &[u8]) -> Result<(Data<'_>, Vec<String>), SourceError> {
    let reply: Reply<'_> = match serde_json::from_slice(body) {
        Ok(reply) => reply,
        // Proxies answer errors in their own words, and those are more useful than a parser's complaint.
        Err(_) if !(200..300).contains(&status) => {
            let message = shown_text(&String::from_utf8_lossy(body));
            return Err(SourceError::Refused { status, kind: None, message });
        }
        Err(error) => return Err(SourceError::NotTheApi(shown_text(&error.to_string()))),
    };
    match (&*reply.status, reply.data) {
        ("success", Some(data)) if (200..300).contains(&status) => {
            let warnings = reply.warnings.unwrap_or_default();
            Ok((data, warnings.iter().take(MAX_WARNINGS).map(|it| shown_text(it)).collect()))
        }
        ("error", _) => Err(SourceError::Refused {
            status,
            kind: reply.error_type.as_deref().map(shown_text),
            message: shown_text(reply.error.as_deref().unwrap_or("no message")),
        }),
        _ => Err(SourceError::NotTheApi("neither a success with data nor an error".into())),
    }
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.2).
#[must_use]
pub fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in pairs {
        if !body.is_empty() {
            body.push('&');
        }
        encode_into(&mut body, name);
        body.push('=');
        encode_into(&mut body, value);
    }
    body.into_bytes()
}

fn encode_into(body: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                body.push(char::from(byte));
            }
            b' ' => body.push('+'),
            _ => {
                body.push('%');
                body.push(char::from(HEX[usize::from(byte >> 4)]));
                body.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(body: &str) -> Result<RangeResult, SourceError> {
        decode_range(200, body.as_bytes())
    }

    #[test]
    fn values_arrive_as_strings_with_nan_and_infinities() {
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},
            "values":[[1795428000,"1.5"],[1795428060.25,"NaN"],[1795428120,"+Inf"],[1795428180,"-Inf"],
            [1795428240,"2e-3"]]}]},"warnings":["partial"],"infos":["x"]}"#;
        let RangeResult { mut series, warnings } = range(body).unwrap();
        let FoundSeries { labels, samples } = series.remove(0);
        assert_eq!((labels.get("a"), labels.get("absent")), ("b", ""));
        assert_eq!(samples[0].value, 1.5);
        assert_eq!(samples[1].at.as_millisecond(), 1_795_428_060_250);
        assert!(samples[1].value.is_nan());
        assert_eq!((samples[2].value, samples[3].value), (f64::INFINITY, f64::NEG_INFINITY));
        assert_eq!(samples[4].value, 0.002);
        assert_eq!(warnings, ["partial"]);
    }

    #[test]
    fn no_series_is_no_sample_and_no_error() {
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(range(body).unwrap().only().unwrap().is_empty());
    }

    #[test]
    fn several_series_where_one_is_wanted_are_an_error_that_names_their_labels() {
        let series = |n: u32| format!(r#"{{"metric":{{"pod":"p{n}\n"}},"values":[[1,"1"]]}}"#);
        let all: Vec<String> = (0..5).map(series).collect();
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
            all.join(",")
        );
        let found = range(&body).unwrap();
        assert_eq!(found.series[4].labels.get("pod"), "p4\n");
        let text = found.only().unwrap_err().to_string();
        assert!(
            text.contains("5 series") && text.contains(r#"{pod="p0\n"} {pod="p1\n"} {pod="p2\n"} ..."#),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_carries_the_sources_own_words_on_one_line() {
        let body = br#"{"status":"error","errorType":"bad_data","error":"parse\nerror"}"#;
        let error = decode_range(400, body).unwrap_err();
        assert_eq!(error.to_string(), "the source refused the query (HTTP 400, bad_data): parse\\nerror");
        let error = decode_range(502, b"<html>bad gateway</html>").unwrap_err();
        assert!(error.to_string().contains("bad gateway"), "{error}");
    }

    #[test]
    fn what_is_not_the_api_is_said_to_be_so() {
        for body in [
            "",
            "{}",
            "<html>",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"surprise","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1]]}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"x"]]}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1e300,"1"]]}]}}"#,
        ] {
            assert!(matches!(range(body), Err(SourceError::NotTheApi(_))), "{body}");
        }
        let histogram = r#"{"status":"success","data":{"resultType":"matrix","result":[{"histograms":[]}]}}"#;
        assert!(matches!(range(histogram), Err(SourceError::WrongType("native histogram"))));
        let lines = r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#;
        assert!(matches!(range(lines), Err(SourceError::WrongType("list of log lines"))));
    }

    #[test]
    fn a_native_histogram_among_others_is_left_out_and_told() {
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"a":"h"},"histograms":[]},{"metric":{"a":"v"},"values":[[1,"2"]]}]},"warnings":["partial"]}"#;
        let found = range(body).unwrap();
        assert_eq!(found.warnings.len(), 2);
        assert!(found.warnings[1].contains("1 of 2 series"), "{:?}", found.warnings);
        assert_eq!(found.only().unwrap()[0].value, 2.0);
    }

    #[test]
    fn an_instant_result_is_empty_or_has_one_value_or_many() {
        let instant = |result_type: &str, result: &str| {
            let body = format!(
                r#"{{"status":"success","data":{{"resultType":"{result_type}","result":{result}}}}}"#
            );
            decode_instant(200, body.as_bytes()).unwrap()
        };
        assert_eq!(instant("vector", "[]"), InstantResult { non_empty: false, value: None });
        let one = r#"[{"metric":{},"value":[1,"3"]}]"#;
        assert_eq!(instant("vector", one), InstantResult { non_empty: true, value: Some(3.0) });
        let two = r#"[{"metric":{},"value":[1,"3"]},{"metric":{},"value":[1,"4"]}]"#;
        assert_eq!(instant("vector", two), InstantResult { non_empty: true, value: None });
        assert_eq!(instant("scalar", r#"[1,"0"]"#), InstantResult { non_empty: true, value: Some(0.0) });
        let nan = r#"[{"metric":{},"value":[1,"NaN"]}]"#;
        assert_eq!(instant("vector", nan), InstantResult { non_empty: true, value: None });
    }

    #[test]
    fn a_query_survives_the_form_encoding() {
        let body = form(&[("query", "sum(rate(x{a=\"b&c\"}[2m])) + 1"), ("t", "é")]);
        let expected = "query=sum%28rate%28x%7Ba%3D%22b%26c%22%7D%5B2m%5D%29%29+%2B+1&t=%C3%A9";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            status in 100_u16..600,
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = decode_range(status, &body);
            let _ = decode_instant(status, &body);
        }
    }
}
