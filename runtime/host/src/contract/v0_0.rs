//! The pattern of a version that is not the newest, for tests alone: its own bindings, its own imports in the linker, and
//! the host's traits implemented by converting. Nothing outside of this folder and of `Version` knows it.

mod old_component;
mod tests;

use std::sync::{Mutex, PoisonError};

use affluent_model::manifest::PluginKind;
use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use self::bindings::affluent::plugin::runtime as old_runtime;
use self::bindings::exports::affluent::plugin::{plugin, source as old};
use super::{Answer, DestinationGuest, Exports, Guest, Open, Reported, SourceGuest, TransformGuest};
use crate::bindings::affluent::plugin::runtime::Level;
use crate::bindings::affluent::plugin::types::{ErrorKind, Part, Payload, PluginError, RowOp};
use crate::bindings::exports::affluent::plugin::source;
use crate::state::State;

mod bindings {
    wasmtime::component::bindgen!({
        path: "src/contract/v0_0",
        world: "source-plugin",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

struct V0_0 {
    plugin: plugin::GuestIndices,
    source: Option<old::GuestIndices>,
}

/// An open reader; a page of this version does not say which stream it is of.
struct OldSource {
    guest: old::Guest,
    stream: Mutex<String>,
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    old_runtime::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

pub(super) fn exports(pre: &InstancePre<State>, kinds: &[PluginKind]) -> wasmtime::Result<Box<dyn Exports>> {
    let source = kinds.contains(&PluginKind::Source).then(|| old::GuestIndices::new(pre)).transpose()?;
    Ok(Box::new(V0_0 { plugin: plugin::GuestIndices::new(pre)?, source }))
}

impl old_runtime::Host for State {
    fn log(&mut self, message: String) -> wasmtime::Result<()> {
        crate::bindings::affluent::plugin::runtime::Host::log(self, Level::Info, message, Vec::new())
    }
}

impl Exports for V0_0 {
    fn manifest<'a>(&'a self, store: &'a mut Store<State>, guest: &'a Guest) -> Answer<'a, String> {
        Box::pin(async move { self.plugin.load(&mut *store, guest.here()?)?.call_manifest(store).await })
    }

    fn check<'a>(&'a self, store: &'a mut Store<State>, guest: &'a Guest, config: &'a String) -> Reported<'a, String> {
        Box::pin(async move { Ok(self.plugin.load(&mut *store, guest.here()?)?.call_check(store, config).await?.map_err(error)) })
    }

    fn source(&self) -> Option<&dyn Open<dyn SourceGuest>> {
        self.source.as_ref().map(|indices| indices as _)
    }

    fn transform(&self) -> Option<&dyn Open<dyn TransformGuest>> {
        None
    }

    fn destination(&self) -> Option<&dyn Open<dyn DestinationGuest>> {
        None
    }
}

impl Open<dyn SourceGuest> for old::GuestIndices {
    fn open(&self, store: &mut Store<State>, guest: &Guest) -> wasmtime::Result<Box<dyn SourceGuest>> {
        Ok(Box::new(OldSource { guest: self.load(store, guest.here()?)?, stream: Mutex::default() }))
    }
}

impl SourceGuest for OldSource {
    fn call_discover<'a>(&'a self, store: &'a mut Store<State>, config: &'a String) -> Reported<'a, String> {
        Box::pin(async move { Ok(self.guest.call_discover(store, config).await?.map_err(error)) })
    }

    fn call_open<'a>(
        &'a self,
        store: &'a mut Store<State>,
        config: &'a String,
        spec: &'a String,
        state: Option<&'a [u8]>,
    ) -> Reported<'a, ()> {
        let spec: Value = serde_json::from_str(spec).unwrap_or_default();
        let stream = spec.pointer("/stream/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&stream);
        Box::pin(async move { Ok(self.guest.call_open(store, config, &stream, state).await?.map_err(error)) })
    }

    fn call_next<'a>(&'a self, store: &'a mut Store<State>, limits: source::Limits) -> Reported<'a, source::Page> {
        Box::pin(async move {
            let page = self.guest.call_next(store, limits.max_rows).await?;
            let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok(page.map(|page| convert(stream, page)).map_err(error))
        })
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<State>) -> Answer<'a, ()> {
        Box::pin(self.guest.call_close(store))
    }
}

fn convert(stream: String, page: old::Page) -> source::Page {
    let part = Part { stream, op: RowOp::Upsert, payload: Payload::Ndjson(page.lines) };
    let position = if page.last { source::Position::End } else { source::Position::More };
    source::Page { parts: vec![part], rejected: Vec::new(), state: page.state, position }
}

fn error(message: String) -> PluginError {
    PluginError { kind: ErrorKind::Internal, code: "internal".to_owned(), message, retry_after_ms: None, details: None }
}
