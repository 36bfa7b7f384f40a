//! What a reference, a path and an object id may look like before any of them reaches git.
//! Strings in, a yes or the reason out. Allow-lists only: what is not understood is refused.

use git2::Oid;

use super::GitError;

/// Longest reference name and longest path, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// Checks a branch's full name: `refs/heads/` and what `git check-ref-format` accepts, printable ASCII only,
/// no component that starts like a command-line option. Tags and every other namespace are refused, so that a
/// tag named like a branch is never taken for it.
///
/// # Errors
/// [`GitError::Refused`] with the reason.
pub fn check_ref(name: &str) -> Result<(), GitError> {
    let refuse = |why| Err(refused("reference", name, why));
    let Some(branch) = name.strip_prefix("refs/heads/") else {
        return refuse("it is not below refs/heads/");
    };
    if name.len() > NAME_BYTES_MAX {
        return refuse("it is too long");
    }
    if !branch.bytes().all(|b| b.is_ascii_graphic()) {
        return refuse("it holds a character that is not printable ASCII");
    }
    if branch.split('/').any(|part| part.starts_with('-')) {
        return refuse("a component starts with '-'");
    }
    if !git2::Reference::is_valid_name(name) {
        return refuse("git does not allow it");
    }
    Ok(())
}

/// As [`check_ref`], and one trailing `/*` is allowed: every branch below that folder.
///
/// # Errors
/// [`GitError::Refused`] with the reason.
pub(super) fn check_ref_pattern(pattern: &str) -> Result<(), GitError> {
    match pattern.strip_suffix("/*") {
        Some("refs/heads") => Ok(()),
        Some(folder) => check_ref(folder),
        None => check_ref(pattern),
    }
}

/// Whether `name` is what `pattern` asks for. Both have been checked.
pub(super) fn ref_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(folder) => name.len() > folder.len() && name.starts_with(folder),
        None => pattern == name,
    }
}

/// Checks a path we are about to write: components of `A-Z a-z 0-9 . _ -` joined by `/`, none of them empty,
/// `.`, `..` or a name that some file system takes for `.git`.
///
/// # Errors
/// [`GitError::Refused`] with the reason.
pub fn check_path(path: &str) -> Result<(), GitError> {
    if path.len() > NAME_BYTES_MAX {
        return Err(refused("path", path, "it is too long"));
    }
    for part in path.split('/') {
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(refused("path", path, "it holds a character other than letters, digits and . _ - /"));
        }
        if let Some(why) = hostile_entry(part.as_bytes()) {
            return Err(refused("path", path, why));
        }
    }
    if path.eq_ignore_ascii_case(".gitmodules") {
        return Err(refused("path", path, "it configures submodules"));
    }
    Ok(())
}

/// Why a tree entry's name is one that only an attack has: names that a checkout would follow out of the work
/// tree or into `.git`, on any file system. `None` for every other name.
pub(super) fn hostile_entry(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() || name == b"." || name == b".." {
        return Some("a component is empty, '.' or '..'");
    }
    if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) {
        return Some("a component holds a separator or NUL");
    }
    // HFS+ ignores these characters, NTFS drops trailing dots and blanks, cuts at ':' and knows short names.
    let text: String = String::from_utf8_lossy(name).chars().filter(|c| !is_ignored_by_hfs(*c)).collect();
    let text = text.split(':').next().unwrap_or("").trim_end_matches(['.', ' ']).to_ascii_lowercase();
    let short =
        text.strip_prefix("git~").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if text == ".git" || short {
        return Some("a component is a form of '.git'");
    }
    None
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// A full object id, lower-case hexadecimal. libgit2 would pad a short one with zeros.
pub(super) fn parse_oid(text: &str) -> Result<Oid, GitError> {
    let full = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !full {
        return Err(refused("object id", text, "it is not 40 lower-case hexadecimal digits"));
    }
    Oid::from_str(text).map_err(GitError::objects("read an object id"))
}

pub(super) fn refused(what: &'static str, value: &str, why: &'static str) -> GitError {
    let shown: String = value.chars().take(200).collect();
    GitError::Refused { what, value: shown, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_references_are_refused() {
        for bad in [
            "",
            "main",
            "refs/heads/",
            "refs/tags/main",
            "refs/heads/../../x",
            "refs/heads/a..b",
            "refs/heads/--upload-pack=touch",
            "refs/heads/-oProxyCommand=x",
            "refs/heads/x/-y",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/a\0b",
            "refs/heads/a.lock",
            "refs/heads/a:b",
            "refs/heads/a^b",
            "refs/heads/a*",
            "refs/heads/@{u}",
            "refs/heads/ma\u{202e}in",
            "refs/heads//x",
            "-refs/heads/x",
            "refs/heads/a/",
            "refs/heads/.a",
            "+refs/heads/a",
        ] {
            assert!(matches!(check_ref(bad), Err(GitError::Refused { .. })), "{bad:?}");
        }
        assert!(check_ref(&format!("refs/heads/{}", "a".repeat(2000))).is_err());
        for good in ["refs/heads/main", "refs/heads/tars/scale-out/backend-1a2b", "refs/heads/release-1.2_x"]
        {
            check_ref(good).unwrap();
        }
    }

    #[test]
    fn a_pattern_ends_in_one_star_and_matches_below_its_folder_only() {
        for bad in ["refs/*", "*", "refs/heads/*/x", "refs/heads/a*", "refs/heads/../*", "refs/tags/*"] {
            assert!(check_ref_pattern(bad).is_err(), "{bad}");
        }
        check_ref_pattern("refs/heads/*").unwrap();
        check_ref_pattern("refs/heads/tars/*").unwrap();
        assert!(ref_matches("refs/heads/tars/*", "refs/heads/tars/a/b"));
        assert!(!ref_matches("refs/heads/tars/*", "refs/heads/tars"));
        assert!(!ref_matches("refs/heads/main", "refs/heads/main2"));
        assert!(!ref_matches("refs/heads/main", "refs/heads/refs/heads/main"));
    }

    #[test]
    fn hostile_paths_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "../../../proc/self/environ",
            "a/../../x",
            "..%2f",
            "a//b",
            "a/./b",
            "\\..\\x",
            "a\0b",
            "a/",
            ".git/config",
            "a/.GIT/hooks/x",
            "GIT~1/config",
            "git~2",
            ".git./x",
            "a\nb",
            "a b",
            "\u{200c}.git",
            ".gitmodules",
            ".GitModules",
            "a:b",
            "é",
            "$(x)",
        ] {
            assert!(matches!(check_path(bad), Err(GitError::Refused { .. })), "{bad:?}");
        }
        for good in
            ["a", "apps/backend/deployment.yaml", ".github/workflows/x.yml", "-x", "a..b", ".gitignore"]
        {
            check_path(good).unwrap();
        }
    }

    #[test]
    fn forms_of_dot_git_are_seen_through_file_systems() {
        for bad in [
            ".git",
            ".GIT",
            ".git ",
            ".git.",
            ".git. .",
            "git~1",
            "GIT~12",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            "\u{feff}.git",
            "..",
            ".",
            "",
            "a/b",
            "a\\b",
        ] {
            assert!(hostile_entry(bad.as_bytes()).is_some(), "{bad:?}");
        }
        for good in [".gitignore", ".github", "git", "git~", "git~x", "...", "a b", "日本", ".gitattributes"]
        {
            assert!(hostile_entry(good.as_bytes()).is_none(), "{good:?}");
        }
        assert!(hostile_entry(b"\xff\xfe").is_none());
    }

    #[test]
    fn only_full_object_ids_are_taken() {
        for bad in ["", "abc", "HEAD", &"A".repeat(40), &"a".repeat(39), &"a".repeat(41), &"g".repeat(40)] {
            assert!(parse_oid(bad).is_err(), "{bad}");
        }
        parse_oid(&"a".repeat(40)).unwrap();
    }
}
