//! Which plugins run: the lock file, signatures, the deny list, and the places plugins are installed from. The plugin from
//! outside is the frozen component, which calls itself `hostile`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::{Project, files_below, holds, root, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("lock: a plugin from outside runs when it was approved, and only as it was", runs_as_approved),
        rule("lock: a plugin that waits for approval is underlined where it is named", is_underlined),
        rule("lock: with --locked everything is pinned already and nothing is written", locked_runs),
        rule("lock: validate writes nothing and a second run changes nothing", quiet_lock),
        rule("lock: a plugin under development runs unpinned, and never with --locked", develop),
        rule("lock: an older version is not approved by accident", downgrade),
        rule("lock: a broken lock file is told with its place", broken_lock),
        rule("lock: processes at the same time leave a whole lock file", concurrent),
        rule("lock: a denied plugin does not run even if it was approved", denied),
        rule("signature: a key signs, and verifies what it signed and nothing else", signs_and_verifies),
        rule("signature: with trusted keys an unsigned or foreign plugin is refused", trust),
        rule("install: a plugin comes whole out of a signed registry", from_registry),
        rule("install: a plugin comes whole out of an OCI layout", from_layout),
        rule("install: names that lead elsewhere are refused", paths_stay_inside),
        rule("isolation: a plugin that nobody signed runs in a process of its own, unless the project says otherwise", isolated),
        rule("isolation: a killed worker fails its run alone, and the next one goes on", killed_worker),
        rule("plugin list: tells what may run and why not", listed),
    ]
}

/// The component from outside.
fn frozen() -> PathBuf {
    root().join("tests/frozen/plugin-0.1.0.wasm")
}

/// The same plugin in other bytes: with a custom section more.
fn changed(file: &Path) -> Result<(), Failed> {
    let mut bytes = fs::read(file)?;
    bytes.extend_from_slice(&[0, 3, 1, b'x', b'y']);
    Ok(fs::write(file, bytes)?)
}

/// A project with a pipeline from the plugin to a file; `plugins` stands in affluent.yaml.
fn project(plugins: &str) -> Project {
    let project = Project::new();
    project.write("affluent.yaml", &format!("version: 1\nproject: provenance\n{plugins}"));
    project.write("pipelines/copy.yaml", PIPELINE);
    project
}

const PIPELINE: &str = "version: 1
pipeline: copy
source:
  connection: { plugin: hostile, config: {}, secrets: { token: { env: PATH } } }
  streams: { items: { sync: full_refresh, pii: { email: none } } }
destination:
  connection: { plugin: jsonl, files: { write: [out/*] }, config: { path: out/items.jsonl } }
  object: file
  mode: append
";

/// With the plugin in its folder, not approved.
fn with_plugin(plugins: &str) -> Result<Project, Failed> {
    let project = project(plugins);
    fs::create_dir_all(project.path().join("plugins"))?;
    fs::copy(frozen(), project.path().join("plugins/hostile.wasm"))?;
    Ok(project)
}

/// With the plugin approved.
fn approved(plugins: &str) -> Result<Project, Failed> {
    let project = with_plugin(plugins)?;
    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(0)?;
    Ok(project)
}

fn runs_as_approved() -> Result<(), Failed> {
    let project = with_plugin("")?;
    project.affluent(&["run"]).expect(2)?.says("E0950")?.says("affluent plugin add hostile --approve")?;
    let asked = project.affluent(&["plugin", "add", "hostile"]).expect(5)?.says("E0964")?;
    for line in ["hosts: https://hostile.test", "secrets: token", "files: yes", "limits: memory_mib 256"] {
        holds(asked.stderr.contains(line), format!("`{line}` is not shown:\n{}", asked.stderr))?;
    }
    same("lock file without approval", project.read("affluent.lock"), String::new())?;

    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(0)?;
    project.affluent(&["run"]).expect(0)?;

    same("records", project.lines_below("out").len(), 10)?;
    changed(&project.path().join("plugins/hostile.wasm"))?;
    project.affluent(&["run"]).expect(2)?.says("E0951")?.says("its digest is")?;
    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(0)?;
    project.affluent(&["run"]).expect(0)?;
    Ok(())
}

fn is_underlined() -> Result<(), Failed> {
    let ended = with_plugin("")?.affluent(&["validate"]).expect(2)?.says("E0950")?.says("pipelines/copy.yaml:4:25")?;
    holds(ended.stderr.contains("^^^^^^^"), format!("nothing is underlined:\n{}", ended.stderr))
}

fn locked_runs() -> Result<(), Failed> {
    let project = approved("")?;
    let lock = project.read("affluent.lock");
    project.affluent(&["run", "--locked"]).expect(2)?.says("E0958")?.says("plugin `jsonl` is not in affluent.lock")?;
    same("the lock file", project.read("affluent.lock"), lock)?;
    project.affluent(&["run"]).expect(0)?;

    project.affluent(&["run", "--locked"]).expect(0)?;

    let lock = project.read("affluent.lock");
    project.affluent(&["plugin", "add", "hostile", "--approve", "--locked"]).expect(2)?.says("E0958")?;
    let by_variable = project.command(&["validate"]).env("AFFLUENT_LOCKED", "1").output()?;
    same("AFFLUENT_LOCKED=1", by_variable.status.code(), Some(0))?;
    changed(&project.path().join("plugins/hostile.wasm"))?;
    project.affluent(&["run", "--locked"]).expect(2)?.says("E0958")?;
    let other_release = lock.replacen(
        "  jsonl:\n    version: \"0.1.0\"\n    source: embedded\n    sha256: \"",
        "  jsonl:\n    version: \"0.1.0\"\n    source: embedded\n    sha256: \"@",
        1,
    );
    let other_release = other_release.split('@').collect::<Vec<_>>();
    let (front, back) = (other_release[0], other_release[1]);
    project.write("affluent.lock", &format!("{front}{}{}", "0".repeat(64), &back[64..]));
    fs::copy(frozen(), project.path().join("plugins/hostile.wasm"))?;
    project.affluent(&["run", "--locked"]).expect(2)?.says("plugin `jsonl` of this program is not the one in affluent.lock")?;
    project.affluent(&["run"]).expect(0)?.says("came with this release")?;
    same("the lock file", project.read("affluent.lock"), lock)
}

fn quiet_lock() -> Result<(), Failed> {
    let project = approved("")?;
    let before = project.read("affluent.lock");
    project.affluent(&["validate"]).expect(0)?;
    project.affluent(&["plan"]).expect(0)?;
    same("after validate and plan", project.read("affluent.lock"), before)?;

    project.affluent(&["run"]).expect(0)?.says("affluent.lock pins 1 more")?;

    let after = project.read("affluent.lock");
    holds(after.contains("  jsonl:\n"), after.clone())?;
    let again = project.affluent(&["run"]).expect(0)?;
    holds(!again.stderr.contains("affluent.lock"), again.stderr)?;
    same("after a second run", project.read("affluent.lock"), after)
}

fn develop() -> Result<(), Failed> {
    let project = project("plugins: { develop: { hostile: build/x.wasm } }\n");
    fs::create_dir_all(project.path().join("build"))?;
    let file = project.path().join("build/x.wasm");
    fs::copy(frozen(), &file)?;
    project.affluent(&["run"]).expect(0)?.says("pins nothing")?;
    changed(&file)?;

    project.affluent(&["run"]).expect(0)?;

    holds(!project.read("affluent.lock").contains("hostile"), "a plugin under development is pinned")?;
    project.affluent(&["run", "--locked"]).expect(2)?.says("E0958")?.says("plugins.develop")?;
    Ok(())
}

fn downgrade() -> Result<(), Failed> {
    let project = approved("")?;
    project.write("affluent.lock", &project.read("affluent.lock").replacen("version: \"0.1.0\"", "version: \"0.2.0\"", 1));

    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(2)?.says("E0954")?;
    project.affluent(&["plugin", "add", "hostile", "--approve", "--allow-downgrade"]).expect(0)?;

    holds(project.read("affluent.lock").contains("version: \"0.1.0\""), project.read("affluent.lock"))
}

fn broken_lock() -> Result<(), Failed> {
    for (from, to, said) in [
        ("plugins:\n", "plugins: [\n", "E0103"),
        ("source: file", "source: somewhere", "affluent.lock:7:13"),
        ("https://hostile.test", "https://other.test", "E0959"),
        ("contract:", "kontract:", "E0150"),
    ] {
        let project = approved("")?;
        let text = project.read("affluent.lock");
        holds(text.contains(from), format!("the lock file lacks `{from}`:\n{text}"))?;
        project.write("affluent.lock", &text.replacen(from, to, 1));

        let ended = project.affluent(&["run"]).expect(2)?.says(said)?.says("affluent.lock:")?;

        holds(!ended.stderr.contains("E0950"), ended.stderr)?;
    }
    Ok(())
}

fn concurrent() -> Result<(), Failed> {
    let project = with_plugin("")?;
    project.affluent(&["plugin", "list"]).expect(0)?;
    let names = ["hostile", "csv", "jsonl", "shopify", "klaviyo"];
    let started: Vec<_> = names
        .map(|name| project.command(&["plugin", "add", name, "--approve", "--quiet"]).spawn())
        .into_iter()
        .collect::<Result<_, _>>()?;
    for mut process in started {
        same("exit code", process.wait()?.code(), Some(0))?;
    }
    let (ended, plugins) = project.json(&["plugin", "list"]);
    ended.expect(0)?;
    for name in names {
        let found = plugins.as_array().into_iter().flatten().find(|plugin| plugin["name"] == name);
        same(name, found.and_then(|plugin| plugin["state"].as_str()), Some("approved"))?;
    }
    let left = files_below(project.path()).into_iter().filter(|file| file.to_string_lossy().contains(".partial"));
    same("files half written", left.count(), 0)
}

fn denied() -> Result<(), Failed> {
    let digest =
        approved("")?.json(&["plugin", "add", "hostile", "--approve"]).1["sha256"].as_str().unwrap_or_default().to_owned();
    same("length of the digest", digest.len(), 64)?;
    for (entry, code) in [
        (format!("{{ sha256: {digest}, reason: it leaks }}"), 2),
        ("{ name: hostile, versions: <0.2.0, reason: it leaks }".to_owned(), 2),
        ("{ name: hostile, reason: it leaks }".to_owned(), 2),
        ("{ name: hostile, versions: '>=0.2.0' }".to_owned(), 0),
        (format!("{{ sha256: '{}' }}", "0".repeat(64)), 0),
    ] {
        let project = approved("")?;
        project.write("affluent.yaml", &format!("version: 1\nproject: provenance\nplugins: {{ deny: [{entry}] }}\n"));

        let ended = project.affluent(&["validate"]).expect(code)?;

        holds(
            code == 0 || ended.stderr.contains("E0955") && ended.stderr.contains("it leaks"),
            format!("{entry}:\n{}", ended.stderr),
        )?;
        project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(code)?;
    }
    let project = approved("")?;
    project.write("affluent.yaml", "version: 1\nproject: provenance\nplugins: { deny: [{ sha256: a, name: b }, { key: x }] }\n");
    project.affluent(&["validate"]).expect(2)?.says("E0154")?;
    Ok(())
}

/// A key in the project's folder; gives its public half.
fn key(project: &Project, file: &str) -> Result<String, Failed> {
    let path = project.path().join(file).display().to_string();
    let (ended, made) = project.json(&["plugin", "sign", "--new-key", "--no-passphrase", "--key", &path]);
    ended.expect(0)?;
    Ok(made["public"].as_str().ok_or("no public key")?.to_owned())
}

fn signs_and_verifies() -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;
    let project = with_plugin("")?;
    let public = key(&project, "a.key")?;
    let (wasm, secret) = (project.path().join("plugins/hostile.wasm"), project.path().join("a.key"));
    let (file, key_file) = (wasm.display().to_string(), secret.display().to_string());
    same("mode of the key", fs::metadata(&secret)?.permissions().mode() & 0o777, 0o600)?;
    project.affluent(&["plugin", "verify", &file, "--public-key", &public]).expect(2)?.says("E0956")?;

    project.affluent(&["plugin", "sign", &file, "--key", &key_file]).expect(0)?;

    let (ended, verified) = project.json(&["plugin", "verify", &file, "--public-key", &public]);
    ended.expect(0)?;
    same("plugin", verified["plugin"].as_str(), Some("hostile"))?;
    let other = key(&project, "b.key")?;
    project.affluent(&["plugin", "verify", &file, "--public-key", &other]).expect(2)?.says("E0956")?;
    project.affluent(&["plugin", "verify", &file]).expect(2)?.says("E0956")?;
    project.affluent(&["plugin", "sign", "--new-key", "--no-passphrase", "--key", &key_file]).expect(2)?.says("E0965")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644))?;
    project.affluent(&["plugin", "sign", &file, "--key", &key_file]).expect(2)?.says("E0965")?;
    changed(&wasm)?;
    project.affluent(&["plugin", "verify", &file, "--public-key", &public]).expect(2)?.says("E0957")?;
    Ok(())
}

fn trust() -> Result<(), Failed> {
    let project = with_plugin("")?;
    let (own, other) = (key(&project, "own.key")?, key(&project, "other.key")?);
    let file = project.path().join("plugins/hostile.wasm").display().to_string();
    let signature = project.path().join("plugins/hostile.wasm.minisig");
    let sign = |key: &str| {
        project.affluent(&["plugin", "sign", &file, "--key", &project.path().join(key).display().to_string()]).expect(0)
    };
    let trusting =
        |key: &str| project.write("affluent.yaml", &format!("version: 1\nproject: provenance\nplugins: {{ trust: [{key}] }}\n"));
    trusting(&own);
    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(2)?.says("E0956")?;
    sign("other.key")?;
    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(2)?.says("E0956")?;
    sign("own.key")?;

    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(0)?;

    holds(project.read("affluent.lock").contains("signer: \""), project.read("affluent.lock"))?;
    project.affluent(&["run"]).expect(0)?;
    let sound = fs::read_to_string(&signature)?;
    fs::write(&signature, sound.replace(" 0.1.0 ", " 0.2.0 "))?;
    project.affluent(&["run"]).expect(2)?.says("E0957")?;
    fs::remove_file(&signature)?;
    project.affluent(&["run"]).expect(2)?.says("E0956")?;
    fs::write(&signature, sound)?;
    trusting(&other);
    project.affluent(&["run"]).expect(2)?.says("E0956")?;
    project.write("affluent.yaml", &format!("version: 1\nproject: provenance\nplugins: {{ deny: [{{ key: {own} }}] }}\n"));
    project.affluent(&["run"]).expect(2)?.says("E0955")?.says("the key that signed it")?;
    Ok(())
}

fn from_registry() -> Result<(), Failed> {
    let project = project("");
    let public = key(&project, "own.key")?;
    let registry = project.path().join("registry");
    let (folder, secret) = (registry.display().to_string(), project.path().join("own.key").display().to_string());
    let file = frozen().display().to_string();
    project.affluent(&["plugin", "pack", &file, "--registry", &folder, "--key", &secret]).expect(0)?;
    project.affluent(&["plugin", "pack", &file, "--registry", &folder]).expect(2)?.says("E0960")?;
    project.write("affluent.yaml", &format!("version: 1\nproject: provenance\nplugins: {{ trust: [{public}] }}\n"));
    let add = |name: &str| project.affluent(&["plugin", "add", name, "--from", &folder, "--approve"]);
    add("hostile@0.2.0").expect(2)?.says("E0961")?;
    add("hostel").expect(2)?.says("it has hostile")?;

    add("hostile@0.1.0").expect(0)?;

    project.affluent(&["run"]).expect(0)?;
    let lock = project.read("affluent.lock");
    holds(lock.contains("source: registry"), lock)?;
    let (index, component) = (registry.join("index.json"), registry.join("hostile-0.1.0.wasm"));
    let sound = fs::read_to_string(&index)?;
    fs::write(&index, sound.replace("\"0.1.0\": {", "\"0.1.1\": {"))?;
    add("hostile").expect(2)?.says("E0957")?;
    fs::write(&index, sound)?;
    changed(&component)?;
    add("hostile").expect(2)?;
    project.affluent(&["run", "--locked"]).expect(0)?;
    Ok(())
}

fn from_layout() -> Result<(), Failed> {
    let project = project("");
    let layout = project.path().join("layout");
    let folder = layout.display().to_string();
    project.affluent(&["plugin", "pack", &frozen().display().to_string(), "--oci", &folder]).expect(0)?;
    let add = |name: &str| project.affluent(&["plugin", "add", name, "--from", &folder, "--approve"]);
    add("other").expect(2)?.says("E0961")?;

    add("hostile").expect(0)?;

    project.affluent(&["run"]).expect(0)?;
    holds(project.read("affluent.lock").contains("source: oci"), project.read("affluent.lock"))?;
    let blobs = files_below(&layout.join("blobs"));
    let largest = blobs.iter().max_by_key(|file| fs::metadata(file).map(|metadata| metadata.len()).unwrap_or(0));
    let largest = largest.ok_or("no blob")?;
    let mut bytes = fs::read(largest)?;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(largest, bytes)?;
    add("hostile").expect(2)?.says("E0962")?;
    let index = fs::read_to_string(layout.join("index.json"))?;
    fs::write(layout.join("index.json"), index.replace("sha256:", "sha256:../../../"))?;
    add("hostile").expect(2)?.says("E0963")?;
    Ok(())
}

fn paths_stay_inside() -> Result<(), Failed> {
    let project = project("");
    let file = frozen().display().to_string();
    for name in ["../hostile", "a/b/c", "/etc/passwd", "hostile@../1.0.0", "hostile@1", ""] {
        project.affluent(&["plugin", "add", name, "--from", &file, "--approve"]).expect(2)?.says("E0963")?;
    }
    project.affluent(&["plugin", "add", "acme/x", "--from", &file, "--approve"]).expect(2)?.says("E0953")?;
    project.affluent(&["plugin", "add", "csv", "--from", &file, "--approve"]).expect(2)?.says("E0953")?;
    same("plugins folder", project.path().join("plugins").exists(), false)?;
    same("lock file", project.read("affluent.lock"), String::new())
}

/// How `plugin list` says the plugin from outside runs.
fn isolation_of(project: &Project) -> Result<String, Failed> {
    let (ended, plugins) = project.json(&["plugin", "list"]);
    ended.expect(0)?;
    let row = plugins.as_array().into_iter().flatten().find(|plugin| plugin["name"] == "hostile").cloned().unwrap_or_default();
    Ok(row["isolation"].as_str().unwrap_or("-").to_owned())
}

fn isolated() -> Result<(), Failed> {
    for (said, expected) in [("", "process"), ("plugins: { isolation: none }\n", "none")] {
        let project = approved(said)?;
        same("isolation", isolation_of(&project)?, expected.to_owned())?;
        project.affluent(&["run"]).expect(0)?;
        same("rows", project.lines_below("out").len(), 10)?;
        let planned = project.affluent(&["plan"]).expect(0)?;
        holds(planned.says("runs in a process of its own").is_ok() == (expected == "process"), "plan does not tell")?;
    }
    Ok(())
}

/// The children of a process.
fn children_of(parent: u32) -> Vec<u32> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_child = |pid: u32| {
        let parent_of = stat(pid).rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parent_of == Some(parent)
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| is_child(*pid)).collect()
}

fn killed_worker() -> Result<(), Failed> {
    let project = approved("")?;
    let looping =
        PIPELINE.replace("plugin: hostile, config: {}", "plugin: hostile, config: { behaviour: loop_forever, call: next }");
    project.write("pipelines/copy.yaml", &looping);
    let running = project.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let started = Instant::now();
    let mut ended = None;
    // Workers that only tell the manifest come and go; the one that loops uses the processor.
    while ended.is_none() && started.elapsed() < Duration::from_secs(50) {
        let busy = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let rest: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
            rest.get(11).and_then(|ticks| ticks.parse::<u32>().ok()).is_some_and(|ticks| ticks > 50)
        };
        ended = children_of(running.id()).into_iter().find(busy);
        std::thread::sleep(Duration::from_millis(20));
    }
    let worker = ended.ok_or("no worker was busy")?;
    Command::new("kill").args(["-9", &worker.to_string()]).status()?;
    let output = running.wait_with_output()?;
    holds(!output.status.success(), "the run did not fail")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    holds(told.contains("E0531"), told)?;
    same("rows of a call that was lost", project.lines_below("out").len(), 0)?;
    project.write("pipelines/copy.yaml", PIPELINE);
    project.affluent(&["run"]).expect(0)?;
    same("rows", project.lines_below("out").len(), 10)
}

fn listed() -> Result<(), Failed> {
    let project = with_plugin("")?;
    let states = |project: &Project| -> Result<Vec<String>, Failed> {
        let (ended, plugins) = project.json(&["plugin", "list"]);
        ended.expect(0)?;
        let row = |name: &str| plugins.as_array().into_iter().flatten().find(|plugin| plugin["name"] == name).cloned();
        let shown = |name: &str| {
            let row = row(name).unwrap_or_default();
            format!(
                "{name} {} {} {}",
                row["source"].as_str().unwrap_or("-"),
                row["state"].as_str().unwrap_or("-"),
                row["used_by"]
            )
        };
        Ok(vec![shown("hostile"), shown("jsonl"), shown("csv")])
    };
    same(
        "before",
        states(&project)?,
        vec![
            "hostile file E0950 [\"copy.source\"]".to_owned(),
            "jsonl embedded new [\"copy.destination\"]".to_owned(),
            "csv embedded new []".to_owned(),
        ],
    )?;
    project.affluent(&["plugin", "add", "hostile", "--approve"]).expect(0)?;
    project.affluent(&["run"]).expect(0)?;
    let after = states(&project)?;
    holds(
        after[0].starts_with("hostile file approved") && after[1].starts_with("jsonl embedded approved"),
        format!("{after:?}"),
    )?;
    fs::remove_file(project.path().join("plugins/hostile.wasm"))?;
    holds(states(&project)?[0].contains("missing"), "a plugin without its file is listed as missing")
}
