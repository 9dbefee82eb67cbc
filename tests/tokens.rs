//! OAuth tokens through the whole program, against a service that rotates refresh tokens strictly: the old one is good until
//! the new tokens are used for the first time; whoever comes with it afterwards loses the account for good.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::{Project, files_below, holds, root, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![rule("tokens: killed around an exchange and run again the account is never lost, and no file shows a token", killed)]
}

/// From the answer of the token endpoint to the end of the process: before the commit, around it, and after it.
const KILLED_AFTER_MS: [u64; 8] = [0, 0, 1, 2, 4, 8, 16, 40];

fn killed() -> Result<(), Failed> {
    let service = Service::start()?;
    let project = project(&service)?;
    let shown = project.affluent(&["plugin", "inspect", "wrong"]).expect(0)?.stdout;
    holds(shown.contains("access token from {config.base_url}/oauth/token"), shown)?;
    for delay_ms in KILLED_AFTER_MS {
        let mut child = project.command(&["run", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let exchanged = service.exchanged.recv_timeout(Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill()?;
        child.wait()?;
        exchanged?;
        holds(!service.state().is_lost, format!("killed {delay_ms} ms after the answer, the account is lost"))?;
        service.state().access.clear();
    }
    project.affluent(&["run"]).expect(0)?;
    let exchanges = service.state().exchanges;
    project.affluent(&["run"]).expect(0)?;

    same("exchanges of a run that finds a token", service.state().exchanges, exchanges)?;
    holds(!service.state().is_lost && exchanges > KILLED_AFTER_MS.len(), "not every run that was killed had asked for a token")?;
    for file in files_below(project.path()).into_iter().filter(|file| !file.ends_with("secrets/items/token")) {
        let bytes = std::fs::read(&file)?;
        let shows = |token: &[u8]| bytes.windows(token.len()).any(|window| window == token);
        holds(!shows(b"refresh-token-") && !shows(b"access-token-"), format!("{} shows a token", file.display()))?;
    }
    Ok(())
}

/// From a source that refreshes its access token to a file.
fn project(service: &Service) -> Result<Project, Failed> {
    let project = Project::new();
    let address = &service.address;
    project.write("affluent.yaml", "version: 1\nproject: tokens\nplugins: { develop: { wrong: build/wrong.wasm } }\n");
    let connection = format!(
        "version: 1
connection: items
plugin: wrong
config: {{ base_url: \"http://{address}\" }}
secrets:
  token: {{ secret: items/token }}
  client_id: {{ secret: items/client_id }}
  client_secret: {{ secret: items/client_secret }}
egress: {{ private: [\"{address}\"], http: true }}
"
    );
    let pipeline = "version: 1
pipeline: copy
source:
  connection: items
  streams: { items: { sync: full_refresh, pii: { name: none, email: none } } }
destination:
  connection: { plugin: jsonl, files: { write: [out/*] }, config: { path: out/items.jsonl } }
  object: file
  mode: append
";
    project.write("connections/items.yaml", &connection).write("pipelines/copy.yaml", pipeline);
    for (name, value) in [("token", "refresh-token-0"), ("client_id", "id-of-the-client"), ("client_secret", "key-of-the-client")]
    {
        let file = format!("secrets/items/{name}");
        project.write(&file, value);
        std::fs::set_permissions(project.path().join(file), PermissionsExt::from_mode(0o600))?;
    }
    std::fs::create_dir_all(project.path().join("build"))?;
    std::fs::write(project.path().join("build/wrong.wasm"), component()?)?;
    Ok(project)
}

/// The test connector with the slot that refreshes switched on.
fn component() -> Result<Vec<u8>, Failed> {
    const SWITCH: &str = "affluent-wrong-switch:..................";
    let target = root().join("target/plugin-build");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root()).args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2"]);
    build.args(["-p", "affluent-plugin-wrong", "--target-dir"]).arg(&target);
    // Flags for the host's build are not for guests.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    holds(build.status()?.success(), "the connector could not be built")?;
    let mut bytes = std::fs::read(target.join("wasm32-wasip2/plugin/affluent_plugin_wrong.wasm"))?;
    let place = bytes.windows(SWITCH.len()).position(|window| window == SWITCH.as_bytes()).ok_or("the switch is not there")?;
    let text = format!("{:.<width$}", "affluent-wrong-switch:refreshes", width = SWITCH.len());
    bytes[place..place + SWITCH.len()].copy_from_slice(text.as_bytes());
    Ok(bytes)
}

struct State {
    exchanges: usize,
    refresh: String,
    /// Refresh and access token of the last exchange, while neither was used.
    unused: Option<(String, String)>,
    access: Vec<String>,
    /// An old refresh token came back.
    is_lost: bool,
}

/// Token endpoint and service on loopback; ends with the process.
struct Service {
    address: String,
    state: Arc<Mutex<State>>,
    /// One message for each answer with tokens.
    exchanged: Receiver<()>,
}

impl Service {
    fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let state =
            State { exchanges: 0, refresh: "refresh-token-0".to_owned(), unused: None, access: Vec::new(), is_lost: false };
        let state = Arc::new(Mutex::new(state));
        let (sender, exchanged) = channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that is killed in the middle is what this is about.
                drop(serve(stream, &shared, &sender));
            }
        });
        Ok(Self { address, state, exchanged })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, exchanged: &Sender<()>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = read(&mut stream)?;
    let is_exchange = request.starts_with("POST /oauth/token ");
    let (status, body) = if is_exchange { lock(state).exchange(&request) } else { lock(state).items(&request) };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    stream.flush()?;
    if is_exchange && status == 200 {
        // Nobody listens at the end of the test.
        let _ = exchanged.send(());
    }
    Ok(())
}

fn read(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0u8; 4096]);
    loop {
        let count = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return Ok(text);
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) || count == 0 {
            return Ok(text);
        }
    }
}

impl State {
    fn exchange(&mut self, request: &str) -> (u16, String) {
        let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let refresh = body.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap_or_default();
        if self.unused.as_ref().is_some_and(|(unused, _)| unused == refresh) {
            self.promote();
        }
        self.is_lost |= self.refresh != refresh;
        if self.is_lost {
            return (400, r#"{"error":"invalid_grant"}"#.to_owned());
        }
        self.exchanges += 1;
        let (access, refresh) = (format!("access-token-{}", self.exchanges), format!("refresh-token-{}", self.exchanges));
        let body =
            format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","token_type":"bearer","expires_in":3600}}"#);
        self.access.push(access.clone());
        self.unused = Some((refresh, access));
        (200, body)
    }

    fn items(&mut self, request: &str) -> (u16, String) {
        let header = request.lines().find(|line| line.to_lowercase().starts_with("authorization: "));
        let token = header.and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        if !self.access.iter().any(|known| known == token) {
            return (401, "{}".to_owned());
        }
        if self.unused.as_ref().is_some_and(|(_, access)| access == token) {
            self.promote();
        }
        (200, r#"{"items":[{"id":1,"name":"one","email":null,"updated":1700000000000000}],"next":null}"#.to_owned())
    }

    /// The new tokens were used: what was before them is gone.
    fn promote(&mut self) {
        if let Some((refresh, _)) = self.unused.take() {
            self.refresh = refresh;
        }
    }
}
