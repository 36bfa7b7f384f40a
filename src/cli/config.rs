//! `tars config view|path|validate|schema|env`.

use serde_json::{Value, json};

use super::args::{ConfigVerb, SettingsFile};
use super::failure::{Failure, Kind};
use super::output::{Console, Format, Page, Piece, Table, counted};
use super::settings;
use crate::config::{self, InForce, Overrides};

/// Runs the verb.
///
/// # Errors
/// When the settings cannot be read or are wrong.
pub fn run(verb: &ConfigVerb, console: &Console) -> Result<(), Failure> {
    match verb {
        ConfigVerb::Schema => schema(&config::schema(), console),
        ConfigVerb::Env => env(console),
        ConfigVerb::Path(file) => path(file, console),
        ConfigVerb::Validate(file) => validate(file, console),
        ConfigVerb::View(file) => match settings::load_role(&file.config, &Overrides::default())? {
            InForce::Detector(settings) => console.document(&settings, &Format::Yaml),
            InForce::Whole(settings) => console.document(&settings, &Format::Yaml),
        },
    }
}

/// Prints a JSON schema.
///
/// # Errors
/// When it cannot be written.
pub fn schema(text: &str, console: &Console) -> Result<(), Failure> {
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| Failure::new(Kind::No, "the schema is not JSON").because(error))?;
    console.document(&schema, &Format::Json)
}

fn env(console: &Console) -> Result<(), Failure> {
    let variables = config::variables();
    let items: Vec<Value> = variables
        .iter()
        .map(|(variable, setting)| json!({ "variable": variable, "setting": setting }))
        .collect();
    let names: Vec<String> = variables.iter().map(|it| it.0.clone()).collect();
    let row = |(variable, setting): (String, String)| vec![Piece::from(variable), Piece::from(setting)];
    let rows = variables.into_iter().map(row).collect();
    let table = Table { headers: vec!["VARIABLE", "SETTING"], wide: 0, rows };
    console.list(&table, &names, &items, "no variables")
}

fn path(file: &SettingsFile, console: &Console) -> Result<(), Failure> {
    let path = file.config.display().to_string();
    console.answer(std::slice::from_ref(&path), &json!({ "path": path }), || {
        let mut page = Page::new();
        page.put(path.as_str()).line();
        page
    })
}

fn validate(file: &SettingsFile, console: &Console) -> Result<(), Failure> {
    let settings = settings::load_role(&file.config, &Overrides::default())?;
    let path = file.config.display().to_string();
    let count = settings.watching().signals.len();
    let mut value = json!({ "path": path, "valid": true, "signals": count });
    let what = match &settings {
        InForce::Detector(settings) => {
            value["shard"] = json!(settings.shard);
            format!("shard {}", settings.shard)
        }
        InForce::Whole(settings) => {
            let (branch, url) = (&settings.branch, &settings.repository_url);
            value["branch"] = json!(branch);
            value["repository"] = json!(url);
            format!("branch {branch} of {url}")
        }
    };
    console.answer(std::slice::from_ref(&path), &value, || {
        let mut page = Page::new();
        page.put(format!("{path} is valid: {}, {what}", counted(count, "signal", "signals"))).line();
        page
    })
}
