//! File name patterns as Argo CD reads them. A pattern and a path come in, yes or no goes out.

/// Most characters of a pattern after its braces were written out.
const MAX_ALTERNATIVES: usize = 64;

/// Does `*` cross folder boundaries?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stars {
    /// `directory.include`: gobwas/glob without separators, `*` matches `/` too.
    CrossFolders,
    /// Git generators: `*` stays inside a path part, `**` is any number of parts.
    StayInFolder,
}

/// Does `pattern` match the whole of `path`? `{a,b}` is either, `?` one character, `[a-c]` and `[!a]` a class.
#[must_use]
pub fn matches(pattern: &str, path: &str, stars: Stars) -> bool {
    let mut alternatives = Vec::new();
    expand(pattern, &mut alternatives);
    let path: Vec<char> = path.chars().collect();
    alternatives.iter().any(|one| {
        let pattern: Vec<char> = one.chars().collect();
        run(&pattern, &path, stars)
    })
}

/// Writes the braces out; a brace that is not closed stands for itself.
fn expand(pattern: &str, into: &mut Vec<String>) {
    if into.len() >= MAX_ALTERNATIVES {
        return;
    }
    let braces = pattern.find('{').and_then(|open| Some((open, open + pattern[open..].find('}')?)));
    let Some((open, close)) = braces else {
        into.push(pattern.to_owned());
        return;
    };
    for choice in pattern[open + 1..close].split(',') {
        expand(&format!("{}{choice}{}", &pattern[..open], &pattern[close + 1..]), into);
    }
}

/// Matches by a row of reachable pattern positions: time grows with the product of both lengths, whatever the
/// stars.
fn run(pattern: &[char], path: &[char], stars: Stars) -> bool {
    let mut reachable = vec![false; pattern.len() + 1];
    reachable[0] = true;
    skip_stars(pattern, &mut reachable, stars);
    for &c in path {
        let mut next = vec![false; pattern.len() + 1];
        for position in (0..pattern.len()).filter(|&p| reachable[p]) {
            step(pattern, position, c, stars, &mut next);
        }

        skip_stars(pattern, &mut next, stars);
        reachable = next;
    }
    reachable[pattern.len()]
}

fn crosses(pattern: &[char], position: usize, stars: Stars) -> bool {
    stars == Stars::CrossFolders
        || pattern.get(position + 1) == Some(&'*')
        || position > 0 && pattern[position - 1] == '*'
}

fn step(pattern: &[char], position: usize, c: char, stars: Stars, next: &mut [bool]) {
    match pattern[position] {
        '*' => {
            if c != '/' || crosses(pattern, position, stars) {
                next[position] = true;
            }
        }
        '?' => next[position + 1] |= c != '/' || stars == Stars::CrossFolders,
        '[' => {
            if let Some((chosen, length)) = class(&pattern[position..], c) {
                next[position + length] |= chosen;
            }
        }
        '\\' if position + 1 < pattern.len() => next[position + 2] |= pattern[position + 1] == c,
        own => next[position + 1] |= own == c,
    }
}

/// Is `c` in the class that starts here, and how long is the class?
fn class(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let end = pattern.iter().skip(2).position(|&p| p == ']')? + 2;
    let negated = matches!(pattern[1], '!' | '^');
    let inner = &pattern[if negated { 2 } else { 1 }..end];
    let mut found = false;
    let mut at = 0;
    while at < inner.len() {
        if at + 2 < inner.len() && inner[at + 1] == '-' {
            found |= (inner[at]..=inner[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= inner[at] == c;
            at += 1;
        }
    }
    Some((found != negated, end + 1))
}

/// A star may match nothing; `**/` may match nothing at the start of a path part.
fn skip_stars(pattern: &[char], reachable: &mut [bool], stars: Stars) {
    for position in 0..pattern.len() {
        if reachable[position] && pattern[position] == '*' {
            reachable[position + 1] = true;
            let double = stars == Stars::StayInFolder && pattern[position..].starts_with(&['*', '*', '/']);
            let at_part = position == 0 || pattern[position - 1] == '/';
            if double && at_part {
                reachable[position + 3] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_cross_folders_only_where_argo_cd_lets_them() {
        for (pattern, path, crossing, staying) in [
            ("*.yaml", "a.yaml", true, true),
            ("*.yaml", "dir/a.yaml", true, false),
            ("apps/*", "apps/a", true, true),
            ("apps/*", "apps/a/b", true, false),
            ("**/config.json", "config.json", false, true),
            ("**/config.json", "a/b/config.json", true, true),
            ("apps/**/x", "apps/x", false, true),
            ("apps/**/x", "apps/a/b/x", true, true),
            ("{a,b}/*.yml", "b/c.yml", true, true),
            ("{a,b}/*.yml", "c/c.yml", false, false),
            ("a?c", "abc", true, true),
            ("[a-c]x", "bx", true, true),
            ("[!a-c]x", "bx", false, false),
            ("a\\*", "a*", true, true),
            ("a\\*", "ab", false, false),
            ("{a", "{a", true, true),
        ] {
            assert_eq!(matches(pattern, path, Stars::CrossFolders), crossing, "{pattern} {path} crossing");
            assert_eq!(matches(pattern, path, Stars::StayInFolder), staying, "{pattern} {path} staying");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends() {
        let pattern = "*a".repeat(200);
        assert!(!matches(&pattern, &"a".repeat(150), Stars::StayInFolder));
        assert!(matches(&"{a,b}".repeat(20), &"a".repeat(20), Stars::StayInFolder));
    }
}
