//! Rust: cargo alone, for wasm32-wasip2, whose output is a component already.

use std::path::{Path, PathBuf};

use affluent_model::{Error, Result};
use serde_json::Value;

use super::step::{Tool, build_failed, run};
use crate::render::screen::Screen;

const TARGET: &str = "wasm32-wasip2";
const CARGO: Tool = Tool { program: "cargo", install: "install Rust: https://rustup.rs" };
const RUSTC: Tool = Tool { program: "rustc", install: CARGO.install };
const RUSTUP: Tool = Tool { program: "rustup", install: "install the target with the tool that installed Rust" };

pub(super) fn build(folder: &Path, screen: &Screen) -> Result<PathBuf> {
    add_target(folder, screen)?;
    screen.say("building with cargo");
    let mut cargo = CARGO.command(folder);
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let messages = run(cargo, CARGO.install, screen, &build_failed("cargo"))?;
    component(&String::from_utf8_lossy(&messages)).ok_or_else(|| {
        Error::configuration("E0907", "cargo made no component").help("the library needs `crate-type = [\"cdylib\", \"rlib\"]`")
    })
}

/// The last component that cargo's messages name: that of the folder, after those it depends on.
fn component(messages: &str) -> Option<PathBuf> {
    let files = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let names = message.get("filenames")?.as_array()?.iter().filter_map(Value::as_str);
        names.filter(|name| name.ends_with(".wasm")).map(PathBuf::from).next_back()
    };
    messages.lines().filter_map(files).next_back()
}

/// The standard library of the target, added where it is missing.
fn add_target(folder: &Path, screen: &Screen) -> Result<()> {
    let missing =
        Error::configuration("E0905", format!("Rust has no target {TARGET}")).help(format!("rustup target add {TARGET}"));
    let mut rustc = RUSTC.command(folder);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = run(rustc, RUSTC.install, screen, &missing)?;
    if Path::new(String::from_utf8_lossy(&libraries).trim()).is_dir() {
        return Ok(());
    }
    screen.say(&format!("adding the target {TARGET} with rustup"));
    let mut rustup = RUSTUP.command(folder);
    rustup.args(["target", "add", TARGET]);
    run(rustup, RUSTUP.install, screen, &missing).map(drop).map_err(|_| missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_last_that_cargo_names() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib"]}
{"reason":"compiler-artifact","filenames":["/t/libacme.rlib","/t/acme.wasm"]}
{"reason":"build-finished","success":true}
not json"#;

        assert_eq!(component(messages), Some(PathBuf::from("/t/acme.wasm")));
        assert_eq!(component(r#"{"filenames":["/t/libacme.rlib"]}"#), None);
    }
}
