//! What may be written to the two outputs: colour, links, relative times, symbols, a pager.
//! The environment comes in as a value and decisions go out; nothing here looks at the process.

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    Always,
    Never,
}

/// What the process's surroundings say. An unset variable is `None`; an empty one counts as unset, except for
/// the pagers, where it means "none".
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// <https://no-color.org>
    pub no_color: Option<String>,
    /// <https://bixense.com/clicolors/>
    pub clicolor: Option<String>,
    pub clicolor_force: Option<String>,
    pub term: Option<String>,
    pub lc_all: Option<String>,
    pub lc_ctype: Option<String>,
    pub lang: Option<String>,
    pub tars_pager: Option<String>,
    pub pager: Option<String>,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
}

/// What one output takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// A person is looking.
    pub interactive: bool,
    pub colour: bool,
    /// OSC 8 links.
    pub links: bool,
    /// A line can be taken back.
    pub animated: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
    /// Now, for times relative to it; without it times are RFC 3339 in UTC.
    pub now: Option<Timestamp>,
}

/// A pipe of a UTF-8 world, for the tests of this room.
#[cfg(test)]
pub const PIPE: Terminal =
    Terminal { interactive: false, colour: false, links: false, animated: false, unicode: true, now: None };

/// Used when nobody names a pager.
const PAGER_DEFAULT: &str = "less -FRX";

impl Environment {
    /// Decisions for standard output. `now` is used only when a person is looking.
    #[must_use]
    pub fn stdout(&self, choice: ColorChoice, now: Timestamp) -> Terminal {
        let interactive = self.stdout_is_terminal;
        let colour = self.colour(choice, interactive);
        Terminal {
            interactive,
            colour,
            links: interactive && colour && !self.is_dumb(),
            animated: false,
            unicode: self.is_utf8(),
            now: interactive.then_some(now),
        }
    }

    /// Decisions for standard error: messages carry no links and no times, and a line that waits may turn.
    #[must_use]
    pub fn stderr(&self, choice: ColorChoice) -> Terminal {
        let interactive = self.stderr_is_terminal;
        let colour = self.colour(choice, interactive);
        let animated = interactive && !self.is_dumb();
        Terminal { interactive, colour, links: false, animated, unicode: self.is_utf8(), now: None }
    }

    /// The flag wins; then `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR=0`; then only a terminal that can.
    fn colour(&self, choice: ColorChoice, is_terminal: bool) -> bool {
        let forced = self.clicolor_force.as_deref().is_some_and(|it| it != "0");
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if self.no_color.is_some() => false,
            ColorChoice::Auto if forced => true,
            ColorChoice::Auto if self.clicolor.as_deref() == Some("0") => false,
            ColorChoice::Auto => is_terminal && !self.is_dumb(),
        }
    }

    /// A terminal that names no type is taken for one that can nothing.
    fn is_dumb(&self) -> bool {
        self.term.as_deref().is_none_or(|it| it == "dumb")
    }

    /// POSIX order: `LC_ALL`, `LC_CTYPE`, `LANG`; the first that is set decides, and none means `C`.
    fn is_utf8(&self) -> bool {
        let locale = self.lc_all.as_ref().or(self.lc_ctype.as_ref()).or(self.lang.as_ref());
        let charset = locale.and_then(|it| it.split('@').next()).and_then(|it| it.split_once('.'));
        charset.is_some_and(|(_, it)| matches!(it.to_ascii_lowercase().as_str(), "utf-8" | "utf8"))
    }

    /// The pager as program and arguments: `TARS_PAGER`, `PAGER`, `less -FRX`. `None` when there is no
    /// terminal, when it can nothing, or when the variable is empty or `cat`.
    #[must_use]
    pub fn pager(&self) -> Option<Vec<String>> {
        if !self.stdout_is_terminal || self.is_dumb() {
            return None;
        }
        let named = self.tars_pager.as_deref().or(self.pager.as_deref()).unwrap_or(PAGER_DEFAULT);
        words(named).filter(|words| !words.is_empty() && words != &["cat"])
    }
}

/// Splits as a shell would with quotes and backslashes, and expands nothing. `None` for an open quote.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// `2026-11-23T10:04:00Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `4m ago`, `3h ago`, `in 20s`; one unit, rounded down.
#[must_use]
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let away: SignedDuration = now.duration_since(at);
    let seconds = away.as_secs().unsigned_abs();
    let amount = match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    };
    if away.is_negative() { format!("in {amount}") } else { format!("{amount} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    fn at_terminal() -> Environment {
        Environment {
            term: text("xterm-256color"),
            lang: text("en_GB.UTF-8"),
            stdout_is_terminal: true,
            stderr_is_terminal: true,
            ..Environment::default()
        }
    }

    fn colour(environment: &Environment, choice: ColorChoice) -> bool {
        environment.stdout(choice, Timestamp::UNIX_EPOCH).colour
    }

    #[test]
    fn a_pipe_gets_no_colour_no_link_no_pager_and_no_relative_time() {
        let pipe = Environment { stdout_is_terminal: false, ..at_terminal() };
        let it = pipe.stdout(ColorChoice::Auto, Timestamp::UNIX_EPOCH);
        assert_eq!((it.interactive, it.colour, it.links, it.now), (false, false, false, None));
        assert_eq!(pipe.pager(), None);
        let forced = pipe.stdout(ColorChoice::Always, Timestamp::UNIX_EPOCH);
        assert_eq!((forced.colour, forced.links, forced.now), (true, false, None));
    }

    #[test]
    fn the_flag_beats_the_environment_and_no_color_beats_the_rest() {
        let (auto, always, never) = (ColorChoice::Auto, ColorChoice::Always, ColorChoice::Never);
        let cases: [(&str, Environment, bool); 8] = [
            ("terminal", at_terminal(), true),
            ("NO_COLOR", Environment { no_color: text("1"), ..at_terminal() }, false),
            ("CLICOLOR=0", Environment { clicolor: text("0"), ..at_terminal() }, false),
            ("CLICOLOR=1", Environment { clicolor: text("1"), ..at_terminal() }, true),
            ("dumb", Environment { term: text("dumb"), ..at_terminal() }, false),
            ("no TERM", Environment { term: None, ..at_terminal() }, false),
            (
                "forced pipe",
                Environment { clicolor_force: text("1"), stdout_is_terminal: false, ..at_terminal() },
                true,
            ),
            (
                "forced, but NO_COLOR",
                Environment { clicolor_force: text("1"), no_color: text("1"), ..at_terminal() },
                false,
            ),
        ];
        for (name, environment, expected) in cases {
            assert_eq!(colour(&environment, auto), expected, "{name}");
            assert!(colour(&environment, always), "{name}");
            assert!(!colour(&environment, never), "{name}");
        }
        let not_forced = Environment { clicolor_force: text("0"), ..Environment::default() };
        assert!(!colour(&not_forced, auto));
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let utf8 = |lc_all: Option<&str>, lc_ctype: Option<&str>, lang: Option<&str>| {
            let own = |it: Option<&str>| it.map(str::to_owned);
            Environment {
                lc_all: own(lc_all),
                lc_ctype: own(lc_ctype),
                lang: own(lang),
                ..Environment::default()
            }
            .is_utf8()
        };
        assert!(utf8(None, None, Some("de_DE.UTF-8")));
        assert!(utf8(Some("C.utf8"), Some("C"), Some("C")));
        assert!(utf8(None, Some("en_US.UTF-8@euro"), Some("C")));
        assert!(!utf8(Some("C"), Some("C.UTF-8"), Some("C.UTF-8")));
        assert!(!utf8(None, Some("POSIX"), Some("C.UTF-8")));
        assert!(!utf8(None, None, Some("de_DE.ISO-8859-1")));
        assert!(!utf8(None, None, None));
    }

    #[test]
    fn the_pager_is_the_first_one_named_and_no_shell_reads_it() {
        let pager = |tars: Option<&str>, any: Option<&str>| {
            let own = |it: Option<&str>| it.map(str::to_owned);
            Environment { tars_pager: own(tars), pager: own(any), ..at_terminal() }.pager()
        };
        let words = |it: &[&str]| Some(it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(pager(None, None), words(&["less", "-FRX"]));
        assert_eq!(pager(Some("most"), Some("more")), words(&["most"]));
        assert_eq!(
            pager(None, Some("'my pager' -a \"b c\" d\\ e")),
            words(&["my pager", "-a", "b c", "d e"])
        );
        assert_eq!(pager(Some("less; rm -rf $HOME"), None), words(&["less;", "rm", "-rf", "$HOME"]));
        for none in ["", "cat", " ", "'open"] {
            assert_eq!(pager(Some(none), Some("more")), None, "{none:?}");
        }
        assert_eq!(Environment { term: text("dumb"), ..at_terminal() }.pager(), None);
    }

    #[test]
    fn times_are_told_in_one_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let told = |away: i64| relative(Timestamp::from_second(1_000_000 - away).unwrap(), now);
        for (away, expected) in [
            (0, "0s ago"),
            (59, "59s ago"),
            (3_599, "59m ago"),
            (7_200, "2h ago"),
            (172_800, "2d ago"),
            (-90, "in 1m"),
        ] {
            assert_eq!(told(away), expected);
        }
    }
}
