//! The forge's settings, resolved: which product, where, which repository. Raw settings come in, a place that
//! can be asked goes out. No file is opened.

use std::path::PathBuf;

use super::ConfigError;
use super::raw;
use super::resolve::Resolve;
use crate::model::forge::{BRANCH_PREFIX, RequiredCheck};
use crate::outside::http::plain_address;

/// Products that have a name here and no adapter yet.
const PLANNED: [&str; 3] = ["bitbucket", "azuredevops", "codecommit"];
/// Most segments of a repository's path: GitLab's deepest group, and the project.
const SEGMENTS_MAX: usize = 21;
/// Where GitHub is unless it is an Enterprise Server.
const GITHUB_URL: &str = "https://github.com";

/// Where proposals become pull requests.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum ForgeSettings {
    /// Nowhere: they stay branches, and the ledger holds their text.
    Local,
    At(Box<ForgeAt>),
}

/// The product, by the API it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// And Forgejo.
    Gitea,
    /// And GitHub Enterprise.
    GitHub,
    GitLab,
}

impl ForgeKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitea => "gitea",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
        }
    }
}

/// By what tars is known there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum ForgeCredential {
    TokenFile(PathBuf),
    /// A GitHub App and where it is installed.
    App {
        id: u64,
        installation_id: u64,
        private_key_file: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ForgeAt {
    pub kind: ForgeKind,
    /// Of the web interface, without a slash at the end.
    pub url: String,
    /// Of a GitLab project: its group, with the groups around it.
    pub owner: String,
    pub name: String,
    pub credential: ForgeCredential,
    pub ca_file: Option<PathBuf>,
    pub required_checks: Vec<RequiredCheck>,
    pub reviewers: Vec<String>,
    pub webhook_secret_file: Option<PathBuf>,
}

impl Resolve<'_> {
    pub(super) fn forge(&self, raw: &raw::Forge) -> Result<ForgeSettings, ConfigError> {
        match raw.kind.as_str() {
            "local" => self.no_forge(raw),
            "gitea" => Ok(ForgeSettings::At(Box::new(self.forge_at(ForgeKind::Gitea, raw)?))),
            "github" => Ok(ForgeSettings::At(Box::new(self.forge_at(ForgeKind::GitHub, raw)?))),
            "gitlab" => Ok(ForgeSettings::At(Box::new(self.forge_at(ForgeKind::GitLab, raw)?))),
            "forgejo" => {
                let message = "Forgejo speaks the API of Gitea";
                Err(self.origins.error("forge.kind", message, "write gitea"))
            }
            kind if PLANNED.contains(&kind) => {
                let message = format!("there is no adapter for {kind} yet");
                Err(self.origins.error(
                    "forge.kind",
                    message,
                    "use gitea, github or gitlab, or local for branches only",
                ))
            }
            kind => {
                let kind: String = kind.chars().take(40).collect();
                let message = format!("{kind:?} is not a forge that tars knows");
                Err(self.origins.error(
                    "forge.kind",
                    message,
                    "use gitea (also for Forgejo), github, gitlab or local",
                ))
            }
        }
    }

    fn no_forge(&self, raw: &raw::Forge) -> Result<ForgeSettings, ConfigError> {
        let given = [
            ("url", raw.url.is_some()),
            ("repository", raw.repository.is_some()),
            ("token_file", raw.token_file.is_some()),
            ("app", raw.app != raw::ForgeApp::default()),
            ("ca_file", raw.ca_file.is_some()),
            ("webhook_secret_file", raw.webhook_secret_file.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(ForgeSettings::Local),
            Some((field, _)) => {
                let message = "this does not belong to the local forge";
                let fix = "set forge.kind: gitea, github or gitlab, or remove it";
                Err(self.origins.error(&format!("forge.{field}"), message, fix))
            }
        }
    }

    fn forge_at(&self, kind: ForgeKind, raw: &raw::Forge) -> Result<ForgeAt, ConfigError> {
        let url = match (kind, &raw.url) {
            (ForgeKind::GitHub, None) => GITHUB_URL.to_owned(),
            (_, url) => self.required("forge.url", url.as_ref())?,
        };
        let url = self.http_url("forge.url", &url)?;
        let url = self.web_interface(&url, raw.repository.as_deref().unwrap_or_default())?;
        let repository = self.required("forge.repository", raw.repository.as_ref())?;
        let plain = |it: &&str| {
            !matches!(*it, "" | "." | "..")
                && it.len() <= 100
                && it.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        let segments = repository.split('/').filter(plain).count();
        let is_whole = segments == repository.split('/').count();
        let is_deep = segments == 2 || (kind == ForgeKind::GitLab && (2..=SEGMENTS_MAX).contains(&segments));
        let named = repository.rsplit_once('/').filter(|(_, name)| {
            // Part of a clone's address, and of no repository's name.
            let is_clone = name.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("git"));
            is_whole && is_deep && !is_clone
        });
        let Some((owner, name)) = named else {
            let fix = match kind {
                ForgeKind::GitLab => "write it as group/name or group/subgroup/name, without .git",
                _ => "write it as owner/name, without .git",
            };
            return Err(self.origins.error("forge.repository", "this is not a repository of a forge", fix));
        };
        Ok(ForgeAt {
            kind,
            url,
            owner: owner.to_owned(),
            name: name.to_owned(),
            credential: self.forge_credential(kind, raw)?,
            ca_file: raw.ca_file.as_ref().map(PathBuf::from),
            required_checks: self.required_checks(raw)?,
            reviewers: raw.reviewers.clone(),
            webhook_secret_file: raw.webhook_secret_file.as_ref().map(PathBuf::from),
        })
    }

    /// The address in its one spelling; one that people take for it is refused with the right one.
    fn web_interface(&self, url: &str, repository: &str) -> Result<String, ConfigError> {
        let wrong = |message: &str, fix: &str| Err(self.origins.error("forge.url", message, fix));
        let Some(url) = plain_address(url).filter(|it| !it.contains(['?', '#'])) else {
            return wrong(
                "this is not the address of a web interface",
                "for example https://git.example.com",
            );
        };
        let lower = url.to_ascii_lowercase();
        let (_, place) = lower.split_once("://").unwrap_or_default();
        let path = place.split_once('/').map_or("", |(_, path)| path);
        let is_github = place.split('/').next() == Some("github.com");
        let repository = repository.to_ascii_lowercase();
        let without_git = path.strip_suffix(".git").unwrap_or(path);
        let is_repository = !repository.is_empty()
            && (without_git == repository || without_git.ends_with(&format!("/{repository}")));
        if is_repository || is_github && !path.is_empty() {
            return wrong(
                "this is the address of something inside the forge",
                "end it before the owner or group",
            );
        }
        let is_api = ["api/v1", "api/v3", "api/v4", "api/graphql"];
        if is_api.iter().any(|it| path == *it || path.ends_with(&format!("/{it}")))
            || place == "api.github.com"
        {
            return wrong(
                "this is the address of an API",
                "write that of the web interface, as in the browser",
            );
        }
        Ok(url)
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

    fn forge_credential(&self, kind: ForgeKind, raw: &raw::Forge) -> Result<ForgeCredential, ConfigError> {
        if raw.app == raw::ForgeApp::default() {
            let token_file = self.required("forge.token_file", raw.token_file.as_ref())?;
            return Ok(ForgeCredential::TokenFile(token_file.into()));
        }
        if kind != ForgeKind::GitHub {
            let message = format!("{} has no apps", kind.as_str());
            return Err(self.origins.error("forge.app", message, "use forge.token_file"));
        }
        if raw.token_file.is_some() {
            let message = "tars is an app or has a token, not both";
            return Err(self.origins.error("forge.token_file", message, "remove this, or forge.app"));
        }
        let number = |field: &str, value: Option<u64>| {
            let text = value.map(|it| it.to_string());
            self.required(field, text.as_ref()).map(|_| value.unwrap_or_default())
        };
        let key_file = self.required("forge.app.private_key_file", raw.app.private_key_file.as_ref())?;
        Ok(ForgeCredential::App {
            id: number("forge.app.id", raw.app.id)?,
            installation_id: number("forge.app.installation_id", raw.app.installation_id)?,
            private_key_file: key_file.into(),
        })
    }
}
