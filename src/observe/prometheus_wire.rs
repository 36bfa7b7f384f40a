//! The JSON of the Prometheus HTTP API, version 1 (prometheus.io, "HTTP API"), and nothing else. In goes a
//! body that the driver has bounded, out come samples or the reason why there are none. Also the form
//! encoding of the question. Nothing is sent from here.

use jiff::Timestamp;
use serde::Deserialize;

use super::metrics::{InstantResult, RangeResult, SourceError};
use crate::model::signal::Sample;

/// Labels shown of each series, and series shown, when there are too many.
const SHOWN_SERIES: usize = 3;
/// Longest piece of the source's own words in an error, characters.
const SHOWN_CHARS: usize = 300;
/// Most warnings kept of one answer.
const MAX_WARNINGS: usize = 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Matrix(Vec<MatrixSeries>),
    Vector(Vec<VectorSeries>),
    Scalar(Point),
    String(serde::de::IgnoredAny),
}

/// Seconds since the epoch, possibly with a fraction, and the value as a string (JSON has no NaN).
#[derive(Debug, Deserialize)]
struct Point(f64, String);

type Labels = std::collections::BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
struct MatrixSeries {
    #[serde(default)]
    metric: Labels,
    values: Option<Vec<Point>>,
}

#[derive(Debug, Deserialize)]
struct VectorSeries {
    value: Option<Point>,
}

/// Decodes the answer to a range query, which must be one series or none.
pub fn decode_range(status: u16, body: &[u8]) -> Result<RangeResult, SourceError> {
    let (data, warnings) = decode(status, body)?;
    let mut series = match data {
        Data::Matrix(series) => series,
        Data::Vector(_) => return Err(SourceError::WrongType("vector")),
        Data::Scalar(_) => return Err(SourceError::WrongType("scalar")),
        Data::String(_) => return Err(SourceError::WrongType("string")),
    };
    if series.len() > 1 {
        return Err(several(series.len(), series.iter().map(|it| &it.metric)));
    }
    let Some(only) = series.pop() else { return Ok(RangeResult { samples: Vec::new(), warnings }) };
    let points = only.values.ok_or(SourceError::WrongType("native histogram"))?;
    let samples = points.iter().map(sample).collect::<Result<_, _>>()?;
    Ok(RangeResult { samples, warnings })
}

/// Decodes the answer to an instant query.
pub fn decode_instant(status: u16, body: &[u8]) -> Result<InstantResult, SourceError> {
    let (data, _) = decode(status, body)?;
    let (count, point) = match &data {
        Data::Vector(series) => (series.len(), series.first().and_then(|it| it.value.as_ref())),
        Data::Scalar(point) => (1, Some(point)),
        Data::Matrix(_) => return Err(SourceError::WrongType("range")),
        Data::String(_) => return Err(SourceError::WrongType("string")),
    };
    let value = match point {
        Some(point) if count == 1 => Some(sample(point)?.value).filter(|value| value.is_finite()),
        _ => None,
    };
    Ok(InstantResult { non_empty: count > 0, value })
}

fn decode(status: u16, body: &[u8]) -> Result<(Data, Vec<String>), SourceError> {
    let reply: Reply = match serde_json::from_slice(body) {
        Ok(reply) => reply,
        // Proxies answer errors in their own words, and those are more useful than a parser's complaint.
        Err(_) if !(200..300).contains(&status) => {
            let message = shown(&String::from_utf8_lossy(body));
            return Err(SourceError::Refused { status, kind: "no error type".into(), message });
        }
        Err(error) => return Err(SourceError::NotTheApi(shown(&error.to_string()))),
    };
    match (reply.status.as_str(), reply.data) {
        ("success", Some(data)) if (200..300).contains(&status) => {
            let warnings = reply.warnings.unwrap_or_default();
            Ok((data, warnings.iter().take(MAX_WARNINGS).map(|it| shown(it)).collect()))
        }
        ("error", _) => Err(SourceError::Refused {
            status,
            kind: shown(reply.error_type.as_deref().unwrap_or("no error type")),
            message: shown(reply.error.as_deref().unwrap_or("no message")),
        }),
        _ => Err(SourceError::NotTheApi("neither a success with data nor an error".into())),
    }
}

fn sample(Point(at_s, value): &Point) -> Result<Sample, SourceError> {
    let time = at_s.is_finite().then(|| (at_s * 1_000.0).round());
    // The source's times have milliseconds; the float holds them exactly for the next 250 000 years.
    let at = time.and_then(|at_ms| Timestamp::from_millisecond(at_ms as i64).ok());
    let at = at.ok_or_else(|| SourceError::NotTheApi(format!("{at_s} is not a time")))?;
    let value = value.parse();
    let value = value.map_err(|_| SourceError::NotTheApi("a sample value is not a number".into()))?;
    Ok(Sample { at, value })
}

fn several<'a>(count: usize, labels: impl Iterator<Item = &'a Labels>) -> SourceError {
    let one = |labels: &Labels| {
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let mut text = labels.take(SHOWN_SERIES).map(one).collect::<Vec<_>>().join(" ");
    if count > SHOWN_SERIES {
        text.push_str(" ...");
    }
    SourceError::SeveralSeries { count, labels: shown(&text) }
}

/// The source's own words, on one line and cut.
fn shown(text: &str) -> String {
    let mut shown: String = text.trim().chars().take(SHOWN_CHARS).collect::<String>();
    if shown.contains(char::is_control) {
        shown = shown.escape_debug().to_string();
    }
    shown
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
        let RangeResult { samples, warnings } = range(body).unwrap();
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
        assert!(range(body).unwrap().samples.is_empty());
    }

    #[test]
    fn several_series_are_an_error_that_names_their_labels() {
        let series = |n: u32| format!(r#"{{"metric":{{"pod":"p{n}\n"}},"values":[[1,"1"]]}}"#);
        let all: Vec<String> = (0..5).map(series).collect();
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
            all.join(",")
        );
        let text = range(&body).unwrap_err().to_string();
        assert!(
            text.contains("5 series") && text.contains(r#"{pod="p0\n"} {pod="p1\n"} {pod="p2\n"} ..."#),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_carries_the_sources_own_words_on_one_line() {
        let body = br#"{"status":"error","errorType":"bad_data","error":"parse\nerror"}"#;
        let error = decode_range(400, body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the metric source refused the query (HTTP 400, bad_data): parse\\nerror"
        );
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
            r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"x"]]}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1e300,"1"]]}]}}"#,
        ] {
            assert!(matches!(range(body), Err(SourceError::NotTheApi(_))), "{body}");
        }
        let histogram = r#"{"status":"success","data":{"resultType":"matrix","result":[{"histograms":[]}]}}"#;
        assert!(matches!(range(histogram), Err(SourceError::WrongType("native histogram"))));
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
