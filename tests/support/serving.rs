//! `affluent serve` on a project, and requests to it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;

use super::{Project, holds};

/// Where its talk goes, in the project.
const LOG: &str = "serve.log";

/// Ended with the test.
pub(crate) struct Serving {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Starts it, with these variables, and waits until it answers.
    pub(crate) fn start(project: &Project, variables: &[(&str, &str)]) -> Result<Self, Failed> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = format!("127.0.0.1:{port}");
        let mut command = project.command(&["serve", "--listen", &listen]);
        command.envs(variables.iter().copied()).stderr(Stdio::from(File::create(project.path().join(LOG))?));
        let mut serving = Self { child: command.spawn()?, port };
        let started = Instant::now();
        while TcpStream::connect(&listen).is_err() {
            let ended = serving.child.try_wait()?;
            holds(ended.is_none() && started.elapsed().as_secs() < 60, format!("it does not come up:\n{}", Self::log(project)))?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(serving)
    }

    /// Waits for something that it does as long as it runs.
    pub(crate) fn wait(&mut self, what: &str, is_so: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
        wait(&mut self.child, what, is_so)
    }

    /// What it said so far.
    pub(crate) fn log(project: &Project) -> String {
        project.read(LOG)
    }

    /// Asks it to end and gives its exit code.
    pub(crate) fn stop(&mut self) -> Result<Option<i32>, Failed> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let stopping = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            holds(stopping.elapsed().as_secs() <= 10, "serve does not end")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The status and the body of an answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(u16, String), Failed> {
        ask(self.port, method, path, headers, body)
    }

    /// How many runs of a pipeline began, and whether all of them ended.
    pub(crate) fn runs_of(&self, pipeline: &str) -> Result<(usize, bool), Failed> {
        let runs: Value = serde_json::from_str(&self.ask("GET", "/api/v1/runs", &[], b"")?.1)?;
        let runs: Vec<&Value> = runs.as_array().into_iter().flatten().filter(|run| run["pipeline"] == pipeline).collect();
        Ok((runs.len(), runs.iter().all(|run| !run["ended_at_us"].is_null())))
    }
}

/// Waits for something that a process does as long as it runs; ten minutes at most.
pub(crate) fn wait(child: &mut Child, what: &str, mut is_so: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let started = Instant::now();
    while !is_so()? {
        holds(child.try_wait()?.is_none(), format!("the process ended before {what}"))?;
        holds(started.elapsed() < Duration::from_secs(600), format!("it takes too long until {what}"))?;
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

/// A request on a connection of its own. An answer may come before everything was sent: what is then left is not.
pub(crate) fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(u16, String), Failed> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n")?;
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no answer")?;
    Ok((status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())))
}
