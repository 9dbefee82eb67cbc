//! Every folder of `tests/config` is a small broken project; `expected.txt` in it holds all its mistakes, one per line:
//! `file:line:column+length code message | help`. A folder with `catalog.json` is checked against those plugins too. `UPDATE=1`
//! rewrites the expectations.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use affluent_config::{Catalog, ExpressionPlanner, Inputs, check, check_draft, load};
use affluent_model::diagnostic::Diagnostic;
use affluent_model::expression::{ExpressionMistake, PlannedExpression};
use affluent_model::manifest::{Manifest, TargetSchema};
use affluent_model::schema::StreamSchema;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use serde::Deserialize;

fn cases_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/config")
}

/// What plugins would answer, as data.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    #[serde(default)]
    manifests: Vec<Manifest>,
    #[serde(default)]
    streams: BTreeMap<String, Vec<StreamSchema>>,
    #[serde(default)]
    targets: BTreeMap<String, Vec<TargetSchema>>,
}

impl Catalog for CatalogFile {
    fn streams(&self, connection: &str) -> Option<&[StreamSchema]> {
        self.streams.get(connection).map(Vec::as_slice)
    }

    fn targets(&self, connection: &str) -> Option<&[TargetSchema]> {
        self.targets.get(connection).map(Vec::as_slice)
    }

    fn manifest(&self, plugin: &str) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.name == plugin)
    }

    fn plugins(&self) -> Vec<String> {
        self.manifests.iter().map(|manifest| manifest.name.clone()).collect()
    }
}

/// A planner that knows columns, a few functions and comparisons, and no more.
struct WordPlanner;

const FUNCTIONS: [&str; 12] = ["count", "sum", "avg", "min", "max", "round", "lower", "now", "and", "or", "not", "interval"];

impl WordPlanner {
    fn plan(text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        let unquoted: String = text.split('\'').step_by(2).collect::<Vec<_>>().join("''");
        let mut columns: Vec<String> = Vec::new();
        for word in unquoted
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| word.starts_with(|c: char| c.is_alphabetic()))
        {
            if schema.field_with_name(word).is_ok() {
                columns.push(word.to_owned());
            } else if !FUNCTIONS.contains(&word.to_lowercase().as_str()) {
                let offset = text.find(word).and_then(|index| text.get(..index)).map(|before| before.chars().count());
                let message = format!("unknown column `{word}`");
                return Err(ExpressionMistake { message, offset, length: word.chars().count(), help: Vec::new() });
            }
        }
        columns.sort();
        columns.dedup();
        let bare_column = schema.field_with_name(text.trim()).is_ok().then(|| text.trim().to_owned());
        Ok(PlannedExpression { data_type: Self::kind(text, schema), nullable: true, columns, bare_column })
    }

    fn kind(text: &str, schema: &Schema) -> DataType {
        let whole = text.trim().trim_end_matches(')');
        let inner = whole.rsplit('(').next().unwrap_or(whole);
        match schema.field_with_name(inner) {
            _ if ["=", "<", ">", " AND ", "NOT "].iter().any(|operator| text.contains(operator)) => DataType::Boolean,
            _ if text.starts_with("count") => DataType::Int64,
            _ if text.starts_with("[") => DataType::new_list(DataType::Utf8, true),
            Ok(field) => field.data_type().clone(),
            Err(_) if text.contains("now()") => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Err(_) => DataType::Utf8,
        }
    }
}

impl ExpressionPlanner for WordPlanner {
    fn row(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        Self::plan(text, schema)
    }

    fn aggregate(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        Self::plan(text, schema)
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "SHOP" => Some("acme".to_owned()),
        "HIDDEN" => Some("never-shown".to_owned()),
        _ => None,
    }
}

fn mistakes(project: &Path) -> Vec<Diagnostic> {
    let variables = BTreeMap::from([("rows".to_owned(), "250".to_owned())]);
    let loaded = load(project, &Inputs { variables, environment: &environment });
    let Ok(catalog) = std::fs::read(project.join("catalog.json")) else { return loaded.diagnostics };
    let catalog: CatalogFile = serde_json::from_slice(&catalog).unwrap();
    match &loaded.plan {
        Some(plan) => check(plan, &catalog, &WordPlanner, &loaded.sources),
        None => check_draft(&loaded, &catalog, &WordPlanner),
    }
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    let line = |d: &Diagnostic| {
        let help = if d.help.is_empty() { String::new() } else { format!(" | {}", d.help.join(" | ")) };
        format!("{}:{}:{}+{} {} {}{help}\n", d.at.file.display(), d.at.line, d.at.column, d.at.length, d.code, d.message)
    };
    diagnostics.iter().map(line).collect()
}

fn projects(folder: &Path) -> Vec<PathBuf> {
    let mut projects: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    projects.sort();
    projects
}

#[test]
fn every_broken_project_gives_all_its_mistakes_at_their_places() {
    let mut wrong = String::new();
    for project in projects(&cases_folder()) {
        let found = rendered(&mistakes(&project));
        let file = project.join("expected.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            wrong.push_str(&format!("== {}\n-- expected\n{expected}-- found\n{found}", project.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_value_from_the_environment_and_a_misplaced_secret_are_never_shown() {
    for project in projects(&cases_folder()) {
        for diagnostic in mistakes(&project) {
            let shown = format!("{} {:?} {}", diagnostic.message, diagnostic.help, diagnostic.line_text);
            assert!(!shown.contains("never-shown"), "{} shows a hidden value: {shown}", project.display());
        }
    }
}

#[test]
fn every_code_of_the_crate_has_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("src/mistake.rs")).unwrap();
    let codes: Vec<&str> = source.lines().filter_map(|line| line.split_once("&str = \"E")?.1.split('"').next()).collect();
    assert!(codes.len() > 50);
    for code in codes {
        let page = std::fs::read_to_string(root.join(format!("../../schemas/errors/E{code}.md"))).unwrap_or_default();
        assert!(page.starts_with(&format!("# E{code}: ")), "E{code} has no page");
    }
}
