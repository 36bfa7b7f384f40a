//! What may be said about encrypted values: which keys of which files, never a value, not even its ciphertext. A diff or
//! the fields of a change come in, text for people goes out.

use super::form::Form;
use crate::model::change::FieldChange;
use crate::render::escape::code_within;

/// How sops begins what it encrypted.
const SEAL: &str = "ENC[";
/// What stands in its place.
const MASK: &str = "*****";

/// The diff without ciphertext: it is as long as a paragraph and tells nobody anything.
pub fn masked(diff: &str) -> String {
    let mut out = String::with_capacity(diff.len());
    for line in diff.split_inclusive('\n') {
        let mut rest = line;
        while let Some(start) = rest.find(SEAL) {
            out.push_str(&rest[..start]);
            out.push_str(MASK);
            let after = &rest[start..];
            let line_end = after.find(['\n', '\r']).unwrap_or(after.len());
            let end = after[..line_end].find(']').map_or(line_end, |at| at + 1);
            rest = &after[end..];
        }
        out.push_str(rest);
    }
    out
}

/// `` `data.password` in `apps/secret.yaml` ``: the encrypted fields that change; empty without any.
pub fn listed(fields: &[FieldChange], form: &Form) -> String {
    let code = |text: &str| code_within(text, form.code_chars);
    let sealed = fields.iter().filter(|it| it.is_sealed());
    some(sealed.map(|it| format!("`{}` in `{}`", code(&it.field), code(it.file.as_str()))), form)
}

/// `` `age1...` ``, at most as many as the form has rows.
pub fn recipients(of: &[String], form: &Form) -> String {
    some(of.iter().map(|it| format!("`{}`", code_within(it, form.code_chars))), form)
}

/// As many as the form has rows, and how many there are beyond.
fn some(mut all: impl Iterator<Item = String>, form: &Form) -> String {
    let shown: Vec<String> = all.by_ref().take(form.rows).collect();
    let beyond = match all.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    shown.join(", ") + &beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ciphertext_is_left_in_a_diff_even_when_a_line_is_cut() {
        let diff = "-  a: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\n+  a: \"ENC[AES256_GCM,data:q]\" # ENC[cut\n b: 1\n";
        assert_eq!(masked(diff), "-  a: *****\n+  a: \"*****\" # *****\n b: 1\n");
    }
}
