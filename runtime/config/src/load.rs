//! A project's folder → [`Loaded`]: finds the files, reads each to its typed form, lowers it and checks what the
//! files say of each other. All mistakes of all files at once; a plan when there are none, else a draft.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use affluent_model::diagnostic::{Diagnostic, Location};
use affluent_model::limits::YAML_BYTES_MAX;
use affluent_model::lock::Lock;
use affluent_model::plan::{ComputedTrait, Connection, IdentityRules, Pipeline, Plan, Project, Segment};
use serde::de::DeserializeOwned;

use crate::file_kind::FileKind;
use crate::links;
use crate::lock::{LOCK_FILE, LOCK_HELP};
use crate::lower;
use crate::mistake::{self, FileReport, finish};
use crate::node::Node;
use crate::prescan;
use crate::references::{self, Inputs};
use crate::shape;
use crate::sources::{Sources, Subject};
use crate::yaml;

/// The file that makes a folder a project.
const PROJECT_FILE: &str = "affluent.yaml";
/// Files of one folder that are read at most.
const FOLDER_FILES_MAX: usize = 2_000;

/// What a project's files say, or what is wrong with them.
pub struct Loaded {
    /// `None` when there is any mistake.
    pub plan: Option<Plan>,
    /// Where there are mistakes: the plan of the files without any, good for [`crate::check_draft`] and for nothing
    /// else. `None` when `affluent.yaml` has one.
    pub draft: Option<Plan>,
    /// Sorted by file and position, at most 50 per file.
    pub diagnostics: Vec<Diagnostic>,
    /// Needed by [`crate::check()`] to say where things stand.
    pub sources: Sources,
}

/// Reads the project in the folder `root`.
#[must_use]
pub fn load(root: &Path, inputs: &Inputs<'_>) -> Loaded {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let mut loader = Loader::new(&root, inputs, &FileKind::ALL);
    if !root.join(PROJECT_FILE).is_file() {
        let at = Location::file_start(PROJECT_FILE);
        let diagnostic = Diagnostic::error(mistake::NO_PROJECT, format!("no `{PROJECT_FILE}` in this folder"), at);
        loader.diagnostics.push(diagnostic.help("run `affluent init`, or name the project's folder with `--project`"));
        return Loaded { plan: None, draft: None, diagnostics: loader.diagnostics, sources: loader.sources };
    }
    loader.file(Path::new(PROJECT_FILE), FileKind::Project);
    loader.folder("connections", FileKind::Connection);
    loader.folder("pipelines", FileKind::Pipeline);
    loader.profiles();
    loader.lock();
    let Loader { mut parts, sources, mut diagnostics, .. } = loader;
    let found_by_links = links::check(&parts, &sources);
    parts.leave_out(&diagnostics.iter().map(|diagnostic| diagnostic.at.file.clone()).collect());
    diagnostics.extend(found_by_links);
    let diagnostics = finish(diagnostics, &sources);
    let parts = parts.into_plan();
    let (plan, draft) = if diagnostics.is_empty() { (parts, None) } else { (None, parts) };
    Loaded { plan, draft, diagnostics, sources }
}

/// Reads `affluent.lock` alone; an empty one when there is none.
///
/// # Errors
/// Every mistake in it, with its place.
pub fn read_lock(root: &Path) -> Result<Lock, Vec<Diagnostic>> {
    let inputs = Inputs { variables: BTreeMap::new(), environment: &|_| None };
    let mut loader = Loader::new(root, &inputs, &[FileKind::Lock]);
    loader.lock();
    let Loader { parts, sources, diagnostics, .. } = loader;
    if diagnostics.is_empty() { Ok(parts.lock) } else { Err(finish(diagnostics, &sources)) }
}

/// Reads rules of identity that belong to no project: those of `affluent resolve`.
///
/// # Errors
/// Every mistake in the file, with its place.
pub fn read_identity(file: &Path, inputs: &Inputs<'_>) -> Result<IdentityRules, Vec<Diagnostic>> {
    let mut loader = Loader::new(Path::new(""), inputs, &[FileKind::Identity]);
    loader.file(file, FileKind::Identity);
    let Loader { parts, sources, mut diagnostics, .. } = loader;
    diagnostics.extend(parts.identity.iter().flat_map(lower::pairs::refused));
    match parts.identity {
        Some(identity) if diagnostics.is_empty() => Ok(identity),
        _ => Err(finish(diagnostics, &sources)),
    }
}

/// The nearest folder at or above `start` that holds `affluent.yaml`.
#[must_use]
pub fn find_root(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    start.ancestors().find(|folder| folder.join(PROJECT_FILE).is_file()).map(Path::to_owned)
}

/// What was read so far.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) project: Option<Project>,
    pub(crate) connections: BTreeMap<String, Connection>,
    pub(crate) pipelines: BTreeMap<String, Pipeline>,
    pub(crate) identity: Option<IdentityRules>,
    pub(crate) traits: Vec<ComputedTrait>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) declared: Declared,
    pub(crate) lock: Lock,
}

/// Names that files give, even files with mistakes: a reference to them is not one more mistake.
#[derive(Default)]
pub(crate) struct Declared {
    pub(crate) connections: BTreeSet<String>,
    pub(crate) pipelines: BTreeSet<String>,
    pub(crate) identifiers: BTreeSet<String>,
    pub(crate) segments: BTreeSet<String>,
    pub(crate) has_identity: bool,
    /// Kinds of which a file could not be read, so that any name may exist.
    pub(crate) unreadable: BTreeSet<FileKind>,
    /// Kinds of which a file has a mistake, so that not all it says is known.
    pub(crate) incomplete: BTreeSet<FileKind>,
}

impl Parts {
    /// Takes out what stands in these files: half of a file says something else than the whole.
    fn leave_out(&mut self, broken: &BTreeSet<PathBuf>) {
        let is_whole = |at: &Location| !broken.contains(&at.file);
        if broken.contains(Path::new(PROJECT_FILE)) {
            self.project = None;
        }
        self.connections.retain(|_, connection| is_whole(&connection.at));
        self.pipelines.retain(|_, pipeline| is_whole(&pipeline.at));
        self.traits.retain(|computed| is_whole(&computed.at));
        self.segments.retain(|segment| is_whole(&segment.at));
    }

    fn into_plan(self) -> Option<Plan> {
        let arcs = |(name, part)| (name, std::sync::Arc::new(part));
        Some(Plan {
            project: self.project?,
            connections: self.connections.into_iter().map(arcs).collect(),
            pipelines: self.pipelines.into_iter().map(|(name, part)| (name, std::sync::Arc::new(part))).collect(),
            identity: self.identity.unwrap_or_default(),
            traits: self.traits,
            segments: self.segments,
            lock: self.lock,
        })
    }
}

struct Loader<'a> {
    root: &'a Path,
    inputs: &'a Inputs<'a>,
    schemas: BTreeMap<FileKind, serde_json::Value>,
    parts: Parts,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Loader<'a> {
    fn new(root: &'a Path, inputs: &'a Inputs<'a>, kinds: &[FileKind]) -> Self {
        Self {
            root,
            inputs,
            schemas: kinds.iter().map(|kind| (*kind, kind.schema())).collect(),
            parts: Parts::default(),
            sources: Sources::default(),
            diagnostics: Vec::new(),
        }
    }

    fn lock(&mut self) {
        if self.root.join(LOCK_FILE).is_file() {
            let known = self.diagnostics.len();
            self.file(Path::new(LOCK_FILE), FileKind::Lock);
            for diagnostic in self.diagnostics.iter_mut().skip(known).filter(|diagnostic| diagnostic.help.is_empty()) {
                diagnostic.help.push(LOCK_HELP.to_owned());
            }
        }
    }

    fn folder(&mut self, name: &str, kind: FileKind) {
        for file in self.list(name) {
            self.file(&file, kind);
        }
    }

    /// The YAML files of a folder, sorted; anything else with a YAML-like name is a mistake.
    fn list(&mut self, name: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.root.join(name)) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_file())
            .map(|entry| Path::new(name).join(entry.file_name()))
            .filter(|file| !is_hidden(file))
            .collect();
        files.sort();
        if let Some(beyond) = files.get(FOLDER_FILES_MAX).cloned() {
            let message = format!("more than {FOLDER_FILES_MAX} files in `{name}`");
            self.diagnostics.push(Diagnostic::error(mistake::TOO_BIG, message, Location::file_start(beyond)));
            files.truncate(FOLDER_FILES_MAX);
        }
        let (yaml, stray): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|file| extension(file) == "yaml");
        for file in stray.into_iter().filter(|file| matches!(extension(file), "yml" | "json" | "toml")) {
            let diagnostic = Diagnostic::error(mistake::STRAY_FILE, "this file is not read", Location::file_start(file));
            self.diagnostics.push(diagnostic.help("name it with the ending `.yaml`, or move it out of this folder"));
        }
        yaml
    }

    fn profiles(&mut self) {
        let kinds = [("identity", FileKind::Identity), ("traits", FileKind::Traits), ("segments", FileKind::Segments)];
        for file in self.list("profiles") {
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            match kinds.iter().find(|(name, _)| *name == stem) {
                Some((_, kind)) => self.file(&file, *kind),
                None => {
                    let diagnostic = Diagnostic::error(mistake::STRAY_FILE, "this file is not read", Location::file_start(file));
                    self.diagnostics.push(diagnostic.help("`profiles` holds identity.yaml, traits.yaml and segments.yaml"));
                }
            }
        }
    }

    fn file(&mut self, file: &Path, kind: FileKind) {
        let mut report = FileReport::new(file);
        let tree = self.read(file, kind, &mut report);
        self.declare(kind, tree.as_ref());
        if let Some(tree) = tree {
            self.lower(kind, tree, &mut report);
        }
        if !report.is_clean() {
            self.parts.declared.incomplete.insert(kind);
        }
        self.diagnostics.append(&mut report.diagnostics);
    }

    /// The tree of a file with its references replaced.
    fn read(&mut self, file: &Path, kind: FileKind, report: &mut FileReport) -> Option<Node> {
        let bytes = match read_bytes(&self.root.join(file)) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.add(mistake::UNREADABLE, crate::node::Place::START, format!("cannot be read: {}", error.kind()));
                return None;
            }
        };
        self.sources.texts.insert(file.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        let text = prescan::scan(&bytes, report)?;
        let mut tree = yaml::parse(text, report)?;
        if kind != FileKind::Lock {
            references::resolve(&mut tree, self.schemas.get(&kind), self.inputs, report);
        }
        self.sources.hidden.append(&mut report.hidden);
        Some(tree)
    }

    fn declare(&mut self, kind: FileKind, tree: Option<&Node>) {
        let declared = &mut self.parts.declared;
        declared.has_identity |= kind == FileKind::Identity;
        let Some(tree) = tree else {
            declared.unreadable.insert(kind);
            return;
        };
        let name = |key: &str| tree.get(key).and_then(Node::text).map(str::to_owned);
        let keys = |key: &str| tree.get(key).map(Node::names).unwrap_or_default().into_iter().map(|(name, _)| name.to_owned());
        match kind {
            FileKind::Connection => declared.connections.extend(name("connection")),
            FileKind::Pipeline => declared.pipelines.extend(name("pipeline")),
            FileKind::Identity => declared.identifiers.extend(keys("identifiers")),
            FileKind::Segments => declared.segments.extend(keys("segments")),
            FileKind::Project | FileKind::Traits | FileKind::Lock => {}
        }
    }

    fn lower(&mut self, kind: FileKind, mut tree: Node, report: &mut FileReport) {
        let whole = tree.clone();
        let fits = self.schemas.get(&kind).is_some_and(|schema| shape::check(&mut tree, schema, shape::FILE, report));
        if !fits {
            return;
        }
        match kind {
            FileKind::Project => {
                let project = typed(&tree, report).map(|raw| lower::project::lower(&raw, self.root, report));
                self.parts.project = project;
            }
            FileKind::Connection => {
                if let Some(raw) = typed(&tree, report) {
                    let connection = lower::connection::lower(raw, &tree, report);
                    self.add_connection(connection, whole, report);
                }
            }
            FileKind::Pipeline => {
                let lowered = typed(&tree, report).and_then(|raw| lower::pipeline::lower(raw, &tree, report));
                if let Some(lowered) = lowered {
                    self.add_pipeline(lowered, whole, report);
                }
            }
            FileKind::Identity => {
                self.parts.identity = typed(&tree, report).map(|raw| lower::profiles::identity(&raw, self.root, report));
                self.keep(Subject::Identity, whole, report);
            }
            FileKind::Traits => {
                self.parts.traits = typed(&tree, report).map(|raw| lower::traits::traits(&raw, report)).unwrap_or_default();
                self.keep(Subject::Traits, whole, report);
            }
            FileKind::Segments => {
                self.parts.segments = typed(&tree, report).map(|raw| lower::profiles::segments(&raw, report)).unwrap_or_default();
                self.keep(Subject::Segments, whole, report);
            }
            FileKind::Lock => {
                self.parts.lock = typed(&tree, report).map(|raw| lower::lock::lower(&raw, report)).unwrap_or_default();
            }
        }
    }

    fn keep(&mut self, subject: Subject, tree: Node, report: &FileReport) {
        self.sources.trees.insert(subject, (report.file().to_owned(), tree));
    }

    fn add_connection(&mut self, connection: Connection, tree: Node, report: &mut FileReport) {
        if let Some(first) = self.parts.connections.get(&connection.name) {
            duplicate("connection", &connection.name, &first.at, connection.at, report);
            return;
        }
        self.keep(Subject::Connection(connection.name.clone()), tree, report);
        self.parts.connections.insert(connection.name.clone(), connection);
    }

    fn add_pipeline(&mut self, lowered: lower::pipeline::Lowered, tree: Node, report: &mut FileReport) {
        let pipeline = lowered.pipeline;
        if let Some(first) = self.parts.pipelines.get(&pipeline.name) {
            duplicate("pipeline", &pipeline.name, &first.at, pipeline.at, report);
            return;
        }
        for (connection, tree) in lowered.connections {
            self.parts.declared.connections.insert(connection.name.clone());
            self.add_connection(connection, tree, report);
        }
        self.keep(Subject::Pipeline(pipeline.name.clone()), tree, report);
        self.parts.pipelines.insert(pipeline.name.clone(), pipeline);
    }
}

fn duplicate(what: &str, name: &str, first: &Location, at: Location, report: &mut FileReport) {
    let message = format!("the {what} `{name}` is already defined in {}:{}", first.file.display(), first.line);
    report.push(Diagnostic::error(mistake::DUPLICATE_NAME, message, at).help("give it another name"));
}

fn extension(file: &Path) -> &str {
    file.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

fn is_hidden(file: &Path) -> bool {
    file.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'))
}

/// At most one byte more than a file may have, so that the pre-scan sees that it is too large.
fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(YAML_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The typed form of a checked tree. It cannot fail on a clean file: the schema was made from the same type.
fn typed<T: DeserializeOwned>(tree: &Node, report: &mut FileReport) -> Option<T> {
    match T::deserialize(tree) {
        Ok(raw) => Some(raw),
        Err(error) => {
            // Parts that were taken out may be missed: their mistakes are reported already.
            if report.is_clean() {
                report.add(mistake::WRONG_TYPE, tree.place, error.to_string());
            }
            None
        }
    }
}
