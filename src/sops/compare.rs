//! Which values differ between two versions of a file. Two files, each opened or not, come in; places and
//! kinds of change go out, never a value.

use std::collections::BTreeMap;

use super::file::{SopsFile, Unlocked};
use super::secret::Plaintext;
use super::tree::Leaf;
use super::value::Typed;

/// How a value differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Added,
    Removed,
    Changed,
    /// Other ciphertext; without identities for both versions nobody can say whether the value changed.
    Reencrypted,
    /// Was encrypted and stands in the clear now.
    Exposed,
    /// Stood in the clear and is encrypted now.
    Hidden,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Reencrypted => "re-encrypted",
            Self::Exposed => "exposed",
            Self::Hidden => "hidden",
        }
    }
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub document: usize,
    pub path: String,
    /// Whether the value is encrypted, in the newer version if it is there.
    pub encrypted: bool,
    pub change: Change,
}

/// A file with its values if it could be opened.
pub type Version<'a> = (&'a SopsFile, Option<&'a Unlocked>);

/// Everything that differs, in the order of the files. When both could be opened, values are compared;
/// otherwise ciphertexts.
#[must_use]
pub fn compare(old: Version<'_>, new: Version<'_>) -> Vec<Difference> {
    let opened = old.1.is_some() && new.1.is_some();
    let index = |version: Version<'_>| -> BTreeMap<(usize, String), usize> {
        let key = |leaf: &Leaf| (leaf.document, leaf.path.to_string());
        version.0.leaves.iter().enumerate().map(|(at, leaf)| (key(leaf), at)).collect()
    };
    let (before, after) = (index(old), index(new));
    let mut found = Vec::new();
    for ((document, path), at) in &after {
        let leaf = &new.0.leaves[*at];
        let change = match before.get(&(*document, path.clone())) {
            None => Some(Change::Added),
            Some(was) => change((old, *was), (new, *at), opened),
        };
        found.extend(change.map(|change| (*at, *document, path, leaf.sealed, change)));
    }
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    found.extend(
        gone.map(|((document, path), at)| (*at, *document, path, old.0.leaves[*at].sealed, Change::Removed)),
    );
    found.sort_by_key(|(at, document, ..)| (*document, *at));
    let difference = |(_, document, path, encrypted, change): (usize, usize, &String, bool, Change)| {
        Difference { document, path: path.clone(), encrypted, change }
    };
    found.into_iter().map(difference).collect()
}

fn change(old: (Version<'_>, usize), new: (Version<'_>, usize), opened: bool) -> Option<Change> {
    let leaf = |(version, at): (Version<'_>, usize)| version.0.leaves[at].clone();
    let (was, is) = (leaf(old), leaf(new));
    match (was.sealed, is.sealed) {
        (true, false) => return Some(Change::Exposed),
        (false, true) => return Some(Change::Hidden),
        _ => {}
    }
    let same = |a: Option<&Plaintext>, b: Option<&Plaintext>| match (a, b) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    if opened {
        let value = |(version, at): (Version<'_>, usize)| version.1.and_then(|it| it.values[at].clone());
        return (!same(value(old).as_ref(), value(new).as_ref())).then_some(Change::Changed);
    }
    let written = |leaf: &Leaf| match &leaf.typed {
        Typed::Value(value) => Some(value.clone()),
        Typed::Null => None,
    };
    let (a, b) = (written(&was), written(&is));
    if same(a.as_ref(), b.as_ref()) {
        return None;
    }
    let both = |it: &Option<Plaintext>| it.as_ref().is_some_and(|it| !it.expose().is_empty());
    let unknown = is.sealed && both(&a) && both(&b);
    Some(if unknown { Change::Reencrypted } else { Change::Changed })
}
