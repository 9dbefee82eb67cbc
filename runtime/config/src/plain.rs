//! YAML files that are no part of a project, such as what a plugin is tested with: the same checks of the bytes, no
//! references, no plan.

use std::path::Path;

use affluent_model::diagnostic::Diagnostic;
use serde::Deserialize;

use crate::mistake::{self, FileReport};
use crate::node::Place;
use crate::{Sources, prescan, yaml};

/// Reads a YAML or JSON document (JSON is YAML) as plain data.
///
/// # Errors
/// Every mistake of the syntax with its place.
pub fn plain_yaml(file: &Path, bytes: &[u8]) -> Result<serde_json::Value, Vec<Diagnostic>> {
    let mut report = FileReport::new(file);
    let tree = prescan::scan(bytes, &mut report).and_then(|text| yaml::parse(text, &mut report));
    let value = tree.as_ref().filter(|_| report.is_clean()).map(serde_json::Value::deserialize);
    match value {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => {
            report.add(mistake::SYNTAX, Place::START, format!("not plain data: {error}"));
            Err(finished(file, bytes, report))
        }
        None => Err(finished(file, bytes, report)),
    }
}

fn finished(file: &Path, bytes: &[u8], report: FileReport) -> Vec<Diagnostic> {
    let mut sources = Sources::default();
    sources.texts.insert(file.to_owned(), String::from_utf8_lossy(bytes).into_owned());
    mistake::finish(report.diagnostics, &sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_plain_data_and_a_mistake_has_its_place() {
        let read = |text: &str| plain_yaml(Path::new("contract.yaml"), text.as_bytes());

        assert_eq!(
            read("a: [1, 2.5, null]\nb: {c: yes it is}").unwrap(),
            serde_json::json!({"a": [1, 2.5, null], "b": {"c": "yes it is"}})
        );
        assert_eq!(read("{\"a\": true}").unwrap(), serde_json::json!({"a": true}));
        assert_eq!(read("a: [1\nb: 2").unwrap_err().first().map(|mistake| mistake.at.line), Some(2));
    }
}
