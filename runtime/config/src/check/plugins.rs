//! Connections and plugin steps against the manifests: plugins that exist and can do what they are used for, configs that
//! fit their schemas, secrets they know.

use affluent_model::manifest::{Manifest, PluginKind};
use affluent_model::plan::{Connection, FileGrants, Pipeline, PipelineDestination, PipelineSource, TransformStep};

use super::Checker;
use super::config_schema::{self, ConfigPlace};
use crate::mistake;
use crate::near;
use crate::sources::Subject;

impl Checker<'_> {
    pub(super) fn connections(&mut self) {
        let plan = self.plan;
        for connection in plan.connections.values() {
            self.connection(connection);
        }
        for pipeline in plan.pipelines.values() {
            self.uses(pipeline);
            self.plugin_steps(pipeline);
        }
    }

    /// The manifest of a plugin; a name that no plugin at hand has, and a plugin that may not run, are reported at `path`.
    fn manifest(&mut self, plugin: &str, subject: &Subject, path: &[&str]) -> Option<Manifest> {
        if let Some(manifest) = self.catalog.manifest(plugin) {
            return Some(manifest.clone());
        }
        let known = self.catalog.plugins();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let at = self.sources.locate(subject, path.iter().copied());
        if known.contains(&plugin) {
            if let Some(error) = self.catalog.refusal(plugin) {
                self.add(error.code, error.message.clone(), at, error.help.clone());
            }
            return None;
        }
        self.add(
            mistake::UNKNOWN_PLUGIN,
            format!("unknown plugin `{plugin}`"),
            at,
            near::suggestion(plugin, "plugins are", &known),
        );
        None
    }

    fn connection(&mut self, connection: &Connection) {
        let subject = Subject::Connection(connection.name.clone());
        let Some(manifest) = self.manifest(&connection.plugin, &subject, &["plugin"]) else { return };
        let place = ConfigPlace { subject, path: vec!["config".to_owned()], plugin: &connection.plugin, sources: self.sources };
        self.found.extend(config_schema::check(&manifest.config_schema, &connection.config, &place));
        self.secrets(connection, &manifest, &place.subject);
        self.webhooks(connection, &manifest, &place.subject);
        if !manifest.files && connection.files != FileGrants::default() {
            let at = self.sources.locate_key(&place.subject, &[], "files");
            self.add(
                mistake::COMBINATION,
                format!("the plugin `{}` does not work on files", connection.plugin),
                at,
                "remove `files`",
            );
        }
    }

    fn secrets(&mut self, connection: &Connection, manifest: &Manifest, subject: &Subject) {
        let known: Vec<&str> = manifest.secrets.iter().map(|secret| secret.name.as_str()).collect();
        for name in connection.secrets.keys().filter(|name| !known.contains(&name.as_str())) {
            let at = self.sources.locate_key(subject, &["secrets"], name);
            let message = format!("the plugin `{}` has no secret `{name}`", connection.plugin);
            self.add(mistake::SECRETS, message, at, near::suggestion(name, "its secrets are", &known));
        }
        for secret in manifest.secrets.iter().filter(|secret| !secret.optional && !connection.secrets.contains_key(&secret.name))
        {
            let at = match connection.secrets.is_empty() {
                true => connection.at.clone(),
                false => self.sources.locate(subject, ["secrets"]),
            };
            let message = format!("the plugin `{}` needs the secret `{}`", connection.plugin, secret.name);
            let example = format!("secrets: {{ {0}: {{ secret: {1}/{0} }} }}", secret.name, connection.name);
            self.add(mistake::SECRETS, message, at, example);
        }
    }

    /// An address for webhooks, the secret they are signed with and what the plugin says of them belong together.
    fn webhooks(&mut self, connection: &Connection, manifest: &Manifest, subject: &Subject) {
        let plugin = &connection.plugin;
        match (&manifest.webhooks, &connection.webhook_url) {
            (None, Some(_)) => {
                let at = self.sources.locate_key(subject, &[], "webhooks");
                self.add(mistake::COMBINATION, format!("the plugin `{plugin}` has no webhooks"), at, "remove `webhooks`");
            }
            (Some(webhooks), Some(_)) if !connection.secrets.contains_key(&webhooks.signature.secret) => {
                let at = self.sources.locate_key(subject, &[], "webhooks");
                let secret = &webhooks.signature.secret;
                let message = format!("webhooks cannot be verified without the secret `{secret}`");
                let example = format!("secrets: {{ {secret}: {{ secret: {}/{secret} }} }}", connection.name);
                self.add(mistake::SECRETS, message, at, example);
            }
            (Some(webhooks), None) if manifest.lacks_webhook_url(connection) => {
                let secret = &webhooks.signature.secret;
                let at = self.sources.locate_key(subject, &["secrets"], secret);
                let message =
                    format!("`{secret}` is for webhooks, and `{plugin}` verifies by the address that its service was given");
                let example = format!("webhooks: {{ url: \"https://hooks.example.com/webhooks/{}\" }}", connection.name);
                self.add(mistake::COMBINATION, message, at, example);
            }
            _ => {}
        }
    }

    /// The plugin of a connection must be able to stand where a pipeline puts it.
    fn uses(&mut self, pipeline: &Pipeline) {
        if let PipelineSource::Connection { connection, .. } = &pipeline.source {
            self.kind(pipeline, connection, "source", PluginKind::Source);
        }
        if let PipelineDestination::Connection(destination) = &pipeline.destination {
            self.kind(pipeline, &destination.connection, "destination", PluginKind::Destination);
        }
    }

    fn kind(&mut self, pipeline: &Pipeline, connection: &str, side: &str, kind: PluginKind) {
        let plan = self.plan;
        let Some(connection) = plan.connections.get(connection) else { return };
        let Some(manifest) = self.catalog.manifest(&connection.plugin) else { return };
        if !manifest.kinds.contains(&kind) {
            let at = self.sources.locate(&Subject::Pipeline(pipeline.name.clone()), [side, "connection"]);
            let kinds: Vec<&str> = manifest.kinds.iter().map(|kind| kind.as_str()).collect();
            let message = format!("the plugin `{}` cannot be a {side}", connection.plugin);
            self.add(mistake::PLUGIN_KIND, message, at, format!("it is a {}", kinds.join(" and a ")));
        }
    }

    fn plugin_steps(&mut self, pipeline: &Pipeline) {
        for (number, step) in pipeline.transforms.iter().enumerate() {
            let TransformStep::Plugin { plugin, config, .. } = step else { continue };
            let subject = Subject::Pipeline(pipeline.name.clone());
            let number = number.to_string();
            let path = ["transforms", &number, "plugin"];
            let Some(manifest) = self.manifest(plugin, &subject, &[&path[..], &["use"]].concat()) else { continue };
            if !manifest.kinds.contains(&PluginKind::Transform) {
                let at = self.sources.locate(&subject, path.into_iter().chain(["use"]));
                self.add_plain(mistake::PLUGIN_KIND, format!("the plugin `{plugin}` cannot be a transform"), at);
                continue;
            }
            let path = path.iter().chain(&["config"]).map(|step| (*step).to_owned()).collect();
            let place = ConfigPlace { subject, path, plugin, sources: self.sources };
            self.found.extend(config_schema::check(&manifest.config_schema, config, &place));
        }
    }
}
