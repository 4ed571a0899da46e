//! Reads the sources and fails when a room imports upward or sideways.
//!
//! The picture is in `src/lib.rs`; [`LEVELS`] is the same picture as data. Code under `#[cfg(test)]` is exempt:
//! a test may build its room's surroundings from anywhere.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Rooms from the lowest to the highest. Rooms on one line are blind to each other.
const LEVELS: &[&[&str]] = &[
    &["problem"],
    &["secret"],
    &["time"],
    &["telemetry"],
    &["egress"],
    &["domain"],
    &["provider", "render", "routing", "destination", "store"],
    &["intake", "watch", "announce", "deliver"],
    &["api"],
    &["config"],
    &["app"],
    &["simulate"],
    &["cli"],
    &["main"],
];

/// Files of the domain: a later one may use an earlier one.
const DOMAIN: &[&str] = &["request", "scan", "report", "notification", "delivery"];

#[test]
fn no_room_imports_upward_or_sideways() {
    let sources = read_sources();
    let violations: Vec<String> = sources
        .iter()
        .filter(|source| !source.test)
        .flat_map(|source| violations_in(&source.file, &source.module, &source.ast))
        .collect();
    assert!(
        violations.is_empty(),
        "imports against the picture in src/lib.rs:\n{}\n{} in all",
        violations.join("\n"),
        violations.len()
    );
}

#[test]
fn every_file_of_src_is_part_of_the_crate_and_every_room_has_its_place() {
    let sources = read_sources();
    let seen: BTreeSet<&Path> = sources.iter().map(|source| source.file.as_path()).collect();
    let inside = |file: PathBuf| file.strip_prefix(root()).expect("it was found under the root").to_owned();
    let orphans: Vec<PathBuf> = files_under(&root().join("src"))
        .into_iter()
        .map(inside)
        .filter(|file| !seen.contains(file.as_path()))
        .collect();
    assert!(orphans.is_empty(), "no `mod` names these files: {orphans:?}");
    for source in &sources {
        if let Some(room) = source.module.first() {
            assert!(level(room).is_some(), "{}: room `{room}` has no place in the picture", source.file.display());
        }
    }
}

#[test]
fn an_import_against_the_picture_is_found_wherever_it_hides() {
    for (module, code) in [
        ("store::sqlite", "use crate::provider::Profile;"),
        ("store", "use crate::{problem::Problem, watch::step};"),
        ("watch", "use crate::intake;"),
        ("watch", "fn f() { crate::app::run(); }"),
        ("watch", "use super::deliver as other;"),
        ("provider::extract", "use super::super::render::Engine;"),
        ("provider", "use super::*;"),
        ("routing", "fn f() -> crate::config::Settings { g() }"),
        ("routing", "fn f() { println!(\"{}\", crate::cli::NAME); }"),
        ("routing", "#[serde(with = \"crate::api::as_text\")] struct S;"),
        ("routing", "mod inner { use super::super::store::Store; }"),
        ("domain::scan", "use super::report::Report;"),
        ("domain::scan", "use crate::domain::delivery::Verdict;"),
        ("telemetry", "use scanbell::egress::Client;"),
        ("secret", "impl crate::time::Clock for S {}"),
    ] {
        assert_eq!(found(module, code).len(), 1, "{module}: {code}: {:?}", found(module, code));
    }
}

#[test]
fn an_import_along_the_picture_is_allowed() {
    for (module, code) in [
        ("main", "fn main() { scanbell::cli::main() }"),
        ("store::sqlite", "use super::Store; use crate::domain::report::Report; use crate::time::Clock;"),
        ("deliver", "use crate::{destination::Sender, store::{self, Store}, telemetry::metrics};"),
        ("domain::delivery", "use super::{notification::Content, scan}; use crate::time;"),
        ("config", "use crate::api::Settings; use crate::provider;"),
        ("routing", "#[cfg(test)] mod tests { use super::*; use crate::store::sqlite; use crate::simulate; }"),
        ("routing", "#[cfg(test)] use crate::config; #[test] fn t() { crate::app::run() }"),
        ("routing", "mod inner { use super::Rule; } pub(crate) fn f(store: u8) { self::inner::g(store) }"),
        ("routing", "/// See [`crate::app`].\nuse std::store::config;"),
    ] {
        assert_eq!(found(module, code), Vec::<String>::new(), "{module}: {code}");
    }
}

#[test]
fn a_violation_names_file_and_line_and_both_rooms() {
    assert_eq!(
        found("watch", "\n\nuse crate::intake::Accept;"),
        ["src/x.rs:3: `watch` must not use `intake`: they are on one level (crate::intake::Accept)"]
    );
}

fn found(module: &str, code: &str) -> Vec<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    violations_in(Path::new("src/x.rs"), &module, &syn::parse_file(code).expect("the example is Rust"))
}

/// One file of the crate.
struct Source {
    /// From the root of the repository.
    file: PathBuf,
    /// `["store", "sqlite"]`; `["main"]` for the binary, empty for `lib.rs`.
    module: Vec<String>,
    /// It is compiled for tests only.
    test: bool,
    ast: syn::File,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Follows the `mod` items from `lib.rs` and `main.rs` as the compiler does.
fn read_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    read_module(Path::new("src/lib.rs"), Path::new("src"), &[], false, &mut sources);
    read_module(Path::new("src/main.rs"), Path::new("src"), &["main".to_owned()], false, &mut sources);
    sources
}

/// Reads one file; `children` is the folder where its own modules lie.
fn read_module(file: &Path, children: &Path, module: &[String], in_test: bool, sources: &mut Vec<Source>) {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let ast = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for item in &ast.items {
        let syn::Item::Mod(item) = item else { continue };
        if item.content.is_some() {
            continue;
        }
        let name = item.ident.to_string();
        let flat = children.join(format!("{name}.rs"));
        let nested = children.join(&name).join("mod.rs");
        let child = if root().join(&flat).exists() { flat } else { nested };
        let module: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
        read_module(&child, &children.join(&name), &module, in_test || is_test(&item.attrs), sources);
    }
    sources.push(Source { file: file.to_owned(), module: module.to_vec(), test: in_test, ast });
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}

/// Why `from` must not use `to`; both are whole module paths.
fn objection(from: &[String], to: &[String]) -> Option<String> {
    let (from_room, to_room) = (from.first()?, to.first()?);
    let (from_level, to_level) = (level(from_room)?, level(to_room)?);
    if from_room == to_room {
        let place = |path: &[String]| DOMAIN.iter().position(|file| path.get(1).is_some_and(|name| name == file));
        let (from_file, to_file) = (place(from)?, place(to)?);
        let later = from_room == "domain" && to_file > from_file;
        return later.then(|| format!("`{}` must not use `{}`: it comes later in the domain", from[1], to[1]));
    }
    let why = match to_level.cmp(&from_level) {
        std::cmp::Ordering::Less => return None,
        std::cmp::Ordering::Equal => "they are on one level",
        std::cmp::Ordering::Greater => "that is upward",
    };
    Some(format!("`{from_room}` must not use `{to_room}`: {why}"))
}

/// Every import of the file that the picture forbids, as `file:line: sentence (path)`.
fn violations_in(file: &Path, module: &[String], ast: &syn::File) -> Vec<String> {
    let mut finder = Finder { module: module.to_vec(), used: Vec::new() };
    finder.visit_file(ast);
    let from = module;
    let mut violations = Vec::new();
    for used in &finder.used {
        let why = match &used.target {
            // `lib.rs` declares everything; others that reach the crate's root by `*` reach everything too.
            Some(to) if to.is_empty() && !from.is_empty() => Some("must not import the whole crate".to_owned()),
            Some(to) => objection(from, to),
            None => None,
        };
        violations.extend(why.map(|why| format!("{}:{}: {why} ({used})", file.display(), used.line)));
    }
    violations
}

/// A path found in the code.
struct Used {
    line: usize,
    /// As written.
    written: Vec<String>,
    /// From the crate's root; `None` if it does not lead into this crate.
    target: Option<Vec<String>>,
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written.join("::"))
    }
}

/// Collects the paths of one file that lead into this crate.
struct Finder {
    /// The module that is being read; grows and shrinks with inline modules.
    module: Vec<String>,
    used: Vec<Used>,
}

impl Finder {
    /// Notes a path of two or more parts; single names are local or already imported.
    fn note(&mut self, written: Vec<String>, line: usize) {
        if written.len() > 1 {
            let target = self.resolve(&written);
            self.used.push(Used { line, written, target });
        }
    }

    /// From the crate's root, without a final `*` or `self`.
    fn resolve(&self, written: &[String]) -> Option<Vec<String>> {
        let mut place = match written.first()?.as_str() {
            "crate" | "scanbell" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            _ => return None,
        };
        for name in &written[1..] {
            match name.as_str() {
                "super" => drop(place.pop()),
                "self" | "*" => {}
                name => place.push(name.to_owned()),
            }
        }
        Some(place)
    }

    /// Finds `crate::a::b` among the tokens of a macro call or an attribute, also inside its strings.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident),
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                other => {
                    self.note_idents(&std::mem::take(&mut path));
                    match other {
                        TokenTree::Ident(ident) => path.push(ident),
                        TokenTree::Group(group) => self.note_tokens(group.stream()),
                        TokenTree::Literal(literal) => self.note_literal(&literal),
                        TokenTree::Punct(_) => {}
                    }
                }
            }
            colons = 0;
        }
        self.note_idents(&path);
    }

    fn note_idents(&mut self, path: &[Ident]) {
        let Some(first) = path.first() else { return };
        self.note(path.iter().map(Ident::to_string).collect(), first.span().start().line);
    }

    /// `#[serde(with = "crate::time::as_text")]`.
    fn note_literal(&mut self, literal: &proc_macro2::Literal) {
        let text = literal.to_string();
        let text = text.trim_matches('"');
        if text.starts_with("crate::") && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            self.note(text.split("::").map(str::to_owned).collect(), literal.span().start().line);
        }
    }

    fn note_use(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |ident: &Ident| [prefix, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(with(&name.ident), name.ident.span().start().line),
            syn::UseTree::Rename(rename) => self.note(with(&rename.ident), rename.ident.span().start().line),
            syn::UseTree::Glob(glob) => {
                self.note([prefix, &["*".to_owned()]].concat(), glob.star_token.spans[0].start().line);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(prefix, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.note(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), line);
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(in crate::x)` names an ancestor and imports nothing.
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.note_tokens(list.tokens.clone());
        }
    }
}

/// Whether it is compiled for tests only: `#[cfg(test)]`, `#[test]`, `#[tokio::test]` and their like.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
        }
        meta => meta.path().segments.last().is_some_and(|segment| segment.ident == "test"),
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
