//! Where age identities come from: flags, then the variables and the file that sops itself uses. Key files
//! come in, identities go out; the texts are wiped.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::args::SopsKeys;
use crate::cli::failure::Failure;
use crate::outside::{files, system};
use crate::sops::Identities;

/// Largest key file: a few hundred identities.
const KEY_FILE_BYTES_MAX: usize = 64 * 1024;

/// The identities at hand.
#[derive(Debug, Default)]
pub struct Keyring {
    pub identities: Identities,
    /// Key files that were read.
    pub files: Vec<PathBuf>,
}

impl Keyring {
    /// Reads every identity that was given or that sops would find.
    ///
    /// # Errors
    /// When a named key file cannot be read or holds something else.
    pub fn load(keys: &SopsKeys) -> Result<Self, Failure> {
        let mut ring = Self::default();
        let mut named = keys.age_key_file.clone();
        if named.is_empty() {
            named.extend(system::var("SOPS_AGE_KEY_FILE").map(PathBuf::from));
            if let Some(text) = system::var("SOPS_AGE_KEY").map(Zeroizing::new) {
                ring.add(&text, "SOPS_AGE_KEY")?;
            }
            let settings = system::var("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(PathBuf::from(system::var("HOME")?).join(".config")));
            named.extend(settings.map(|it| it.join("sops/age/keys.txt")).filter(|it| it.exists()));
        }
        for file in named {
            ring.identities.extend(read(&file)?);
            ring.files.push(file);
        }
        Ok(ring)
    }

    fn add(&mut self, text: &str, place: &str) -> Result<(), Failure> {
        self.identities.extend(parse(text, place)?);
        Ok(())
    }
}

/// The identities of one key file.
///
/// # Errors
/// When it cannot be read or holds something else; never with anything of its content.
pub fn read(file: &Path) -> Result<Identities, Failure> {
    let bytes = files::read_bounded(file, KEY_FILE_BYTES_MAX).map(Zeroizing::new).map_err(|error| {
        Failure::usage(format!("could not read the age key file {}", file.display())).because(error)
    })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::usage(format!("{} is not an age key file", file.display())))?;
    parse(text, &file.display().to_string())
}

fn parse(text: &str, place: &str) -> Result<Identities, Failure> {
    Identities::parse(text)
        .map_err(|error| Failure::usage(format!("could not use the identities of {place}")).because(error))
}
