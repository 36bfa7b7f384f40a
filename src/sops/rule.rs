//! Which values of a file are encrypted: one rule of six kinds. A metadata or `.sops.yaml` field comes in; the
//! answer for a path, and for the comments above a value, goes out.

use super::error::SopsError;
use super::pattern::Pattern;

/// The names of the rules, in the order sops lists them.
pub(super) const FIELDS: [&str; 6] = [
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
];

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Suffix(String),
    Key(Pattern),
    Comment(Pattern),
}

/// What is encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    field: &'static str,
    /// Whether a match means encrypted; otherwise it means plain.
    encrypts: bool,
    test: Test,
}

impl Default for Rule {
    /// What sops does without a rule: everything but keys that end in `_unencrypted`.
    fn default() -> Self {
        Self { field: FIELDS[0], encrypts: false, test: Test::Suffix("_unencrypted".to_owned()) }
    }
}

impl Rule {
    /// The rule a field of the metadata or of a creation rule states.
    ///
    /// # Errors
    /// When the field is no rule, or its pattern cannot be used.
    pub fn new(field: &str, text: &str) -> Result<Self, SopsError> {
        let Some(field) = FIELDS.into_iter().find(|it| *it == field) else {
            let reason = "no rule has this name".to_owned();
            return Err(SopsError::Metadata { field: field.to_owned(), reason });
        };
        let test = match field {
            "unencrypted_suffix" | "encrypted_suffix" => Test::Suffix(text.to_owned()),
            "unencrypted_regex" | "encrypted_regex" => Test::Key(Pattern::new(field, text)?),
            _ => Test::Comment(Pattern::new(field, text)?),
        };
        Ok(Self { field, encrypts: !field.starts_with("un"), test })
    }

    /// The field that states it: `encrypted_regex`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The suffix or pattern.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.test {
            Test::Suffix(text) => text,
            Test::Key(pattern) | Test::Comment(pattern) => pattern.text(),
        }
    }

    /// Whether a comment is one that decides.
    pub(super) fn marks(&self, comment: &str) -> bool {
        matches!(&self.test, Test::Comment(pattern) if pattern.finds(comment))
    }

    /// Whether a value under these keys is encrypted; `marked` says that a comment in force decides.
    pub(super) fn encrypted(&self, keys: &[String], marked: bool) -> bool {
        let matched = match &self.test {
            Test::Suffix(suffix) => keys.iter().any(|key| key.ends_with(suffix.as_str())),
            Test::Key(pattern) => keys.iter().any(|key| pattern.finds(key)),
            Test::Comment(_) => marked,
        };
        matched == self.encrypts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(field: &str, text: &str, keys: &[&str], comments: &[&str]) -> bool {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let rule = Rule::new(field, text).unwrap();
        rule.encrypted(&keys, comments.iter().any(|it| rule.marks(it)))
    }

    #[test]
    fn any_key_on_the_way_decides() {
        assert!(!encrypted("unencrypted_suffix", "_plain", &["a_plain", "b"], &[]));
        assert!(encrypted("unencrypted_suffix", "_plain", &["a_plain2", "b"], &[]));
        assert!(encrypted("encrypted_suffix", "_enc", &["a_enc", "b"], &[]));
        assert!(!encrypted("encrypted_suffix", "_enc", &["b"], &[]));
        assert!(encrypted("encrypted_regex", "^data$", &["data", "password"], &[]));
        assert!(!encrypted("encrypted_regex", "^data$", &["metadata", "name"], &[]));
        assert!(!encrypted("unencrypted_regex", "^metadata$", &["metadata", "name"], &[]));
        assert!(encrypted("encrypted_comment_regex", "secret", &["a"], &[" is secret"]));
        assert!(!encrypted("encrypted_comment_regex", "secret", &["secret"], &[]));
        assert!(!encrypted("unencrypted_comment_regex", "plain", &["a"], &[" plain"]));
        assert!(Rule::default().encrypted(&["a".to_owned()], false));
        assert!(!Rule::default().encrypted(&["a_unencrypted".to_owned()], false));
    }
}
