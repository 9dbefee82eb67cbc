//! The versions of the plugin contract that this host runs. Everything above speaks the newest one, through the traits
//! here; an older version stays alive by implementing them once more, converting what its guests take and give
//! (plugins.md §6). Which version a component speaks is read from its section `affluent:api`, before it is compiled.

#![expect(clippy::ptr_arg, reason = "the generated bindings take texts as `&String`")]

#[cfg(test)]
mod v0_0;
mod v0_1;

#[cfg(test)]
mod tests;

use affluent_model::connector::BoxFuture;
use affluent_model::manifest::PluginKind;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Linker};

use crate::bindings::affluent::plugin::types::{Payload, PluginError};
use crate::bindings::exports::affluent::plugin::{destination, source, transform};
use crate::state::State;
use crate::worker::Proxy;

pub(crate) use v0_1::Imports;

/// What a call gives: a trap, or what the guest returned.
pub(crate) type Answer<'a, T> = BoxFuture<'a, wasmtime::Result<T>>;
/// What a call that may report an error gives.
pub(crate) type Reported<'a, T> = Answer<'a, Result<T, PluginError>>;

/// The guest of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Guest {
    /// In the store itself.
    Here(Instance),
    /// In a worker, which the store holds.
    InWorker,
}

impl Guest {
    /// The instance in the store.
    ///
    /// # Errors
    /// When the guest is in another process.
    fn here(&self) -> wasmtime::Result<&Instance> {
        match self {
            Self::Here(instance) => Ok(instance),
            Self::InWorker => Err(wasmtime::Error::msg("the guest is in another process")),
        }
    }
}

/// A live version of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V0_1,
    /// Of no release: shows the conversion.
    #[cfg(test)]
    V0_0,
}

impl Version {
    /// Newest first. Two stay alive at a time; the older one goes with the release that brings a third.
    pub(crate) const LIVE: &'static [Self] = &[
        Self::V0_1,
        #[cfg(test)]
        Self::V0_0,
    ];

    /// The version that `api`, the content of the component's section, names; `None` when this host does not run it.
    /// The last number may be any: functions may be added to imported interfaces without breaking a plugin.
    pub(crate) fn of(api: &str) -> Option<Self> {
        let (major_minor, patch) = api.rsplit_once('.')?;
        let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
        Self::LIVE.iter().copied().find(|version| is_number && version.major_minor() == major_minor)
    }

    pub(crate) fn major_minor(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            #[cfg(test)]
            Self::V0_0 => "0.0",
        }
    }

    /// Links the interfaces that guests of this version import.
    ///
    /// # Errors
    /// When an interface is linked twice.
    pub(crate) fn link(self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        match self {
            Self::V0_1 => v0_1::link(linker),
            #[cfg(test)]
            Self::V0_0 => v0_0::link(linker),
        }
    }

    /// Finds the exports of a linked component.
    ///
    /// # Errors
    /// When one that its kinds need is missing or of another type.
    pub(crate) fn exports(self, pre: &InstancePre<State>, kinds: &[PluginKind]) -> wasmtime::Result<Box<dyn Exports>> {
        match self {
            Self::V0_1 => v0_1::exports(pre, kinds),
            #[cfg(test)]
            Self::V0_0 => v0_0::exports(pre, kinds),
        }
    }
}

/// As [`Version`] links and finds what guests of this process import and export, for those in a worker.
impl Version {
    /// # Errors
    /// As [`Version::link`].
    pub(crate) fn link_proxy(self, linker: &mut Linker<Proxy>) -> wasmtime::Result<()> {
        match self {
            Self::V0_1 => v0_1::link(linker),
            #[cfg(test)]
            Self::V0_0 => Ok(()),
        }
    }

    /// # Errors
    /// As [`Version::exports`].
    pub(crate) fn exports_of_proxy(
        self,
        pre: &InstancePre<Proxy>,
        kinds: &[PluginKind],
    ) -> wasmtime::Result<Box<dyn Exports<Proxy>>> {
        match self {
            Self::V0_1 => v0_1::exports(pre, kinds),
            #[cfg(test)]
            Self::V0_0 => Err(wasmtime::Error::msg("this version runs in no worker")),
        }
    }
}

/// What a component exports; `T` is the data of its stores.
pub(crate) trait Exports<T: 'static = State>: Send + Sync {
    /// Whether the functions have the types of the contract.
    ///
    /// # Errors
    /// What differs.
    fn check_types(&self, store: &mut Store<T>, guest: &Guest) -> wasmtime::Result<()> {
        self.source().map(|source| source.open(store, guest)).transpose()?;
        self.transform().map(|transform| transform.open(store, guest)).transpose()?;
        self.destination().map(|destination| destination.open(store, guest)).transpose()?;
        Ok(())
    }

    /// Calls `plugin.manifest`.
    fn manifest<'a>(&'a self, store: &'a mut Store<T>, guest: &'a Guest) -> Answer<'a, String>;

    /// Calls `plugin.check`.
    fn check<'a>(&'a self, store: &'a mut Store<T>, guest: &'a Guest, config: &'a String) -> Reported<'a, String>;

    /// `None` when the component is no source.
    fn source(&self) -> Option<&dyn Open<dyn SourceGuest<T>, T>>;

    /// `None` when the component is no transform.
    fn transform(&self) -> Option<&dyn Open<dyn TransformGuest<T>, T>>;

    /// `None` when the component is no destination.
    fn destination(&self) -> Option<&dyn Open<dyn DestinationGuest<T>, T>>;
}

/// Finds the functions of one interface in an instance.
pub(crate) trait Open<G: ?Sized, T: 'static = State>: Send + Sync {
    /// # Errors
    /// When the instance is not of the component that was linked.
    fn open(&self, store: &mut Store<T>, guest: &Guest) -> wasmtime::Result<Box<G>>;
}

/// The interface `source` of an instance.
pub(crate) trait SourceGuest<T: 'static = State>: Send + Sync {
    fn call_discover<'a>(&'a self, store: &'a mut Store<T>, config: &'a String) -> Reported<'a, String>;

    fn call_open<'a>(
        &'a self,
        store: &'a mut Store<T>,
        config: &'a String,
        spec: &'a String,
        state: Option<&'a [u8]>,
    ) -> Reported<'a, ()>;

    fn call_next<'a>(&'a self, store: &'a mut Store<T>, limits: source::Limits) -> Reported<'a, source::Page>;

    fn call_close<'a>(&'a self, store: &'a mut Store<T>) -> Answer<'a, ()>;
}

/// The interface `transform` of an instance.
pub(crate) trait TransformGuest<T: 'static = State>: Send + Sync {
    fn call_open<'a>(&'a self, store: &'a mut Store<T>, config: &'a String, input: &'a String) -> Reported<'a, String>;

    fn call_apply<'a>(&'a self, store: &'a mut Store<T>, batch: &'a Payload) -> Reported<'a, transform::Output>;

    fn call_finish<'a>(&'a self, store: &'a mut Store<T>) -> Reported<'a, Option<transform::Output>>;
}

/// The interface `destination` of an instance.
pub(crate) trait DestinationGuest<T: 'static = State>: Send + Sync {
    fn call_discover<'a>(&'a self, store: &'a mut Store<T>, config: &'a String) -> Reported<'a, String>;

    fn call_open<'a>(&'a self, store: &'a mut Store<T>, config: &'a String, target: &'a String) -> Reported<'a, String>;

    fn call_write<'a>(&'a self, store: &'a mut Store<T>, batch: &'a destination::Batch) -> Reported<'a, destination::Outcome>;

    fn call_poll<'a>(&'a self, store: &'a mut Store<T>, token: &'a str) -> Reported<'a, destination::Outcome>;

    fn call_close<'a>(&'a self, store: &'a mut Store<T>) -> Reported<'a, ()>;
}
