//! Version 0.1, the newest: its types are the host's own, nothing is converted.

use affluent_model::manifest::PluginKind;
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use super::{Answer, DestinationGuest, Exports, Guest, Open, Reported, SourceGuest, TransformGuest};
use crate::bindings::affluent::plugin as imports;
use crate::bindings::affluent::plugin::types::Payload;
use crate::bindings::exports::affluent::plugin::{destination, plugin, source, transform};
use crate::state::State;

struct V0_1 {
    plugin: plugin::GuestIndices,
    source: Option<source::GuestIndices>,
    transform: Option<transform::GuestIndices>,
    destination: Option<destination::GuestIndices>,
}

/// What implements every interface that a guest may import.
pub(crate) trait Imports:
    imports::types::Host
    + imports::runtime::Host
    + imports::kv::Host
    + imports::crypto::Host
    + imports::http::Host
    + imports::files::Host
    + Send
    + 'static
{
}

impl Imports for State {}

pub(super) fn exports<T: Send + 'static>(pre: &InstancePre<T>, kinds: &[PluginKind]) -> wasmtime::Result<Box<dyn Exports<T>>> {
    let has = |kind: PluginKind| kinds.contains(&kind);
    Ok(Box::new(V0_1 {
        plugin: plugin::GuestIndices::new(pre)?,
        source: has(PluginKind::Source).then(|| source::GuestIndices::new(pre)).transpose()?,
        transform: has(PluginKind::Transform).then(|| transform::GuestIndices::new(pre)).transpose()?,
        destination: has(PluginKind::Destination).then(|| destination::GuestIndices::new(pre)).transpose()?,
    }))
}

pub(super) fn link<T: Imports>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    imports::types::add_to_linker::<T, HasSelf<T>>(linker, |state| state)?;
    imports::runtime::add_to_linker::<T, HasSelf<T>>(linker, |state| state)?;
    imports::kv::add_to_linker::<T, HasSelf<T>>(linker, |state| state)?;
    imports::crypto::add_to_linker::<T, HasSelf<T>>(linker, |state| state)?;
    imports::http::add_to_linker::<T, HasSelf<T>>(linker, |state| state)?;
    imports::files::add_to_linker::<T, HasSelf<T>>(linker, |state| state)
}

impl<T: Send + 'static> Exports<T> for V0_1 {
    fn manifest<'a>(&'a self, store: &'a mut Store<T>, guest: &'a Guest) -> Answer<'a, String> {
        Box::pin(async move { self.plugin.load(&mut *store, guest.here()?)?.call_manifest(store).await })
    }

    fn check<'a>(&'a self, store: &'a mut Store<T>, guest: &'a Guest, config: &'a String) -> Reported<'a, String> {
        Box::pin(async move { self.plugin.load(&mut *store, guest.here()?)?.call_check(store, config).await })
    }

    fn source(&self) -> Option<&dyn Open<dyn SourceGuest<T>, T>> {
        self.source.as_ref().map(|indices| indices as _)
    }

    fn transform(&self) -> Option<&dyn Open<dyn TransformGuest<T>, T>> {
        self.transform.as_ref().map(|indices| indices as _)
    }

    fn destination(&self) -> Option<&dyn Open<dyn DestinationGuest<T>, T>> {
        self.destination.as_ref().map(|indices| indices as _)
    }
}

impl<T: Send + 'static> Open<dyn SourceGuest<T>, T> for source::GuestIndices {
    fn open(&self, store: &mut Store<T>, guest: &Guest) -> wasmtime::Result<Box<dyn SourceGuest<T>>> {
        Ok(Box::new(self.load(store, guest.here()?)?))
    }
}

impl<T: Send + 'static> Open<dyn TransformGuest<T>, T> for transform::GuestIndices {
    fn open(&self, store: &mut Store<T>, guest: &Guest) -> wasmtime::Result<Box<dyn TransformGuest<T>>> {
        Ok(Box::new(self.load(store, guest.here()?)?))
    }
}

impl<T: Send + 'static> Open<dyn DestinationGuest<T>, T> for destination::GuestIndices {
    fn open(&self, store: &mut Store<T>, guest: &Guest) -> wasmtime::Result<Box<dyn DestinationGuest<T>>> {
        Ok(Box::new(self.load(store, guest.here()?)?))
    }
}

impl<T: Send + 'static> SourceGuest<T> for source::Guest {
    fn call_discover<'a>(&'a self, store: &'a mut Store<T>, config: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_discover(self, store, config))
    }

    fn call_open<'a>(
        &'a self,
        store: &'a mut Store<T>,
        config: &'a String,
        spec: &'a String,
        state: Option<&'a [u8]>,
    ) -> Reported<'a, ()> {
        Box::pin(Self::call_open(self, store, config, spec, state))
    }

    fn call_next<'a>(&'a self, store: &'a mut Store<T>, limits: source::Limits) -> Reported<'a, source::Page> {
        Box::pin(Self::call_next(self, store, limits))
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<T>) -> Answer<'a, ()> {
        Box::pin(Self::call_close(self, store))
    }
}

impl<T: Send + 'static> TransformGuest<T> for transform::Guest {
    fn call_open<'a>(&'a self, store: &'a mut Store<T>, config: &'a String, input: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_open(self, store, config, input))
    }

    fn call_apply<'a>(&'a self, store: &'a mut Store<T>, batch: &'a Payload) -> Reported<'a, transform::Output> {
        Box::pin(Self::call_apply(self, store, batch))
    }

    fn call_finish<'a>(&'a self, store: &'a mut Store<T>) -> Reported<'a, Option<transform::Output>> {
        Box::pin(Self::call_finish(self, store))
    }
}

impl<T: Send + 'static> DestinationGuest<T> for destination::Guest {
    fn call_discover<'a>(&'a self, store: &'a mut Store<T>, config: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_discover(self, store, config))
    }

    fn call_open<'a>(&'a self, store: &'a mut Store<T>, config: &'a String, target: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_open(self, store, config, target))
    }

    fn call_write<'a>(&'a self, store: &'a mut Store<T>, batch: &'a destination::Batch) -> Reported<'a, destination::Outcome> {
        Box::pin(Self::call_write(self, store, batch))
    }

    fn call_poll<'a>(&'a self, store: &'a mut Store<T>, token: &'a str) -> Reported<'a, destination::Outcome> {
        Box::pin(Self::call_poll(self, store, token))
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<T>) -> Reported<'a, ()> {
        Box::pin(Self::call_close(self, store))
    }
}
