//! Webhooks: those that a service signed make the pipelines due that read its connection, once for any number of them; others are
//! refused. What was answered is read, whatever becomes of the process. What a service asks of a person is in `requests`.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use libtest_mimic::{Failed, Trial};
use sha2::Sha256;

use crate::requests::shops;
use crate::support::{Project, Relay, Serving, Step, ask, holds, json_answer, rule, same, shared};
use crate::vendors::Judge;

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    vec![
        rule("webhooks: signed news of an account are read; a forged, old or repeated one starts nothing", news_are_read)
            .with_ignored_flag(is_absent),
        rule("webhooks: fifty at once during a run make one more run", many_make_one_run).with_ignored_flag(is_absent),
        rule("webhooks: news while another process runs the pipeline are read when it has ended", news_while_run_elsewhere)
            .with_ignored_flag(is_absent),
        rule("webhooks: one that was answered is read after the process was killed or stopped", news_outlive_the_process)
            .with_ignored_flag(is_absent),
        rule("webhooks: news whose run failed are read by another, without one more webhook", news_outlive_a_failure)
            .with_ignored_flag(is_absent),
        rule("webhooks: signed news of a shop are read; a forged or repeated one starts nothing", news_of_a_shop_are_read)
            .with_ignored_flag(is_absent),
        rule("webhooks: what cannot be one is told so, and nothing of it is shown", strange_requests),
    ]
}

pub(crate) const SECRET: &str = "secret-of-the-app";
const VARIABLES: [(&str, &str); 3] =
    [("TOKEN_OF_hubspot", "pat-test"), ("TOKEN_OF_shopify", "shpat_test"), ("SECRET_OF_THE_TEST", SECRET)];

/// HMAC-SHA256 in base64.
pub(crate) fn signature(secret: &str, signed: &[&str]) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).expect("any key");
    signed.iter().for_each(|part| mac.update(part.as_bytes()));
    STANDARD.encode(mac.finalize().into_bytes())
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

const NEWS: &str = r#"[{"eventId":1,"subscriptionType":"contact.propertyChange","objectId":150}]"#;

/// A webhook to a connection, signed at an instant as HubSpot does.
fn signed(serving: &Serving, connection: &str, at_ms: i64) -> Result<u16, Failed> {
    signed_by(serving.port, connection, at_ms, SECRET)
}

fn signed_by(port: u16, connection: &str, at_ms: i64, secret: &str) -> Result<u16, Failed> {
    let (at, url) = (at_ms.to_string(), format!("https://hooks.example.test/webhooks/{connection}"));
    let signature = signature(secret, &["POST", &url, NEWS, &at]);
    let headers = [("X-HubSpot-Signature-v3", signature.as_str()), ("X-HubSpot-Request-Timestamp", &at)];
    Ok(ask(port, "POST", &format!("/webhooks/{connection}"), &headers, NEWS.as_bytes())?.0)
}

/// A service whose account is read.
struct Service {
    plugin: &'static str,
    /// What its connection says besides the address.
    config: &'static str,
    stream: &'static str,
    last_name: &'static str,
}

const CRM: Service = Service { plugin: "hubspot", config: "", stream: "contacts", last_name: "lastname" };
const SHOP: Service =
    Service { plugin: "shopify", config: "shop: judge, api_version: \"2026-10\", ", stream: "customers", last_name: "last_name" };

/// Two connections to one account of a CRM.
fn two_connections(judge: &Judge, crm_port: u16) -> Project {
    connections_to(&CRM, [("crm", crm_port), ("clock", judge.port)])
}

/// Connections to one account, each read into files by a pipeline whose time is far away: that of a rule, and `clock`, by whose
/// runs a test knows that the scheduler has seen everything that was told before.
fn connections_to(service: &Service, connections: [(&str, u16); 2]) -> Project {
    let Service { plugin, config, stream, last_name } = service;
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: news\n");
    for (name, port) in connections {
        project.write(
            &format!("connections/{name}.yaml"),
            &format!(
                "version: 1
connection: {name}
plugin: {plugin}
config: {{ {config}base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: {{ env: TOKEN_OF_{plugin} }}, client_secret: {{ env: SECRET_OF_THE_TEST }} }}
webhooks: {{ url: \"https://hooks.example.test/webhooks/{name}\" }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
            ),
        );
        project.write(
            &format!("pipelines/{name}_out.yaml"),
            &format!(
                "version: 1
pipeline: {name}_out
schedule: {{ cron: \"0 0 1 1 *\" }}
source: {{ connection: {name}, streams: {{ {stream}: {{ sync: incremental }} }} }}
destination:
  connection: {{ plugin: jsonl, files: {{ write: [{name}] }}, config: {{ path: \"{name}/{{run}}.jsonl\" }} }}
  object: file
  mode: append
  map: {{ id: id, last_name: {last_name} }}
  grants: [{last_name}]
"
            ),
        );
    }
    project
}

pub(crate) fn serve(project: &Project) -> Result<Serving, Failed> {
    Serving::start(project, &VARIABLES)
}

/// Waits until so many runs of a pipeline began and all of them ended.
fn ended(serving: &Serving, pipeline: &str, runs: usize) -> Result<(), Failed> {
    until(serving, pipeline, |began, have_ended| began >= runs && have_ended)
}

fn until(serving: &Serving, pipeline: &str, is_so: impl Fn(usize, bool) -> bool) -> Result<(), Failed> {
    let started = Instant::now();
    loop {
        let (began, have_ended) = serving.runs_of(pipeline)?;
        if is_so(began, have_ended) {
            return Ok(());
        }
        holds(started.elapsed() < Duration::from_secs(60), format!("{began} runs of {pipeline} began"))?;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One more run of `clock`: whatever was due before it has begun then.
fn tick(serving: &Serving, runs: usize) -> Result<(), Failed> {
    same("the clock's webhook", signed(serving, "clock", now_ms())?, 200)?;
    ended(serving, "clock_out", runs)
}

fn news_are_read() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "60"])?;
    let project = two_connections(&judge, judge.port);
    let mut serving = serve(&project)?;
    let log = Serving::log(&project);
    let line = format!(
        "webhooks of crm at http://127.0.0.1:{}/webhooks/crm, behind https://hooks.example.test/webhooks/crm: start crm_out",
        serving.port
    );
    holds(log.contains(&line), format!("it does not say `{line}`:\n{log}"))?;

    let first_ms = now_ms();
    same("signed", signed(&serving, "crm", first_ms)?, 200)?;
    ended(&serving, "crm_out", 1)?;
    same("contacts", project.lines_below("crm").len(), 60)?;

    judge.request("POST", "/__judge/touch?id=150&lastname=Touched")?;
    same("the same again", signed(&serving, "crm", first_ms)?, 200)?;
    same("six minutes old", signed(&serving, "crm", now_ms() - 360_000)?, 401)?;
    same("in six minutes", signed(&serving, "crm", now_ms() + 360_000)?, 401)?;
    same("another secret", signed_by(serving.port, "crm", now_ms(), "another")?, 401)?;
    let (at, url) = (now_ms().to_string(), "https://hooks.example.test/webhooks/clock");
    let other = signature(SECRET, &["POST", url, NEWS, &at]);
    let headers = [("X-HubSpot-Signature-v3", other.as_str()), ("X-HubSpot-Request-Timestamp", &at)];
    same("signed for another address", serving.ask("POST", "/webhooks/crm", &headers, NEWS.as_bytes())?.0, 401)?;
    let forwarded =
        [headers.as_slice(), &[("X-Forwarded-Host", "hooks.example.test"), ("X-Forwarded-Uri", "/webhooks/clock")]].concat();
    same("with what a proxy could say", serving.ask("POST", "/webhooks/crm", &forwarded, NEWS.as_bytes())?.0, 401)?;
    same("another body", serving.ask("POST", "/webhooks/clock", &headers, b"[]")?.0, 401)?;
    tick(&serving, 1)?;
    same("runs after those that start none", serving.runs_of("crm_out")?.0, 1)?;

    same("signed anew", signed(&serving, "crm", now_ms())?, 200)?;
    ended(&serving, "crm_out", 2)?;
    let lines = project.lines_below("crm");
    holds(lines.iter().any(|line| line.contains("Touched")), "the change was not read")?;
    same("contacts and the change", lines.len(), 61)?;
    same("exit code", serving.stop()?, Some(0))?;
    holds(!Serving::log(&project).contains(SECRET), "the secret was told")
}

/// A door in front of the stand-in through which lists of contacts go when it is opened.
fn gate(judge: &Judge) -> Result<(Relay, Arc<AtomicBool>), Failed> {
    let is_open = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_open);
    let step = move |_: usize, asked: &str| {
        while asked.starts_with("GET /crm/objects/2026-09/contacts") && !seen.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Step::Forward(Duration::ZERO)
    };
    Ok((Relay::start(judge.port, step)?, is_open))
}

fn many_make_one_run() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "60"])?;
    let (gate, is_open) = gate(&judge)?;
    let project = two_connections(&judge, gate.port);
    let serving = serve(&project)?;
    same("the first", signed(&serving, "crm", now_ms())?, 200)?;
    until(&serving, "crm_out", |began, _| began == 1)?;

    let port = serving.port;
    let senders = (1..=50).map(|number| std::thread::spawn(move || signed_by(port, "crm", now_ms() + number, SECRET)));
    for sender in senders.collect::<Vec<_>>() {
        same("one of fifty", sender.join().map_err(|_| "a sender broke")??, 200)?;
    }
    tick(&serving, 1)?;
    same("runs while the first goes on", serving.runs_of("crm_out")?, (1, false))?;
    is_open.store(true, Ordering::Relaxed);
    ended(&serving, "crm_out", 2)?;
    tick(&serving, 2)?;
    same("runs", serving.runs_of("crm_out")?, (2, true))
}

fn news_while_run_elsewhere() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "60"])?;
    let (gate, is_open) = gate(&judge)?;
    let project = two_connections(&judge, gate.port);
    let serving = serve(&project)?;
    let mut command = project.command(&["run", "crm_out", "--quiet"]);
    command.envs(VARIABLES);
    let mut running = command.stdout(Stdio::null()).spawn()?;
    until(&serving, "crm_out", |began, _| began == 1)?;
    same("signed", signed(&serving, "crm", now_ms())?, 200)?;
    tick(&serving, 1)?;
    same("runs while the other goes on", serving.runs_of("crm_out")?, (1, false))?;
    is_open.store(true, Ordering::Relaxed);
    same("exit code of the other", running.wait()?.code(), Some(0))?;
    ended(&serving, "crm_out", 2)?;
    holds(!Serving::log(&project).contains("E0705"), "it tells what is no failure")
}

/// Webhooks are taken at one moment; the process ends at another: at once, killed or not, or when the run has begun. The next
/// process reads them, once.
fn news_outlive_the_process() -> Result<(), Failed> {
    for (when, is_killed, has_begun) in [
        ("at once", true, false),
        ("at once, in order", false, false),
        ("in the run", true, true),
        ("in the run, in order", false, true),
    ] {
        let judge = Judge::start("hubspot", &["--contacts", "60"])?;
        let (gate, is_open) = gate(&judge)?;
        let project = two_connections(&judge, gate.port);
        let mut serving = serve(&project)?;
        same(when, signed(&serving, "crm", now_ms())?, 200)?;
        if has_begun {
            until(&serving, "crm_out", |began, _| began == 1)?;
        }
        if !is_killed {
            is_open.store(!has_begun, Ordering::Relaxed);
            serving.stop()?;
        }
        drop(serving);
        is_open.store(true, Ordering::Relaxed);

        let read_before = project.lines_below("crm").len();
        let serving = serve(&project)?;
        until(&serving, "crm_out", |began, have_ended| began >= 1 && have_ended && !project.lines_below("crm").is_empty())?;
        same(&format!("{when}: contacts"), project.lines_below("crm").len(), 60)?;
        holds(read_before == 0 || !is_killed && !has_begun, "it was read through a closed gate")?;
        let runs = serving.runs_of("crm_out")?.0;
        drop(serving);

        let serving = serve(&project)?;
        tick(&serving, 1)?;
        same(&format!("{when}: runs after the one that read them"), serving.runs_of("crm_out")?.0, runs)?;
    }
    Ok(())
}

fn news_outlive_a_failure() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "60"])?;
    let is_refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_refused);
    let step = move |_: usize, _: &str| {
        if seen.load(Ordering::Relaxed) { json_answer(401, r#"{"status":"error"}"#) } else { Step::Forward(Duration::ZERO) }
    };
    let project = two_connections(&judge, Relay::start(judge.port, step)?.port);
    let serving = serve(&project)?;
    is_refused.store(true, Ordering::Relaxed);
    same("signed", signed(&serving, "crm", now_ms())?, 200)?;
    ended(&serving, "crm_out", 1)?;
    same("contacts read with a refused credential", project.lines_below("crm").len(), 0)?;
    is_refused.store(false, Ordering::Relaxed);
    ended(&serving, "crm_out", 2)?;
    same("contacts", project.lines_below("crm").len(), 60)?;
    tick(&serving, 1)?;
    same("runs", serving.runs_of("crm_out")?, (2, true))
}

/// A webhook to a connection as Shopify signs it: its body alone.
fn signed_as_shopify(port: u16, connection: &str, number: u32, secret: &str) -> Result<u16, Failed> {
    let body = format!("{{\"id\":{number}}}");
    let signature = signature(secret, &[&body]);
    let headers = [("X-Shopify-Hmac-Sha256", signature.as_str()), ("X-Shopify-Topic", "customers/update")];
    Ok(ask(port, "POST", &format!("/webhooks/{connection}"), &headers, body.as_bytes())?.0)
}

fn news_of_a_shop_are_read() -> Result<(), Failed> {
    let judge = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let project = connections_to(&SHOP, [("shop", judge.port), ("clock", judge.port)]);
    let serving = serve(&project)?;
    let send = |connection, number, secret| signed_as_shopify(serving.port, connection, number, secret);

    same("signed", send("shop", 1, SECRET)?, 200)?;
    ended(&serving, "shop_out", 1)?;
    let customers = project.lines_below("shop").len();
    holds(customers > 1_000, format!("{customers} customers were read"))?;

    judge.request("POST", "/__judge/touch?i=8&lastName=Touched")?;
    same("the same again", send("shop", 1, SECRET)?, 200)?;
    same("another secret", send("shop", 2, "another")?, 401)?;
    same("the clock's", send("clock", 3, SECRET)?, 200)?;
    ended(&serving, "clock_out", 1)?;
    same("runs after those that start none", serving.runs_of("shop_out")?.0, 1)?;

    same("another", send("shop", 4, SECRET)?, 200)?;
    ended(&serving, "shop_out", 2)?;
    holds(project.lines_below("shop").iter().any(|line| line.contains("Touched")), "the change was not read")
}

/// What it is, method, path, headers, body, and the status of the answer.
type Case<'a> = (&'a str, &'a str, &'a str, Vec<(&'a str, &'a str)>, &'a [u8], u16);

fn strange_requests() -> Result<(), Failed> {
    let project = shops();
    let serving = serve(&project)?;
    let log = Serving::log(&project);
    holds(log.contains("/webhooks/shop: start nothing"), format!("it does not say what they start:\n{log}"))?;
    holds(!log.contains("webhooks of quiet"), "a connection without the secret takes webhooks")?;
    let empty = signature(SECRET, &[]);
    let long = "x".repeat(70_000);
    let huge = vec![b'x'; 5 << 20];
    let hmac = |value| vec![("X-Shopify-Hmac-Sha256", value)];
    let twice = [hmac(empty.as_str()), hmac(empty.as_str())].concat();
    let cases: [Case<'_>; 16] = [
        ("an empty body that is signed", "POST", "/webhooks/shop", hmac(&empty), b"", 200),
        ("no signature", "POST", "/webhooks/shop", vec![], b"{}", 401),
        ("an empty signature", "POST", "/webhooks/shop", hmac(""), b"{}", 401),
        ("a signature that is no base64", "POST", "/webhooks/shop", hmac("%%%"), b"{}", 401),
        ("a signature that is no text", "POST", "/webhooks/shop", hmac("\u{e9}"), b"{}", 401),
        ("a long signature", "POST", "/webhooks/shop", hmac(&long), b"{}", 401),
        ("two signatures", "POST", "/webhooks/shop", twice, b"", 401),
        ("too large", "POST", "/webhooks/shop", hmac(&empty), &huge, 413),
        ("another method", "GET", "/webhooks/shop", hmac(&empty), b"", 405),
        ("another method", "PUT", "/webhooks/shop", hmac(&empty), b"", 405),
        ("no secret", "POST", "/webhooks/quiet", hmac(&empty), b"", 404),
        ("too large, where nothing is taken", "POST", "/webhooks/quiet", hmac(&empty), &huge, 404),
        ("an unknown connection", "POST", "/webhooks/nobody", hmac(&empty), b"", 404),
        ("a connection that cannot be", "POST", "/webhooks/..%2F..%2Fetc", hmac(&empty), b"", 404),
        ("no name", "POST", "/webhooks/", hmac(&empty), b"", 404),
        ("more of an address", "POST", "/webhooks/shop/more", hmac(&empty), b"", 404),
    ];
    for (what, method, path, headers, body, status) in cases {
        let (found, answer) = serving.ask(method, path, &headers, body)?;
        same(what, found, status)?;
        holds(answer.is_empty(), format!("{what}: it says {answer}"))?;
    }
    same("it is well", serving.ask("GET", "/healthz", &[], b"")?.0, 200)
}
