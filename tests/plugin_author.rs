//! What the author of a plugin does with the binary.

use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Ended, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![rule("plugin: inspect shows what a plugin asks for, without a project", inspect_needs_no_project)]
}

/// The binary in a folder, without a project.
fn affluent(folder: &std::path::Path, arguments: &[&str]) -> Result<Ended, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affluent"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    Ok(Ended::of(command.output()?))
}

fn inspect_needs_no_project() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;

    let shown = affluent(folder.path(), &["plugin", "inspect", "jsonl"])?.expect(0)?.stdout;
    let json = affluent(folder.path(), &["plugin", "inspect", "jsonl", "--output", "json"])?.expect(0)?.stdout;

    holds(shown.starts_with("jsonl 0.1.0 (source, destination)"), &shown)?;
    holds(shown.contains("affluent:plugin/files@0.1.0"), &shown)?;
    let json: Value = serde_json::from_str(&json)?;
    same("contract", json["contract"].as_str(), Some("0.1.0"))?;
    same("length of the digest", json["digest"].as_str().map(str::len), Some(64))?;
    affluent(folder.path(), &["plugin", "inspect", "missing.wasm"])?.expect(2)?.says("E0501")?;
    affluent(folder.path(), &["plugin", "inspect", "jsonk"])?.expect(2)?.says("did you mean `jsonl`")?;
    Ok(())
}
