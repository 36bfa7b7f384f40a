//! One look at one SOPS file: does it read, does its MAC hold, does it follow its rule. A found file and
//! identities come in; a line for the table goes out.

use serde::Serialize;

use super::identities::Keyring;
use super::source::{Found, Sources};
use crate::model::causes::causes;
use crate::sops::{SopsError, SopsFile, Store};

/// What is known about a file's MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Verified,
    /// Well formed; nobody here can open it.
    NoIdentity,
    /// A form that is recognised only.
    NotRead,
    Broken,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::NoIdentity => "not verified: no identity",
            Self::NotRead => "not verified: not read",
            Self::Broken => "BROKEN",
        }
    }
}

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Look {
    pub file: String,
    pub status: Status,
    /// Which creation rule applies.
    pub rule: String,
    /// What the file does against that rule.
    pub breaches: Vec<String>,
    /// What is broken.
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
    #[serde(skip)]
    pub read: Option<SopsFile>,
}

/// Looks at a file.
pub fn at(file: &Found, sources: &Sources, keyring: &Keyring) -> Look {
    let mut look = Look {
        file: file.name.clone(),
        status: Status::NotRead,
        rule: "no rule".to_owned(),
        breaches: Vec::new(),
        detail: String::new(),
        hint: None,
        read: None,
    };
    if !matches!(file.store, Store::Yaml | Store::Json) {
        look.detail = format!("{} files are recognised only", file.store.name());
        return look;
    }
    let opened = SopsFile::read(file.store, &file.bytes).map(|read| {
        let opened = read.unlock(&keyring.identities);
        look.read = Some(read);
        opened
    });
    match opened {
        Ok(Ok(_)) => look.status = Status::Verified,
        Ok(Err(SopsError::NoIdentity { .. })) => look.status = Status::NoIdentity,
        Ok(Err(error)) | Err(error) => {
            look.status = Status::Broken;
            look.detail = causes(&error);
            look.hint = error.hint();
        }
    }
    if let (Some((place, rule)), Some(read)) = (sources.rule(&file.path), &look.read) {
        look.rule = place;
        look.breaches = rule.breaches(read);
    }
    look
}
