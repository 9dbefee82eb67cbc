//! From the author's types to the component's exports. The macros only name types: what they expand to is empty in a
//! native build, so that a plugin's own tests link, and exports nothing that the plugin is not.

use std::any::Any;
use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::affluent::plugin::types::PluginError;
use crate::columns::Payload;
use crate::error::Error;
use crate::manifest::{Target, WriteMode};
use crate::plugin::{Batch, Destination, Limits, Outcome, Output, Page, Plugin, Source, Transform};

/// Version of the contract this SDK was generated from; also in the component's custom section `affluent:api`.
pub const API_VERSION: &str = "0.1.0";

type Exported<T> = Result<T, PluginError>;

thread_local! {
    /// The open readers and writers of this instance, one of a kind.
    static OPEN: RefCell<Open> = RefCell::default();
}

#[derive(Default)]
struct Open {
    source: Option<Box<dyn Any>>,
    destination: Option<Box<dyn Any>>,
    /// What the open destination was opened for.
    mode: Option<WriteMode>,
    transform: Option<Box<dyn Any>>,
}

fn read_config<C: DeserializeOwned>(config: &str) -> Result<C, Error> {
    serde_json::from_str(config).map_err(|error| Error::config(format!("the configuration is not valid: {error}")))
}

fn write_json(value: &impl Serialize) -> Exported<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("not writable as JSON: {error}")).into())
}

/// Acts on the open instance.
fn with<T: 'static, R>(slot: &mut Option<Box<dyn Any>>, act: impl FnOnce(&mut T) -> Result<R, Error>) -> Exported<R> {
    let open = slot.as_mut().and_then(|open| open.downcast_mut::<T>());
    let Some(open) = open else { return Err(Error::internal("called before `open`").into()) };
    Ok(act(open)?)
}

pub fn manifest<P: Plugin>() -> String {
    // A manifest is text, numbers and lists: writing it cannot fail.
    serde_json::to_string(&P::manifest()).unwrap_or_default()
}

pub fn check<P: Plugin>(config: &str) -> Exported<String> {
    write_json(&P::check(&read_config(config)?)?)
}

pub fn source_discover<S: Source>(config: &str) -> Exported<String> {
    write_json(&S::discover(&read_config(config)?)?)
}

pub fn source_open<S: Source>(config: &str, spec: &str, state: Option<Vec<u8>>) -> Exported<()> {
    let spec = serde_json::from_str(spec).map_err(|error| Error::internal(format!("the stream spec is not valid: {error}")))?;
    let source = S::open(read_config(config)?, spec, state)?;
    OPEN.with_borrow_mut(|open| open.source = Some(Box::new(source)));
    Ok(())
}

pub fn source_next<S: Source>(limits: Limits) -> Exported<Page> {
    OPEN.with_borrow_mut(|open| with(&mut open.source, |source: &mut S| source.next(limits)))
}

pub fn source_close<S: Source>() {
    OPEN.with_borrow_mut(|open| {
        let closed = open.source.take().and_then(|source| source.downcast::<S>().ok());
        if let Some(mut source) = closed {
            source.close();
        }
    });
}

pub fn destination_discover<D: Destination>(config: &str) -> Exported<String> {
    write_json(&D::discover(&read_config(config)?)?)
}

pub fn destination_open<D: Destination>(config: &str, target: &str) -> Exported<String> {
    let target: Target =
        serde_json::from_str(target).map_err(|error| Error::internal(format!("the target is not valid: {error}")))?;
    let mode = target.mode;
    let (destination, info) = D::open(read_config(config)?, target)?;
    OPEN.with_borrow_mut(|open| {
        open.destination = Some(Box::new(destination));
        open.mode = Some(mode);
    });
    write_json(&info)
}

pub fn destination_write<D: Destination>(batch: Batch) -> Exported<Outcome> {
    OPEN.with_borrow_mut(|open| {
        let mode = open.mode;
        with(&mut open.destination, |destination: &mut D| match mode {
            Some(WriteMode::Erase) => destination.erase(&batch).map(Outcome::Done),
            Some(WriteMode::VerifyErasure) => destination.verify_erasure(&batch).map(Outcome::Done),
            _ => destination.write(batch),
        })
    })
}

pub fn destination_poll<D: Destination>(token: &str) -> Exported<Outcome> {
    OPEN.with_borrow_mut(|open| with(&mut open.destination, |destination: &mut D| destination.poll(token)))
}

pub fn destination_close<D: Destination>() -> Exported<()> {
    let result = OPEN.with_borrow_mut(|open| with(&mut open.destination, D::close));
    OPEN.with_borrow_mut(|open| open.destination = None);
    result
}

pub fn transform_open<T: Transform>(config: &str, input: &str) -> Exported<String> {
    let input =
        serde_json::from_str(input).map_err(|error| Error::internal(format!("the input schema is not valid: {error}")))?;
    let (transform, output) = T::open(read_config(config)?, input)?;
    OPEN.with_borrow_mut(|open| open.transform = Some(Box::new(transform)));
    write_json(&output)
}

pub fn transform_apply<T: Transform>(batch: Payload) -> Exported<Output> {
    OPEN.with_borrow_mut(|open| with(&mut open.transform, |transform: &mut T| transform.apply(batch)))
}

pub fn transform_finish<T: Transform>() -> Exported<Option<Output>> {
    OPEN.with_borrow_mut(|open| with(&mut open.transform, T::finish))
}

/// Exports a source: `export_source!(plugin type, source type)`.
#[macro_export]
macro_rules! export_source {
    ($plugin:ty, $source:ty) => {
        $crate::__export_plugin_interface!($plugin);
        $crate::__export_source_interface!($source);
    };
}

/// Exports a destination: `export_destination!(plugin type, destination type)`.
#[macro_export]
macro_rules! export_destination {
    ($plugin:ty, $destination:ty) => {
        $crate::__export_plugin_interface!($plugin);
        $crate::__export_destination_interface!($destination);
    };
}

/// Exports both: `export_connector!(plugin type, source type, destination type)`.
#[macro_export]
macro_rules! export_connector {
    ($plugin:ty, $source:ty, $destination:ty) => {
        $crate::__export_plugin_interface!($plugin);
        $crate::__export_source_interface!($source);
        $crate::__export_destination_interface!($destination);
    };
}

/// Exports a source and destination of one account whose objects are discovered: `export_account!(plugin type, account type)`, the
/// account being [`crate::changes::Changes`] and [`crate::upserts::Upserts`].
#[macro_export]
macro_rules! export_account {
    ($plugin:ty, $account:ty) => {
        $crate::export_connector!(
            $plugin,
            $crate::changes::ChangesSource<$account>,
            $crate::upserts::UpsertDestination<$account>
        );
    };
}

/// Exports a transform: `export_transform!(plugin type, transform type)`.
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty, $transform:ty) => {
        $crate::__export_plugin_interface!($plugin);
        $crate::__export_transform_interface!($transform);
    };
}

/// Exports types that implement the generated `Guest` traits themselves; for tests of the host.
#[doc(hidden)]
#[macro_export]
macro_rules! export_raw {
    ($guest:ident: plugin, source, transform, destination) => {
        $crate::__api_version_section!();
        $crate::bindings::plugin_exports::__export_plugin!($guest);
        $crate::bindings::source_exports::__export_source!($guest);
        $crate::bindings::transform_exports::__export_transform!($guest);
        $crate::bindings::destination_exports::__export_destination!($guest);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __api_version_section {
    () => {
        /// Readable without running anything: which contract the component was built against.
        #[used]
        #[unsafe(link_section = "affluent:api")]
        static API_VERSION: [u8; 5] = *b"0.1.0";
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin_interface {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::imports::affluent::plugin::types::PluginError;

            $crate::__api_version_section!();

            struct Exported;

            impl $crate::bindings::plugin_exports::exports::affluent::plugin::plugin::Guest for Exported {
                fn manifest() -> String {
                    $crate::export::manifest::<$plugin>()
                }

                fn check(config: String) -> Result<String, PluginError> {
                    $crate::export::check::<$plugin>(&config)
                }
            }

            $crate::bindings::plugin_exports::__export_plugin!(Exported);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_source_interface {
    ($source:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::imports::affluent::plugin::types::PluginError;
            use $crate::bindings::source_exports::exports::affluent::plugin::source::{Guest, Limits, Page};

            struct Exported;

            impl Guest for Exported {
                fn discover(config: String) -> Result<String, PluginError> {
                    $crate::export::source_discover::<$source>(&config)
                }

                fn open(config: String, spec: String, state: Option<Vec<u8>>) -> Result<(), PluginError> {
                    $crate::export::source_open::<$source>(&config, &spec, state)
                }

                fn next(limits: Limits) -> Result<Page, PluginError> {
                    $crate::export::source_next::<$source>(limits)
                }

                fn close() {
                    $crate::export::source_close::<$source>();
                }
            }

            $crate::bindings::source_exports::__export_source!(Exported);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_destination_interface {
    ($destination:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::destination_exports::exports::affluent::plugin::destination::{Batch, Guest, Outcome};
            use $crate::bindings::imports::affluent::plugin::types::PluginError;

            struct Exported;

            impl Guest for Exported {
                fn discover(config: String) -> Result<String, PluginError> {
                    $crate::export::destination_discover::<$destination>(&config)
                }

                fn open(config: String, target: String) -> Result<String, PluginError> {
                    $crate::export::destination_open::<$destination>(&config, &target)
                }

                fn write(batch: Batch) -> Result<Outcome, PluginError> {
                    $crate::export::destination_write::<$destination>(batch)
                }

                fn poll(token: String) -> Result<Outcome, PluginError> {
                    $crate::export::destination_poll::<$destination>(&token)
                }

                fn close() -> Result<(), PluginError> {
                    $crate::export::destination_close::<$destination>()
                }
            }

            $crate::bindings::destination_exports::__export_destination!(Exported);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_transform_interface {
    ($transform:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::imports::affluent::plugin::types::{Payload, PluginError};
            use $crate::bindings::transform_exports::exports::affluent::plugin::transform::{Guest, Output};

            struct Exported;

            impl Guest for Exported {
                fn open(config: String, input: String) -> Result<String, PluginError> {
                    $crate::export::transform_open::<$transform>(&config, &input)
                }

                fn apply(batch: Payload) -> Result<Output, PluginError> {
                    $crate::export::transform_apply::<$transform>(batch)
                }

                fn finish() -> Result<Option<Output>, PluginError> {
                    $crate::export::transform_finish::<$transform>()
                }
            }

            $crate::bindings::transform_exports::__export_transform!(Exported);
        };
    };
}
