//! Selectors of kustomize: anchored patterns for names, and Kubernetes label selectors. A selector and texts come
//! in, yes, no, or why it cannot be said goes out.

use serde_json::Value as Json;

use super::MAX_PATTERN_BYTES;

/// Does the pattern under `field` match all of `text`? No pattern matches everything.
///
/// # Errors
/// What is wrong with the pattern.
pub fn matches_pattern(target: &Json, field: &str, text: &str) -> Result<bool, String> {
    let Some(pattern) = target[field].as_str().filter(|p| !p.is_empty()) else { return Ok(true) };
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map(|r| r.is_match(text))
        .map_err(|_| format!("has a target {field} that is not a usable pattern"))
}

/// Does the label selector under `field` match `labels`? Requirements are joined by commas; `=`, `==`, `!=`, `in`,
/// `notin`, `key` and `!key` are known.
///
/// # Errors
/// What is wrong with the selector.
pub fn matches_labels(target: &Json, field: &str, labels: &Json) -> Result<bool, String> {
    let Some(selector) = target[field].as_str().filter(|s| !s.trim().is_empty()) else { return Ok(true) };
    for requirement in requirements(selector) {
        let holds = requirement_holds(requirement.trim(), labels);
        if !holds.ok_or_else(|| format!("has a {field} that cannot be read: {selector:?}"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Commas inside parentheses belong to a set.
fn requirements(selector: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    selector.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn requirement_holds(text: &str, labels: &Json) -> Option<bool> {
    let value = |key: &str| labels[key].as_str();
    if let Some((head, set)) = text.split_once('(') {
        let set: Vec<&str> = set.trim_end().strip_suffix(')')?.split(',').map(str::trim).collect();
        let mut words = head.split_whitespace();
        let (key, verb) = (words.next()?, words.next()?);
        let found = value(key).is_some_and(|v| set.contains(&v));
        return match (verb, words.next()) {
            ("in", None) => Some(found),
            ("notin", None) => Some(!found),
            _ => None,
        };
    }
    if let Some((key, wanted)) = text.split_once("!=") {
        return Some(value(word(key)?) != Some(wanted.trim()));
    }
    if let Some((key, wanted)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(value(word(key)?) == Some(wanted.trim()));
    }
    match text.strip_prefix('!') {
        Some(key) => Some(value(word(key)?).is_none()),
        None => Some(value(word(text)?).is_some()),
    }
}

fn word(text: &str) -> Option<&str> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then_some(text)
}
