//! Flags and environment over the file. Values by dotted path come in, settings with these values go out.
//! The list of settings is taken from the schema, so that a new one has its variable without anybody's help.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::ConfigError;
use super::raw::{RawSettings, Source};

/// Values given as flags, by dotted path of the setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Sets `path` (for example `repository.url`) when the flag was given.
    #[must_use]
    pub fn with(mut self, path: &str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.0.insert(path.to_owned(), value);
        }
        self
    }
}

/// Where values came from that are not the file's, by dotted path.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Origins {
    overridden: BTreeMap<String, String>,
    source: Source,
}

impl Origins {
    /// An error about the setting at `path`, with the place it was given at.
    pub(super) fn error(
        &self,
        path: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> ConfigError {
        let origin = self.overridden.get(path).cloned().unwrap_or_else(|| self.in_file(path));
        ConfigError { origin, field: path.to_owned(), message: message.into(), fix: fix.into() }
    }

    /// `file:line` of the setting or of the section it would stand in.
    fn in_file(&self, path: &str) -> String {
        let mut here = path;
        loop {
            if let Some(line) = self.source.lines.get(here) {
                return format!("{}:{line}", self.source.file);
            }
            match here.rsplit_once('.') {
                Some((parent, _)) => here = parent,
                None => return self.source.file.clone(),
            }
        }
    }
}

/// `settings` with flags and environment applied.
pub(super) fn apply(
    settings: &RawSettings,
    env: &dyn Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<(RawSettings, Origins), ConfigError> {
    let mut origins = Origins { source: settings.source.clone(), ..Origins::default() };
    let scalars = scalars();
    if let Some(unknown) = flags.0.keys().find(|path| !scalars.iter().any(|(known, _)| known == *path)) {
        return Err(origins.error(unknown, "there is no such setting", "see `tars config schema`"));
    }
    // YAML has numbers that JSON has not, and what follows passes through JSON.
    let tree = serde_json::to_value(settings).unwrap_or_default();
    let is_none = |path: &str| tree.pointer(&pointer(path)).is_some_and(Json::is_null);
    if let Some((path, _)) = scalars.iter().find(|(path, kind)| kind == "number" && is_none(path)) {
        let (message, fix) = not("a number");
        return Err(origins.error(path, message, fix));
    }
    let mut settings = settings.clone();
    for (path, kind) in scalars {
        let name = variable(&path);
        let (text, origin) = match flags.0.get(&path) {
            Some(text) => (text.clone(), format!("flag for {path}")),
            // Compose files and charts pass variables that are not meant as empty strings.
            None => match env(&name).filter(|text| !text.is_empty()) {
                Some(text) => (text, name),
                None => continue,
            },
        };
        origins.overridden.insert(path.clone(), origin);
        settings = with_value(&settings, &path, &kind, &text)
            .map_err(|(message, fix)| origins.error(&path, message, fix))?;
    }
    Ok((settings, origins))
}

fn with_value(
    settings: &RawSettings,
    path: &str,
    kind: &str,
    text: &str,
) -> Result<RawSettings, (String, String)> {
    let value = match kind {
        "integer" => text.parse::<u64>().map(Json::from).map_err(|_| not("a whole number"))?,
        "number" => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Json::from(number),
            _ => return Err(not("a number")),
        },
        "boolean" => text.parse::<bool>().map(Json::from).map_err(|_| not("true or false"))?,
        _ => Json::from(text),
    };
    let unreadable = |error: serde_json::Error| (error.to_string(), "see `tars config schema`".to_owned());
    let mut tree = serde_json::to_value(settings).map_err(unreadable)?;
    if let Some(slot) = tree.pointer_mut(&pointer(path)) {
        *slot = value;
    }
    let changed: RawSettings = serde_json::from_value(tree).map_err(unreadable)?;
    Ok(RawSettings { source: settings.source.clone(), ..changed })
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

fn not(expected: &str) -> (String, String) {
    (format!("the value is not {expected}"), format!("write {expected}"))
}

/// The variable of the setting at `path`.
fn variable(path: &str) -> String {
    format!("TARS_{}", path.to_ascii_uppercase().replace('.', "_"))
}

/// Every environment variable with the setting it overrides, for the documentation.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    scalars().into_iter().map(|(path, _)| (variable(&path), path)).collect()
}

/// Dotted paths and JSON types of all settings that are not lists or sections.
fn scalars() -> Vec<(String, String)> {
    let schema = schemars::schema_for!(RawSettings).to_value();
    let mut found = Vec::new();
    collect(&schema, &schema["$defs"], "", &mut found);
    found
}

fn collect(schema: &Json, defs: &Json, path: &str, found: &mut Vec<(String, String)>) {
    let name = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/"));
    let schema = name.map_or(schema, |name| &defs[name]);
    if let Some(properties) = schema["properties"].as_object() {
        for (key, child) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(child, defs, &path, found);
        }
        return;
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("string");
    if kind != "array" {
        found.push((path.to_owned(), kind.to_owned()));
    }
}
