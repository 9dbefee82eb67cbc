//! The host itself: plugins by name behind the model's `Connectors`. Each open reader, writer or transform is an
//! instance of its own, with a store of its own and the grants of its connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use affluent_model::connector::{
    BoxFuture, CheckReport, Connectors, Destination, DestinationRequest, Failure, Source, SourceRequest, Transform,
    TransformRequest,
};
use affluent_model::lock::Isolation;
use affluent_model::manifest::{Manifest, PluginKind, TargetSchema};
use affluent_model::plan::Connection;
use affluent_model::schema::StreamSchema;
use affluent_model::webhook::{WebhookCheck, WebhookRequest};
use affluent_model::{Error, Result};
use serde::Serialize;

use crate::blind::TokenVault;
use crate::codec::Encoder;
use crate::component::LoadedPlugin;
use crate::contract::Guest;
use crate::deadline::CallTime;
use crate::destination::{OpenGuest, PluginDestination};
use crate::egress::wait::Waits;
use crate::egress::{Egress, EgressParts, Network, Timeouts};
use crate::failure::{clean_text, configuration_failure, host_failure};
use crate::instance::Instance;
use crate::options::{AuditEvent, HostOptions};
use crate::plugins::{Inspection, Plugins};
use crate::recording::{Exchanges, Matching, RecordedDestination, RecordedSource};
use crate::source::PluginSource;
use crate::state::{Caller, Services};
use crate::transform::PluginTransform;
use crate::webhook;

/// Runs plugins. One per process: connections share their rate budgets through it.
pub struct Host {
    options: Arc<HostOptions>,
    plugins: Plugins,
    network: Arc<Network>,
    /// Plugins that take both forms are given NDJSON.
    prefers_ndjson: bool,
}

impl Host {
    /// Starts the sandbox; loads no plugin yet.
    ///
    /// # Errors
    /// A bug when this machine cannot run the sandbox.
    pub fn new(mut options: HostOptions) -> Result<Self> {
        options.audit = crate::audit::limited(options.audit, Arc::clone(&options.clock));
        let options = Arc::new(options);
        let plugins = Plugins::new(Arc::clone(&options))?;
        let network = Arc::new(Network::new(Arc::clone(&options.addresses), Timeouts::default()));
        Ok(Self { options, plugins, network, prefers_ndjson: false })
    }

    /// The same host, giving batches as NDJSON to plugins that take both forms; the contract suite compares the two.
    #[must_use]
    pub fn with_ndjson(mut self) -> Self {
        self.prefers_ndjson = true;
        self
    }

    fn encoder(&self, manifest: &Manifest) -> Encoder {
        let accepts = &manifest.formats.accepts;
        let takes_ndjson = accepts.iter().any(|format| format == "ndjson");
        if self.prefers_ndjson && takes_ndjson { Encoder::Ndjson } else { Encoder::of(accepts) }
    }

    /// The manifest's text as two calls in a row into one instance give it; the contract suite compares them.
    ///
    /// # Errors
    /// As [`Connectors::manifest`]; traps.
    pub async fn manifest_twice(&self, plugin: &str) -> Result<[String; 2], Failure> {
        let plugin = self.plugins.load(plugin).await?;
        let services = Services::none(&self.options, &plugin.name);
        let (mut instance, guest) = Instance::start(&plugin, services, Arc::default()).await?;
        let called = instance.begin()?.run(async |store: &mut wasmtime::Store<_>| {
            let first = plugin.exports.manifest(&mut *store, &guest).await?;
            Ok([first, plugin.exports.manifest(&mut *store, &guest).await?])
        });
        let called = called.await;
        instance.settle(called)
    }

    /// SHA-256 of a plugin's component, hex; what a lock file pins.
    ///
    /// # Errors
    /// As [`Connectors::manifest`].
    pub async fn digest(&self, plugin: &str) -> Result<String, Failure> {
        Ok(self.plugins.load(plugin).await?.digest.clone())
    }

    /// Whether there is a plugin of this name; it is not loaded.
    ///
    /// # Errors
    /// `E0500` when there is none, with near names.
    pub fn known(&self, plugin: &str) -> Result<(), Failure> {
        self.plugins.known(plugin)
    }

    /// Where a plugin's instances run.
    ///
    /// # Errors
    /// As [`Connectors::manifest`].
    pub async fn isolation(&self, plugin: &str) -> Result<Isolation, Failure> {
        Ok(self.plugins.load(plugin).await?.isolation())
    }

    /// What a plugin says about itself and asks for, by its name.
    ///
    /// # Errors
    /// As [`Connectors::manifest`].
    pub async fn inspect(&self, plugin: &str) -> Result<Inspection, Failure> {
        self.plugins.inspect(plugin).await
    }

    /// The component file of a plugin; `None` when it is inside the binary, or when there is none.
    #[must_use]
    pub fn file_of(&self, plugin: &str) -> Option<PathBuf> {
        self.plugins.file_of(plugin)
    }

    /// As [`Host::inspect`], for a component file wherever it is.
    ///
    /// # Errors
    /// `E0501` when it cannot be read or is no component, and as [`Connectors::manifest`].
    pub async fn inspect_file(&self, path: &Path) -> Result<Inspection, Failure> {
        self.plugins.inspect_file(path).await
    }

    /// An instance with the grants of a connection.
    async fn connect(
        &self,
        connection: &Arc<Connection>,
        pipeline: &str,
        matching: Matching,
        tokens: Option<Arc<TokenVault>>,
    ) -> Result<(Arc<LoadedPlugin>, Instance, Guest), Failure> {
        let plugin = self.plugins.load(&connection.plugin).await?;
        let caller = Caller {
            options: Arc::clone(&self.options),
            plugin: plugin.name.clone(),
            connection: connection.name.clone(),
            pipeline: pipeline.to_owned(),
        };
        let time = Arc::new(CallTime::default());
        let mut services = Services::for_connection(caller.clone(), connection, &plugin.manifest);
        services.tokens.clone_from(&tokens);
        if let Some(secrets) = services.secrets.clone()
            && !plugin.manifest.hosts.is_empty()
        {
            let waits = Waits { options: Arc::clone(&self.options), time: Arc::clone(&time) };
            let (manifest, network) = (Arc::clone(&plugin.manifest), Arc::clone(&self.network));
            let egress = Egress::new(EgressParts { caller, manifest, connection, network, secrets, tokens, waits, matching });
            services.egress = Some(egress.map_err(|error| refused(error, connection))?);
        }
        let (instance, guest) = Instance::start(&plugin, services, time).await?;
        Ok((plugin, instance, guest))
    }

    async fn check_connection(&self, connection: Arc<Connection>) -> Result<CheckReport, Failure> {
        let (plugin, mut instance, guest) = self.connect(&connection, "", Matching::Exact, None).await?;
        let config = to_json(&connection.config)?;
        let called = instance.begin()?.run(|store| plugin.exports.check(store, &guest, &config)).await;
        Ok(check_report(&instance.settle_reported(called)?))
    }

    async fn list_streams(&self, connection: Arc<Connection>) -> Result<Vec<StreamSchema>, Failure> {
        let (plugin, mut instance, guest) = self.connect(&connection, "", Matching::Exact, None).await?;
        let Some(exported) = plugin.exports.source() else { return Err(not_a(&plugin, PluginKind::Source)) };
        let config = to_json(&connection.config)?;
        let called = instance.begin()?.run(async |store: &mut wasmtime::Store<_>| {
            exported.open(&mut *store, &guest)?.call_discover(&mut *store, &config).await
        });
        let called = called.await;
        let json = instance.settle_reported(called)?;
        instance.parse("a list of streams", &json)
    }

    async fn list_targets(&self, connection: Arc<Connection>) -> Result<Vec<TargetSchema>, Failure> {
        let (plugin, mut instance, guest) = self.connect(&connection, "", Matching::Exact, None).await?;
        let Some(exported) = plugin.exports.destination() else { return Err(not_a(&plugin, PluginKind::Destination)) };
        let config = to_json(&connection.config)?;
        let called = instance.begin()?.run(async |store: &mut wasmtime::Store<_>| {
            exported.open(&mut *store, &guest)?.call_discover(&mut *store, &config).await
        });
        let called = called.await;
        let json = instance.settle_reported(called)?;
        instance.parse("a list of objects", &json)
    }

    async fn start_source(&self, request: SourceRequest) -> Result<Box<dyn Source>, Failure> {
        let (plugin, mut instance, guest) = self.connect(&request.connection, &request.pipeline, Matching::Exact, None).await?;
        let Some(exported) = plugin.exports.source() else { return Err(not_a(&plugin, PluginKind::Source)) };
        let called = instance.begin()?.run(async |store: &mut wasmtime::Store<_>| exported.open(store, &guest)).await;
        let exported = instance.settle(called)?;
        let source = Box::new(PluginSource::open(instance, exported, &request).await?);
        let Exchanges::Record(recorder) = &self.options.exchanges else { return Ok(source) };
        let streams = std::iter::once(request.stream).chain(request.children).collect();
        Ok(Box::new(RecordedSource { source, streams, recorder: Arc::clone(recorder) }))
    }

    async fn start_destination(&self, request: DestinationRequest) -> Result<Box<dyn Destination>, Failure> {
        let tokens = self.tokens_of(&request.connection)?;
        let (matching, shared) = (Matching::Target, Some(Arc::clone(&tokens)));
        let (plugin, mut instance, guest) = self.connect(&request.connection, &request.pipeline, matching, shared).await?;
        let Some(exported) = plugin.exports.destination() else { return Err(not_a(&plugin, PluginKind::Destination)) };
        let called = instance.begin()?.run(async |store: &mut wasmtime::Store<_>| exported.open(store, &guest)).await;
        let exported = instance.settle(called)?;
        let encoder = self.encoder(&plugin.manifest);
        let guest = OpenGuest { exported, encoder, tokens, is_blind: plugin.manifest.is_blind() };
        let destination = Box::new(PluginDestination::open(instance, guest, &request).await?);
        let Exchanges::Record(recorder) = &self.options.exchanges else { return Ok(destination) };
        Ok(Box::new(RecordedDestination { destination, fields: request.fields, recorder: Arc::clone(recorder) }))
    }

    fn tokens_of(&self, connection: &Connection) -> Result<Arc<TokenVault>, Failure> {
        let key = (self.options.token_keys)(&connection.name).map_err(|error| refused(error, connection))?;
        let vault = TokenVault::new(&key).ok_or_else(|| refused(Error::bug("HMAC takes keys of any length"), connection))?;
        Ok(Arc::new(vault))
    }

    /// A refusal is an event for whoever watches (security C-19).
    async fn verify_webhook(&self, connection: Arc<Connection>, request: &WebhookRequest) -> Result<WebhookCheck, Failure> {
        let plugin = self.plugins.load(&connection.plugin).await?;
        let not_taken = || refused(Error::bug("webhooks are checked for a connection that takes none"), &connection);
        let webhooks = plugin.manifest.webhooks_of(&connection).ok_or_else(not_taken)?;
        let secret = |name: &str| (self.options.secrets)(&connection, name).map(Arc::new);
        let now_us = self.options.clock.now_us();
        let check = webhook::verify(webhooks, connection.webhook_url.as_deref(), request, now_us, &secret);
        let check = check.map_err(|error| refused(error, &connection))?;
        if let WebhookCheck::Refused(why) = check {
            let (plugin, connection) = (plugin.name.clone(), connection.name.clone());
            let (pipeline, object) = (String::new(), format!("/webhooks/{connection}"));
            (self.options.audit)(AuditEvent { plugin, connection, pipeline, action: "webhook", object, reason: why.to_owned() });
        }
        Ok(check)
    }

    async fn start_transform(&self, request: TransformRequest) -> Result<Box<dyn Transform>, Failure> {
        let plugin = self.plugins.load(&request.plugin).await?;
        let Some(exported) = plugin.exports.transform() else { return Err(not_a(&plugin, PluginKind::Transform)) };
        let services = Services::for_transform(&self.options, &plugin.name, &request.pipeline);
        let (mut instance, guest) = Instance::start(&plugin, services, Arc::default()).await?;
        let called = instance.begin()?.run(async |store: &mut wasmtime::Store<_>| exported.open(store, &guest)).await;
        let exported = instance.settle(called)?;
        let encoder = self.encoder(&plugin.manifest);
        Ok(Box::new(PluginTransform::open(instance, exported, encoder, &request).await?))
    }
}

impl Connectors for Host {
    fn manifest<'a>(&'a self, plugin: &'a str) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>> {
        Box::pin(async move { Ok(Arc::clone(&self.plugins.load(plugin).await?.manifest)) })
    }

    fn plugins(&self) -> Vec<String> {
        self.plugins.names()
    }

    fn check(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<CheckReport, Failure>> {
        Box::pin(self.check_connection(connection))
    }

    fn discover_streams(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<StreamSchema>, Failure>> {
        Box::pin(self.list_streams(connection))
    }

    fn discover_targets(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<TargetSchema>, Failure>> {
        Box::pin(self.list_targets(connection))
    }

    fn check_webhook<'a>(
        &'a self,
        connection: Arc<Connection>,
        request: &'a WebhookRequest,
    ) -> BoxFuture<'a, Result<WebhookCheck, Failure>> {
        Box::pin(self.verify_webhook(connection, request))
    }

    fn open_source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Box<dyn Source>, Failure>> {
        Box::pin(self.start_source(request))
    }

    fn open_destination(&self, request: DestinationRequest) -> BoxFuture<'_, Result<Box<dyn Destination>, Failure>> {
        Box::pin(self.start_destination(request))
    }

    fn open_transform(&self, request: TransformRequest) -> BoxFuture<'_, Result<Box<dyn Transform>, Failure>> {
        Box::pin(self.start_transform(request))
    }
}

/// What a plugin says of a connection that it finds well; one that says nothing in the right form says nothing.
fn check_report(json: &str) -> CheckReport {
    const NOTES_MAX: usize = 32;
    const NOTE_LETTERS_MAX: usize = 300;
    let mut report: CheckReport = serde_json::from_str(json).unwrap_or_default();
    report.notes.truncate(NOTES_MAX);
    report.notes.iter_mut().for_each(|note| *note = clean_text(note, NOTE_LETTERS_MAX));
    report
}

/// A value of ours as JSON for a guest.
///
/// # Errors
/// A bug: all of them can be written.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| {
        let error = Error::bug(format!("a value for a plugin is no JSON: {error}"));
        host_failure(affluent_model::connector::FailureKind::Internal, "json", error)
    })
}

fn not_a(plugin: &LoadedPlugin, kind: PluginKind) -> Failure {
    let kinds: Vec<&str> = plugin.manifest.kinds.iter().map(|kind| kind.as_str()).collect();
    let message = format!("plugin `{}` is no {}, it is a {}", plugin.name, kind.as_str(), kinds.join(" and "));
    configuration_failure("E0504", message, "name another plugin in the connection")
}

fn refused(error: Error, connection: &Connection) -> Failure {
    let error = error.at(format!("connection {}", connection.name));
    host_failure(affluent_model::connector::FailureKind::Config, "egress", error)
}
