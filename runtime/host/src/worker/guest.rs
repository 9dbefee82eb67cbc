//! A guest in a worker, as the rest of the host sees it: the traits of the contract, over the socket. The store holds the
//! state that answers what the guest imports, and the worker with it: when a call does not return, both are thrown away.

use std::sync::Arc;

use affluent_model::manifest::PluginKind;
use tokio::net::UnixStream;
use wasmtime::Store;

use super::Sealed;
use super::answer::{Allowed, answer};
use super::frame::{self, Frame, Garbled};
use super::message::{Bytes, IMPORT, ORDER, Order, RETURNED, STOPPED, Stopped};
use super::payload::{PackedBatch, PackedOutput, PackedPage, PackedPayload};
use super::process::{WorkerCommand, WorkerError, WorkerProcess};
use crate::bindings::affluent::plugin::types::{Payload, PluginError};
use crate::bindings::exports::affluent::plugin::{destination, source, transform};
use crate::contract::{Answer, DestinationGuest, Exports, Guest, Open, Reported, SourceGuest, TransformGuest};
use crate::state::State;

/// A worker and its socket.
pub(crate) struct Worker {
    process: WorkerProcess,
    stream: UnixStream,
    /// What its guest may import.
    pub(super) allowed: Allowed,
}

impl Worker {
    /// Starts a worker for a compiled component; nothing is allowed to it yet.
    ///
    /// # Errors
    /// [`WorkerError::Unstartable`].
    pub(super) async fn start(command: &WorkerCommand, code: &Arc<Sealed>) -> Result<Self, WorkerError> {
        let (command, code) = (command.clone(), Arc::clone(code));
        let started = tokio::task::spawn_blocking(move || WorkerProcess::start(&command, super::RUN, &code.0)).await;
        let (process, stream) = started.map_err(|error| WorkerError::Unstartable(error.to_string()))??;
        let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
        let stream = stream.map_err(|error| WorkerError::Unstartable(error.to_string()))?;
        Ok(Self { process, stream, allowed: Allowed::default() })
    }

    async fn write(&mut self, frame: &[u8]) -> wasmtime::Result<()> {
        use tokio::io::AsyncWriteExt;
        let written = self.stream.write_all(frame).await;
        Ok(written.map_err(|_| self.process.ended())?)
    }

    async fn read(&mut self) -> wasmtime::Result<Frame> {
        let read = frame::read(&mut self.stream).await;
        Ok(read.map_err(|_| self.process.ended())?)
    }

    /// Gives an order and answers what the guest asks until it returns.
    async fn converse(&mut self, state: &mut State, order: &Order<'_>) -> wasmtime::Result<Frame> {
        self.write(&frame::encode(ORDER, order)?).await?;
        loop {
            let frame = self.read().await?;
            match frame.tag {
                IMPORT => {
                    let given = answer(state, self.allowed, frame.decode()?).await?;
                    self.write(&given).await?;
                }
                RETURNED => return Ok(frame),
                STOPPED => return Err(frame.decode::<Stopped>()?.into()),
                _ => return Err(Garbled("is of an unknown kind").into()),
            }
        }
    }
}

/// Gives an order to the worker of a store.
///
/// # Errors
/// The guest's trap, the end of the worker, an import that may not be called.
pub(super) async fn order(store: &mut Store<State>, order: &Order<'_>) -> wasmtime::Result<Frame> {
    let state = store.data_mut();
    let mut worker = state.worker.take().ok_or(Garbled("has nobody to go to"))?;
    let frame = worker.converse(state, order).await?;
    state.worker = Some(worker);
    Ok(frame)
}

async fn text(store: &mut Store<State>, given: Order<'_>) -> wasmtime::Result<Result<String, PluginError>> {
    Ok(order(store, &given).await?.decode()?)
}

async fn nothing(store: &mut Store<State>, given: Order<'_>) -> wasmtime::Result<Result<(), PluginError>> {
    Ok(order(store, &given).await?.decode()?)
}

/// The exports of a component whose instances are in workers.
pub(crate) struct Remote {
    pub(crate) kinds: Vec<PluginKind>,
}

/// An interface of a guest in the worker of its store.
struct InWorker;

/// The interfaces, without anything of their own.
static IN_WORKER: InWorker = InWorker;

impl Remote {
    fn has(&self, kind: PluginKind) -> bool {
        self.kinds.contains(&kind)
    }
}

impl Exports for Remote {
    fn manifest<'a>(&'a self, store: &'a mut Store<State>, _: &'a Guest) -> Answer<'a, String> {
        Box::pin(async move {
            let manifest: Result<String, String> = order(store, &Order::Manifest).await?.decode()?;
            Ok(manifest.map_err(|_| Garbled("has no manifest any more"))?)
        })
    }

    fn check<'a>(&'a self, store: &'a mut Store<State>, _: &'a Guest, config: &'a String) -> Reported<'a, String> {
        Box::pin(text(store, Order::Check { config }))
    }

    fn source(&self) -> Option<&dyn Open<dyn SourceGuest>> {
        self.has(PluginKind::Source).then_some(&IN_WORKER as _)
    }

    fn transform(&self) -> Option<&dyn Open<dyn TransformGuest>> {
        self.has(PluginKind::Transform).then_some(&IN_WORKER as _)
    }

    fn destination(&self) -> Option<&dyn Open<dyn DestinationGuest>> {
        self.has(PluginKind::Destination).then_some(&IN_WORKER as _)
    }
}

impl Open<dyn SourceGuest> for InWorker {
    fn open(&self, _: &mut Store<State>, _: &Guest) -> wasmtime::Result<Box<dyn SourceGuest>> {
        Ok(Box::new(Self))
    }
}

impl Open<dyn TransformGuest> for InWorker {
    fn open(&self, _: &mut Store<State>, _: &Guest) -> wasmtime::Result<Box<dyn TransformGuest>> {
        Ok(Box::new(Self))
    }
}

impl Open<dyn DestinationGuest> for InWorker {
    fn open(&self, _: &mut Store<State>, _: &Guest) -> wasmtime::Result<Box<dyn DestinationGuest>> {
        Ok(Box::new(Self))
    }
}

impl SourceGuest for InWorker {
    fn call_discover<'a>(&'a self, store: &'a mut Store<State>, config: &'a String) -> Reported<'a, String> {
        Box::pin(text(store, Order::DiscoverStreams { config }))
    }

    fn call_open<'a>(
        &'a self,
        store: &'a mut Store<State>,
        config: &'a String,
        spec: &'a String,
        state: Option<&'a [u8]>,
    ) -> Reported<'a, ()> {
        Box::pin(nothing(store, Order::OpenSource { config, spec, state: state.map(Bytes::of) }))
    }

    fn call_next<'a>(&'a self, store: &'a mut Store<State>, limits: source::Limits) -> Reported<'a, source::Page> {
        Box::pin(async move {
            let frame = order(store, &Order::Next { limits }).await?;
            let page: Result<PackedPage<'_>, PluginError> = frame.decode()?;
            Ok(match page {
                Ok(page) => Ok(page.unpack()?),
                Err(error) => Err(error),
            })
        })
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<State>) -> Answer<'a, ()> {
        Box::pin(async move { Ok(order(store, &Order::CloseSource).await?.decode()?) })
    }
}

impl TransformGuest for InWorker {
    fn call_open<'a>(&'a self, store: &'a mut Store<State>, config: &'a String, input: &'a String) -> Reported<'a, String> {
        Box::pin(text(store, Order::OpenTransform { config, input }))
    }

    fn call_apply<'a>(&'a self, store: &'a mut Store<State>, batch: &'a Payload) -> Reported<'a, transform::Output> {
        Box::pin(async move {
            let frame = order(store, &Order::Apply { batch: PackedPayload::of(batch) }).await?;
            let output: Result<PackedOutput<'_>, PluginError> = frame.decode()?;
            Ok(match output {
                Ok(output) => Ok(output.unpack()?),
                Err(error) => Err(error),
            })
        })
    }

    fn call_finish<'a>(&'a self, store: &'a mut Store<State>) -> Reported<'a, Option<transform::Output>> {
        Box::pin(async move {
            let frame = order(store, &Order::Finish).await?;
            let output: Result<Option<PackedOutput<'_>>, PluginError> = frame.decode()?;
            Ok(match output {
                Ok(output) => Ok(output.map(PackedOutput::unpack).transpose()?),
                Err(error) => Err(error),
            })
        })
    }
}

async fn outcome(store: &mut Store<State>, given: Order<'_>) -> wasmtime::Result<Result<destination::Outcome, PluginError>> {
    Ok(order(store, &given).await?.decode()?)
}

impl DestinationGuest for InWorker {
    fn call_discover<'a>(&'a self, store: &'a mut Store<State>, config: &'a String) -> Reported<'a, String> {
        Box::pin(text(store, Order::DiscoverTargets { config }))
    }

    fn call_open<'a>(&'a self, store: &'a mut Store<State>, config: &'a String, target: &'a String) -> Reported<'a, String> {
        Box::pin(text(store, Order::OpenDestination { config, target }))
    }

    fn call_write<'a>(
        &'a self,
        store: &'a mut Store<State>,
        batch: &'a destination::Batch,
    ) -> Reported<'a, destination::Outcome> {
        Box::pin(outcome(store, Order::Write { batch: PackedBatch::of(batch) }))
    }

    fn call_poll<'a>(&'a self, store: &'a mut Store<State>, token: &'a str) -> Reported<'a, destination::Outcome> {
        Box::pin(outcome(store, Order::Poll { token }))
    }

    fn call_close<'a>(&'a self, store: &'a mut Store<State>) -> Reported<'a, ()> {
        Box::pin(nothing(store, Order::CloseDestination))
    }
}
