//! The forge's settings, resolved: which product, where, which repository. Raw settings come in, a place that
//! can be asked goes out. No file is opened.

use std::path::PathBuf;

use super::ConfigError;
use super::raw;
use super::resolve::Resolve;
use crate::model::forge::{BRANCH_PREFIX, RequiredCheck};

/// Products that have a name here and no adapter yet.
const PLANNED: [&str; 5] = ["github", "gitlab", "bitbucket", "azuredevops", "codecommit"];

/// Where proposals become pull requests.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum ForgeSettings {
    /// Nowhere: they stay branches, and the ledger holds their text.
    Local,
    /// On a Gitea or Forgejo.
    Gitea(ForgeAt),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ForgeAt {
    /// Of the web interface, without a slash at the end.
    pub url: String,
    pub owner: String,
    pub name: String,
    pub token_file: PathBuf,
    pub ca_file: Option<PathBuf>,
    pub required_checks: Vec<RequiredCheck>,
    pub reviewers: Vec<String>,
    pub webhook_secret_file: Option<PathBuf>,
}

impl Resolve<'_> {
    pub(super) fn forge(&self, raw: &raw::Forge) -> Result<ForgeSettings, ConfigError> {
        match raw.kind.as_str() {
            "local" => self.no_forge(raw),
            "gitea" => Ok(ForgeSettings::Gitea(self.forge_at(raw)?)),
            "forgejo" => {
                let message = "Forgejo speaks the API of Gitea";
                Err(self.origins.error("forge.kind", message, "write gitea"))
            }
            kind if PLANNED.contains(&kind) => {
                let message = format!("there is no adapter for {kind} yet");
                Err(self.origins.error("forge.kind", message, "use gitea, or local for branches only"))
            }
            kind => {
                let kind: String = kind.chars().take(40).collect();
                let message = format!("{kind:?} is not a forge that tars knows");
                Err(self.origins.error("forge.kind", message, "use gitea (also for Forgejo) or local"))
            }
        }
    }

    fn no_forge(&self, raw: &raw::Forge) -> Result<ForgeSettings, ConfigError> {
        let given = [
            ("url", &raw.url),
            ("repository", &raw.repository),
            ("token_file", &raw.token_file),
            ("ca_file", &raw.ca_file),
            ("webhook_secret_file", &raw.webhook_secret_file),
        ];
        match given.iter().find(|(_, value)| value.is_some()) {
            None => Ok(ForgeSettings::Local),
            Some((field, _)) => {
                let message = "this does not belong to the local forge";
                let fix = "set forge.kind: gitea, or remove it";
                Err(self.origins.error(&format!("forge.{field}"), message, fix))
            }
        }
    }

    fn forge_at(&self, raw: &raw::Forge) -> Result<ForgeAt, ConfigError> {
        let url = self.required("forge.url", raw.url.as_ref())?;
        let url = self.http_url("forge.url", &url)?;
        if url.contains(['?', '#']) {
            let fix = "for example https://git.example.com";
            return Err(self.origins.error("forge.url", "this is not the address of a web interface", fix));
        }
        let repository = self.required("forge.repository", raw.repository.as_ref())?;
        let plain = |it: &str| {
            !matches!(it, "" | "." | "..")
                && it.len() <= 100
                && it.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        let Some((owner, name)) = repository.split_once('/').filter(|it| plain(it.0) && plain(it.1)) else {
            let fix = "write it as owner/name, without .git";
            return Err(self.origins.error("forge.repository", "this is not a repository of a forge", fix));
        };
        Ok(ForgeAt {
            url,
            owner: owner.to_owned(),
            name: name.to_owned(),
            token_file: self.required("forge.token_file", raw.token_file.as_ref())?.into(),
            ca_file: raw.ca_file.as_ref().map(PathBuf::from),
            required_checks: self.required_checks(raw)?,
            reviewers: raw.reviewers.clone(),
            webhook_secret_file: raw.webhook_secret_file.as_ref().map(PathBuf::from),
        })
    }

    fn required_checks(&self, raw: &raw::Forge) -> Result<Vec<RequiredCheck>, ConfigError> {
        let check = |(index, it): (usize, &raw::ForgeCheck)| {
            // Our own statuses repeat what tars thinks: waiting for one would be waiting for ever.
            if it.context.is_empty() || it.context.starts_with(BRANCH_PREFIX) {
                let field = format!("forge.required_checks[{index}].context");
                let fix = "name a check of somebody else, as the forge shows it";
                return Err(self.origins.error(&field, "this is not a check that tars can wait for", fix));
            }
            Ok(RequiredCheck { context: it.context.clone(), by: it.by.clone() })
        };
        raw.required_checks.iter().enumerate().map(check).collect()
    }
}
