//! The arguments of the verbs about sources and what is recorded from them, as data.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::args::{Look, Patience, SettingsFile};
use crate::model::duration;
use crate::model::signal::SourceKind;

#[derive(Debug, Subcommand)]
pub enum SourceVerb {
    /// Read signals once and show what was found: series, distance of samples, gaps, season
    Query(SourceQuery),
    /// Which service calls which, as Jaeger has seen it
    Calls(SourceCalls),
}

#[derive(Debug, Args)]
pub struct SourceQuery {
    /// Only this signal of the settings
    #[arg(long, value_name = "NAME", conflicts_with = "ask")]
    pub signal: Option<String>,
    /// An expression that is no signal yet, in the language of --source
    #[arg(long, value_name = "QUERY")]
    pub ask: Option<String>,
    /// Whom to ask with --ask
    #[arg(long, value_enum, value_name = "SOURCE", default_value_t = SourceArg::Prometheus, requires = "ask")]
    pub source: SourceArg,
    /// Distance of two samples with --ask
    #[arg(long, value_name = "DURATION", value_parser = duration_s, default_value = "30s", requires = "ask")]
    pub step: u32,
    /// How far back to look with --ask
    #[arg(long, value_name = "DURATION", value_parser = duration_s, default_value = "24h", requires = "ask")]
    pub window: u32,
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Args)]
pub struct SourceCalls {
    /// How far back to look
    #[arg(long, value_name = "DURATION", value_parser = duration_s, default_value = "1h")]
    pub window: u32,
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceArg {
    Prometheus,
    Loki,
    Jaeger,
}

impl SourceArg {
    pub fn kind(self) -> SourceKind {
        match self {
            Self::Prometheus => SourceKind::Prometheus,
            Self::Loki => SourceKind::Loki,
            Self::Jaeger => SourceKind::Jaeger,
        }
    }
}

#[derive(Debug, Args)]
pub struct Record {
    /// Where the labelled series are, or will be
    pub folder: PathBuf,
    /// Only this signal of the settings
    #[arg(long, value_name = "NAME")]
    pub signal: Option<String>,
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Args)]
pub struct LabelArgs {
    /// Where the recorded series are
    pub folder: PathBuf,
    /// Say what would be labelled and write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub look: Look,
}

fn duration_s(text: &str) -> Result<u32, String> {
    match duration::parse_s(text) {
        Ok(0) => Err("it must be longer than that".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
}
