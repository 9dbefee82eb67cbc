//! What stands between the program and a stand-in: answers that come late, break off or are played, and all others as they are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::Failed;

/// What becomes of a request.
pub(crate) enum Step {
    /// It goes to the stand-in, so much later.
    Forward(Duration),
    /// The connection ends without an answer.
    Drop,
    /// This answer, whole.
    Answer(Vec<u8>),
}

/// Listens as long as the tests run.
pub(crate) struct Relay {
    pub(crate) port: u16,
    requests: Arc<AtomicUsize>,
}

impl Relay {
    /// In front of a port; `step` gets the number of the request and its first line.
    pub(crate) fn start(behind: u16, step: impl Fn(usize, &str) -> Step + Send + Sync + 'static) -> Result<Self, Failed> {
        Self::start_reading(behind, move |number, asked, _| step(number, asked))
    }

    /// The same, where `step` gets the request's body, too.
    pub(crate) fn start_reading(
        behind: u16,
        step: impl Fn(usize, &str, &str) -> Step + Send + Sync + 'static,
    ) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (step, requests) = (Arc::new(step), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (step, requests) = (Arc::clone(&step), Arc::clone(&counted));
                let number = move || requests.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || relay(stream, behind, |asked, body| step(number(), asked, body)));
            }
        });
        Ok(Self { port, requests })
    }

    /// Runs a command and kills it when it has asked this many requests and a little more time has passed, unless it ends before.
    pub(crate) fn killed_after(&self, requests: usize, command: &mut Command) -> Result<(), Failed> {
        let before = self.requests.load(Ordering::Relaxed);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        while child.try_wait()?.is_none() && self.requests.load(Ordering::Relaxed) - before < requests {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(7 * requests as u64 % 20));
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

/// An answer with a body of JSON.
pub(crate) fn json_answer(status: u16, body: &str) -> Step {
    let head = format!("HTTP/1.1 {status} Answer\r\nconnection: close\r\ncontent-type: application/json");
    Step::Answer(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// One request of a connection.
fn relay(mut stream: TcpStream, behind: u16, step: impl Fn(&str, &str) -> Step) -> std::io::Result<()> {
    let (head, rest) = read(&mut stream)?;
    match step(head.lines().next().unwrap_or_default(), String::from_utf8_lossy(&rest).trim_start()) {
        Step::Drop => Ok(()),
        Step::Answer(answer) => stream.write_all(&answer),
        Step::Forward(later) => {
            std::thread::sleep(later);
            let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
            let head: String = kept.map(|line| format!("{line}\r\n")).collect();
            let mut service = TcpStream::connect(("127.0.0.1", behind))?;
            service.write_all(format!("{head}connection: close").as_bytes())?;
            service.write_all(&rest)?;
            std::io::copy(&mut service, &mut stream).map(drop)
        }
    }
}

/// The head of a request, and what follows from the empty line on.
fn read(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let (mut request, mut piece) = (Vec::new(), [0u8; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let headers = head.lines().filter_map(|line| line.split_once(':'));
            let length =
                headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim().parse());
            let rest = request.get(head.len()..).unwrap_or_default();
            if rest.len() >= length.flatten().next().unwrap_or(0) + 4 {
                return Ok((head.to_owned(), rest.to_vec()));
            }
        }
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend(piece.get(..count).unwrap_or_default());
    }
}
