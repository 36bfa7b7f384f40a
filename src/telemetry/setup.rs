//! Starts the log. In go the format, the level filter and the writer; out goes a subscriber. Standard output
//! belongs to data, so the caller hands in standard error; the environment is never read here.

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, fields at the top level.
    Json,
}

/// What the log writes and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Directives such as `info` or `tars_gitops=debug,info`.
    pub filter: String,
    /// Colour; only for [`LogFormat::Text`] on a terminal.
    pub ansi: bool,
}

/// The log could not be started.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("{filter:?} is not a log filter (try 'info' or 'tars_gitops=debug,info')")]
    Filter {
        filter: String,
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    #[error("the log was started twice")]
    Started(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// A subscriber that writes to `writer`.
///
/// # Errors
/// [`LogError::Filter`] when the filter does not parse.
pub fn subscriber<W>(settings: &LogSettings, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .map_err(|cause| LogError::Filter { filter: settings.filter.clone(), cause })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match settings.format {
        LogFormat::Text => Box::new(builder.with_ansi(settings.ansi).with_target(false).finish()),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
            // Without the module's path, which is called `target` as well: one line, one `target`.
            Box::new(builder.with_target(false).finish())
        }
    })
}

/// Makes [`subscriber`] the log of this process.
///
/// # Errors
/// [`LogError`] when the filter does not parse or a log was started before.
pub fn start<W>(settings: &LogSettings, writer: W) -> Result<(), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing::subscriber::set_global_default(subscriber(settings, writer)?).map_err(LogError::Started)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::fixtures::target;
    use crate::model::ids::PolicyName;
    use crate::model::reason::{Reason, ReasonCode};
    use crate::telemetry::events::Event;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, event: &Event<'_>) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let settings = LogSettings { format, filter: "info".into(), ansi: false };
        let subscriber = subscriber(&settings, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || event.emit());
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_stranger_cannot_forge_a_second_log_line() {
        let event = Event::AlertsRefused { reason: "x\n2026-11-23T10:00:00Z INFO merged" };
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, &event);
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn json_lines_carry_the_fixed_field_names_at_the_top() {
        let text = logged(LogFormat::Json, &Event::AlertsTruncated { count: 7 });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["count"], 7);
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn the_target_of_a_json_line_is_the_workload_and_stands_there_once() {
        let (policy, target) = (PolicyName::new("p").unwrap(), target("shop/Deployment/backend"));
        let reason = Reason::new(ReasonCode::Cooldown, "later");
        let text =
            logged(LogFormat::Json, &Event::Held { policy: &policy, target: &target, reason: &reason });
        assert_eq!(text.matches("\"target\"").count(), 1, "{text}");
        assert!(text.contains("\"target\":\"shop/Deployment/backend\""), "{text}");
    }

    #[test]
    fn a_bad_filter_is_refused_with_a_hint() {
        let settings = LogSettings { format: LogFormat::Text, filter: "tars==x".into(), ansi: false };
        let error = subscriber(&settings, io::sink).err().unwrap();
        assert!(error.to_string().contains("try 'info'"), "{error}");
    }
}
