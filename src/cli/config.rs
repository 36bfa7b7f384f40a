//! `tars config view|path|validate|schema|env`.

use super::args::{Check, ConfigVerb};
use super::failure::Failure;
use super::output::{self, Format};
use super::settings;
use crate::config::{self, Overrides};

/// Runs the verb.
///
/// # Errors
/// When the settings cannot be read or are wrong.
pub fn run(verb: &ConfigVerb) -> Result<(), Failure> {
    match verb {
        ConfigVerb::Schema => output::data(&config::schema()),
        ConfigVerb::Env => env(),
        ConfigVerb::Path(args) => output::data(&format!("{}\n", args.config.display())),
        ConfigVerb::Validate(args) => validate(args),
        ConfigVerb::View(args) => view(args),
    }
}

fn env() -> Result<(), Failure> {
    let rows = config::variables().into_iter().map(|(variable, setting)| vec![variable, setting]).collect();
    let table = output::Table { headers: vec!["VARIABLE", "SETTING"], wide: 0, rows };
    output::data(&table.render(Format::Table))
}

fn validate(args: &Check) -> Result<(), Failure> {
    let settings = settings::load(&args.config, &Overrides::default())?;
    output::data(&format!(
        "{} is valid: {}, branch {} of {}\n",
        args.config.display(),
        output::counted(settings.signals.len(), "signal", "signals"),
        settings.branch,
        settings.repository_url
    ))
}

fn view(args: &Check) -> Result<(), Failure> {
    let settings = settings::load(&args.config, &Overrides::default())?;
    let format = match args.print.output {
        Format::Json => Format::Json,
        _ => Format::Yaml,
    };
    output::record(format, &settings)
}
