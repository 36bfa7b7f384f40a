//! The `helm` program: renders one chart, and nothing else it could do.
//! In: files, values and names. Out: the text it wrote, or why there is none. Nothing that a user or a machine
//! configured counts: its own folder for every run, an empty environment, no repository, no plugin, no cluster.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::command::{self, CommandError, CommandOutput, CommandSpec, CommandValue};
use super::files::{self, FileError};

/// Oldest helm that works. 3.13 made `template` stay away from a cluster whatever the chart asks for.
const VERSION_MIN: (u32, u32) = (3, 13);

/// Most bytes a chart may render to.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// How long one run may take. A chart of a hundred templates needs a second.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of helm's own words go into an error, in characters.
const WORDS_MAX: usize = 600;

/// Why nothing was rendered.
#[derive(Debug, Error)]
pub enum HelmError {
    #[error("the program helm could not be run")]
    Program(#[source] CommandError),
    #[error("helm {found} is too old; install helm {}.{} or newer", VERSION_MIN.0, VERSION_MIN.1)]
    TooOld { found: String },
    /// The chart or its values are wrong; helm's own words.
    #[error("helm does not render it: {0}")]
    Chart(String),
    #[error("the chart has a file called {0:?}")]
    FileName(String),
    #[error("cannot lay out the chart")]
    Folder(#[source] io::Error),
    #[error("cannot write the chart")]
    Files(#[from] FileError),
}

/// One `--set` argument.
#[derive(Debug, Clone)]
pub enum SetArgument {
    /// `--set key=value`.
    Typed(String),
    /// `--set-string key=value`.
    Text(String),
    /// `--set-file key=…` with this content.
    File { key: String, bytes: Arc<[u8]> },
}

/// One chart with everything it is rendered with.
#[derive(Debug, Clone)]
pub struct TemplateRun {
    /// By path inside the chart.
    pub files: Vec<(String, Arc<[u8]>)>,
    /// In order; a later one wins.
    pub values: Vec<Arc<[u8]>>,
    pub sets: Vec<SetArgument>,
    pub release: String,
    pub namespace: String,
    pub kube_version: Option<String>,
    pub api_versions: Vec<String>,
    pub skip_schema: bool,
}

/// The program, found once and known to be new enough.
#[derive(Debug, Clone)]
pub struct Helm {
    program: OsString,
}

impl Helm {
    /// Asks `program` (a name in `PATH`, or a path) for its version.
    ///
    /// # Errors
    /// When it cannot be run or is too old.
    pub async fn open(program: impl Into<OsString>) -> Result<Self, HelmError> {
        let helm = Self { program: program.into() };
        let home = tempfile::tempdir().map_err(HelmError::Folder)?;
        let args = ["version", "--template", "{{.Version}}"].map(OsString::from).to_vec();
        let output = helm.run(home.path(), args).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match version(&text) {
            Some(found) if found >= VERSION_MIN => Ok(helm),
            _ => Err(HelmError::TooOld { found: short(text.trim()) }),
        }
    }

    /// Renders the chart.
    ///
    /// # Errors
    /// [`HelmError::Chart`] when the chart or its values are at fault.
    pub async fn template(&self, run: &TemplateRun) -> Result<Vec<u8>, HelmError> {
        let home = tempfile::tempdir().map_err(HelmError::Folder)?;
        let args = lay_out(home.path(), run)?;
        let output = self.run(home.path(), args).await?;
        if output.success() { Ok(output.stdout) } else { Err(HelmError::Chart(short(output.stderr.trim()))) }
    }

    async fn run(&self, home: &Path, args: Vec<OsString>) -> Result<CommandOutput, HelmError> {
        let folder = |name: &str| CommandValue::from(home.join(name));
        let env = ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS", "TMPDIR"];
        let mut env: Vec<(String, CommandValue)> =
            env.into_iter().map(|name| (name.to_owned(), folder("home"))).collect();
        // No cluster is ever asked, whatever the machine has.
        env.push(("KUBECONFIG".to_owned(), CommandValue::from("/dev/null")));
        files::create_private_dir(&home.join("home"))?;
        let spec = CommandSpec {
            program: self.program.clone(),
            args,
            env,
            cwd: Some(home.to_owned()),
            stdin: None,
            timeout: TIMEOUT,
            output_max_bytes: OUTPUT_BYTES_MAX,
            fills: None,
        };
        command::run(spec).await.map_err(HelmError::Program)
    }
}

/// Writes the files of a run below `home` and returns the arguments that name them.
fn lay_out(home: &Path, run: &TemplateRun) -> Result<Vec<OsString>, HelmError> {
    let chart = home.join("chart");
    files::create_private_dir(&chart)?;
    for (name, bytes) in &run.files {
        write(&chart, name, bytes)?;
    }
    let mut args: Vec<OsString> = vec!["template".into(), "--skip-tests".into(), "--namespace".into()];
    args.push(if run.namespace.is_empty() { "default".into() } else { run.namespace.clone().into() });
    for (index, bytes) in run.values.iter().enumerate() {
        let path = write(home, &format!("values-{index}.yaml"), bytes)?;
        args.extend(["--values".into(), path.into()]);
    }
    for (index, set) in run.sets.iter().enumerate() {
        match set {
            SetArgument::Typed(pair) => args.extend(["--set".into(), pair.into()]),
            SetArgument::Text(pair) => args.extend(["--set-string".into(), pair.into()]),
            SetArgument::File { key, bytes } => {
                let path = write(home, &format!("file-{index}"), bytes)?;
                args.extend(["--set-file".into(), format!("{key}={}", path.display()).into()]);
            }
        }
    }
    for version in &run.api_versions {
        args.extend(["--api-versions".into(), version.into()]);
    }
    if let Some(version) = &run.kube_version {
        args.extend(["--kube-version".into(), version.into()]);
    }
    if run.skip_schema {
        args.push("--skip-schema-validation".into());
    }
    // What follows is never an option.
    args.extend(["--".into(), run.release.clone().into(), chart.into()]);
    Ok(args)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, HelmError> {
    let inside = Path::new(name);
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.is_empty() || name.contains('\0') {
        return Err(HelmError::FileName(short(name)));
    }
    let path = folder.join(inside);
    if let Some(parent) = path.parent() {
        files::create_private_dir(parent)?;
    }
    files::write_new(&path, bytes, 0o600)?;
    Ok(path)
}

fn short(text: &str) -> String {
    text.chars().take(WORDS_MAX).collect()
}

/// `v4.3.1+g0abc` as (4, 3).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(files: &[(&str, &str)]) -> TemplateRun {
        TemplateRun {
            files: files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), Arc::from(text.as_bytes())))
                .collect(),
            values: vec![Arc::from(&b"a: 1\n"[..])],
            sets: vec![
                SetArgument::Typed("b=2".into()),
                SetArgument::File { key: "c".into(), bytes: Arc::from(&b"x"[..]) },
            ],
            release: "-x".into(),
            namespace: String::new(),
            kube_version: None,
            api_versions: vec!["v1".into()],
            skip_schema: false,
        }
    }

    #[test]
    fn a_file_of_a_chart_cannot_leave_its_folder() {
        for name in ["../x", "/etc/x", "a/../../x", "", "."] {
            let home = tempfile::tempdir().unwrap();
            assert!(
                matches!(lay_out(home.path(), &run(&[(name, "")])), Err(HelmError::FileName(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_release_name_cannot_become_an_option() {
        let home = tempfile::tempdir().unwrap();
        let args = lay_out(home.path(), &run(&[("templates/a.yaml", "kind: A\n")])).unwrap();
        let text: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let end = text.iter().position(|arg| arg == "--").unwrap();
        assert_eq!(text[end + 1], "-x");
        assert!(text[..end].windows(2).any(|pair| pair == ["--namespace", "default"]));
        let written = files::read_bounded(&home.path().join("chart/templates/a.yaml"), 100).unwrap();
        assert_eq!(written, b"kind: A\n");
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version("v4.3.1"), Some((4, 3)));
        assert_eq!(version("v3.13.0+g825e86f\n"), Some((3, 13)));
        assert_eq!(version("hello"), None);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Helm::open("surely-not-installed-here").await.unwrap_err();
        assert!(matches!(error, HelmError::Program(_)), "{error:?}");
    }
}
