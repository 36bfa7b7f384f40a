//! Substitution in the template of an `ApplicationSet`, as far as it is plain: `{{name}}` in the old syntax, and
//! with `goTemplate: true` `{{.a.b}}` and `{{index .path.segments 1}}`. A template and parameters come in; the
//! filled value goes out, or the expression that is more than that.

use serde_json::Value as Json;

/// Fills every text of `template`.
///
/// # Errors
/// The expression that is not plain or has no value.
pub fn fill(template: &Json, parameters: &Json, go: bool) -> Result<Json, String> {
    Ok(match template {
        Json::String(text) => Json::from(text_of(text, parameters, go)?),
        Json::Array(items) => {
            items.iter().map(|item| fill(item, parameters, go)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Json::Object(map) => {
            let filled = map
                .iter()
                .map(|(key, value)| Ok((text_of(key, parameters, go)?, fill(value, parameters, go)?)));
            Json::Object(filled.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn text_of(text: &str, parameters: &Json, go: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        out.push_str(&rest[..open]);
        let close = rest[open..].find("}}").map(|at| open + at);
        let close = close.ok_or_else(|| format!("{text:?} has {{{{ that is not closed"))?;
        let inner = rest[open + 2..close].trim();
        let value = if go { go_value(inner, parameters) } else { parameters.get(inner).cloned() };
        out.push_str(&plain(value).ok_or_else(|| {
            format!("the template uses {{{{{inner}}}}}, which is no plain parameter of its generator")
        })?);
        rest = &rest[close + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

fn plain(value: Option<Json>) -> Option<String> {
    match value? {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn go_value(expression: &str, parameters: &Json) -> Option<Json> {
    let words: Vec<&str> = expression.split_whitespace().collect();
    match words[..] {
        [path] => go_path(path, parameters).cloned(),
        ["index", path, index] => {
            let found = go_path(path, parameters)?;
            let index = index.trim_matches('"');
            index.parse::<usize>().map_or_else(|_| found.get(index), |at| found.get(at)).cloned()
        }
        _ => None,
    }
}

fn go_path<'a>(path: &str, parameters: &'a Json) -> Option<&'a Json> {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    path.strip_prefix('.')?.split('.').try_fold(parameters, |at, part| at.get(part).filter(|_| plain(part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_parameters_are_filled_in_and_nothing_else() {
        let old = json!({"path": "apps/a", "path.basename": "a", "path[0]": "apps", "n": 3});
        for (text, expected) in [
            ("x-{{path.basename}}-{{ path[0] }}", Some("x-a-apps")),
            ("{{n}}", Some("3")),
            ("plain", Some("plain")),
            ("{{missing}}", None),
            ("{{path", None),
        ] {
            assert_eq!(text_of(text, &old, false).ok().as_deref(), expected, "{text}");
        }
        let new = json!({"path": {"path": "apps/a", "segments": ["apps", "a"]}, "env": "prod"});
        for (text, expected) in [
            ("{{.path.path}}/{{ .env }}", Some("apps/a/prod")),
            ("{{index .path.segments 1}}", Some("a")),
            ("{{ .env | upper }}", None),
            ("{{ if .env }}x{{ end }}", None),
            ("{{ .missing }}", None),
            ("{{env}}", None),
        ] {
            assert_eq!(text_of(text, &new, true).ok().as_deref(), expected, "{text}");
        }
    }
}
