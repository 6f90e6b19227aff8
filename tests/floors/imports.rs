//! Which file of a crate uses what of which other file, re-exports followed to where a thing is defined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Item, UseTree};

/// A module's path from the crate's root, which is the empty one.
pub type Module = Vec<String>;
/// By file, the files that it takes from, with the names.
pub type Arrows = BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>;

/// One file.
#[derive(Default)]
struct Source {
    /// Names that are defined here.
    defined: BTreeSet<String>,
    children: BTreeSet<String>,
    /// Name here, path that it stands for, whether it is re-exported.
    imported: Vec<(String, Vec<String>, bool)>,
    /// Paths in the code.
    paths: Vec<Vec<String>>,
}

/// A crate's files, without tests.
#[derive(Default)]
pub struct Tree {
    sources: BTreeMap<Module, Source>,
}

impl Tree {
    /// The crate with this root, read from disk.
    pub fn of(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.read(Module::new(), root, &|path| std::fs::read_to_string(path).unwrap());
        tree
    }

    /// A crate of these files, by path; the root is `lib.rs`.
    pub fn of_texts(files: &[(&str, &str)]) -> Self {
        let files: BTreeMap<PathBuf, String> =
            files.iter().map(|(p, text)| (PathBuf::from(p), (*text).into())).collect();
        let mut tree = Self::default();
        tree.read(Module::new(), Path::new("lib.rs"), &|path| files.get(path).cloned().unwrap_or_default());
        tree
    }

    fn read(&mut self, module: Module, path: &Path, text: &dyn Fn(&Path) -> String) {
        let file = syn::parse_file(&text(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let folder = path.parent().unwrap();
        let own = path.file_name().is_some_and(|name| name == "mod.rs" || name == "lib.rs" || name == "main.rs");
        let below = if own { folder.to_owned() } else { path.with_extension("") };
        let mut source = Source::default();
        for item in file.items.iter().filter(|item| !is_test(item)) {
            match item {
                Item::Mod(inner) if inner.content.is_none() => {
                    let name = inner.ident.to_string();
                    source.children.insert(name.clone());
                    let mut child = module.clone();
                    child.push(name.clone());
                    let alone = below.join(format!("{name}.rs"));
                    let alone = if text_is_there(&alone, text) { alone } else { below.join(&name).join("mod.rs") };
                    self.read(child, &alone, text);
                }
                Item::Use(item) => {
                    let shared = !matches!(item.vis, syn::Visibility::Inherited);
                    for (name, path) in flat(&item.tree) {
                        source.imported.push((name, path, shared));
                    }
                }
                other => {
                    source.defined.extend(name_of(other));
                    Paths(&mut source.paths).visit_item(other);
                }
            }
        }
        self.sources.insert(module, source);
    }

    /// The modules.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.sources.keys()
    }

    /// What each file takes from which other file. A re-export takes nothing: whoever uses it does.
    pub fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (module, source) in &self.sources {
            let imports = source.imported.iter().filter(|(_, _, shared)| !shared).map(|(_, path, _)| path.clone());
            let inline = source.paths.iter().map(|path| Self::expand(source, path));
            for path in imports.chain(inline) {
                let Some(path) = self.absolute(module, &path) else { continue };
                let (definer, rest) = self.resolve(&path, 0);
                // A module alone is only a name: what is used of it counts.
                if let Some(name) = rest.first()
                    && definer != *module
                {
                    arrows.entry(module.clone()).or_default().entry(definer).or_default().insert(name.clone());
                }
            }
        }
        arrows
    }

    /// A path whose first name is an import: with what it stands for.
    fn expand(source: &Source, path: &[String]) -> Vec<String> {
        let first = path.first().map_or("", String::as_str);
        match source.imported.iter().find(|(name, _, _)| name == first) {
            Some((_, stands_for, _)) => stands_for.iter().chain(path.iter().skip(1)).cloned().collect(),
            None => path.to_vec(),
        }
    }

    /// The path from the crate's root; `None` for other crates and local names.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        if first == "crate" {
            return Some(path.get(1..)?.to_vec());
        }
        let mut from = module.clone();
        let mut rest = path;
        while let Some(word @ ("super" | "self")) = rest.first().map(String::as_str) {
            if word == "super" {
                from.pop();
            }
            rest = rest.get(1..)?;
        }
        let is_child = self.sources.get(module).is_some_and(|source| source.children.contains(first));
        (rest.len() < path.len() || is_child).then(|| from.into_iter().chain(rest.iter().cloned()).collect())
    }

    /// The file that defines what a path names, and the path within it.
    fn resolve(&self, path: &[String], depth: usize) -> (Module, Vec<String>) {
        let mut known = 0;
        while known < path.len() && self.sources.contains_key(&path[..=known]) {
            known += 1;
        }
        let (module, rest) = (path[..known].to_vec(), path[known..].to_vec());
        let Some((first, source)) = rest.first().zip(self.sources.get(&module)) else { return (module, rest) };
        if source.defined.contains(first) || depth > 20 {
            return (module, rest);
        }
        match source.imported.iter().find(|(name, _, _)| name == first) {
            Some((_, stands_for, _)) => match self.absolute(&module, stands_for) {
                Some(path) => {
                    self.resolve(&path.into_iter().chain(rest.into_iter().skip(1)).collect::<Vec<_>>(), depth + 1)
                }
                None => (module, rest),
            },
            None => (module, rest),
        }
    }
}

fn text_is_there(path: &Path, text: &dyn Fn(&Path) -> String) -> bool {
    path.exists() || (!path.is_absolute() && !text(path).is_empty())
}

/// Files that use each other, directly or around corners.
pub fn circles(arrows: &Arrows) -> Vec<String> {
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Module> = arrows.get(from).into_iter().flat_map(BTreeMap::keys).collect();
        while let Some(module) = open.pop() {
            if seen.insert(module) {
                open.extend(arrows.get(module).into_iter().flat_map(BTreeMap::keys));
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = arrows.keys().map(|module| (module, reach(module))).collect();
    let mut found = Vec::new();
    for (from, targets) in arrows {
        for (to, names) in targets {
            if reached.get(to).is_some_and(|back| back.contains(from)) {
                found.push(format!("{} uses {names:?} of {}", from.join("/"), to.join("/")));
            }
        }
    }
    found
}

fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Ident>().is_ok_and(|i| i == "test"))
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Const(item) => item.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Mod(item) => item.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        _ => return None,
    })
}

/// The names that a `use` brings in, each with its path.
fn flat(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    fn walk(tree: &UseTree, path: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let with = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(inner) => walk(&inner.tree, &with(&inner.ident.to_string()), found),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, path, found)),
            UseTree::Name(name) if name.ident == "self" => {
                found.push((path.last().cloned().unwrap_or_default(), path.to_vec()));
            }
            UseTree::Name(name) => found.push((name.ident.to_string(), with(&name.ident.to_string()))),
            UseTree::Rename(name) if name.ident == "self" => found.push((name.rename.to_string(), path.to_vec())),
            UseTree::Rename(name) => found.push((name.rename.to_string(), with(&name.ident.to_string()))),
            UseTree::Glob(_) => found.push(("*".to_owned(), with("*"))),
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

/// Gathers the paths of code, those in macros too.
struct Paths<'a>(&'a mut Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.0.extend(flat(&item.tree).into_iter().map(|(_, path)| path));
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        tokens(&item.tokens, self.0);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn tokens(stream: &TokenStream, found: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in stream.clone() {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    found.push(std::mem::take(&mut path));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                tokens(&group.stream(), found);
                colons = 0;
            }
            _ => colons = 0,
        }
    }
    found.push(path);
    found.retain(|path| !path.is_empty());
}
