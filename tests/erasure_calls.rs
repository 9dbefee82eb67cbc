//! What a service is asked when a person is erased, and that a process killed at any moment asks it in the end. The service here
//! answers as the tests' own copy of Klaviyo's paths does: it keeps who was imported and forgets who is to be deleted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::support::{Project, RESUME, holds, killed_while_erasing, rule, same, shared};
use crate::vendors::Judge;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule(
            "erasure calls: a service is asked by address, its reference is kept, and it is asked again until the person is gone",
            || asked_until_gone("upsert"),
        ),
        rule("erasure calls: a mirror asks to erase instead of only removing", || asked_until_gone("mirror")),
        rule(
            "erasure calls: a refused call is told, holds nothing up, and is made again by the next run",
            refused_and_asked_again,
        ),
        rule(
            "erasure calls: killed anywhere and resumed, the service was asked and nothing was sent afterwards",
            killed_anywhere,
        ),
        rule("erasure calls: the vendor's stand-in has nothing to refuse", judged).with_ignored_flag(shared().is_none()),
    ]
}

#[derive(Default)]
struct State {
    /// Method, path and body of every request.
    log: Vec<(String, String)>,
    people: BTreeSet<String>,
    /// Still found for so many looks after a deletion.
    lingers: usize,
    deleted: BTreeSet<String>,
    is_forbidden: bool,
}

/// The service.
struct Service {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Service {
    fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that is killed in the middle is what this is about.
                drop(serve(stream, &shared));
            }
        });
        Ok(Self { address, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bodies of the requests for deletion.
    fn deletions(&self) -> Vec<Value> {
        let state = self.state();
        let asked = state.log.iter().filter(|(what, _)| what.starts_with("POST /api/data-privacy-deletion-jobs"));
        asked.map(|(_, body)| serde_json::from_str(body).unwrap_or(Value::Null)).collect()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (what, body) = read(&mut stream)?;
    let (status, answer) = state.lock().unwrap_or_else(PoisonError::into_inner).answer(&what, &body);
    let text = if answer.is_null() { String::new() } else { answer.to_string() };
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/vnd.api+json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    )?;
    stream.flush()
}

/// `METHOD path` and the body.
fn read(stream: &mut TcpStream) -> std::io::Result<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let what = line.rsplit_once(' ').map_or("", |(what, _)| what).to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((what, String::from_utf8_lossy(&body).into_owned()))
}

impl State {
    fn answer(&mut self, what: &str, body: &str) -> (u16, Value) {
        self.log.push((what.to_owned(), body.to_owned()));
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let path = what.split('?').next().unwrap_or_default();
        match path {
            "POST /api/profile-bulk-import-jobs" => {
                let profiles = body["data"]["attributes"]["profiles"]["data"].as_array().cloned().unwrap_or_default();
                self.people.extend(profiles.iter().filter_map(|one| one["attributes"]["email"].as_str().map(str::to_owned)));
                (202, json!({ "data": { "id": "job" } }))
            }
            "GET /api/profile-bulk-import-jobs/job" => {
                (200, json!({ "data": { "attributes": { "status": "complete", "failed_count": 0 } } }))
            }
            "GET /api/profile-bulk-import-jobs/job/profiles" => (200, json!({ "data": self.profiles(|_| true) })),
            "GET /api/lists" => (200, json!({ "data": [{ "id": "L", "attributes": { "name": "VIP" } }] })),
            "POST /api/data-privacy-deletion-jobs" if self.is_forbidden => (403, json!({ "errors": [{ "code": "scope" }] })),
            "POST /api/data-privacy-deletion-jobs" => {
                let email = &body["data"]["attributes"]["profile"]["data"]["attributes"]["email"];
                self.deleted.extend(email.as_str().map(str::to_owned));
                (202, Value::Null)
            }
            "GET /api/profiles" => {
                if self.lingers == 0 {
                    let deleted = std::mem::take(&mut self.deleted);
                    self.people.retain(|email| !deleted.contains(email));
                }
                self.lingers = self.lingers.saturating_sub(1);
                let decoded = what.replace("%40", "@");
                (200, json!({ "data": self.profiles(|email| decoded.contains(email)) }))
            }
            _ if path.starts_with("DELETE /api/lists") => (204, Value::Null),
            _ => (404, json!({})),
        }
    }

    fn profiles(&self, is_asked: impl Fn(&str) -> bool) -> Vec<Value> {
        let asked = self.people.iter().filter(|email| is_asked(email));
        asked.map(|email| json!({ "id": format!("id-{}", email.split('@').next().unwrap_or_default()), "attributes": { "email": email } })).collect()
    }
}

/// The example, whose tool is the service.
fn project(address: &str, mode: &str) -> Project {
    let project = Project::copy_of("lifecycle");
    let tool = format!(
        "version: 1
connection: email_tool
plugin: klaviyo
config: {{ base_url: \"http://{address}/api\" }}
secrets: {{ api_key: {{ secret: klaviyo }} }}
egress: {{ private: [\"{address}\"], http: true }}
"
    );
    let list = if mode == "mirror" { "\n  list: { name: VIP }" } else { "" };
    let pipeline = project.read("pipelines/win_back_to_email_tool.yaml");
    let pipeline =
        pipeline.replace("object: file", &format!("object: profile{list}")).replace("mode: mirror", &format!("mode: {mode}"));
    project.write("connections/email_tool.yaml", &tool).write("pipelines/win_back_to_email_tool.yaml", &pipeline);
    project.write("secrets/klaviyo", "pk_test\n");
    let secret = project.path().join("secrets/klaviyo");
    std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("own file");
    project
}

fn erase(project: &Project) -> Result<Value, Failed> {
    let (ended, erased) = project.json(&["profile", "erase", "email:bo@x.test", "--yes"]);
    ended.expect(0)?;
    Ok(erased[0]["receipts"].clone())
}

fn receipts(project: &Project) -> Result<Value, Failed> {
    let (ended, erasures) = project.json(&["profile", "erasures"]);
    ended.expect(0)?;
    Ok(erasures[0]["receipts"].clone())
}

fn asked_until_gone(mode: &str) -> Result<(), Failed> {
    let service = Service::start()?;
    let project = project(&service.address, mode);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    same("imported", service.state().people.contains("bo@x.test"), true)?;
    service.state().lingers = 1;

    let first = erase(&project)?;

    same("receipt", first[0]["state"].as_str(), Some("accepted"))?;
    let address = json!({ "type": "profile", "attributes": { "email": "bo@x.test" } });
    let asked: Vec<Value> =
        service.deletions().iter().map(|body| body["data"]["attributes"]["profile"]["data"].clone()).collect();
    same("asked", asked, vec![address])?;
    if mode == "mirror" {
        same("reference", first[0]["references"][0].as_str(), Some("id-bo"))?;
    }

    project.affluent(&["run", "--quiet"]).expect(0)?;

    same("receipt after a look", receipts(&project)?[0]["state"].as_str(), Some("verified"))?;
    same("people", service.state().people.contains("bo@x.test"), false)?;
    let looks = service.state().log.len();
    for _ in 0..2 {
        project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
    }
    let state = service.state();
    let names = |text: &str| text.contains("bo@x.test") || text.contains("bo%40x.test");
    let later = state.log.iter().skip(looks).any(|(what, body)| names(what) || names(body));
    holds(!later, "a later full sync names the person")
}

fn refused_and_asked_again() -> Result<(), Failed> {
    let service = Service::start()?;
    let project = project(&service.address, "upsert");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    service.state().is_forbidden = true;

    let refused = erase(&project)?;

    same("receipt", refused[0]["state"].as_str(), Some("requested"))?;
    let told = refused[0]["refusals"][0].as_str().unwrap_or_default().to_owned();
    holds(told.contains("data-privacy:write"), format!("the scope is not named: {told}"))?;
    project.affluent(&["run", "win_back_to_email_tool", "--quiet"]).expect(4)?;

    service.state().is_forbidden = false;
    project.affluent(&["profile", "erase", "--resume", "--quiet"]).expect(0)?;

    let receipts = receipts(&project)?;
    same("receipt", receipts[0]["state"].as_str(), Some("verified"))?;
    same("refusals", &receipts[0]["refusals"], &Value::Null)
}

fn killed_anywhere() -> Result<(), Failed> {
    let service = Service::start()?;
    let fresh = project(&service.address, "upsert");
    fresh.affluent(&["run", "--quiet"]).expect(0)?;
    let is_there = || {
        service.state().people.insert("bo@x.test".to_owned());
    };
    let is_gone = |project: &Project| {
        same("receipt", receipts(project)?[0]["state"].as_str(), Some("verified"))?;
        same("people", service.state().people.contains("bo@x.test"), false)
    };
    killed_while_erasing(&fresh, 4, &[&RESUME], is_there, is_gone)
}

fn judged() -> Result<(), Failed> {
    let klaviyo = Judge::start("klaviyo", &[])?;
    let project = project(&format!("127.0.0.1:{}", klaviyo.port), "upsert");
    project.affluent(&["run", "--quiet"]).expect(0)?;

    let receipts = erase(&project)?;

    holds(
        matches!(receipts[0]["state"].as_str(), Some("accepted" | "verified")),
        format!("the stand-in did not take it: {receipts}"),
    )?;
    let log = klaviyo.get("/__judge/log")?;
    let asked = log.as_array().into_iter().flatten().filter(|entry| entry["key"] == "POST /api/data-privacy-deletion-jobs");
    same("asked once", asked.count(), 1)?;
    crate::vendors::judged(&klaviyo, &klaviyo.get("/__judge/summary")?)
}
