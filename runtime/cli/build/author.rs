//! What `affluent plugin new` writes, as lists in the binary: the templates, the contract, and the SDK, whose folder builds by
//! itself.

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

/// The SDK's sources, and its manifest without what only its own tests need.
fn sdk(root: &Path, out: &Path) -> Result<String> {
    let folder = root.join("plugins/sdk");
    let manifest = out.join("sdk-Cargo.toml");
    fs::write(&manifest, without_tests(&fs::read_to_string(folder.join("Cargo.toml"))?))?;
    let mut entries = vec![(PathBuf::from("Cargo.toml"), manifest)];
    for path in files_below(&folder.join("src"))? {
        entries.push((path.strip_prefix(&folder)?.to_path_buf(), path));
    }
    Ok(entry_list("SDK", &entries))
}

/// A manifest without its `[dev-dependencies]`: they would be locked with those of the new plugin.
fn without_tests(manifest: &str) -> String {
    let mut section = "";
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if section != "[dev-dependencies]" {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
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
