//! Which file of a crate imports from which: the arrows that invariants 4 and 7 speak of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The path of a module within its crate. The root's is empty.
type Module = Vec<String>;

/// The imports of one crate, tests left out.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// For each file's module, those files' modules that it names something of.
    pub(crate) arrows: BTreeMap<Module, BTreeSet<Module>>,
    /// For each file's module, the paths within the crate that it names, from the root on.
    pub(crate) named: BTreeMap<Module, BTreeSet<Module>>,
    /// For each file's module, what else stands at the beginning of a path: other crates.
    pub(crate) outside: BTreeMap<Module, BTreeSet<String>>,
}

impl Imports {
    /// Reads the sources of the crate in `folder`.
    pub(crate) fn of_crate(folder: &Path) -> Self {
        let source = folder.join("src");
        let root = if source.join("lib.rs").exists() { "lib.rs" } else { "main.rs" };
        let mut files = BTreeMap::new();
        find_files(&source, &source.join(root), &[], &mut files);
        let mut read: BTreeMap<Module, Found> = BTreeMap::new();
        for (module, file) in &files {
            let text = fs::read_to_string(file).unwrap();
            let tokens: TokenStream =
                text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let mut found = Found::default();
            found.walk(tokens);
            read.insert(module.clone(), found);
        }
        // What is compiled for tests alone may import what it likes.
        let of_tests: BTreeSet<Module> = read
            .iter()
            .flat_map(|(module, found)| {
                found
                    .test_modules
                    .iter()
                    .map(|name| [module.as_slice(), std::slice::from_ref(name)].concat())
            })
            .collect();
        let is_test = |module: &Module| of_tests.iter().any(|test| module.starts_with(test));
        read.retain(|module, _| !is_test(module));
        let mut imports = Self::default();
        for (module, found) in &read {
            let named: BTreeSet<Module> =
                found.paths.iter().filter_map(|path| from_root(module, path)).collect();
            let files_of = named.iter().filter_map(|path| defining(path, &files));
            let arrows = files_of.filter(|it| it != module && !is_test(it)).collect();
            imports.arrows.insert(module.clone(), arrows);
            imports.named.insert(module.clone(), named);
            imports.outside.insert(module.clone(), found.outside.clone());
        }
        imports
    }

    /// The arrows that are part of a circle, or lead from one to another.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut left = self.arrows.clone();
        loop {
            let targets: BTreeSet<Module> = left.values().flatten().cloned().collect();
            let before = left.len();
            // On no circle is what imports nothing that is left, nor what nothing left imports.
            left.retain(|module, to| !to.is_empty() && targets.contains(module));
            let modules: BTreeSet<Module> = left.keys().cloned().collect();
            for to in left.values_mut() {
                to.retain(|module| modules.contains(module));
            }
            if left.len() == before && left.values().all(|to| !to.is_empty()) {
                break;
            }
        }
        let arrow = |from: &Module, to: &Module| format!("{} -> {}", said(from), said(to));
        left.iter().flat_map(|(from, all)| all.iter().map(move |to| arrow(from, to))).collect()
    }
}

/// A module in a sentence.
pub(crate) fn said(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

/// Finds the files below `folder`, whose own module is `module` and is written in `file`.
fn find_files(
    folder: &Path,
    file: &Path,
    module: &[String],
    files: &mut BTreeMap<Module, PathBuf>,
) {
    files.insert(module.to_vec(), file.to_path_buf());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [module, &[name]].concat();
        if path.is_dir() {
            find_files(&path, &path.join("mod.rs"), &inner, files);
        } else if path.extension().is_some_and(|it| it == "rs")
            && !["lib", "main", "mod"].contains(&inner[module.len()].as_str())
        {
            files.insert(inner, path);
        }
    }
}

/// The `path` that is written in `module`, from the root on.
fn from_root(module: &[String], path: &[String]) -> Option<Module> {
    let mut at: Module = module.to_vec();
    let mut rest = path;
    while let [first, others @ ..] = rest {
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()?),
            _ => break,
        }
        rest = others;
    }
    at.extend_from_slice(rest);
    Some(at)
}

/// The module in whose file that stands which `path` leads to from the root. A name that a file
/// hands on from another one is that file's.
fn defining(path: &[String], files: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let ancestors = (0..=path.len()).rev().map(|n| path[..n].to_vec());
    ancestors.into_iter().find(|module| files.contains_key(module))
}

/// What one file names.
#[derive(Debug, Default)]
struct Found {
    /// Paths that begin with `crate`, `self` or `super`.
    paths: Vec<Vec<String>>,
    /// What other paths begin with.
    outside: BTreeSet<String>,
    /// The modules that it declares for tests.
    test_modules: BTreeSet<String>,
}

impl Found {
    /// Walks through `tokens`, groups within them too: macros are given paths as well.
    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_for_tests(&tokens[at..]) {
                at = self.skip_item(&tokens, at + 2);
                continue;
            }
            match &tokens[at] {
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Ident(first) if is_path(&tokens[at + 1..]) => {
                    let first = first.to_string();
                    if ["crate", "self", "super"].contains(&first.as_str()) {
                        at = self.tree(&tokens, at, &[]);
                        continue;
                    }
                    self.outside.insert(first);
                    // Its other parts are of another crate, or of a type; groups are walked.
                    while is_path(&tokens[at + 1..]) {
                        at += 3;
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Takes the path that begins at `at`, with all that stands in braces at its end; what comes
    /// behind it.
    fn tree(&mut self, tokens: &[TokenTree], at: usize, prefix: &[String]) -> usize {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => {
                let path = [prefix, &[name.to_string()]].concat();
                if is_path(&tokens[at + 1..]) {
                    return self.tree(tokens, at + 3, &path);
                }
                self.paths.push(path);
                at + 1
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma =
                    |it: &TokenTree| matches!(it, TokenTree::Punct(p) if p.as_char() == ',');
                for part in inner.split(is_comma).filter(|part| !part.is_empty()) {
                    self.tree(part, 0, prefix);
                }
                at + 1
            }
            _ => {
                self.paths.push(prefix.to_vec());
                at
            }
        }
    }

    /// Skips the item for tests at `at`, and notes which module it declares; what comes behind it.
    fn skip_item(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Ident(word) if *word == "mod" => {
                    self.test_modules.insert(tokens[at].to_string());
                }
                TokenTree::Punct(it) if it.as_char() == ';' || it.as_char() == ',' => return at,
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return at,
                _ => {}
            }
        }
        at
    }
}

/// Whether `tokens` begin with a pair of colons.
fn is_path(tokens: &[TokenTree]) -> bool {
    let is_colon = |it: &TokenTree| matches!(it, TokenTree::Punct(p) if p.as_char() == ':');
    tokens.len() >= 2 && tokens[..2].iter().all(is_colon)
}

/// Whether `tokens` begin with an attribute that leaves the next item to tests.
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return false };
    let text = attribute.stream().to_string();
    let is_test = |word: &str| word == "test";
    hash.as_char() == '#'
        && text.starts_with("cfg")
        && !text.contains("not")
        && text.split(|it: char| !it.is_alphanumeric()).any(is_test)
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let source = "
        use crate::{a::{self, B}, c};
        use tokio::net::TcpStream;
        fn f(it: super::d::E) { println!(\"{}\", crate::g::h()); }
        #[cfg(test)]
        mod tests { use crate::only_for_tests; }
        fn g() { self::i::j() }
    ";
    let mut found = Found::default();
    found.walk(source.parse().unwrap());
    let paths: Vec<String> = found.paths.iter().map(|path| path.join("::")).collect();
    let expected =
        ["crate::a::self", "crate::a::B", "crate::c", "super::d::E", "crate::g::h", "self::i::j"];
    assert_eq!(paths, expected);
    assert!(found.outside.contains("tokio") && found.test_modules.contains("tests"));
}

#[test]
fn a_circle_is_found_and_what_leads_to_it_is_not() {
    let module = |name: &str| vec![name.to_owned()];
    let arrow = |from: &str, to: &[&str]| (module(from), to.iter().map(|it| module(it)).collect());
    let arrows = [arrow("a", &["b"]), arrow("b", &["c", "d"]), arrow("c", &["b"]), arrow("d", &[])];
    let imports = Imports { arrows: arrows.into(), ..Imports::default() };
    assert_eq!(imports.circles(), ["b -> c", "c -> b"]);
}
