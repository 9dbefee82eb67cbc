//! Builds the plugins that belong to the product for wasm32-wasip2 and embeds them, so that `cargo build`, `cargo run`
//! and `cargo test` need no other command and the binary needs no other file. Under `cargo check` and clippy nothing
//! is built: an empty list is embedded, and because the plugin files are then missing, the next real build runs again.
//! A folder under `plugins/` takes part when its manifest says `[package.metadata.affluent] embed = true`.

#[path = "build/author.rs"]
mod author;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

/// What guests are compiled for.
const GUEST_TARGET: &str = "wasm32-wasip2";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not inside a target folder")?.to_path_buf();
    write_error_pages(&root.join("schemas/errors"), &out)?;
    author::write_plugin_files(&root, &out)?;
    let plugins = embedded_plugins(&root.join("plugins"))?;
    for watched in ["plugins", "schemas/wit", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    let built: Vec<(String, PathBuf)> =
        plugins.iter().map(|name| (name.clone(), target.join("plugins").join(format!("{name}.wasm")))).collect();
    for (_, file) in &built {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    if is_only_checking() {
        // Gone, they make the next real build run again; there, it would keep the empty list.
        for (_, file) in built.iter().filter(|(_, file)| file.exists()) {
            fs::remove_file(file)?;
        }
        return write_list(&out, &[]);
    }
    build_guests(&root, &target, &plugins)?;
    let newest = newest_change(&root.join("plugins"))?;
    for (name, file) in &built {
        let guest = target.join("plugin-build").join(GUEST_TARGET).join("plugin").join(format!("affluent_plugin_{name}.wasm"));
        copy_as_of(&guest, file, newest)?;
    }
    write_list(&out, &built)
}

/// The pages that `affluent explain` prints.
fn write_error_pages(folder: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path));
        }
    }
    pages.sort();
    let mut text = String::from("/// Code and page of every error.\nconst ERROR_PAGES: &[(&str, &str)] = &[\n");
    for (code, path) in pages {
        text.push_str(&format!("    ({code:?}, include_str!({:?})),\n", path.display().to_string()));
    }
    text.push_str("];\n");
    fs::write(out.join("error_pages.rs"), text)?;
    Ok(())
}

/// Names of the folders whose manifest asks to be embedded, sorted.
fn embedded_plugins(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(manifest) = fs::read_to_string(entry.path().join("Cargo.toml")) else { continue };
        if manifest.contains("[package.metadata.affluent]") && manifest.contains("embed = true") {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Clippy announces itself; for `cargo check` the command line of the parent process is looked at where the system
/// shows it. In doubt the guests are built: slower, never wrong.
fn is_only_checking() -> bool {
    println!("cargo:rerun-if-env-changed=RUSTC_WORKSPACE_WRAPPER");
    if env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some() {
        return true;
    }
    let parent = std::os::unix::process::parent_id();
    let Ok(line) = fs::read(format!("/proc/{parent}/cmdline")) else { return false };
    line.split(|byte| *byte == 0).take(4).any(|word| word == b"check" || word == b"clippy" || word == b"c")
}

/// The standard library of the guests. rustup fetches it as `rust-toolchain.toml` says, unless it was told to fetch
/// nothing by itself: then it is asked to.
fn add_target(root: &Path) -> Result<(), Box<dyn Error>> {
    let mut rustc = Command::new(env::var_os("RUSTC").ok_or("RUSTC is not set")?);
    let found = rustc.current_dir(root).args(["--print", "target-libdir", "--target", GUEST_TARGET]).output()?;
    if Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").current_dir(root).args(["target", "add", GUEST_TARGET]).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("the plugins need the target {GUEST_TARGET}: `rustup target add {GUEST_TARGET}`").into()),
    }
}

/// A nested cargo with its own target folder: the outer one holds the lock of its own.
fn build_guests(root: &Path, target: &Path, plugins: &[String]) -> Result<(), Box<dyn Error>> {
    add_target(root)?;
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo.current_dir(root).args(["build", "--quiet", "--locked", "--profile", "plugin", "--target", GUEST_TARGET]);
    cargo.arg("--target-dir").arg(target.join("plugin-build"));
    for name in plugins {
        cargo.arg("-p").arg(format!("affluent-plugin-{name}"));
    }
    let inherited = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC",
        "RUSTDOC",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ];
    for name in inherited {
        cargo.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_FEATURE_") || name.to_string_lossy().starts_with("CARGO_CFG_") {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("building the plugins failed ({status})").into());
    }
    Ok(())
}

fn newest_change(folder: &Path) -> Result<SystemTime, Box<dyn Error>> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let changed = if entry.file_type()?.is_dir() { newest_change(&entry.path())? } else { entry.metadata()?.modified()? };
        newest = newest.max(changed);
    }
    Ok(newest)
}

/// Copies the guest and dates it as old as its newest source, so that its making does not look like a change to it.
fn copy_as_of(guest: &Path, file: &Path, date: SystemTime) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(file.parent().ok_or("a plugin file has a folder")?)?;
    let bytes = fs::read(guest).map_err(|error| format!("{}: {error}", guest.display()))?;
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(file, bytes)?;
    fs::File::options().write(true).open(file)?.set_modified(date)?;
    Ok(())
}

fn write_list(out: &Path, built: &[(String, PathBuf)]) -> Result<(), Box<dyn Error>> {
    let mut text =
        String::from("/// Plugins inside the binary: name and component.\npub(crate) const EMBEDDED: &[(&str, &[u8])] = &[\n");
    for (name, file) in built {
        text.push_str(&format!("    ({name:?}, include_bytes!({:?})),\n", file.display().to_string()));
    }
    text.push_str("];\n");
    fs::write(out.join("embedded.rs"), text)?;
    Ok(())
}
