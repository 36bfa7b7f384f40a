//! `tars sops set` and `tars sops encrypt`: print a SOPS file. The value comes from standard input, never from
//! an argument that other users of the machine could see; what is printed is ciphertext.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::args::{SopsType, SopsVerb};
use super::identities::Keyring;
use super::source;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Console;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::random;
use crate::sops::{self, Edit, Inputs, Plaintext, Recipe, Recipient, SopsError, SopsFile, Store};
use crate::yaml;

/// Longest value taken from standard input, in bytes.
const VALUE_BYTES_MAX: u64 = 512 * 1024;

fn refused(file: &Path, error: SopsError) -> Failure {
    let hint = error.hint();
    let mut failure = Failure::new(Kind::Refused, format!("nothing was written for {}", file.display()));
    failure = failure.because(error);
    failure.hints.extend(hint.map(str::to_owned));
    failure
}

fn print(bytes: Vec<u8>, console: &Console) -> Result<(), Failure> {
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::new(Kind::No, "the file is not text").because(error.utf8_error()))?;
    console.script(&text)
}

/// Prints a file with one value changed.
///
/// # Errors
/// Exit code 5 when the edit is refused, 2 when the arguments are wrong.
pub fn set(verb: &SopsVerb, console: &Console) -> Result<(), Failure> {
    let SopsVerb::Set { file, path, document, kind, expect, keys } = verb else { return Ok(()) };
    let keyring = Keyring::load(keys)?;
    let value = value(*kind)?;
    let path =
        yaml::Path::parse(path).map_err(|error| Failure::usage("the path cannot be read").because(error))?;
    let expected: BTreeSet<Recipient> = expect
        .iter()
        .map(|name| Recipient::age(name))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage("--expect takes age recipients").because(error))?;
    let (bytes, name, _) = source::one(file)?;
    let read = SopsFile::read(Store::of_name(&name), &bytes).map_err(|error| refused(file, error))?;
    let mut random = random::block;
    let mut inputs = Inputs { now: SystemClock.now(), random: &mut random };
    let expected = (!expected.is_empty()).then_some(&expected);
    let edit = Edit { document: *document, path: &path, value: &value, expected };
    let new =
        sops::set(&read, edit, &keyring.identities, &mut inputs).map_err(|error| refused(file, error))?;
    print(new, console)
}

/// The value on standard input; messages never repeat it.
fn value(kind: SopsType) -> Result<Plaintext, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::io::stdin().lock().take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage("could not read the value from standard input").because(error))?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(Failure::usage(format!("the value is longer than {VALUE_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage("the value is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let value = match kind {
        SopsType::Text => Some(Plaintext::text(text)),
        SopsType::Int => text.trim().parse().ok().map(Plaintext::int),
        SopsType::Float => text.trim().parse().ok().and_then(Plaintext::float),
        SopsType::Bool => text.trim().parse().ok().map(Plaintext::bool),
    };
    value.ok_or_else(|| Failure::usage("the value is not of the type given with --type"))
}

/// Prints a file encrypted by the rule of its path.
///
/// # Errors
/// Exit code 5 when it cannot be encrypted, 2 without a rule.
pub fn encrypt(file: &Path, console: &Console) -> Result<(), Failure> {
    let (bytes, path, sources) = source::one(file)?;
    if let Some((_, Err(error))) = sources.config(&path) {
        return Err(Failure::usage(format!("the .sops.yaml of {} cannot be used: {error}", file.display())));
    }
    let Some((place, rule)) = sources.rule(&path) else {
        return Err(Failure::usage(format!("no creation rule applies to {}", file.display()))
            .hint("write a .sops.yaml above it"));
    };
    let groups: Vec<Vec<String>> =
        rule.groups.iter().map(|group| group.iter().map(|it| it.name.clone()).collect()).collect();
    if let Some(other) = rule.groups.iter().flatten().find(|it| it.kind != "age") {
        let error = SopsError::Recipient { recipient: other.to_string() };
        return Err(refused(file, error).hint(format!("{place} names it; use sops for this file")));
    }
    let recipe = Recipe {
        threshold: (groups.len() > 1).then_some(rule.threshold),
        groups,
        rule: rule.rule.clone(),
        mac_only_encrypted: rule.mac_only_encrypted,
    };
    let mut random = random::block;
    let mut inputs = Inputs { now: SystemClock.now(), random: &mut random };
    let store = Store::of_name(&path);
    print(sops::encrypt(store, &bytes, &recipe, &mut inputs).map_err(|error| refused(file, error))?, console)
}
