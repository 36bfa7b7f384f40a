//! Rust source as the checks see it: the module tree, and every path a file names.
//!
//! Comes in: file texts. Goes out: [`SourceFile`]s that know whether they are test code, and [`Reference`]s
//! resolved against the module they stand in.
//!
//! Blind spots, known and accepted: paths in string attributes (`#[serde(with = "...")]`), paths that a macro
//! assembles from pieces, methods that touch the world without naming it (`Path::exists`), and what a
//! dependency does inside.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One parsed file.
pub(crate) struct SourceFile {
    /// Relative to the root of the tree.
    pub path: String,
    pub text: String,
    pub syntax: syn::File,
    /// Module path from the crate root: `["detect", "ewma"]`.
    pub module: Vec<String>,
    /// Compiled for tests only.
    pub test: bool,
}

impl SourceFile {
    pub(crate) fn parse(path: &str, text: &str, test: bool) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|e| panic!("{path} is not Rust: {e}"));
        Self { path: path.to_owned(), text: text.to_owned(), syntax, module: module_of(path), test }
    }

    /// The room the file is in; `lib` and `main` for the two files at the top.
    pub(crate) fn room(&self) -> &str {
        let top = if self.path.ends_with("main.rs") { "main" } else { "lib" };
        self.module.first().map_or(top, String::as_str)
    }
}

/// `src/detect/ewma.rs` is `detect::ewma`; `mod.rs`, `lib.rs` and `main.rs` name their folder.
fn module_of(path: &str) -> Vec<String> {
    let below = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> = below.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// A path named in code. `crate::`, `self::` and `super::` are resolved: the first segment is then `crate`.
/// A macro's name ends with `!`; the keywords `async` and `.await` appear as themselves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub segments: Vec<String>,
    pub line: usize,
    pub test: bool,
}

/// Every path that `file` names, in `use`, types, expressions, patterns, attributes and macro arguments.
pub(crate) fn references(file: &SourceFile) -> Vec<Reference> {
    let mut collector =
        Collector { module: file.module.clone(), tests: usize::from(file.test), found: Vec::new() };
    collector.visit_file(&file.syntax);
    collector.found
}

struct Collector {
    module: Vec<String>,
    tests: usize,
    found: Vec<Reference>,
}

impl Collector {
    fn add(&mut self, segments: Vec<String>, line: usize) {
        let segments = self.resolve(segments);
        self.found.push(Reference { segments, line, test: self.tests > 0 });
    }

    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let ups = segments.iter().take_while(|it| *it == "super" || *it == "self").count();
        if ups == 0 {
            return segments;
        }
        let climbs = segments.iter().take(ups).filter(|it| *it == "super").count();
        let kept = self.module.len().saturating_sub(climbs);
        let base = self.module.iter().take(kept).cloned();
        std::iter::once("crate".to_owned()).chain(base).chain(segments.into_iter().skip(ups)).collect()
    }

    fn use_tree(&mut self, tree: &syn::UseTree, prefix: &[String]) {
        let line = tree.span().start().line;
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(it) => self.use_tree(&it.tree, &with(it.ident.to_string())),
            syn::UseTree::Group(it) => it.items.iter().for_each(|item| self.use_tree(item, prefix)),
            syn::UseTree::Glob(_) => self.add(with("*".to_owned()), line),
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let own = ident == "self" && !prefix.is_empty();
                let path = if own { prefix.to_vec() } else { with(ident.to_string()) };
                self.add(path, line);
            }
        }
    }

    /// Macro arguments are not syntax yet: any run of `ident (:: ident)*` counts as a path.
    fn tokens(&mut self, stream: TokenStream) {
        let mut run: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in stream {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.flush(&mut run, line);
                    }
                    if run.is_empty() {
                        line = ident.span().start().line;
                    }
                    run.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !run.is_empty() => colons += 1,
                TokenTree::Punct(punct) if punct.as_char() == '!' && colons == 0 => {
                    if let Some(last) = run.last_mut() {
                        last.push('!');
                    }
                    self.flush(&mut run, line);
                }
                TokenTree::Group(group) => {
                    if colons == 2 && !run.is_empty() {
                        self.grouped(&run, group.stream(), line);
                    }
                    self.flush(&mut run, line);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.flush(&mut run, line);
                    colons = 0;
                }
            }
        }
        self.flush(&mut run, line);
    }

    /// `use crate::{model, outside}` inside a macro.
    fn grouped(&mut self, prefix: &[String], stream: TokenStream, line: usize) {
        for token in stream {
            if let TokenTree::Ident(ident) = token {
                self.add(prefix.iter().cloned().chain([ident.to_string()]).collect(), line);
            }
        }
    }

    fn flush(&mut self, run: &mut Vec<String>, line: usize) {
        if !run.is_empty() {
            self.add(std::mem::take(run), line);
        }
    }

    fn guarded(&mut self, attrs: &[syn::Attribute], inside: impl FnOnce(&mut Self)) {
        let test = attrs.iter().any(is_test_only);
        self.tests += usize::from(test);
        inside(self);
        self.tests -= usize::from(test);
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.guarded(attributes(item), |it| visit::visit_item(it, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.guarded(&item.attrs, |it| visit::visit_impl_item_fn(it, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[]);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|it| it.ident.to_string()).collect();
        self.add(segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let mut segments: Vec<String> = item.path.segments.iter().map(|it| it.ident.to_string()).collect();
        if let Some(last) = segments.last_mut() {
            last.push('!');
        }
        self.add(segments, item.path.span().start().line);
        self.tokens(item.tokens.clone());
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(token) = &signature.asyncness {
            self.add(vec!["async".to_owned()], token.span.start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expr: &'ast syn::ExprAsync) {
        self.add(vec!["async".to_owned()], expr.async_token.span.start().line);
        visit::visit_expr_async(self, expr);
    }

    fn visit_expr_closure(&mut self, expr: &'ast syn::ExprClosure) {
        if let Some(token) = &expr.asyncness {
            self.add(vec!["async".to_owned()], token.span.start().line);
        }
        visit::visit_expr_closure(self, expr);
    }

    fn visit_expr_await(&mut self, expr: &'ast syn::ExprAwait) {
        self.add(vec!["await".to_owned()], expr.await_token.span.start().line);
        visit::visit_expr_await(self, expr);
    }
}

/// `#[test]`, `#[cfg(test)]`, `#[cfg(any(test, ...))]`; not `#[cfg(not(test))]`.
pub(crate) fn is_test_only(attribute: &syn::Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let text = list.tokens.to_string();
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    list.path.is_ident("cfg") && words.any(|it| it == "test") && !text.contains("not")
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(it) => &it.attrs,
        syn::Item::Enum(it) => &it.attrs,
        syn::Item::ExternCrate(it) => &it.attrs,
        syn::Item::Fn(it) => &it.attrs,
        syn::Item::Impl(it) => &it.attrs,
        syn::Item::Macro(it) => &it.attrs,
        syn::Item::Mod(it) => &it.attrs,
        syn::Item::Static(it) => &it.attrs,
        syn::Item::Struct(it) => &it.attrs,
        syn::Item::Trait(it) => &it.attrs,
        syn::Item::Type(it) => &it.attrs,
        syn::Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// The files reached by `mod` declarations from `target`, with whether only tests reach them.
/// `texts` maps every known path to its text; a declaration whose file is missing is left to the compiler.
pub(crate) fn reachable(target: &str, texts: &BTreeMap<String, String>) -> BTreeMap<String, bool> {
    let mut seen = BTreeMap::new();
    let mut queue = vec![(target.to_owned(), false)];
    while let Some((path, test)) = queue.pop() {
        let Some(text) = texts.get(&path) else { continue };
        // A file that both the program and a test declare is program code.
        if seen.get(&path).is_some_and(|known: &bool| !*known || test) {
            continue;
        }
        seen.insert(path.clone(), test);
        let file = SourceFile::parse(&path, text, test);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let stem = path.rsplit('/').next().unwrap_or("").trim_end_matches(".rs");
        let is_root = path == target || stem == "mod";
        let folder = if is_root { parent.to_owned() } else { format!("{parent}/{stem}") };
        declared(&file.syntax.items, parent, &folder, test, texts, &mut queue);
    }
    seen
}

fn declared(
    items: &[syn::Item],
    parent: &str,
    folder: &str,
    test: bool,
    texts: &BTreeMap<String, String>,
    queue: &mut Vec<(String, bool)>,
) {
    for item in items {
        let syn::Item::Mod(module) = item else { continue };
        let test = test || module.attrs.iter().any(is_test_only);
        let name = module.ident.to_string();
        if let Some((_, items)) = &module.content {
            declared(items, &format!("{folder}/{name}"), &format!("{folder}/{name}"), test, texts, queue);
            continue;
        }
        let explicit = path_attribute(&module.attrs).map(|it| format!("{parent}/{it}"));
        let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
        queue.extend(
            explicit.into_iter().chain(candidates).find(|it| texts.contains_key(it)).map(|it| (it, test)),
        );
    }
}

fn path_attribute(attrs: &[syn::Attribute]) -> Option<String> {
    attrs.iter().find(|it| it.path().is_ident("path")).and_then(|it| match &it.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => Some(text.value()),
        _ => None,
    })
}
