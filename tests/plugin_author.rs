//! What the author of a plugin does with the binary: the guide of `plugins/README.md`, command for command, in an empty
//! folder outside of the repository. The guides to JavaScript and Python fetch hundreds of megabytes from npm and PyPI:
//! they are shown as ignored unless `AFFLUENT_TEST_LANGUAGES` is set.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Ended, holds, root, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    let is_short = std::env::var_os("AFFLUENT_TEST_LANGUAGES").is_none();
    vec![
        rule("plugin: inspect shows what a plugin asks for, without a project", inspect_needs_no_project),
        rule("plugin: new refuses a bad name and a folder that is there", new_refuses),
        rule("plugin: build says what is missing", build_says_what_is_missing),
        rule("plugin: the guide works as it is written", || guide("## A paged source in 15 minutes", "acme-crm")),
        rule("plugin: the guide to JavaScript works as it is written", || guide("### The same in JavaScript", "acme-js"))
            .with_ignored_flag(is_short),
        rule("plugin: the guide to Python works as it is written", || guide("### The same in Python", "acme-py"))
            .with_ignored_flag(is_short),
    ]
}

const BINARY: &str = env!("CARGO_BIN_EXE_affluent");

/// The binary in a folder, without a project.
fn affluent(folder: &Path, arguments: &[&str]) -> Result<Ended, Failed> {
    let mut command = Command::new(BINARY);
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

fn new_refuses() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;

    affluent(folder.path(), &["plugin", "new", "source", "Acme"])?.expect(2)?.says("E0901")?;
    affluent(folder.path(), &["plugin", "new", "transform", "acme"])?.expect(0)?;
    affluent(folder.path(), &["plugin", "new", "transform", "acme"])?.expect(2)?.says("E0902")?;
    Ok(())
}

fn build_says_what_is_missing() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    affluent(folder.path(), &["plugin", "build"])?.expect(2)?.says("E0903")?;
    for (lang, tool) in [("rust", "rustc"), ("javascript", "npm"), ("python", "python3")] {
        affluent(folder.path(), &["plugin", "new", "transform", lang, "--lang", lang])?.expect(0)?;
        let mut build = Command::new(BINARY);
        build.args(["plugin", "build", lang]).current_dir(folder.path()).env("PATH", folder.path());
        Ended::of(build.output()?).expect(2)?.says("E0904")?.says(&format!("`{tool}` is not installed"))?;
    }
    Ok(())
}

/// Runs the commands of a section of the guide, and looks at what they leave.
fn guide(section: &str, name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let commands = commands_of(section)?;
    write_shim(folder.path())?;

    let ended = run_script(folder.path(), &commands)?.expect(0)?;

    let customers = fs::read_to_string(folder.path().join(name).join("out/customers-1.jsonl")).unwrap_or_default();
    same("customers read", customers.lines().count(), 250)?;
    holds(customers.starts_with("{\"id\":1,\"email\":\"customer1@example.org\""), &customers)?;
    holds(folder.path().join(name).join("dist").join(format!("{name}.wasm")).is_file(), "there is no component")?;
    holds(ended.stdout.contains("250"), &ended.stdout)?;
    if commands.contains("plugin inspect") {
        let changes = fs::read_to_string(folder.path().join(name).join("out/customers-2.jsonl")).unwrap_or_default();
        same("customers of the second run", changes.lines().count(), 0)?;
        holds(ended.stdout.contains("api_token"), &ended.stdout)?;
    }
    Ok(())
}

/// The commands between the section's heading and the next heading.
fn commands_of(section: &str) -> Result<String, Failed> {
    let readme = fs::read_to_string(root().join("plugins/README.md"))?;
    let (_, after) = readme.split_once(&format!("{section}\n")).ok_or("the guide has no such section")?;
    let text = after.split("\n#").next().unwrap_or_default();
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split_once("```").map(|(commands, _)| commands));
    let commands: String = blocks.collect();
    holds(commands.lines().count() >= 5, format!("{section} has too few commands: {commands}"))?;
    Ok(commands)
}

/// `affluent` on the path: the binary, which moves a new plugin's service to a free port, so that tests do not meet there.
fn write_shim(folder: &Path) -> Result<(), Failed> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let shim = folder.join("bin/affluent");
    fs::create_dir_all(folder.join("bin"))?;
    let move_port = format!("grep -rl --exclude-dir=sdk 8700 . | grep -v '^./bin' | xargs sed -i 's/8700/{port}/g'");
    fs::write(&shim, format!("#!/bin/sh\nset -e\n'{BINARY}' \"$@\"\nif [ \"$1 $2\" = 'plugin new' ]; then {move_port}; fi\n"))?;
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Runs commands as a shell does, in a process group that is ended with them: services were started in the background.
fn run_script(folder: &Path, commands: &str) -> Result<Ended, Failed> {
    let path = std::env::var("PATH")?;
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", commands]).current_dir(folder).process_group(0).stdin(Stdio::null());
    shell.env("PATH", format!("{}:{path}", folder.join("bin").display())).env("NO_COLOR", "1");
    shell.env("CARGO_TARGET_DIR", guide_target());
    let (out, errors) = (folder.join("stdout.txt"), folder.join("stderr.txt"));
    // Files, not pipes: what was started in the background holds them open.
    shell.stdout(fs::File::create(&out)?).stderr(fs::File::create(&errors)?);
    let mut child = shell.spawn()?;
    let status = child.wait()?;
    Command::new("kill").args(["-TERM", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status()?;
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    Ok(Ended::of(std::process::Output { status, stdout: read(&out), stderr: read(&errors) }))
}

/// Where the guide's cargo builds: kept between runs beside the binary, so that only the plugin itself is compiled again.
fn guide_target() -> PathBuf {
    Path::new(BINARY).ancestors().nth(2).map_or_else(std::env::temp_dir, |target| target.join("plugin-guide"))
}
