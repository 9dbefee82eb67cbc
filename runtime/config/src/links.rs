//! What the files say of each other: connections, pipelines, segments, identifiers, attributes and purposes that
//! must exist, and circles among them. Streams and fields are known only to plugins: see [`crate::check`].

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::consent::{ConsentNeed, ConsentTerms};
use affluent_model::diagnostic::{Diagnostic, Location};
use affluent_model::plan::{Pipeline, PipelineDestination, PipelineSource, ProfileMapping};
use affluent_model::survivorship::DEFAULT;

use crate::file_kind::FileKind;
use crate::load::Parts;
use crate::mistake;
use crate::near;
use crate::sources::{Sources, Subject};

pub(crate) fn check(parts: &Parts, sources: &Sources) -> Vec<Diagnostic> {
    let mut links = Links { parts, sources, found: Vec::new() };
    for pipeline in parts.pipelines.values() {
        links.pipeline(pipeline);
    }
    links.circle_of_pipelines();
    links.segments();
    links.survivorship();
    links.compared_attributes();
    links.pairs();
    links.names_of_columns();
    links.found
}

struct Links<'a> {
    parts: &'a Parts,
    sources: &'a Sources,
    found: Vec<Diagnostic>,
}

impl<'a> Links<'a> {
    fn add(&mut self, code: &'static str, message: String, at: Location, help: String) {
        self.found.push(Diagnostic::error(code, message, at).help(help));
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline) {
        let subject = Subject::Pipeline(pipeline.name.clone());
        match &pipeline.source {
            PipelineSource::Connection { connection, .. } => {
                let at = self.sources.locate(&subject, ["source", "connection"]);
                self.connection(connection, at);
            }
            PipelineSource::Profiles { segment, at } => {
                if let Some(segment) = segment {
                    self.segment(segment, at.clone());
                }
            }
        }
        match &pipeline.destination {
            PipelineDestination::Profiles { streams, at } => {
                if !self.parts.declared.has_identity {
                    let help = "say there which identifiers make two records one profile";
                    let message = "`profiles/identity.yaml` is missing, and this pipeline leads into profiles".to_owned();
                    self.add(mistake::NO_IDENTITY, message, at.clone(), help.to_owned());
                }
                for (stream, mapping) in streams {
                    self.mapped_stream(pipeline, stream, &mapping.at);
                    self.identifiers(&subject, stream, mapping);
                }
            }
            PipelineDestination::Connection(plan) => {
                let at = self.sources.locate(&subject, ["destination", "connection"]);
                self.connection(&plan.connection, at);
                if let Some(need) = &plan.consent {
                    let at = self.sources.locate(&subject, ["destination", "purpose"]);
                    self.purpose(&need.purpose, at);
                    self.reach(&subject, need);
                }
            }
        }
        for name in pipeline.schedule.iter().flat_map(|schedule| &schedule.after) {
            self.after(&subject, name);
        }
    }

    fn connection(&mut self, name: &str, at: Location) {
        let declared = &self.parts.declared;
        if declared.connections.contains(name) || declared.unreadable.contains(&FileKind::Connection) {
            return;
        }
        let known = shown(declared.connections.iter().filter(|name| !name.contains('.')));
        let help = near::suggestion(name, "connections are", &known);
        self.add(mistake::UNKNOWN_CONNECTION, format!("unknown connection `{name}`"), at, help);
    }

    fn segment(&mut self, name: &str, at: Location) {
        let declared = &self.parts.declared;
        if declared.segments.contains(name) || declared.unreadable.contains(&FileKind::Segments) {
            return;
        }
        let help = near::suggestion(name, "segments are", &shown(declared.segments.iter()));
        self.add(mistake::UNKNOWN_SEGMENT, format!("unknown segment `{name}`"), at, help);
    }

    fn identifiers(&mut self, subject: &Subject, stream: &str, mapping: &ProfileMapping) {
        let declared = &self.parts.declared;
        if declared.unreadable.contains(&FileKind::Identity) || !declared.has_identity {
            return;
        }
        let known = shown(declared.identifiers.iter());
        for identifier in mapping.identifiers.iter().filter(|identifier| !known.contains(&identifier.name.as_str())) {
            let name = &identifier.name;
            let at = self.sources.locate_key(subject, &["destination", "profiles", stream, "identifiers"], name);
            let help = near::suggestion(name, "profiles/identity.yaml has", &known);
            self.found
                .push(Diagnostic::error(mistake::UNKNOWN_IDENTIFIER, format!("unknown identifier `{name}`"), at).help(help));
        }
        let own: Vec<&str> = mapping.identifiers.iter().map(|identifier| identifier.name.as_str()).collect();
        for row in &mapping.consent {
            let Some(about) = row.terms.identifier.as_ref().filter(|about| !own.contains(&about.as_str())) else { continue };
            let at = self.sources.locate(subject, ["destination", "profiles", stream, "consent", &row.name, "identifier"]);
            let message = format!("`{stream}` does not give the identifier `{about}`");
            self.add(mistake::UNKNOWN_IDENTIFIER, message, at, near::suggestion(about, "it gives", &own));
        }
    }

    fn mapped_stream(&mut self, pipeline: &Pipeline, stream: &str, at: &Location) {
        let PipelineSource::Connection { streams, .. } = &pipeline.source else { return };
        let read: Vec<&str> = streams.iter().map(|read| read.name.as_str()).collect();
        if !read.contains(&stream) {
            let help = near::suggestion(stream, "it reads", &read);
            self.add(mistake::UNKNOWN_STREAM, format!("this pipeline does not read a stream `{stream}`"), at.clone(), help);
        }
    }

    fn purpose(&mut self, purpose: &str, at: Location) {
        let mapped: BTreeSet<&str> =
            self.mappings().flat_map(|mapping| &mapping.consent).map(|consent| consent.terms.purpose.as_str()).collect();
        if mapped.contains(purpose) || self.parts.declared.incomplete.contains(&FileKind::Pipeline) {
            return;
        }
        let known: Vec<&str> = mapped.into_iter().collect();
        let help = near::suggestion(purpose, "pipelines map consent for", &known);
        self.add(mistake::UNKNOWN_PURPOSE, format!("no pipeline maps consent for the purpose `{purpose}`"), at, help);
    }

    /// Some mapping must say something that reaches the destination's scope and channel.
    fn reach(&mut self, subject: &Subject, need: &ConsentNeed) {
        if self.parts.declared.incomplete.contains(&FileKind::Pipeline) {
            return;
        }
        for (key, needed) in [("channel", &need.channel), ("scope", &need.scope)] {
            let Some(needed) = needed else { continue };
            let of_terms =
                |terms: &'a ConsentTerms| if key == "channel" { terms.channel.as_deref() } else { terms.scope.as_deref() };
            let rows = self.mappings().flat_map(|mapping| &mapping.consent).filter(|row| row.terms.purpose == need.purpose);
            let said: Vec<Option<&str>> = rows.map(|row| of_terms(&row.terms)).collect();
            if said.is_empty() || said.iter().any(|word| word.is_none_or(|word| word == needed)) {
                continue;
            }
            let known: Vec<&str> = said.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
            let at = self.sources.locate(subject, ["destination", key]);
            let message = format!("no pipeline maps consent to `{}` for the {key} `{needed}`", need.purpose);
            self.add(mistake::UNKNOWN_PURPOSE, message, at, near::suggestion(needed, "there is consent for", &known));
        }
    }

    fn mappings(&self) -> impl Iterator<Item = &'a ProfileMapping> {
        self.parts
            .pipelines
            .values()
            .filter_map(|pipeline| match &pipeline.destination {
                PipelineDestination::Profiles { streams, .. } => Some(streams.values()),
                PipelineDestination::Connection(_) => None,
            })
            .flatten()
    }

    fn after(&mut self, subject: &Subject, name: &str) {
        let declared = &self.parts.declared;
        if declared.pipelines.contains(name) || declared.unreadable.contains(&FileKind::Pipeline) {
            return;
        }
        let at = self.sources.locate_name(subject, &["schedule", "after"], name);
        let help = near::suggestion(name, "pipelines are", &shown(declared.pipelines.iter()));
        self.add(mistake::UNKNOWN_PIPELINE, format!("unknown pipeline `{name}`"), at, help);
    }

    fn circle_of_pipelines(&mut self) {
        let after = |pipeline: &'a Pipeline| {
            pipeline.schedule.as_ref().map(|schedule| schedule.after.iter().map(String::as_str).collect())
        };
        let edges: BTreeMap<&str, Vec<&str>> =
            self.parts.pipelines.values().map(|pipeline| (pipeline.name.as_str(), after(pipeline).unwrap_or_default())).collect();
        for circle in circles(&edges) {
            let [first, next, ..] = circle.as_slice() else { continue };
            let at = self.sources.locate_name(&Subject::Pipeline((*first).to_owned()), &["schedule", "after"], next);
            let message = format!("pipelines wait for each other: {}", circle.join(" after "));
            self.add(mistake::AFTER_CYCLE, message, at, "remove one of these `after`".to_owned());
        }
    }

    fn segments(&mut self) {
        let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for segment in &self.parts.segments {
            for name in &segment.exclude {
                let at = self.sources.locate_name(&Subject::Segments, &["segments", &segment.name, "exclude"], name);
                self.segment(name, at);
            }
            edges.insert(&segment.name, segment.exclude.iter().map(String::as_str).collect());
        }
        for circle in circles(&edges) {
            let [first, next, ..] = circle.as_slice() else { continue };
            let at = self.sources.locate_name(&Subject::Segments, &["segments", first, "exclude"], next);
            let message = format!("segments exclude each other: {}", circle.join(" excludes "));
            self.add(mistake::EXCLUDE_CYCLE, message, at, "remove one of these `exclude`".to_owned());
        }
    }

    fn survivorship(&mut self) {
        let Some(identity) = &self.parts.identity else { return };
        let attributes: BTreeSet<&str> =
            self.mappings().flat_map(|mapping| &mapping.attributes).map(|attribute| attribute.name.as_str()).collect();
        let all_known = !self.parts.declared.incomplete.contains(&FileKind::Pipeline);
        for (attribute, strategy) in &identity.survivorship {
            let is_for_all = attribute == DEFAULT;
            if all_known && !is_for_all && !attributes.contains(attribute.as_str()) {
                let at = self.sources.locate_key(&Subject::Identity, &["survivorship"], attribute);
                let known: Vec<&str> = attributes.iter().copied().collect();
                let help = near::suggestion(attribute, "pipelines map the attributes", &known);
                self.add(mistake::UNKNOWN_ATTRIBUTE, format!("no pipeline maps the attribute `{attribute}`"), at, help);
            }
            for connection in &strategy.prefer {
                let at = self.sources.locate_name(&Subject::Identity, &["survivorship", attribute, "prefer"], connection);
                self.connection(connection, at);
            }
        }
    }

    /// What rules compare must come from somewhere: an attribute that nobody gives would never join anybody.
    fn compared_attributes(&mut self) {
        let Some(identity) = &self.parts.identity else { return };
        if self.parts.declared.incomplete.contains(&FileKind::Pipeline) {
            return;
        }
        let given = self.mappings().flat_map(|mapping| mapping.attributes.iter().chain(&mapping.identifiers));
        let given: BTreeSet<&str> = given.map(|named| named.name.as_str()).collect();
        let known: Vec<&str> = given.iter().copied().collect();
        for attribute in identity.attributes.iter().filter(|attribute| !given.contains(attribute.name.as_str())) {
            let name = &attribute.name;
            let at = self.sources.locate_key(&Subject::Identity, &["attributes"], name);
            let help = near::suggestion(name, "pipelines map the attributes", &known);
            self.add(mistake::UNKNOWN_ATTRIBUTE, format!("no pipeline maps the attribute `{name}`"), at, help);
        }
    }

    fn pairs(&mut self) {
        let Some(identity) = &self.parts.identity else { return };
        for pair in identity.must_link.iter().chain(&identity.cannot_link) {
            self.connection(&pair.one.connection, pair.at.clone());
            self.connection(&pair.other.connection, pair.at.clone());
        }
    }

    /// Attributes, computed traits and identifiers stand side by side in segments and mappings.
    fn names_of_columns(&mut self) {
        let attributes: BTreeSet<&str> =
            self.mappings().flat_map(|mapping| &mapping.attributes).map(|attribute| attribute.name.as_str()).collect();
        for computed in &self.parts.traits {
            if attributes.contains(computed.name.as_str()) {
                let message = format!("`{}` is an attribute already", computed.name);
                self.add(
                    mistake::DUPLICATE_NAME,
                    message,
                    computed.at.clone(),
                    "give the computed trait another name".to_owned(),
                );
            }
        }
    }
}

fn shown<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    names.map(String::as_str).collect()
}

/// Every circle once, starting at its alphabetically first name, which also ends the list.
pub(crate) fn circles<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        let mut path: Vec<(&str, usize)> = vec![(*start, 0)];
        while let Some((name, index)) = path.last_mut() {
            let next = edges.get(name).and_then(|next| next.get(*index)).copied();
            *index += 1;
            match next {
                Some(next) => {
                    if let Some(from) = path.iter().position(|(name, _)| *name == next) {
                        let mut circle: Vec<&str> = path.iter().skip(from).map(|(name, _)| *name).collect();
                        circle.push(next);
                        found.push(circle);
                    } else if !done.contains(next) {
                        path.push((next, 0));
                    }
                }
                None => {
                    done.insert(name);
                    path.pop();
                }
            }
        }
    }
    found
}
