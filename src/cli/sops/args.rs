//! The arguments of `tars sops`, as data.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum SopsVerb {
    /// Every SOPS file is well formed, its MAC holds, and it follows its .sops.yaml rule
    Check(SopsTree),
    /// Which keys differ between two versions of a file: FILE, or COMMIT:PATH with a branch, HEAD or full id
    Diff {
        old: String,
        new: String,
        /// The clone that commits are read from
        #[arg(short = 'C', long = "repository", value_name = "DIR", default_value = ".")]
        repository: PathBuf,
        #[command(flatten)]
        keys: SopsKeys,
    },
    /// Who can read which file
    Keys(SopsTree),
    /// What is wrong with files, rules and identities, and how to mend it
    Doctor(SopsTree),
    /// Print a file with one value changed; the value comes from standard input
    Set {
        file: PathBuf,
        /// Where the value is, such as stringData.password
        path: String,
        /// Which document of the file, from 0
        #[arg(long, default_value_t = 0)]
        document: usize,
        /// Type of the value
        #[arg(long = "type", value_enum, default_value_t = SopsType::Text)]
        kind: SopsType,
        /// Who may read the file, age recipients; anybody else in it stops the edit
        #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
        expect: Vec<String>,
        #[command(flatten)]
        keys: SopsKeys,
    },
    /// Print a file encrypted as the .sops.yaml rule for its path says
    Encrypt { file: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SopsType {
    /// A string; one line end at its end is dropped
    Text,
    Int,
    Float,
    Bool,
}

/// Which files to look at.
#[derive(Debug, Args)]
pub struct SopsTree {
    /// Files or folders
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Look at a commit instead of the folders: a branch, HEAD, or a full id
    #[arg(long, value_name = "COMMIT", conflicts_with = "paths")]
    pub commit: Option<String>,
    /// The clone that --commit is read from
    #[arg(short = 'C', long = "repository", value_name = "DIR", default_value = ".")]
    pub repository: PathBuf,
    #[command(flatten)]
    pub keys: SopsKeys,
}

#[derive(Debug, Args)]
pub struct SopsKeys {
    /// age key file [default: SOPS_AGE_KEY_FILE, SOPS_AGE_KEY, and sops/age/keys.txt of the user's settings]
    #[arg(long = "age-key-file", value_name = "FILE")]
    pub age_key_file: Vec<PathBuf>,
}
