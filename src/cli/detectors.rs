//! The detectors of a remediator: whom it asks, and for `tars check` what each of them says now. Settings come in, a client
//! and lines go out.

use std::time::Duration;

use super::checklist::{Line, fail, pass, warn};
use super::failure::Failure;
use super::output::counted;
use super::settings;
use crate::config::DetectorsSettings;
use crate::model::anomaly::Score;
use crate::model::causes::causes;
use crate::observe::shards::{Detectors, ShardSource as _};
use crate::outside::clock::{Clock as _, SystemClock};

/// Most bytes of one answer: a thousand anomalies, with room.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Anomalies that `tars check` counts: the threshold that a policy has unless it says another.
const FLOOR: f64 = 0.8;

/// Whom the settings name.
///
/// # Errors
/// When the token cannot be read or TLS cannot be set up.
pub fn detectors(at: &DetectorsSettings) -> Result<Detectors, Failure> {
    let timeout = Duration::from_secs(u64::from(at.timeout_s));
    Ok(Detectors {
        http: settings::client(timeout, ANSWER_BYTES_MAX, None)?,
        urls: at.urls.clone(),
        token: at.token_file.as_deref().map(settings::secret).transpose()?,
        age_max_s: at.age_max_s,
    })
}

/// Asks each of them.
///
/// # Errors
/// As [`detectors`].
pub async fn check(at: &DetectorsSettings) -> Result<Vec<Line>, Failure> {
    let (asked, now) = (detectors(at)?, SystemClock.now());
    let mut lines = Vec::new();
    for (ordinal, answer) in asked.ask(Score::clamped(FLOOR), now).await.into_iter().enumerate() {
        let name = format!("shard {ordinal} of {} at {}", at.urls.len(), at.urls[ordinal]);
        let report = match answer {
            Ok(report) => report,
            Err(error) => {
                let fix = "is it running, and is detectors.secret_file what its shard.secret_file is?";
                lines.push(fail("detectors", format!("{name}: {}", causes(&error)), fix));
                continue;
            }
        };
        let age_s = now.duration_since(report.at).as_secs();
        let series = counted(report.series, "series", "series");
        let anomalies = counted(report.anomalies.len() + report.left_out, "anomaly", "anomalies");
        lines.push(pass("detectors", format!("{name}: {series}, {anomalies}, looked {age_s} s ago")));
        for read in &report.signals {
            if let Some(trouble) = &read.trouble {
                let fix =
                    "nothing is known of this signal until then; tars check with the detector's settings";
                lines.push(warn("detectors", format!("{name}: {}: {trouble}", read.signal), fix));
            }
        }
    }
    Ok(lines)
}
