//! Alertmanager's webhook message, version 4 (prometheus.io, "Alerting configuration", `webhook_config`).
//! In goes a body that the listener has bounded, out come alerts. Fields that are not needed are not looked
//! at; a bad alert is left out with the name of its bad field, so that one stranger's label cannot hide the
//! others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::model::alert::{Alert, AlertStatus};

/// Most labels of one alert.
pub const MAX_LABELS: usize = 64;
/// Longest label name, bytes.
pub const MAX_LABEL_NAME_BYTES: usize = 128;
/// Longest label value, bytes.
pub const MAX_LABEL_VALUE_BYTES: usize = 1_024;
/// Longest fingerprint, hex digits. Alertmanager writes 16.
const MAX_FINGERPRINT_DIGITS: usize = 64;

/// A part of the message broke its rule. `field` is a path such as `alerts[3].startsAt`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct InvalidField {
    pub field: String,
    pub rule: String,
}

impl InvalidField {
    fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// The whole message cannot be used.
#[derive(Debug, Error)]
pub enum MessageError {
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error(transparent)]
    Field(#[from] InvalidField),
}

/// A decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub alerts: Vec<Alert>,
    /// Alerts that were left out, with the field that was wrong.
    pub refused: Vec<InvalidField>,
    /// Alerts that Alertmanager itself cut off (`max_alerts` of the receiver); worth a warning when not 0.
    pub truncated: u64,
}

/// Decodes a webhook body.
///
/// # Errors
/// [`MessageError`] when the body is not JSON, is not version 4, has no list of alerts, or when no alert in
/// a list that is not empty can be used.
pub fn decode(body: &[u8]) -> Result<Message, MessageError> {
    let value: Value = serde_json::from_slice(body).map_err(MessageError::NotJson)?;
    let message = value.as_object().ok_or_else(|| InvalidField::new("(body)", "must be an object"))?;
    match message.get("version") {
        Some(Value::String(version)) if version == "4" => {}
        _ => return Err(InvalidField::new("version", "must be \"4\"").into()),
    }
    let alerts = message.get("alerts").and_then(Value::as_array);
    let alerts = alerts.ok_or_else(|| InvalidField::new("alerts", "must be a list"))?;
    let truncated = match message.get("truncatedAlerts") {
        None | Some(Value::Null) => 0,
        Some(count) => {
            count.as_u64().ok_or_else(|| InvalidField::new("truncatedAlerts", "must be a count"))?
        }
    };
    let mut decoded = Message { alerts: Vec::with_capacity(alerts.len()), refused: Vec::new(), truncated };
    for (index, alert) in alerts.iter().enumerate() {
        match decode_alert(alert) {
            Ok(alert) => decoded.alerts.push(alert),
            Err(InvalidField { field, rule }) => {
                decoded.refused.push(InvalidField::new(format!("alerts[{index}]{field}"), rule));
            }
        }
    }
    match decoded.refused.first() {
        Some(first) if decoded.alerts.is_empty() => Err(first.clone().into()),
        _ => Ok(decoded),
    }
}

fn decode_alert(alert: &Value) -> Result<Alert, InvalidField> {
    let alert = alert.as_object().ok_or_else(|| InvalidField::new("", "must be an object"))?;
    let status = match text(alert, "status")? {
        "firing" => AlertStatus::Firing,
        "resolved" => AlertStatus::Resolved,
        _ => return Err(InvalidField::new(".status", "must be firing or resolved")),
    };
    let fingerprint = text(alert, "fingerprint")?;
    if !(1..=MAX_FINGERPRINT_DIGITS).contains(&fingerprint.len())
        || !fingerprint.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    {
        let rule = format!("must be 1 to {MAX_FINGERPRINT_DIGITS} lower-case hex digits");
        return Err(InvalidField::new(".fingerprint", rule));
    }
    Ok(Alert {
        status,
        labels: labels(alert)?,
        starts_at: time(alert, "startsAt")?,
        // While an alert fires this field holds the zero time or a guess.
        ends_at: match status {
            AlertStatus::Firing => None,
            AlertStatus::Resolved => Some(time(alert, "endsAt")?),
        },
        fingerprint: fingerprint.to_owned(),
        owner: None,
    })
}

fn text<'a>(alert: &'a Map<String, Value>, name: &str) -> Result<&'a str, InvalidField> {
    let value = alert.get(name).and_then(Value::as_str);
    value.ok_or_else(|| InvalidField::new(format!(".{name}"), "must be a string"))
}

fn time(alert: &Map<String, Value>, name: &str) -> Result<Timestamp, InvalidField> {
    let parsed = text(alert, name)?.parse();
    parsed.map_err(|_| InvalidField::new(format!(".{name}"), "must be an RFC 3339 time"))
}

fn labels(alert: &Map<String, Value>) -> Result<BTreeMap<String, String>, InvalidField> {
    let labels = alert.get("labels").and_then(Value::as_object);
    let labels = labels.ok_or_else(|| InvalidField::new(".labels", "must be an object"))?;
    if labels.len() > MAX_LABELS {
        return Err(InvalidField::new(".labels", format!("at most {MAX_LABELS} labels")));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in labels {
        if name.is_empty() || name.len() > MAX_LABEL_NAME_BYTES {
            let rule = format!("a label name has 1 to {MAX_LABEL_NAME_BYTES} bytes");
            return Err(InvalidField::new(".labels", rule));
        }
        // The name is a stranger's text; escaped, it can stand in an error.
        let field = || format!(".labels.{}", name.escape_debug());
        let value = value.as_str().ok_or_else(|| InvalidField::new(field(), "must be a string"))?;
        if value.len() > MAX_LABEL_VALUE_BYTES {
            return Err(InvalidField::new(field(), format!("at most {MAX_LABEL_VALUE_BYTES} bytes")));
        }
        checked.insert(name.clone(), value.to_owned());
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Shaped as Alertmanager 0.25 sends it.
    fn sample() -> Value {
        json!({
            "receiver": "tars", "status": "firing", "version": "4", "truncatedAlerts": 0,
            "groupKey": "{}:{alertname=\"HighLatency\"}",
            "groupLabels": {"alertname": "HighLatency"}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "http://localhost:9093",
            "alerts": [
                {
                    "status": "firing", "labels": {"alertname": "HighLatency", "service": "backend"},
                    "annotations": {"summary": "slow"}, "startsAt": "2026-11-23T10:00:00.123Z",
                    "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://x",
                    "fingerprint": "5ef77f1f8a3ecfb8"
                },
                {
                    "status": "resolved", "labels": {"alertname": "HighLatency", "service": "cart"},
                    "annotations": {}, "startsAt": "2026-11-23T09:00:00+01:00",
                    "endsAt": "2026-11-23T09:30:00+01:00", "generatorURL": "",
                    "fingerprint": "c6e39a9c2b3d4f50"
                }
            ]
        })
    }

    fn decode_value(value: &Value) -> Result<Message, MessageError> {
        decode(value.to_string().as_bytes())
    }

    #[test]
    fn a_message_gives_its_firing_and_resolved_alerts() {
        let message = decode_value(&sample()).unwrap();
        assert_eq!((message.alerts.len(), message.refused.len(), message.truncated), (2, 0, 0));
        assert_eq!(message.alerts[0].name(), "HighLatency");
        assert_eq!(message.alerts[0].ends_at, None);
        assert_eq!(message.alerts[1].status, AlertStatus::Resolved);
        assert_eq!(message.alerts[1].ends_at, Some("2026-11-23T08:30:00Z".parse().unwrap()));
    }

    #[test]
    fn an_error_names_the_field() {
        let cases = [
            ("/version", json!("3"), "version"),
            ("/version", json!(4), "version"),
            ("/alerts", json!({}), "alerts"),
            ("/alerts", Value::Null, "alerts"),
            ("/truncatedAlerts", json!(-1), "truncatedAlerts"),
            ("/alerts/0", json!([]), "alerts[0]"),
            ("/alerts/0/status", json!("maybe"), "alerts[0].status"),
            ("/alerts/0/labels", json!("x"), "alerts[0].labels"),
            ("/alerts/0/labels/service", json!(7), "alerts[0].labels.service"),
            ("/alerts/0/labels/service", json!("x".repeat(1_025)), "alerts[0].labels.service"),
            ("/alerts/0/startsAt", json!("yesterday"), "alerts[0].startsAt"),
            ("/alerts/0/startsAt", Value::Null, "alerts[0].startsAt"),
            ("/alerts/0/fingerprint", json!("../../etc/passwd"), "alerts[0].fingerprint"),
            ("/alerts/0/fingerprint", json!(""), "alerts[0].fingerprint"),
        ];
        for (pointer, bad, field) in cases {
            let mut message = sample();
            message["alerts"].as_array_mut().unwrap().truncate(1);
            *message.pointer_mut(pointer).unwrap() = bad;
            let error = decode_value(&message).unwrap_err();
            let MessageError::Field(error) = error else { panic!("{pointer}: {error:?}") };
            assert_eq!(error.field, field);
        }
        assert!(matches!(decode(b"{"), Err(MessageError::NotJson(_))));
        assert!(decode(b"[]").unwrap_err().to_string().contains("must be an object"));
    }

    #[test]
    fn a_bad_alert_does_not_hide_the_good_ones() {
        let mut message = sample();
        let labels: Map<String, Value> = (0..65).map(|n| (format!("l{n}"), json!("x"))).collect();
        message["alerts"][0]["labels"] = labels.into();
        let decoded = decode_value(&message).unwrap();
        assert_eq!(decoded.alerts.len(), 1);
        assert_eq!(decoded.refused[0].to_string(), "alerts[0].labels: at most 64 labels");
    }

    #[test]
    fn unknown_fields_are_tolerated_and_truncation_is_reported() {
        let mut message = sample();
        message["notificationReason"] = json!("x");
        message["alerts"][0]["extra"] = json!({"deep": [1, 2]});
        message["truncatedAlerts"] = json!(12);
        assert_eq!(decode_value(&message).unwrap().truncated, 12);
    }

    #[test]
    fn a_message_without_alerts_is_fine() {
        assert!(decode(br#"{"version":"4","alerts":[]}"#).unwrap().alerts.is_empty());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&body);
        }

        /// Every field in turn replaced by something of another kind.
        #[test]
        fn no_wrong_type_makes_it_panic(
            field in prop::sample::select(vec![
                "/version", "/alerts", "/truncatedAlerts", "/alerts/0", "/alerts/0/status",
                "/alerts/0/labels", "/alerts/0/labels/service", "/alerts/0/startsAt", "/alerts/1/endsAt",
                "/alerts/0/fingerprint",
            ]),
            bad in prop::sample::select(vec![
                Value::Null, json!([]), json!({}), json!(1e308), json!(-1), json!(true), json!("\u{0}"),
            ]),
        ) {
            let mut message = sample();
            *message.pointer_mut(field).unwrap() = bad;
            let _ = decode_value(&message);
        }
    }
}
