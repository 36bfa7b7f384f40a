//! A commit as its raw bytes say it, under one strict grammar. Bytes in, fields and the signed payload out. A
//! commit that two readers could read differently is an error here, never a guess: the signature must cover
//! exactly what is shown (CVE-2026-45022, CVE-2026-114467).

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawCommit {
    pub id: String,
    pub parents: Vec<String>,
    pub tree: String,
    pub message: String,
    pub author_name: String,
    pub author_email: String,
    /// Committer time, seconds since 1970. Claimed by whoever wrote the commit.
    pub time_s: i64,
    /// The armored signature, when there is one.
    pub signature: Option<String>,
    /// The bytes the signature covers: the commit without its signature.
    pub payload: Vec<u8>,
}

/// One header with its continuation lines, and the bytes it spans.
struct Header<'a> {
    key: &'a str,
    value: String,
    span: std::ops::Range<usize>,
}

/// Reads a raw commit: `tree`, `parent`*, `author`, `committer`, then other headers of which none repeats
/// these, at most one signature, no other text encoding than UTF-8, no NUL anywhere.
pub(super) fn parse(id: &str, raw: &[u8]) -> Result<RawCommit, &'static str> {
    if raw.contains(&0) {
        return Err("it holds a NUL byte");
    }
    let text = std::str::from_utf8(raw).map_err(|_| "it is not UTF-8")?;
    // The blank line that ends the headers is part of every commit, even one without a message.
    let (head, message) = text.split_once("\n\n").ok_or("its headers do not end")?;
    let headers = headers(head)?;

    let mut rest = headers.iter().peekable();
    let tree = rest.next_if(|h| h.key == "tree").ok_or("it does not start with a tree")?;
    let mut parents = Vec::new();
    while let Some(parent) = rest.next_if(|h| h.key == "parent") {
        parents.push(oid(&parent.value)?);
    }
    let author = rest.next_if(|h| h.key == "author").ok_or("it has no author after its parents")?;
    let committer = rest.next_if(|h| h.key == "committer").ok_or("it has no committer after its author")?;
    let (author_name, author_email, _) = person(&author.value)?;
    let (_, _, time_s) = person(&committer.value)?;

    let mut signature: Option<&Header<'_>> = None;
    for header in rest {
        match header.key {
            "tree" | "parent" | "author" | "committer" => return Err("a header is repeated or out of order"),
            "gpgsig" if signature.is_none() => signature = Some(header),
            "gpgsig" | "gpgsig-sha256" => return Err("it has more than one signature"),
            "encoding" if !header.value.eq_ignore_ascii_case("utf-8") => {
                return Err("it declares another text encoding");
            }
            _ => {}
        }
    }
    let payload = match signature {
        Some(header) => [&raw[..header.span.start], &raw[header.span.end..]].concat(),
        None => raw.to_vec(),
    };
    Ok(RawCommit {
        id: id.to_owned(),
        parents,
        tree: oid(&tree.value)?,
        message: message.to_owned(),
        author_name,
        author_email,
        time_s,
        signature: signature.map(|header| header.value.clone()),
        payload,
    })
}

fn headers(head: &str) -> Result<Vec<Header<'_>>, &'static str> {
    let mut headers: Vec<Header<'_>> = Vec::new();
    let mut at = 0;
    for line in head.split('\n') {
        let end = at + line.len() + 1;
        if let Some(continued) = line.strip_prefix(' ') {
            let last = headers.last_mut().ok_or("it starts with a continuation line")?;
            if matches!(last.key, "tree" | "parent" | "author" | "committer" | "encoding") {
                return Err("a one-line header is continued");
            }
            last.value.push('\n');
            last.value.push_str(continued);
            last.span.end = end;
        } else {
            let (key, value) = line.split_once(' ').ok_or("a header has no value")?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'_');
            if key.is_empty() || !key.bytes().all(plain) {
                return Err("a header has an odd name");
            }
            headers.push(Header { key, value: value.to_owned(), span: at..end });
        }
        at = end;
    }
    Ok(headers)
}

fn oid(text: &str) -> Result<String, &'static str> {
    super::names::parse_oid(text).map(|oid| oid.to_string()).map_err(|_| "an object id is malformed")
}

/// `Name <address> seconds zone`.
fn person(text: &str) -> Result<(String, String, i64), &'static str> {
    let why = "an author or committer line is malformed";
    let (name, rest) = text.split_once('<').ok_or(why)?;
    let (email, when) = rest.split_once('>').ok_or(why)?;
    let (seconds, zone) = when.strip_prefix(' ').and_then(|w| w.split_once(' ')).ok_or(why)?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let zone_ok = zone.len() >= 5 && zone.starts_with(['+', '-']) && digits(&zone[1..]);
    if name.contains('>') || email.contains('<') || name.chars().any(char::is_control) || !zone_ok {
        return Err(why);
    }
    if !digits(seconds.strip_prefix('-').unwrap_or(seconds)) {
        return Err(why);
    }
    let seconds = seconds.parse().map_err(|_| why)?;
    Ok((name.trim_end().to_owned(), email.to_owned(), seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    const WHO: &str = "author A <a@x> 10 +0000\ncommitter C <c@x> 20 +0100\n";
    const SIG: &str = "gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n";

    fn read(raw: &str) -> Result<RawCommit, &'static str> {
        parse("id", raw.as_bytes())
    }

    #[test]
    fn the_payload_is_the_commit_without_its_signature() {
        let commit = read(&format!("{TREE}{WHO}{SIG}x-more 1\n\nsubject\n\nbody\n")).unwrap();
        assert_eq!(commit.payload, format!("{TREE}{WHO}x-more 1\n\nsubject\n\nbody\n").into_bytes());
        assert_eq!(
            commit.signature.as_deref(),
            Some("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----")
        );
        assert_eq!((&commit.author_name[..], &commit.author_email[..], commit.time_s), ("A", "a@x", 20));
        assert_eq!(commit.message, "subject\n\nbody\n");
        let last = read(&format!("{TREE}{WHO}{SIG}\nm")).unwrap();
        assert_eq!(last.payload, format!("{TREE}{WHO}\nm").into_bytes());
    }

    #[test]
    fn a_commit_two_readers_could_read_differently_is_an_error() {
        let parent = "parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
        let author = "author A <a@x> 10 +0000\n";
        for (what, raw) in [
            ("two authors", format!("{TREE}{author}{WHO}\nm")),
            ("author after committer", format!("{TREE}{WHO}{author}\nm")),
            ("two committers", format!("{TREE}{WHO}committer C <c@x> 20 +0100\n\nm")),
            ("two trees", format!("{TREE}{TREE}{WHO}\nm")),
            ("late parent", format!("{TREE}{WHO}{parent}\nm")),
            ("no tree", format!("{WHO}\nm")),
            ("no committer", format!("{TREE}{author}\nm")),
            ("two signatures", format!("{TREE}{WHO}{SIG}{SIG}\nm")),
            ("three signatures", format!("{TREE}{WHO}{SIG}{SIG}{SIG}\nm")),
            ("another signature kind", format!("{TREE}{WHO}{SIG}gpgsig-sha256 x\n\nm")),
            ("NUL in the body", format!("{TREE}{WHO}\nm\0Tars-Action: merged")),
            ("NUL in a header", format!("{TREE}{WHO}x a\0b\n\nm")),
            ("encoding", format!("{TREE}{WHO}encoding UTF-16\n\nm")),
            (
                "continued author",
                format!("{TREE}author A <a@x> 10 +0000\n x\ncommitter C <c@x> 20 +0100\n\nm"),
            ),
            ("no end", format!("{TREE}{WHO}")),
            ("first line continued", format!(" x\n{TREE}{WHO}\nm")),
            ("short tree", format!("tree 4b825d\n{WHO}\nm")),
            ("no time", format!("{TREE}author A <a@x>\ncommitter C <c@x> 20 +0100\n\nm")),
            ("two addresses", format!("{TREE}author A <a@x> <b@x> 1 +0000\ncommitter C <c@x> 20 +0100\n\nm")),
            ("odd header name", format!("{TREE}{WHO}x\ty z\n\nm")),
            ("time with a plus", format!("{TREE}author A <a@x> +1 +0000\ncommitter C <c@x> 20 +0100\n\nm")),
        ] {
            assert!(read(&raw).is_err(), "{what}");
        }
        assert!(parse("id", b"tree \xff\n\n").is_err());
    }

    #[test]
    fn ordinary_commits_of_other_tools_are_read() {
        for extra in
            ["", "encoding UTF-8\n", "change-id abc\n", "HG:rename a\n", "mergetag object x\n type y\n  z\n"]
        {
            read(&format!("{TREE}{WHO}{extra}\n")).unwrap();
        }
        let merge = format!("{TREE}{p}{p}{WHO}\nm", p = "parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n");
        assert_eq!(read(&merge).unwrap().parents.len(), 2);
    }
}
