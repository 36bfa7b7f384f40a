//! Templates for commit and pull request text: checked before use, bounded while rendering. Template text
//! comes in, a set that cannot stall or kill the process goes out. No helper reads anything but the given
//! context.
//!
//! Why each check exists (measured on handlebars 6.4): a 41-byte recursive inline partial overflows the stack
//! and aborts the process; 1,300 nested blocks do the same on a 2 MiB stack; a 105-byte loop writes 100 MB;
//! strict mode lets `{{#if typo}}` pass as false.

use std::fmt;
use std::io::{self, Write};

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Handlebars, Path, PathSeg, Template, no_escape};
use serde_json::Value as Json;
use thiserror::Error;

use crate::model::causes::causes;
use crate::model::ids::RepoPath;
use crate::model::playbook::PlaybookName;
use crate::model::tree::{RepoTree, Unread};

/// Largest template, bytes.
const MAX_TEMPLATE_BYTES: usize = 16 << 10;
/// Deepest nesting of blocks.
const MAX_DEPTH: usize = 16;
/// Largest rendered text, bytes.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// The only block helpers; there are no others and no plain helpers.
const BLOCKS: [&str; 3] = ["if", "unless", "each"];

/// A template was refused or could not be rendered.
#[derive(Debug, Error)]
pub enum TemplateError {
    #[error("template {name}, line {line}: {why}")]
    Refused { name: String, line: usize, why: String },
    #[error("template {name} is not a handlebars template")]
    Syntax {
        name: String,
        #[source]
        source: Box<handlebars::TemplateError>,
    },
    #[error("template {name} could not be rendered")]
    Render {
        name: String,
        #[source]
        source: Box<handlebars::RenderError>,
    },
    #[error("the pull request text has {chars} characters, at most {limit} are sent")]
    TooLong { chars: usize, limit: usize },
}

/// Where a repository keeps its own words for pull requests: the path of ours, below `.tars/`.
pub const OWN_PULL_REQUEST: &str = ".tars/templates/pull-request.hbs";
const PULL_REQUEST: &str = "pull-request.hbs";

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Repository,
    BuiltIn,
}

impl Author {
    fn template(self) -> &'static str {
        match self {
            Self::Repository => OWN_PULL_REQUEST,
            Self::BuiltIn => PULL_REQUEST,
        }
    }
}

/// What is wrong with the repository's own template; the built-in one is used until it is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    pub path: &'static str,
    /// From 1.
    pub line: u32,
    pub message: String,
    /// What to do about it.
    pub help: &'static str,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// The checked templates: a commit message for every playbook, one pull request, and perhaps the repository's own.
#[derive(Debug, Clone)]
pub struct Templates {
    engine: Handlebars<'static>,
}

impl Templates {
    /// The templates that come with tars.
    ///
    /// # Errors
    /// [`TemplateError`] naming the template and the check that failed.
    pub fn built_in() -> Result<Self, TemplateError> {
        let mut engine = Handlebars::new();
        engine.set_strict_mode(true);
        engine.register_escape_fn(no_escape);
        let shape = super::pull::shape();
        for playbook in PlaybookName::ALL {
            let name = commit_template(playbook);
            engine.register_template(&name, check(&name, commit_source(playbook), &shape)?);
        }
        let text = include_str!("../../templates/pull-request.hbs");
        engine.register_template(PULL_REQUEST, check(PULL_REQUEST, text, &shape)?);
        Ok(Self { engine })
    }

    /// These, with the repository's own pull request when it has one that passes every check.
    #[must_use]
    pub fn in_repository(&self, tree: &RepoTree) -> (Self, Option<TemplateProblem>) {
        let mut all = self.clone();
        all.engine.unregister_template(OWN_PULL_REQUEST);
        let problem = match own_pull_request(tree) {
            Ok(None) => None,
            Ok(Some(template)) => {
                all.engine.register_template(OWN_PULL_REQUEST, template);
                None
            }
            Err(problem) => Some(problem),
        };
        (all, problem)
    }

    /// The words of a commit message.
    ///
    /// # Errors
    /// [`TemplateError::Render`], also when the output grows beyond its bound.
    pub(super) fn commit(&self, playbook: PlaybookName, context: &Json) -> Result<String, TemplateError> {
        bounded_render(&self.engine, &commit_template(playbook), context)
    }

    /// The words of a pull request; `None`: this author has none.
    pub(super) fn pull_request(&self, by: Author, context: &Json) -> Option<Result<String, TemplateError>> {
        self.engine.has_template(by.template()).then(|| bounded_render(&self.engine, by.template(), context))
    }
}

fn own_pull_request(tree: &RepoTree) -> Result<Option<Template>, TemplateProblem> {
    let problem = |line: usize, message: String, help| TemplateProblem {
        path: OWN_PULL_REQUEST,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        message,
        help,
    };
    let unread = |why: String| problem(1, why, "keep it in a plain file of UTF-8 text, of at most 16 KiB");
    let Ok(path) = RepoPath::new(OWN_PULL_REQUEST) else { return Ok(None) };
    let text = match tree.bytes(&path, MAX_TEMPLATE_BYTES) {
        Err(Unread::Absent) => return Ok(None),
        Err(why) => return Err(unread(format!("the template {why}"))),
        Ok(bytes) => String::from_utf8(bytes.to_vec()).map_err(|_| unread("is not UTF-8 text".into()))?,
    };
    match check(OWN_PULL_REQUEST, &text, &super::pull::shape()) {
        Ok(template) => Ok(Some(template)),
        Err(TemplateError::Refused { line, why, .. }) => Err(problem(
            line,
            why,
            "use names of the built-in template (templates/pull-request.hbs), and only if, unless and each",
        )),
        Err(TemplateError::Syntax { source, .. }) => Err(problem(
            source.pos().map_or(1, |(line, _)| line),
            causes(source.reason()),
            "close every {{#if}}, {{#unless}} and {{#each}}, and every pair of braces",
        )),
        Err(other) => Err(problem(1, other.to_string(), "start from templates/pull-request.hbs")),
    }
}

fn commit_template(playbook: PlaybookName) -> String {
    format!("{}/commit.hbs", playbook.folder())
}

fn commit_source(playbook: PlaybookName) -> &'static str {
    match playbook {
        PlaybookName::ScaleOut => include_str!("../../templates/scale-out/commit.hbs"),
        PlaybookName::Rollback => include_str!("../../templates/rollback/commit.hbs"),
        PlaybookName::RestartPod => include_str!("../../templates/restart-pod/commit.hbs"),
    }
}

fn bounded_render(engine: &Handlebars<'_>, name: &str, context: &Json) -> Result<String, TemplateError> {
    let mut out = Bounded(Vec::new());
    engine
        .render_to_write(name, context, &mut out)
        .map_err(|source| TemplateError::Render { name: name.to_owned(), source: Box::new(source) })?;
    Ok(String::from_utf8_lossy(&out.0).into_owned())
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other(format!("the text grows beyond {MAX_OUTPUT_BYTES} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parses a template once it is known to be harmless to parse, and checks every name against `shape`, a
/// context with every name present.
///
/// # Errors
/// [`TemplateError::Refused`] or [`TemplateError::Syntax`].
pub(super) fn check(name: &str, text: &str, shape: &Json) -> Result<Template, TemplateError> {
    let refused = |(line, why): Fault| TemplateError::Refused { name: name.to_owned(), line, why };
    scan(text).map_err(refused)?;
    let template = Template::compile(text)
        .map_err(|source| TemplateError::Syntax { name: name.to_owned(), source: Box::new(source) })?;
    check_elements(&template, &[shape], 0).map_err(refused)?;
    Ok(template)
}

/// Line, from 1, and what is wrong there.
type Fault = (usize, String);

/// What must hold before the parser may see the text: its recursion follows the nesting.
fn scan(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_TEMPLATE_BYTES {
        return Err((1, format!("is larger than {MAX_TEMPLATE_BYTES} bytes")));
    }
    let mut depth = 0usize;
    let mut line = 1;
    let mut pieces = text.split("{{");
    line += pieces.next().map_or(0, |before| before.matches('\n').count());
    for piece in pieces {
        scan_tag(piece, &mut depth).map_err(|why| (line, why))?;
        line += piece.matches('\n').count();
    }
    Ok(())
}

/// One tag and what follows it up to the next.
fn scan_tag(tag: &str, depth: &mut usize) -> Result<(), String> {
    if tag.is_empty() {
        return Err("uses a raw block".into());
    }
    let tag = tag.trim_start_matches(['{', '~', ' ', '\t', '\n', '\r']);
    let inside = &tag[..tag.find("}}").unwrap_or(tag.len())];
    match tag.as_bytes().first() {
        Some(b'>' | b'*') => return Err("uses a partial or a decorator".into()),
        Some(b'#') if tag[1..].trim_start().starts_with(['>', '*']) => {
            return Err("uses a partial or a decorator".into());
        }
        Some(b'#' | b'^') => *depth += 1,
        Some(b'/') => *depth = depth.saturating_sub(1),
        // `{{else if x}}` opens a block inside the block.
        _ if inside.starts_with("else ") => *depth += 1,
        Some(b'!') => return Ok(()),
        _ => {}
    }
    if inside.contains('(') {
        return Err("uses a subexpression".into());
    }
    if *depth > MAX_DEPTH {
        return Err(format!("nests deeper than {MAX_DEPTH} blocks"));
    }
    Ok(())
}

fn check_elements(template: &Template, scope: &[&Json], depth: usize) -> Result<(), Fault> {
    for (at, element) in template.elements.iter().enumerate() {
        let line = template.mapping.get(at).map_or(1, |mapping| mapping.0);
        let here = |why: String| (line, why);
        if depth > MAX_DEPTH {
            return Err(here(format!("nests deeper than {MAX_DEPTH} blocks")));
        }
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
            TemplateElement::Expression(it) | TemplateElement::HtmlExpression(it) => {
                if !it.params.is_empty() || !it.hash.is_empty() {
                    return Err(here(format!("calls the helper {}", shown(&it.name))));
                }
                resolve(&it.name, scope).map_err(here)?;
            }
            TemplateElement::HelperBlock(it) => check_block(it, scope, depth, line)?,
            _ => return Err(here("uses a partial or a decorator".into())),
        }
    }
    Ok(())
}

fn check_block(block: &HelperTemplate, scope: &[&Json], depth: usize, line: usize) -> Result<(), Fault> {
    let here = |why: String| (line, why);
    let helper = shown(&block.name);
    if !BLOCKS.contains(&helper.as_str()) {
        return Err(here(format!("calls the helper {helper}")));
    }
    let [subject] = &block.params[..] else { return Err(here(format!("{helper} needs exactly one name"))) };
    if !block.hash.is_empty() || block.block_param.is_some() {
        return Err(here(format!("{helper} takes a name and nothing else")));
    }
    let found = resolve(subject, scope).map_err(here)?;
    let item;
    let inner: &[&Json] = if helper == "each" {
        let first = found.and_then(|list| list.get(0));
        item = [first.ok_or_else(|| here(format!("each over {}, which is no list", shown(subject))))?];
        &item
    } else {
        scope
    };
    if let Some(body) = &block.template {
        check_elements(body, inner, depth + 1)?;
    }
    match &block.inverse {
        Some(other) => check_elements(other, scope, depth + 1),
        None => Ok(()),
    }
}

fn shown(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Name(name) => name.clone(),
        Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => raw.clone(),
        Parameter::Literal(value) => value.to_string(),
        _ => "a subexpression".into(),
    }
}

/// The value a name stands for in the shape; `None` for `@first` and its like, which exist in every loop.
fn resolve<'a>(parameter: &Parameter, scope: &[&'a Json]) -> Result<Option<&'a Json>, String> {
    let unknown = || format!("names {}, which no context has", shown(parameter));
    let here = *scope.first().ok_or_else(unknown)?;
    match parameter {
        Parameter::Name(name) => here.get(name).map(Some).ok_or_else(unknown),
        Parameter::Path(Path::Local((0, name, _))) if matches!(&**name, "first" | "last" | "index") => {
            Ok(None)
        }
        Parameter::Path(Path::Relative((steps, _))) => {
            let step = |at: &'a Json, step: &PathSeg| match step {
                PathSeg::Named(name) => at.get(name),
                _ => None,
            };
            steps.iter().try_fold(here, step).map(Some).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape() -> Json {
        json!({"a": "x", "list": [{"name": "n"}], "words": ["w"]})
    }

    fn refusal(text: &str) -> String {
        match check("t", text, &shape()) {
            Ok(_) => panic!("{text:.60} must be refused"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_built_in_templates_pass_their_own_checks() {
        Templates::built_in().unwrap();
    }

    #[test]
    fn the_41_byte_stack_bomb_is_refused_before_it_is_parsed() {
        let bomb = r#"{{#*inline "p"}}{{> p}}{{/inline}}{{> p}}"#;
        assert_eq!(bomb.len(), 41);
        assert!(refusal(bomb).contains("partial or a decorator"));
        assert!(refusal("{{~> p}}").contains("partial or a decorator"));
        assert!(refusal("{{# > p}}{{/p}}").contains("partial or a decorator"));
    }

    #[test]
    fn thirteen_hundred_nested_blocks_are_refused_before_they_are_parsed() {
        let nested = |n: usize| format!("{}x{}", "{{#if a}}".repeat(n), "{{/if}}".repeat(n));
        assert!(refusal(&nested(900)).contains("nests deeper"));
        assert!(refusal(&nested(1_300)).contains("larger than"));
        assert!(refusal(&"{{#if a}}".repeat(1_300)).contains("nests deeper"));
        assert!(
            refusal(&format!("{{{{#if a}}}}x{}{{{{/if}}}}", "{{else if a}}x".repeat(100))).contains("nests")
        );
        assert!(check("t", &nested(MAX_DEPTH), &shape()).is_ok());
    }

    #[test]
    fn the_each_bomb_stops_at_the_output_bound() {
        let nested = "{{#each @root.a}}".repeat(3);
        let bomb = format!("{{{{#each a}}}}{nested}xxxxxxx{}", "{{/each}}".repeat(4));
        assert_eq!(bomb.len(), 105);
        let level = json!({"a": vec![1; 100]});
        let mut engine = Handlebars::new();
        engine.register_template_string("bomb", &bomb).unwrap();
        let stopped = bounded_render(&engine, "bomb", &level).unwrap_err();
        assert!(matches!(stopped, TemplateError::Render { .. }), "{stopped}");
    }

    #[test]
    fn a_misspelt_condition_is_refused_and_not_silently_false() {
        assert!(refusal("{{#if lst}}x{{/if}}").contains("names lst"));
        assert!(refusal("{{#each list}}{{nam}}{{/each}}").contains("names nam"));
        assert!(refusal("{{#unless a}}{{else}}{{b}}{{/unless}}").contains("names b"));
    }

    #[test]
    fn nothing_but_the_context_can_be_read() {
        for text in [
            "{{env \"X\"}}",
            "{{now}}",
            "{{lookup @root \"token\"}}",
            "{{#with a}}x{{/with}}",
            "{{log a}}",
            "{{@root.a}}",
            "{{../a}}",
            "{{#if (eq a \"x\")}}y{{/if}}",
            "{{{{raw}}}}x{{{{/raw}}}}",
            "{{#each list as |x|}}y{{/each}}",
            "{{#each a}}y{{/each}}",
        ] {
            refusal(text);
        }
    }

    #[test]
    fn loops_over_lists_and_their_names_are_fine() {
        let names = "{{a}}{{#each list}}{{name}}{{#unless @last}}, {{/unless}}{{/each}}";
        check("t", names, &shape()).unwrap();
        check("t", "{{#each words}}{{this}}{{/each}}", &shape()).unwrap();
    }
}
