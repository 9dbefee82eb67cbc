//! Version 0.1, the newest: its types are the host's own, nothing is converted.

use affluent_model::manifest::PluginKind;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker};

use super::{Answer, DestinationGuest, Exports, Open, Reported, SourceGuest, TransformGuest};
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

pub(super) fn exports(pre: &InstancePre<State>, kinds: &[PluginKind]) -> wasmtime::Result<Box<dyn Exports>> {
    let has = |kind: PluginKind| kinds.contains(&kind);
    Ok(Box::new(V0_1 {
        plugin: plugin::GuestIndices::new(pre)?,
        source: has(PluginKind::Source).then(|| source::GuestIndices::new(pre)).transpose()?,
        transform: has(PluginKind::Transform).then(|| transform::GuestIndices::new(pre)).transpose()?,
        destination: has(PluginKind::Destination).then(|| destination::GuestIndices::new(pre)).transpose()?,
    }))
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    imports::types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    imports::runtime::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    imports::kv::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    imports::crypto::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    imports::http::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    imports::files::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl Exports for V0_1 {
    fn manifest<'a>(&'a self, store: &'a mut Store<State>, instance: &'a Instance) -> Answer<'a, String> {
        Box::pin(async move { self.plugin.load(&mut *store, instance)?.call_manifest(store).await })
    }

    fn check<'a>(&'a self, store: &'a mut Store<State>, instance: &'a Instance, config: &'a String) -> Reported<'a, String> {
        Box::pin(async move { self.plugin.load(&mut *store, instance)?.call_check(store, config).await })
    }

    fn source(&self) -> Option<&dyn Open<dyn SourceGuest>> {
        self.source.as_ref().map(|indices| indices as _)
    }

    fn transform(&self) -> Option<&dyn Open<dyn TransformGuest>> {
        self.transform.as_ref().map(|indices| indices as _)
    }

    fn destination(&self) -> Option<&dyn Open<dyn DestinationGuest>> {
        self.destination.as_ref().map(|indices| indices as _)
    }
}

impl Open<dyn SourceGuest> for source::GuestIndices {
    fn open(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Box<dyn SourceGuest>> {
        Ok(Box::new(self.load(store, instance)?))
    }
}

impl Open<dyn TransformGuest> for transform::GuestIndices {
    fn open(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Box<dyn TransformGuest>> {
        Ok(Box::new(self.load(store, instance)?))
    }
}

impl Open<dyn DestinationGuest> for destination::GuestIndices {
    fn open(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Box<dyn DestinationGuest>> {
        Ok(Box::new(self.load(store, instance)?))
    }
}

impl SourceGuest for source::Guest {
    fn call_discover<'a>(&'a self, store: &'a mut Store<State>, config: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_discover(self, store, config))
    }

    fn call_open<'a>(
        &'a self,
        store: &'a mut Store<State>,
        config: &'a String,
        spec: &'a String,
        state: Option<&'a [u8]>,
    ) -> Reported<'a, ()> {
        Box::pin(Self::call_open(self, store, config, spec, state))
    }

    fn call_next<'a>(&'a self, store: &'a mut Store<State>, limits: source::Limits) -> Reported<'a, source::Page> {
        Box::pin(Self::call_next(self, store, limits))
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<State>) -> Answer<'a, ()> {
        Box::pin(Self::call_close(self, store))
    }
}

impl TransformGuest for transform::Guest {
    fn call_open<'a>(&'a self, store: &'a mut Store<State>, config: &'a String, input: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_open(self, store, config, input))
    }

    fn call_apply<'a>(&'a self, store: &'a mut Store<State>, batch: &'a Payload) -> Reported<'a, transform::Output> {
        Box::pin(Self::call_apply(self, store, batch))
    }

    fn call_finish<'a>(&'a self, store: &'a mut Store<State>) -> Reported<'a, Option<transform::Output>> {
        Box::pin(Self::call_finish(self, store))
    }
}

impl DestinationGuest for destination::Guest {
    fn call_discover<'a>(&'a self, store: &'a mut Store<State>, config: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_discover(self, store, config))
    }

    fn call_open<'a>(&'a self, store: &'a mut Store<State>, config: &'a String, target: &'a String) -> Reported<'a, String> {
        Box::pin(Self::call_open(self, store, config, target))
    }

    fn call_write<'a>(
        &'a self,
        store: &'a mut Store<State>,
        batch: &'a destination::Batch,
    ) -> Reported<'a, destination::Outcome> {
        Box::pin(Self::call_write(self, store, batch))
    }

    fn call_poll<'a>(&'a self, store: &'a mut Store<State>, token: &'a str) -> Reported<'a, destination::Outcome> {
        Box::pin(Self::call_poll(self, store, token))
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<State>) -> Reported<'a, ()> {
        Box::pin(Self::call_close(self, store))
    }
}
