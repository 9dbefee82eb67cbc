//! The host's part in native tests of a plugin: everything the SDK imports is played from state of the current thread,
//! so that `cargo test` needs no component and tests do not disturb each other. Not compiled into components.
//!
//! ```
//! use affluent_sdk::{http, testing};
//!
//! testing::on_http(|request| {
//!     assert_eq!(request.url, "https://shop.test/orders?limit=2");
//!     Ok(testing::response(200, r#"{"orders":[]}"#))
//! });
//!
//! let answer = http::get("https://shop.test/orders").query("limit", "2").send()?;
//! assert_eq!(answer.status(), 200);
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::bindings::imports::affluent::plugin::files::Input;
use crate::bindings::imports::affluent::plugin::http::{HttpError, Request, Response};
use crate::bindings::imports::affluent::plugin::runtime::Level;

pub(crate) mod imports;
mod read;
mod recording;

pub use read::{LIMITS, Reading, Record, assert_resumable, read_all, read_on, spec};

pub use recording::play;

pub(crate) use imports::{crypto, files, http, kv, runtime};

type Transport = Box<dyn FnMut(&Request) -> Result<Response, HttpError>>;
type Mac = Box<dyn Fn(&str, &[u8]) -> Result<Vec<u8>, String>>;

struct InputFile {
    bytes: Vec<u8>,
    modified_us: i64,
}

/// What the plugin saw and did.
#[derive(Default)]
struct World {
    transport: Option<Transport>,
    mac: Option<Mac>,
    now_us: i64,
    is_cancelled: bool,
    random: u8,
    slept_ms: u64,
    logs: Vec<(Level, String)>,
    kv: BTreeMap<String, Vec<u8>>,
    inputs: BTreeMap<String, InputFile>,
    outputs: BTreeMap<String, Vec<u8>>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fn with_world<R>(act: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| act(&mut world.borrow_mut()))
}

/// Forgets everything that was set up and done on this thread.
pub fn reset() {
    with_world(|world| *world = World::default());
}

/// Answers every request from now on; the closure may keep state and look at the request.
pub fn on_http(transport: impl FnMut(&Request) -> Result<Response, HttpError> + 'static) {
    with_world(|world| world.transport = Some(Box::new(transport)));
}

/// A JSON answer.
pub fn response(status: u16, body: &str) -> Response {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// Computes every HMAC from now on: (secret name, data) → mac.
pub fn on_hmac(mac: impl Fn(&str, &[u8]) -> Result<Vec<u8>, String> + 'static) {
    with_world(|world| world.mac = Some(Box::new(mac)));
}

/// Sets the clock, microseconds since the epoch; sleeping moves it.
pub fn set_now_us(now_us: i64) {
    with_world(|world| world.now_us = now_us);
}

/// Makes the run look as if it were being stopped.
pub fn cancel() {
    with_world(|world| world.is_cancelled = true);
}

/// Milliseconds slept so far.
pub fn slept_ms() -> u64 {
    with_world(|world| world.slept_ms)
}

/// Log lines so far.
pub fn logs() -> Vec<(Level, String)> {
    with_world(|world| world.logs.clone())
}

/// Grants an input, replacing one of the same name. `modified_us` is microseconds since the epoch.
pub fn put_input(name: &str, bytes: impl Into<Vec<u8>>, modified_us: i64) {
    let file = InputFile { bytes: bytes.into(), modified_us };
    with_world(|world| world.inputs.insert(name.to_owned(), file));
}

/// Takes an input away.
pub fn remove_input(name: &str) {
    with_world(|world| world.inputs.remove(name));
}

/// A committed output.
pub fn output(name: &str) -> Option<Vec<u8>> {
    with_world(|world| world.outputs.get(name).cloned())
}

/// Names of the committed outputs, sorted.
pub fn output_names() -> Vec<String> {
    with_world(|world| world.outputs.keys().cloned().collect())
}

fn granted_inputs() -> Vec<Input> {
    with_world(|world| {
        let describe = |(name, file): (&String, &InputFile)| Input {
            name: name.clone(),
            bytes: Some(file.bytes.len() as u64),
            modified_us: Some(file.modified_us),
        };
        world.inputs.iter().map(describe).collect()
    })
}
