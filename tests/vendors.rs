//! Shopify to Klaviyo against the vendors' stand-ins, which check every request against what the vendors publish.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{Project, holds, rule, same, shared};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule("vendors: a shop becomes a list, changes alone are sent, and nothing is refused", shop_to_list),
        rule("vendors: what customers spent and what orders were worth adds up to the shop's own sums", revenue_adds_up),
        rule(
            "vendors: a run is recorded without secrets or personal values and replayed alike without the vendors",
            recorded_run,
        ),
        rule(
            "vendors: every personal value arrives as it is, though the plugin sees tokens; the plan says which",
            blind_delivery,
        ),
        rule("vendors: a shop that stumbles is read to its end all the same", shop_that_stumbles),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

/// Times that a stand-in is started before its test fails.
const STARTS_MAX: usize = 5;

/// A stand-in, ended with the test.
pub(crate) struct Judge {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = Command::new("pkill").args(["-TERM", "-P", &self.child.id().to_string()]).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Judge {
    pub(crate) fn start(vendor: &str, flags: &[&str]) -> Result<Self, Failed> {
        Self::start_with(vendor, flags, &[])
    }

    /// With variables that its README names. Where another took a port meanwhile it ends at once: it is started anew then.
    pub(crate) fn start_with(vendor: &str, flags: &[&str], variables: &[(&str, &str)]) -> Result<Self, Failed> {
        for _ in 0..STARTS_MAX {
            if let Some(judge) = Self::start_once(vendor, flags, variables)? {
                return Ok(judge);
            }
        }
        Err(format!("the stand-in of {vendor} ends when it starts").into())
    }

    /// `None` when it ended by itself.
    fn start_once(vendor: &str, flags: &[&str], variables: &[(&str, &str)]) -> Result<Option<Self>, Failed> {
        let script = shared().ok_or("no stand-ins")?.join("apis/judge.sh");
        let port = free_ports()?;
        let mut command = Command::new(script);
        command.envs(variables.iter().copied());
        command.arg(vendor).arg(port.to_string()).args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut judge = Self { child: command.spawn()?, port };
        let started = Instant::now();
        while judge.get("/__judge/summary").map_or(true, |summary| summary["ready"] != true) {
            if judge.child.try_wait()?.is_some() {
                return Ok(None);
            }
            holds(started.elapsed() < Duration::from_secs(240), format!("the stand-in of {vendor} does not start"))?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(Some(judge))
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Result<String, Failed> {
        self.request_with(method, path, "")
    }

    pub(crate) fn request_with(&self, method: &str, path: &str, body: &str) -> Result<String, Failed> {
        request_to(self.port, method, path, body)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.request("GET", path)?)?)
    }

    /// What the account answers to a request, so many times, before the stand-in answers by itself.
    pub(crate) fn answers(&self, request: &str, times: u32, body: &Value) -> Result<(), Failed> {
        let fault = json!({ "match": request, "status": 200, "times": times, "body": body });
        self.request_with("POST", "/__judge/fault", &fault.to_string()).map(drop)
    }

    /// The requests that begin so, without those that were told to come again.
    pub(crate) fn requests(&self, start: &str) -> Result<Vec<Value>, Failed> {
        let is_wanted = |entry: &Value| entry["key"].as_str().unwrap_or_default().starts_with(start) && entry["status"] != 503;
        let log = self.get("/__judge/log")?;
        Ok(log.as_array().cloned().unwrap_or_default().into_iter().filter(is_wanted).collect())
    }

    /// The contacts in the bodies of such requests, by address; the last of each.
    pub(crate) fn contacts_in(&self, start: &str) -> Result<BTreeMap<String, Value>, Failed> {
        let body = |entry: Value| serde_json::from_str(entry["body"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
        let bodies: Vec<Value> = self.requests(start)?.into_iter().map(body).collect();
        let contacts = bodies.iter().flat_map(|body| body["contacts"].as_array().cloned().unwrap_or_default());
        Ok(contacts.map(|contact| (contact["email"].as_str().unwrap_or_default().to_owned(), contact)).collect())
    }
}

/// The body that a stand-in answers.
pub(crate) fn request_to(port: u16, method: &str, path: &str, body: &str) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// Two free ports in a row; the lower one.
fn free_ports() -> Result<u16, Failed> {
    for _ in 0..50 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    Err("no two free ports in a row".into())
}

/// The shop's connection, pointed at its stand-in.
pub(crate) fn write_shop(project: &Project, shopify: &Judge) {
    let port = shopify.port;
    let shop = format!(
        "version: 1
connection: shop
plugin: shopify
config: {{ shop: judge, api_version: \"2026-10\", base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: {{ secret: shopify/token }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    );
    project.write("connections/shop.yaml", &shop).write("secrets/shopify/token", "shpat_test\n");
    let token = project.path().join("secrets/shopify/token");
    std::fs::set_permissions(token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("own file");
}

/// The example, pointed at the stand-ins.
fn example(shopify: &Judge, klaviyo: &Judge) -> Project {
    let project = Project::copy_of("shopify-to-klaviyo");
    write_shop(&project, shopify);
    let port = klaviyo.port;
    let tool = format!(
        "version: 1
connection: klaviyo
plugin: klaviyo
config: {{ base_url: \"http://127.0.0.1:{port}/api\" }}
secrets: {{ api_key: {{ env: KLAVIYO_KEY_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    );
    project.write("connections/klaviyo.yaml", &tool);
    project
}

fn run(project: &Project) -> Result<Value, Failed> {
    run_with(project, &[])
}

/// Runs with further arguments, in the project's folder.
fn run_with(project: &Project, arguments: &[&str]) -> Result<Value, Failed> {
    let mut all = vec!["run", "--output", "json", "--quiet"];
    all.extend(arguments);
    let output = project.command(&all).current_dir(project.path()).env("KLAVIYO_KEY_OF_THE_TEST", "pk_test").output()?;
    let ended = crate::support::Ended::of(output).expect(0)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// Addresses that a profile import or a list change named since request number `from`.
fn imported(klaviyo: &Judge, from: usize) -> Result<BTreeSet<String>, Failed> {
    let log = klaviyo.get("/__judge/log")?;
    let mut emails = BTreeSet::new();
    for entry in
        log.as_array().into_iter().flatten().skip(from).filter(|entry| entry["key"] == "POST /api/profile-bulk-import-jobs")
    {
        let body = entry["body"].as_str().unwrap_or_default();
        for piece in body.split("\"email\":\"").skip(1) {
            emails.extend(piece.split('"').next().map(str::to_owned));
        }
    }
    Ok(emails)
}

fn shop_to_list() -> Result<(), Failed> {
    let shopify = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let klaviyo = Judge::start("klaviyo", &[])?;
    let project = example(&shopify, &klaviyo);
    project.affluent(&["keys", "init"]).expect(0)?;
    let first = run(&project)?;
    let truth = shopify.get("/__judge/truth")?;
    let ingest = report_of(&first, "shopify_to_profiles")?;
    same("customers read", ingest["streams"][0]["read"].as_u64(), truth["customers"].as_u64())?;
    same("orders read", ingest["streams"][1]["read"].as_u64(), truth["orders"].as_u64())?;
    let sent = report_of(&first, "buyers_to_klaviyo")?["activation"]["accepted"].as_u64().unwrap_or(0);
    holds(sent > 100, format!("{sent} rows were sent"))?;
    for place in 0..50 {
        klaviyo.request("POST", &format!("/__judge/optout?email=user{place}@example.com"))?;
    }

    let second = run(&project)?;
    let again = &report_of(&second, "buyers_to_klaviyo")?["activation"];
    same("sent again", (again["accepted"].as_u64(), again["removed"].as_u64()), (Some(0), Some(0)))?;

    let member = imported(&klaviyo, 0)?.into_iter().find_map(|email| {
        email.strip_prefix("user").and_then(|rest| rest.split('@').next()).and_then(|place| place.parse::<u32>().ok())
    });
    let place = member.ok_or("nobody was imported")?;
    let (ended, view) = project.json(&["profile", "show", &format!("email:user{place}@example.com")]);
    ended.expect(0)?;
    let has_sku = view["values"].as_array().into_iter().flatten().any(|value| value["name"] == "favourite_sku");
    holds(has_sku, "a buyer has no favourite_sku: the lines of the orders did not find their people")?;
    let requests = klaviyo.get("/__judge/log")?.as_array().map_or(0, Vec::len);
    shopify.request("POST", &format!("/__judge/touch?i={place}&lastName=Touched"))?;
    let third = run(&project)?;
    same("sent after one change", report_of(&third, "buyers_to_klaviyo")?["activation"]["accepted"].as_u64(), Some(1))?;
    let touched = imported(&klaviyo, requests)?;
    same(
        "who was sent",
        touched.iter().map(|email| email.to_lowercase()).collect::<Vec<_>>(),
        vec![format!("user{place}@example.com")],
    )?;

    let text = project.read("profiles/segments.yaml").replace("orders_count >= 1", "orders_count >= 2");
    project.write("profiles/segments.yaml", &text);
    let pipeline = project.read("pipelines/buyers_to_klaviyo.yaml").replace("max_remove: 10%", "max_remove: 90%");
    project.write("pipelines/buyers_to_klaviyo.yaml", &pipeline);
    let fourth = run(&project)?;
    let removed = report_of(&fourth, "buyers_to_klaviyo")?["activation"]["removed"].as_u64().unwrap_or(0);
    holds(removed > 0, "nobody left the list")?;
    let summary = klaviyo.get("/__judge/summary")?;
    judged(&klaviyo, &summary)
}

/// Values that an escaping can go wrong with.
const AWKWARD: [&str; 10] = [
    "O'Neil \"Bob\" \\ back",
    "Zoë\nsecond line\ttab\u{1}",
    "</script><b>&amp;",
    "\u{1f600} 名前 \u{202e}",
    "{\"email\":\"x@y.test\"}",
    "100%40 +a=b&c;d",
    "pii0zq000000000000000000000000000000",
    "${email} {{first_name}}",
    "  spaces  ",
    "",
];

fn blind_delivery() -> Result<(), Failed> {
    let klaviyo = Judge::start("klaviyo", &[])?;
    let port = klaviyo.port;
    let people: Vec<Value> = AWKWARD.iter().enumerate().map(|(place, text)| {
        serde_json::json!({ "id": place.to_string(), "email": format!("Per.Son+{place}@people.example"), "phone": format!("+4930123456{place:02}"),
            "first_name": text, "last_name": format!("{text}-{place}"), "city": text, "note": format!("no person {place}") })
    }).collect();
    let project = Project::new();
    let lines: String = people.iter().map(|person| format!("{person}\n")).collect();
    project.write("affluent.yaml", "version: 1\nproject: blind\n").write("in/people.jsonl", &lines);
    project.write("pipelines/people.yaml", &format!("version: 1
pipeline: people
source:
  connection: {{ plugin: jsonl, files: {{ read: [\"in/*.jsonl\"] }}, config: {{ streams: {{ people: {{ files: \"in/*.jsonl\" }} }} }} }}
  streams:
    people: {{ sync: full_refresh, pii: {{ email: email, phone: phone, first_name: name, last_name: name, city: address }} }}
destination:
  connection:
    plugin: klaviyo
    config: {{ base_url: \"http://127.0.0.1:{port}/api\" }}
    secrets: {{ api_key: {{ env: KLAVIYO_KEY_OF_THE_TEST }} }}
    egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
  object: profile
  match: {{ email: email }}
  mode: upsert
  map: {{ external_id: id, phone_number: phone, first_name: first_name, last_name: last_name, location.city: city, properties.note: note }}
  grants: [email, phone, first_name, last_name, city]
  plaintext: [city]
"));
    let plan = project.affluent(&["plan"]).expect(0)?;
    for line in [
        "as tokens: its plugin does not see them: email, phone, first_name, last_name",
        "in the clear: its plugin sees them: city",
    ] {
        holds(plan.stdout.contains(line), plan.stdout.clone())?;
    }
    run(&project)?;

    let profiles = imported_profiles(&klaviyo)?;
    same("profiles", profiles.len(), people.len())?;
    for person in &people {
        let sent = profiles.iter().find(|profile| profile["external_id"] == person["id"]).ok_or("a person was not sent")?;
        for (field, name) in
            [("email", "email"), ("phone_number", "phone"), ("first_name", "first_name"), ("last_name", "last_name")]
        {
            same(field, &sent[field], &person[name])?;
        }
        same("city", &sent["location"]["city"], &person["city"])?;
        same("note", &sent["properties"]["note"], &person["note"])?;
    }
    judged(&klaviyo, &klaviyo.get("/__judge/summary")?)
}

/// The attributes of all profiles that imports brought.
fn imported_profiles(klaviyo: &Judge) -> Result<Vec<Value>, Failed> {
    let log = klaviyo.get("/__judge/log")?;
    let imports = log.as_array().into_iter().flatten().filter(|entry| entry["key"] == "POST /api/profile-bulk-import-jobs");
    let bodies = imports.filter_map(|entry| serde_json::from_str::<Value>(entry["body"].as_str()?).ok());
    let profiles = bodies.flat_map(|body| body["data"]["attributes"]["profiles"]["data"].as_array().cloned().unwrap_or_default());
    Ok(profiles.map(|profile| profile["attributes"].clone()).collect())
}

/// Writes the buyers to a file, beside what the example does.
const BUYERS_OUT: &str = "version: 1
pipeline: buyers_out
schedule: { after: [shopify_to_profiles] }
source: { profiles: { segment: buyers } }
destination:
  connection: { plugin: jsonl, files: { write: [out] }, config: { path: out/buyers.jsonl } }
  object: file
  mode: mirror
  match: { customer: shopify_customer_id }
  map: { first_name: first_name, orders: orders_count, spent: total_spent }
  grants: [first_name]
";

fn recorded_run() -> Result<(), Failed> {
    let shopify = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let klaviyo = Judge::start("klaviyo", &[])?;
    let project = example(&shopify, &klaviyo);
    project.write("pipelines/buyers_out.yaml", BUYERS_OUT);
    project.affluent(&["keys", "init"]).expect(0)?;
    shopify.request_with("POST", "/__judge/fault", STUMBLES[0])?;
    let recorded = run_with(&project, &["--record", "recording"])?;
    project.affluent(&["run", "--record", "/nowhere"]).expect(2)?.says("E0925")?;
    drop((shopify, klaviyo));

    let text: String = crate::support::files_below(&project.path().join("recording"))
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap_or_default())
        .collect();
    holds(text.contains("shop.") || text.len() > 100_000, format!("the recording has {} bytes", text.len()))?;
    for secret in ["shpat_test", "pk_test"] {
        holds(!text.contains(secret), format!("`{secret}` is in the recording"))?;
    }
    let lower = text.to_lowercase();
    let customer = lower.split("user").skip(1).find(|rest| {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        digits > 0 && rest.get(digits..).is_some_and(|rest| rest.starts_with("@example.com") || rest.starts_with("%40"))
    });
    holds(customer.is_none(), "a customer's address is in the recording")?;

    std::fs::remove_dir_all(project.path().join("secrets"))?;
    let export = project.path().join(".affluent/replay/out/buyers.jsonl");
    let first = run_with(&project, &["--replay", "recording"])?;
    let exported = std::fs::read(&export)?;
    let second = run_with(&project, &["--replay", "recording"])?;
    same("reports of two replays", steady(&second), steady(&first))?;
    same("report of the replay", steady(&first), steady(&recorded))?;
    holds(!exported.is_empty() && std::fs::read(&export)? == exported, "two replays exported different bytes")?;
    let real = std::fs::read(project.path().join("out/buyers.jsonl"))?;
    holds(purchases(&exported) == purchases(&real), "the buyers of the replay bought something else")?;
    holds(real != exported, "the replay exported the customers themselves")
}

/// What the buyers in an export bought, without who they are.
fn purchases(export: &[u8]) -> Vec<String> {
    let rows = String::from_utf8_lossy(export).into_owned();
    let rows = rows.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut purchases: Vec<String> = rows.map(|row| format!("{} {}", row["customer"], row["spent"])).collect();
    purchases.sort();
    purchases
}

/// A report without what no two runs share: names, times, and how often the clock asked for a commit.
fn steady(reports: &Value) -> Value {
    match reports {
        Value::Array(list) => list.iter().map(steady).collect(),
        Value::Object(map) => {
            let varies = |name: &str| matches!(name, "run" | "commits") || name.ends_with("_ms");
            map.iter().filter(|(name, _)| !varies(name)).map(|(name, value)| (name.clone(), steady(value))).collect()
        }
        other => other.clone(),
    }
}

/// Answers of a shop on a bad day: throttled in both forms, broken, cut off, a page of HTML, half a document.
const STUMBLES: [&str; 6] = [
    r#"{"status":429,"times":1,"headers":{"retry-after":"1"}}"#,
    r#"{"status":200,"times":1,"body":{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}]}}"#,
    r#"{"status":503,"times":2}"#,
    r#"{"drop":true,"times":1}"#,
    r#"{"status":200,"times":1,"body":"<html>maintenance</html>"}"#,
    r#"{"status":200,"times":1,"body":"{\"data\":{\"customers\":{\"nodes\":[{\"id\":"}"#,
];

fn shop_that_stumbles() -> Result<(), Failed> {
    let shopify = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let project = Project::copy_of("shopify-to-klaviyo");
    std::fs::remove_file(project.path().join("connections/klaviyo.yaml"))?;
    std::fs::remove_file(project.path().join("pipelines/buyers_to_klaviyo.yaml"))?;
    write_shop(&project, &shopify);
    project.affluent(&["keys", "init"]).expect(0)?;
    for stumble in STUMBLES {
        shopify.request_with("POST", "/__judge/fault", stumble)?;
    }
    let reports = run(&project)?;
    let truth = shopify.get("/__judge/truth")?;
    let streams = &report_of(&reports, "shopify_to_profiles")?["streams"];
    same("customers", streams[0]["read"].as_u64(), truth["customers"].as_u64())?;
    same("orders", streams[1]["read"].as_u64(), truth["orders"].as_u64())
}

fn revenue_adds_up() -> Result<(), Failed> {
    let shopify = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: sums\n");
    write_shop(&project, &shopify);
    for (stream, columns) in
        [("customers", "amount: amount_spent, customer: id"), ("orders", "amount: total, customer: customer_id")]
    {
        let pipeline = format!(
            "version: 1
pipeline: {stream}_out
source: {{ connection: shop, streams: {{ {stream}: {{ sync: full_refresh }} }} }}
destination:
  connection: {{ plugin: jsonl, files: {{ write: [{stream}] }}, config: {{ path: {stream}/all.jsonl }} }}
  object: file
  mode: append
  map: {{ {columns} }}
"
        );
        project.write(&format!("pipelines/{stream}_out.yaml"), &pipeline);
    }
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let truth = shopify.get("/__judge/truth")?;
    for (stream, count) in [("customers", &truth["customers"]), ("orders", &truth["orders"])] {
        let rows: Vec<Value> = project.lines_below(stream).iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        same(&format!("{stream} written"), u64::try_from(rows.len()).ok(), count.as_u64())?;
        let of_customers = rows.iter().filter(|row| row["customer"].is_string());
        same(&format!("cents of {stream}"), of_customers.map(cents).sum::<i64>(), truth["spentCents"].as_i64().unwrap_or(-1))?;
    }
    Ok(())
}

/// The amount of a row, which stands there as a decimal.
fn cents(row: &Value) -> i64 {
    let text = row["amount"].as_str().map_or_else(|| row["amount"].to_string(), str::to_owned);
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let part: String = part.chars().chain("00".chars()).take(2).collect();
    format!("{whole}{part}").parse().unwrap_or(i64::MIN / 1_000_000)
}

/// Nothing refused for its shape, nothing the description does not name, nobody opted in again, little throttled. What a test had
/// the stand-in answer is no judgement.
pub(crate) fn judged(klaviyo: &Judge, summary: &Value) -> Result<(), Failed> {
    same("unknown fields", summary["unknownFields"].as_u64(), Some(0))?;
    same("violations", summary["violations"].as_u64(), Some(0))?;
    let log = klaviyo.get("/__judge/log")?;
    let refused: Vec<&Value> = log
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| matches!(entry["status"].as_u64(), Some(400..=428 | 430..=499)) && entry["why"] != "fault")
        .collect();
    holds(refused.is_empty(), format!("refused for shape: {refused:?}"))?;
    let all = summary["requests"].as_f64().unwrap_or(1.0);
    let throttled = summary["byStatus"]["429"].as_f64().unwrap_or(0.0);
    holds(throttled / all < 0.05, format!("{throttled} of {all} requests were throttled"))
}
