//! The contract suite run on a plugin of the program.

use libtest_mimic::Failed;
use serde_json::Value;

use super::{Project, holds, same};

/// Runs the suite with this contract file: no rule is broken, and the wanted ones were tried and hold.
pub(crate) fn keeps_the_contract(plugin: &str, contract: &str, wanted: &[&str]) -> Result<(), Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: test\n").write("contract.yaml", contract);
    let file = project.path().join("contract.yaml").display().to_string();
    let (ended, report) = project.json(&["plugin", "test", plugin, "--config", &file]);
    let rules = report["rules"].as_array().cloned().unwrap_or_default();
    let broken: Vec<&Value> = rules.iter().filter(|rule| rule["verdict"] == "failed").collect();
    holds(ended.code == 0, format!("exit code {}: {broken:?}\n{}", ended.code, ended.stderr))?;
    for wanted in wanted {
        let verdict = rules.iter().find(|rule| rule["rule"] == *wanted).and_then(|rule| rule["verdict"].as_str());
        same(wanted, verdict, Some("passed"))?;
    }
    Ok(())
}
