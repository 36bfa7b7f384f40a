//! The import table: who may name whom. Direction in one crate is a test or it is nothing.

use super::Finding;
use super::source::{SourceFile, references};

pub(crate) const RULE: &str = "A room names only the rooms to its left in the import table.\n\
    Why: stages that import each other become one knot; what they exchange is a value in `model`.\n\
    Instead: move the shared noun to `model`, pass the value as an argument, or let `reconcile` join the two.\n\
    The table is TABLE in tests/suite/architecture/imports.rs; changing it is a design decision.";

pub(crate) const MAP_RULE: &str = "ARCHITECTURE.md shows the import table as it is.\n\
    Why: a map that is wrong is worse than none.\n\
    Instead: put the row below into the table of its section on imports, word for word.";

/// Which rooms a room may name; sealed types are the two exceptions, listed one by one.
pub(crate) struct Row {
    pub room: &'static str,
    pub may: &'static [&'static str],
    pub seals: &'static [(&'static str, &'static str)],
    pub pure: bool,
}

const fn pure(room: &'static str, may: &'static [&'static str]) -> Row {
    Row { room, may, seals: &[], pure: true }
}

const fn worldly(room: &'static str, may: &'static [&'static str]) -> Row {
    Row { room, may, seals: &[], pure: false }
}

const EVERYTHING: &[&str] = &[
    "model",
    "yaml",
    "sops",
    "layout",
    "detect",
    "eval",
    "ledger",
    "verify",
    "decide",
    "render",
    "outside",
    "telemetry",
    "crd",
    "config",
    "observe",
    "propose",
    "report",
    "reconcile",
    "serve",
];

/// What `reconcile` sequences: everything but itself and what listens.
const STAGES: &[&str] = EVERYTHING.split_at(EVERYTHING.len() - 2).0;

pub(crate) const TABLE: &[Row] = &[
    pure("model", &[]),
    pure("yaml", &[]),
    pure("sops", &["yaml"]),
    pure("layout", &["model", "yaml", "sops"]),
    pure("detect", &["model"]),
    pure("eval", &["model", "detect"]),
    pure("ledger", &["model"]),
    pure("verify", &["model"]),
    pure("decide", &["model"]),
    pure("render", &["model", "yaml", "sops", "layout"]),
    worldly("outside", &[]),
    worldly("telemetry", &["model"]),
    pure("crd", &["model"]),
    worldly("config", &["model", "outside"]),
    worldly("observe", &["model", "layout", "crd", "outside", "telemetry"]),
    Row {
        room: "propose",
        may: &["model", "outside", "telemetry"],
        seals: &[("decide", "MergePermit"), ("render", "CheckedChanges")],
        pure: false,
    },
    worldly("report", &["model", "crd", "outside", "telemetry"]),
    worldly("reconcile", STAGES),
    worldly("serve", &["model", "telemetry"]),
    worldly("cli", EVERYTHING),
    worldly("lib", &["cli"]),
    worldly("main", &[]),
];

pub(crate) fn row(room: &str) -> Option<&'static Row> {
    TABLE.iter().find(|it| it.room == room)
}

/// Every path that leaves its room for one that the table does not allow.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let Some(row) = row(file.room()) else {
            let text =
                format!("room `{}` has no row in TABLE: say who it is and whom it may name", file.room());
            findings.push(Finding::new(&file.path, text));
            continue;
        };
        for reference in references(file) {
            if let Some(text) = refuse(row, &reference.segments) {
                findings.push(Finding::new(format!("{}:{}", file.path, reference.line), text));
            }
        }
        if row.room == "lib" {
            findings.extend(shown_at_the_root(file));
        }
    }
    findings
}

fn refuse(row: &Row, segments: &[String]) -> Option<String> {
    let (first, rest) = segments.split_first()?;
    if first == "tars_gitops" {
        return (row.room != "main").then(|| "the library is `crate` here, not `tars_gitops`".to_owned());
    }
    let target = rest.first().map(|it| it.trim_end_matches('!'))?;
    if first != "crate" || target == row.room || row.may.contains(&target) {
        return None;
    }
    let named = format!("`{}`", segments.join("::"));
    if row.seals.iter().any(|seal| *seal == (target, rest.get(1).map_or("", |it| it))) {
        return None;
    }
    if !TABLE.iter().any(|it| it.room == target) {
        return Some(format!("{named}: the crate root holds rooms only; name the room that owns the item"));
    }
    let may = if row.may.is_empty() { "nothing of ours".to_owned() } else { row.may.join(", ") };
    Some(format!("{named}: `{}` may name {may}; not `{target}`", row.room))
}

/// A re-export at the root hides who needs what, and a public room hides dead code.
fn shown_at_the_root(file: &SourceFile) -> Vec<Finding> {
    let public = |vis: &syn::Visibility| !matches!(vis, syn::Visibility::Inherited);
    let shown = |item: &syn::Item| match item {
        syn::Item::Use(it) => public(&it.vis).then(|| "a `pub use` at the crate root".to_owned()),
        syn::Item::Mod(it) => public(&it.vis).then(|| format!("`{}` is a public room", it.ident)),
        _ => None,
    };
    let told = |text: String| {
        Finding::new(&file.path, format!("{text}: re-exports hide edges and dead code; rooms stay private"))
    };
    file.syntax.items.iter().filter_map(shown).map(told).collect()
}

/// The row as ARCHITECTURE.md must show it.
fn map_row(row: &Row) -> String {
    let mut may: Vec<String> = row.may.iter().map(|it| format!("`{it}`")).collect();
    match row.room {
        "reconcile" => may = vec!["all above".to_owned()],
        "cli" => may = vec!["everything".to_owned()],
        _ => may.extend(row.seals.iter().map(|(room, name)| format!("`{room}::{name}`"))),
    }
    let may = if may.is_empty() { "nothing".to_owned() } else { may.join(", ") };
    format!("| `{}` | {may} | {} |", row.room, if row.pure { "yes" } else { "no" })
}

pub(crate) fn check_map(map: &str) -> Vec<Finding> {
    TABLE
        .iter()
        .filter(|it| !matches!(it.room, "lib" | "main"))
        .map(map_row)
        .filter(|wanted| !map.lines().any(|line| line == wanted))
        .map(|wanted| Finding::new("ARCHITECTURE.md", wanted))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<String> {
        check(&[SourceFile::parse(path, text, false)]).into_iter().map(|it| it.place).collect()
    }

    #[test]
    fn stages_do_not_import_each_other_in_any_spelling() {
        for text in [
            "use crate::detect::Ensemble;",
            "use crate::{model::Score, detect};",
            "use crate::detect as eyes;",
            "use super::detect::Ensemble;",
            "fn f() { crate::detect::score(); }",
            "fn f(x: crate::detect::Ensemble) {}",
            "mod inner { use super::super::detect::score; }",
            "fn f() { assert_eq!(crate::detect::score(), 1); }",
            "macro_rules! m { () => { $crate::detect::score() } }",
            "fn f() { run! { use crate::{detect}; } }",
            "#[cfg(test)] mod tests { use crate::detect::score; }",
            "use crate::*;",
        ] {
            assert_eq!(lines("src/decide/mod.rs", text), ["src/decide/mod.rs:1"], "{text}");
        }
    }

    #[test]
    fn a_room_names_itself_and_its_left_neighbours() {
        let text = "use super::budget; use crate::model::Score; use self::inner::X; use crate::decide::risk;
            pub(crate) fn f() {} pub(super) fn g() {} mod inner { use super::g; pub(in crate::decide) struct X; }";
        assert_eq!(lines("src/decide/budget.rs", text), Vec::<String>::new());
        assert_eq!(lines("src/decide/budget/fold.rs", "use super::super::risk;"), Vec::<String>::new());
        assert_eq!(lines("src/decide/budget/fold.rs", "use super::super::super::risk;").len(), 1);
    }

    #[test]
    fn only_the_two_seals_cross_into_propose() {
        let inside = |text| lines("src/propose/push.rs", text).len();
        assert_eq!(inside("use crate::decide::MergePermit; use crate::render::CheckedChanges;"), 0);
        assert_eq!(inside("use crate::decide::{MergePermit, choose};"), 1);
        assert_eq!(inside("use crate::decide;"), 1);
        assert_eq!(inside("use crate::decide::*;"), 1);
    }

    #[test]
    fn the_root_shows_no_room() {
        assert_eq!(lines("src/lib.rs", "mod cli; pub mod model; pub use cli::run;").len(), 2);
        assert_eq!(lines("src/lib.rs", "mod cli; pub fn main() { cli::main() }").len(), 0);
    }

    #[test]
    fn a_new_room_needs_a_row() {
        assert_eq!(lines("src/helpers/mod.rs", ""), ["src/helpers/mod.rs"]);
    }

    #[test]
    fn the_table_has_no_cycle_and_no_unknown_name() {
        for (at, row) in TABLE.iter().enumerate() {
            let later: Vec<&str> = TABLE.iter().skip(at).map(|it| it.room).collect();
            let bad = |it: &&&str| super::row(it).is_none() || later.contains(*it);
            assert_eq!(row.may.iter().find(bad), None, "{}", row.room);
        }
    }

    #[test]
    fn a_map_with_a_wrong_row_is_found() {
        let right: String = TABLE.iter().map(|it| map_row(it) + "\n").collect();
        assert_eq!(check_map(&right).len(), 0);
        let wrong = right.replace("| `detect` | `model` |", "| `detect` | `model`, `ledger` |");
        assert_eq!(check_map(&wrong).len(), 1);
    }
}
