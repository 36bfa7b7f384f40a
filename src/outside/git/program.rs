//! The `git` program: how it is started, and nothing about what it is asked to do.
//! In: sub-command and arguments. Out: its output. Everything a user, a machine or a repository could have
//! configured is switched off; what is on is listed here with its reason.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::command::{self, CommandError, CommandOutput, CommandSpec, CommandValue, FolderBound};
use super::url::{RemoteUrl, Scheme};
use super::{GitError, GitSettings};

/// Oldest git that works. 2.32 brought `GIT_CONFIG_GLOBAL`, without which somebody's personal settings would
/// count; 2.31 `GIT_CONFIG_COUNT`, without which a token would stand in the argument list; 2.24
/// `--end-of-options`, without which a value could become an option.
pub(super) const VERSION_MIN: (u32, u32) = (2, 32);

/// Most bytes of output: the reference list of a remote is the largest we ask for (about 80 bytes each).
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One value per override, each with its reason.
const OVERRIDES: [&str; 12] = [
    // No hook of ours ever runs, not even one that came with a template folder.
    "core.hooksPath=/dev/null",
    // Every protocol is off; the one of our address is switched on behind this (CVE-2024-32002 and
    // relatives).
    "protocol.allow=never",
    // A helper would answer with credentials that are not ours, or send ours elsewhere.
    "credential.helper=",
    // Hostile objects are refused on arrival: `.git` in trees, bad names, broken commits.
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    // The clone is disposable; a collection in the background would hold locks and outlive its caller.
    "gc.auto=0",
    "maintenance.auto=false",
    // A redirect would carry the token to another host.
    "http.followRedirects=false",
    // Submodules are data here: never looked at, never fetched.
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    // A signed push needs a program of its own; entries are signed one by one instead.
    "push.gpgSign=false",
    // A remote that drips is as good as one that is silent; the deadline says how long.
    "http.lowSpeedLimit=1000",
];

/// The git program, set up for one clone and one remote.
#[derive(Debug, Clone)]
pub(super) struct Program {
    url: RemoteUrl,
    folder: PathBuf,
    home: PathBuf,
    timeout: Duration,
    clone_max_mib: u32,
    ssh_command: Option<String>,
    /// `http.<origin>.extraHeader`, given in the environment: argument lists are readable by everyone.
    header: Option<(String, CommandValue)>,
}

impl Program {
    /// `folder` is the bare clone, `home` an empty folder nobody else writes to.
    pub(super) fn new(settings: &GitSettings, folder: &Path, home: &Path) -> Result<Self, GitError> {
        let url = RemoteUrl::parse(&settings.url)?;
        if settings.timeout_s == 0 {
            return Err(settings_error("the git timeout is 0", "give it at least one second"));
        }
        let ssh_command = (url.scheme == Scheme::Ssh).then(|| ssh_command(settings)).transpose()?;
        let header = match &settings.token {
            None => None,
            Some(_) if url.origin.is_empty() => {
                return Err(settings_error(
                    "a git token is set for an address that is not http",
                    "remove one",
                ));
            }
            Some(token) => {
                // The forges take any user name beside a token; this one is GitHub's own for installations.
                let pair = base64(format!("x-access-token:{}", token.expose()).as_bytes());
                let key = format!("http.{}.extraHeader", url.origin);
                Some((key, CommandValue::from(format!("Authorization: Basic {pair}"))))
            }
        };
        let timeout = Duration::from_secs(settings.timeout_s.into());
        Ok(Self {
            url,
            folder: folder.to_owned(),
            home: home.to_owned(),
            timeout,
            clone_max_mib: settings.clone_max_mib,
            ssh_command,
            header,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url.text
    }

    pub(super) fn clone_max_mib(&self) -> u32 {
        self.clone_max_mib
    }

    /// As [`Program::run`], for what brings objects into the clone. Git bounds what it takes from a push
    /// (`receive.maxInputSize`), and never what it takes from a remote.
    pub(super) async fn run_filling(&self, args: &[&str]) -> Result<CommandOutput, CommandError> {
        let bytes_max = u64::from(self.clone_max_mib) << 20;
        let fills = Some(FolderBound { folder: self.folder.clone(), bytes_max });
        command::run(CommandSpec { fills, ..self.spec(args) }).await
    }

    /// Runs one sub-command in the clone. Values from outside stand behind `--end-of-options`.
    pub(super) async fn run(&self, args: &[&str]) -> Result<CommandOutput, CommandError> {
        command::run(self.spec(args)).await
    }

    fn spec(&self, args: &[&str]) -> CommandSpec {
        let mut all: Vec<OsString> = Vec::new();
        for value in OVERRIDES {
            all.extend(["-c".into(), value.into()]);
        }
        all.extend(["-c".into(), format!("protocol.{}.allow=always", self.url.scheme.protocol()).into()]);
        all.extend(["-c".into(), format!("http.lowSpeedTime={}", self.timeout.as_secs()).into()]);
        all.extend(args.iter().map(Into::into));
        CommandSpec {
            program: "git".into(),
            args: all,
            env: self.environment(),
            cwd: Some(self.home.clone()),
            stdin: None,
            timeout: self.timeout,
            output_max_bytes: OUTPUT_BYTES_MAX,
            fills: None,
        }
    }

    fn environment(&self) -> Vec<(String, CommandValue)> {
        let mut env: Vec<(String, CommandValue)> = vec![
            ("GIT_DIR".to_owned(), self.folder.as_os_str().into()),
            ("HOME".to_owned(), self.home.as_os_str().into()),
            ("XDG_CONFIG_HOME".to_owned(), self.home.as_os_str().into()),
            ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".into()),
            ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".into()),
            ("GIT_ATTR_NOSYSTEM".to_owned(), "1".into()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".into()),
            // Replacement objects would make git read something else than was signed.
            ("GIT_NO_REPLACE_OBJECTS".to_owned(), "1".into()),
            ("GIT_PROTOCOL_FROM_USER".to_owned(), "0".into()),
        ];
        if let Some(ssh) = &self.ssh_command {
            env.push(("GIT_SSH_COMMAND".to_owned(), ssh.into()));
        }
        if let Some((key, value)) = &self.header {
            env.push(("GIT_CONFIG_COUNT".to_owned(), "1".into()));
            env.push(("GIT_CONFIG_KEY_0".to_owned(), key.into()));
            env.push(("GIT_CONFIG_VALUE_0".to_owned(), value.clone()));
        }
        env
    }

    /// What git hashes with, if it says that this does not detect collisions.
    pub(super) async fn careless_sha1(&self) -> Result<Option<String>, GitError> {
        let output = self
            .run(&["version", "--build-options"])
            .await
            .map_err(|source| GitError::Program { what: "tell how it was built", source })?;
        Ok(careless_sha1(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Asks the program for its version once, before anything is built on it.
    pub(super) async fn check_version(&self) -> Result<(), GitError> {
        let output = self
            .run(&["version"])
            .await
            .map_err(|source| GitError::Program { what: "tell its version", source })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match version(&text) {
            Some(found) if found >= VERSION_MIN => Ok(()),
            Some((major, minor)) => {
                Err(settings_error(&format!("git {major}.{minor} is too old"), "install git 2.32 or newer"))
            }
            None => {
                Err(settings_error("the git program does not tell its version", "install git 2.32 or newer"))
            }
        }
    }
}

/// The SHA-1 of a git that would not notice two objects made to have one name, from `git version
/// --build-options`. Before 2.48 no git says what it hashes with; what it does not say is not held against it.
fn careless_sha1(text: &str) -> Option<String> {
    let backend = text.lines().find_map(|line| line.strip_prefix("SHA-1: "))?;
    (!backend.starts_with("SHA1_DC")).then(|| command::printable(backend.as_bytes()))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `GIT_SSH_COMMAND` goes through a shell, so only paths that need no quoting are taken.
fn ssh_command(settings: &GitSettings) -> Result<String, GitError> {
    let mut text = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes".to_owned();
    for (option, path) in
        [("IdentityFile", &settings.ssh_identity), ("UserKnownHostsFile", &settings.ssh_known_hosts)]
    {
        let Some(path) = path else { continue };
        let shown = path.to_str().unwrap_or_default();
        let plain =
            shown.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
        if !shown.starts_with('/') || !plain {
            return Err(settings_error(
                "the path of an ssh file cannot be used",
                "use an absolute path of letters, digits and . _ - /",
            ));
        }
        text.push_str(&format!(" -o {option}={shown}"));
        if option == "IdentityFile" {
            text.push_str(" -o IdentitiesOnly=yes");
        }
    }
    Ok(text)
}

fn settings_error(what: &str, hint: &'static str) -> GitError {
    GitError::Settings { what: what.to_owned(), hint }
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * i) & 63) as usize];
            text.push(if i > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::secret::Secret;
    use super::*;

    fn settings(url: &str) -> GitSettings {
        GitSettings {
            url: url.to_owned(),
            state_dir: "/x".into(),
            timeout_s: 5,
            clone_max_mib: 64,
            ssh_identity: None,
            ssh_known_hosts: None,
            name: "n".to_owned(),
            email: "e@x".to_owned(),
            token: None,
        }
    }

    fn program(settings: &GitSettings) -> Result<Program, GitError> {
        Program::new(settings, Path::new("/clone"), Path::new("/home-of-clone"))
    }

    #[test]
    fn a_token_is_in_no_argument_no_debug_text_and_bound_to_its_host() {
        let mut with_token = settings("https://forge.example/org/x.git");
        with_token.token = Some(Secret::new("canary").unwrap());
        let program = program(&with_token).unwrap();
        let spec = program.spec(&["fetch"]);
        let encoded = base64(b"x-access-token:canary");
        let shown = format!("{with_token:?} {program:?} {spec:?}");
        assert!(!shown.contains("canary") && !shown.contains(&encoded));
        assert!(!spec.args.iter().any(|a| a.to_string_lossy().contains(&encoded)));
        let value = |name: &str| spec.env.iter().find(|(n, _)| n == name).unwrap().1.0.clone();
        assert_eq!(value("GIT_CONFIG_KEY_0"), "http.https://forge.example/.extraHeader");
        assert_eq!(value("GIT_CONFIG_VALUE_0").to_string_lossy(), format!("Authorization: Basic {encoded}"));
    }

    #[test]
    fn a_token_for_a_path_or_ssh_is_a_mistake() {
        for url in ["/srv/x.git", "ssh://git@h/x"] {
            let mut wrong = settings(url);
            wrong.token = Some(Secret::new("canary").unwrap());
            assert!(matches!(program(&wrong), Err(GitError::Settings { .. })));
        }
    }

    #[test]
    fn only_the_protocol_of_the_address_is_on() {
        for (url, on) in [("/srv/x", "file"), ("https://h/x", "https"), ("ssh://h/x", "ssh")] {
            let spec = program(&settings(url)).unwrap().spec(&[]);
            let allowed: Vec<_> = spec
                .args
                .iter()
                .map(|a| a.to_string_lossy().into_owned())
                .filter(|a| a.ends_with(".allow=always"))
                .collect();
            assert_eq!(allowed, [format!("protocol.{on}.allow=always")]);
        }
    }

    #[test]
    fn an_ssh_path_that_a_shell_would_read_is_refused() {
        for bad in ["relative", "/a b", "/a;touch x", "/$(x)", "/a'b"] {
            let mut hostile = settings("ssh://git@h/x");
            hostile.ssh_identity = Some(bad.into());
            assert!(program(&hostile).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_of_all_vendors_are_read() {
        assert_eq!(version("git version 2.39.5\n"), Some((2, 39)));
        assert_eq!(version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version("git version 2.45.1.windows.1"), Some((2, 45)));
        assert_eq!(version("hub version 2"), None);
    }

    #[test]
    fn a_git_that_does_not_notice_collisions_is_told_by_its_own_words() {
        let said = |line: &str| careless_sha1(&format!("git version 2.50.0\nshell-path: /bin/sh\n{line}\n"));
        assert_eq!(
            said("SHA-1: SHA1_OPENSSL (No collision detection)").as_deref(),
            Some("SHA1_OPENSSL (No collision detection)")
        );
        // The unsafe one is for checksums that nobody attacks.
        for fine in ["SHA-1: SHA1_DC", "SHA-1: SHA1_DC (Sub-module)", "unsafe-SHA-1: SHA1_OPENSSL", ""] {
            assert_eq!(said(fine), None, "{fine}");
        }
    }

    #[test]
    fn base64_agrees_with_its_standard() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
