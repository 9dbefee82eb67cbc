//! What `affluent plugin new` writes, as lists in the binary: the templates, the contract, and the SDK as a crate that
//! stands alone. The SDK's manifest leans on the workspace; the copy has what is written there in its place.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Writes `plugin_files.rs`: `TEMPLATES`, `SDK` and `WIT`, each a list of (path, text).
pub(crate) fn write_plugin_files(root: &Path, out: &Path) -> Result<()> {
    let templates = root.join("runtime/cli/templates/plugin");
    println!("cargo:rerun-if-changed={}", templates.display());
    let mut text = list("TEMPLATES", &files_below(&templates)?, &templates)?;
    let wit = root.join("schemas/wit/v0.1");
    text.push_str(&list("WIT", &files_below(&wit)?, &wit)?);
    text.push_str(&sdk(root, out)?);
    fs::write(out.join("plugin_files.rs"), text)?;
    Ok(())
}

/// The SDK's sources, those of crates inside its folder too, and their manifests made to stand alone.
fn sdk(root: &Path, out: &Path) -> Result<String> {
    let folder = root.join("plugins/sdk");
    let workspace = fs::read_to_string(root.join("Cargo.toml"))?;
    let copies = out.join("sdk");
    let mut entries = Vec::new();
    for path in files_below(&folder)? {
        let inner = path.strip_prefix(&folder)?.to_path_buf();
        if inner.ends_with("Cargo.toml") {
            let copy = copies.join(&inner);
            fs::create_dir_all(copy.parent().ok_or("a file has a folder")?)?;
            fs::write(&copy, alone(&fs::read_to_string(&path)?, &workspace)?)?;
            entries.push((inner, copy));
        } else if inner.components().any(|part| part.as_os_str() == "src") {
            entries.push((inner, path));
        }
    }
    Ok(entry_list("SDK", &entries))
}

/// A manifest without its lints, tests and workspace: what it inherits is written out.
fn alone(manifest: &str, workspace: &str) -> Result<String> {
    let (mut text, mut section) = (String::new(), "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if matches!(section, "[lints]" | "[dev-dependencies]") {
            continue;
        }
        let inherited = if section == "[package]" { "[workspace.package]" } else { "[workspace.dependencies]" };
        match line.split_once(".workspace = true") {
            Some((name, _)) => text.push_str(&written_out(workspace, inherited, name)?),
            None if line.contains("workspace = true") => {
                return Err(format!("the SDK's copy cannot inherit: write `{line}` as `NAME.workspace = true`").into());
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(text)
}

/// The line of the workspace's manifest that gives a name its value.
fn written_out(workspace: &str, section: &str, name: &str) -> Result<String> {
    let body = workspace.split_once(&format!("{section}\n")).map(|(_, after)| after).unwrap_or_default();
    let mut lines = body.lines().take_while(|line| !line.starts_with('['));
    let found = lines.find(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')));
    let line = found.ok_or_else(|| format!("{section} has no `{name}`"))?;
    if line.contains("path =") {
        return Err(format!("the SDK stands alone: `{name}` must be a crate of the registry or inside its folder").into());
    }
    Ok(line.to_owned())
}

fn list(name: &str, files: &[PathBuf], folder: &Path) -> Result<String> {
    let mut entries = Vec::new();
    for path in files {
        entries.push((path.strip_prefix(folder)?.to_path_buf(), path.clone()));
    }
    Ok(entry_list(name, &entries))
}

fn entry_list(name: &str, entries: &[(PathBuf, PathBuf)]) -> String {
    let mut text = format!("const {name}: &[(&str, &str)] = &[\n");
    for (inner, path) in entries {
        text.push_str(&format!("    ({:?}, include_str!({:?})),\n", inner.display().to_string(), path.display().to_string()));
    }
    text.push_str("];\n");
    text
}

/// Every file below a folder, sorted; what tools leave behind is left out.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if matches!(name.as_str(), "target" | "node_modules" | "dist" | "__pycache__") {
            continue;
        }
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}
