//! The forms a SOPS file comes in. A file's name and bytes come in, its form or "no SOPS file" goes out,
//! without parsing anything: a repository has many files and few of them are secrets.

/// The form of a SOPS file; sops calls it a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Yaml,
    Json,
    /// Recognised only.
    Dotenv,
    /// Recognised only.
    Ini,
    /// Recognised only: any other file, encrypted as a whole inside JSON.
    Binary,
}

impl Store {
    /// The name sops has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Dotenv => "dotenv",
            Self::Ini => "ini",
            Self::Binary => "binary",
        }
    }

    /// The form sops would take for a file of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let extension =
            name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map_or("", |(_, it)| it);
        match extension {
            "yaml" | "yml" => Self::Yaml,
            "json" => Self::Json,
            "env" => Self::Dotenv,
            "ini" => Self::Ini,
            _ => Self::Binary,
        }
    }
}

/// The form of a file that looks like a SOPS file; `None` for every other file. A file that says it is one and
/// is not is an error of reading it, not of this.
#[must_use]
pub fn detect(name: &str, source: &[u8]) -> Option<Store> {
    let text = std::str::from_utf8(source).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = |prefix: &str| text.lines().any(|line| line.starts_with(prefix));
    let object = || {
        let marked =
            text.contains("\"sops\"") && text.contains("\"mac\"") && text.contains("\"lastmodified\"");
        marked && text.trim_start().starts_with('{')
    };
    let store = Store::of_name(name);
    let found = match store {
        Store::Yaml => (line("sops:") && text.contains("mac:") && text.contains("lastmodified:")) || object(),
        Store::Json | Store::Binary => object(),
        Store::Dotenv => line("sops_mac=") || line("sops_version="),
        Store::Ini => line("[sops]"),
    };
    found.then_some(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart_by_name_and_content() {
        let yaml = "a: b\nsops:\n  mac: x\n  lastmodified: y\n";
        let json = "{\"a\": 1, \"sops\": {\"mac\": \"x\", \"lastmodified\": \"y\"}}";
        for (name, text, store) in [
            ("a/b.yaml", yaml, Some(Store::Yaml)),
            ("b.yml", yaml, Some(Store::Yaml)),
            ("b.yaml", json, Some(Store::Yaml)),
            ("b.json", json, Some(Store::Json)),
            ("id_rsa.enc", json, Some(Store::Binary)),
            ("a.yaml/id", json, Some(Store::Binary)),
            ("prod.env", "A=x\nsops_mac=y\n", Some(Store::Dotenv)),
            ("a.ini", "[a]\nb = c\n[sops]\nmac = d\n", Some(Store::Ini)),
            ("kustomization.yaml", "decryption:\n  provider: sops\n", None),
            ("b.yaml", "sops: yes\n", None),
            ("b.txt", yaml, None),
            ("b.json", "{}", None),
        ] {
            assert_eq!(detect(name, text.as_bytes()), store, "{name}");
        }
        assert_eq!(detect("a.yaml", b"\xff\xfe"), None);
    }
}
