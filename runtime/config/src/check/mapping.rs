//! Mappings into profiles: their expressions and types, and the attributes that all pipelines together give to profiles.

use affluent_model::consent::{ConsentMapping, SaidBy};
use affluent_model::pii::{PiiClass, PiiPolicy};
use affluent_model::plan::{Expression, NamedExpression, OrderMapping, ProfileMapping};
use affluent_model::schema::FieldType;
use arrow::datatypes::Schema;

use super::columns::{Columns, common_kind};
use super::streams::Ingest;
use super::{Checker, Want};
use crate::mistake;
use crate::near;
use crate::sources::Subject;

impl Checker<'_> {
    /// Checks every mapping; returns the attributes of profiles, identifiers under their own names among them.
    pub(super) fn mappings(&mut self, ingests: &[Ingest<'_>]) -> Columns {
        let mut attributes = Columns { fields: Vec::new(), incomplete: self.has_unasked_sources() };
        for ingest in ingests {
            if let Some(mapping) = ingest.mapping() {
                self.mapping(ingest, mapping, ingests, &mut attributes);
            }
        }
        attributes
    }

    fn mapping(&mut self, ingest: &Ingest<'_>, mapping: &ProfileMapping, ingests: &[Ingest<'_>], attributes: &mut Columns) {
        if let Some(order) = &mapping.order {
            self.lines(ingest, order, ingests);
        }
        if ingest.columns.incomplete {
            attributes.incomplete = true;
            return;
        }
        let schema = ingest.columns.schema();
        let keys = mapping.subject.iter().chain(mapping.identifiers.iter().map(|identifier| &identifier.expression));
        let consent = mapping.consent.iter().flat_map(consent_expressions);
        let order = mapping.order.iter().flat_map(|order| {
            let optional = [order.currency.as_ref(), order.status.as_ref()].into_iter().flatten();
            [(&order.id, Want::Key), (&order.at, Want::Time), (&order.net, Want::Number)]
                .into_iter()
                .chain(optional.map(|text| (text, Want::Text)))
        });
        let wanted: Vec<_> = keys.map(|key| (key, Want::Key)).chain(consent).chain(order).collect();
        for (expression, want) in wanted {
            if self.row(expression, &schema, want).is_none()
                && mapping.identifiers.iter().any(|identifier| identifier.expression == *expression)
            {
                attributes.incomplete = true;
            }
        }
        self.clear_consent(mapping, &schema);
        for attribute in &mapping.attributes {
            match self.row(&attribute.expression, &schema, Want::Anything) {
                Some(checked) => {
                    let class = self.planner.class(&attribute.expression.text, &schema);
                    self.attribute(attribute, checked.kind, class, attributes);
                }
                None => attributes.incomplete = true,
            }
        }
        let is_own = |name: &str| mapping.attributes.iter().any(|attribute| attribute.name == name);
        for identifier in mapping.identifiers.iter().filter(|identifier| !is_own(&identifier.name)) {
            let Ok(planned) = self.planner.row(&identifier.expression.text, &schema) else { continue };
            let Some(kind) = FieldType::from_arrow(&planned.data_type) else { continue };
            let class = self.planner.class(&identifier.expression.text, &schema);
            self.attribute(identifier, kind, class, attributes);
        }
    }

    /// What consent is decided by must be readable: it may not be sealed.
    fn clear_consent(&mut self, mapping: &ProfileMapping, schema: &Schema) {
        for row in &mapping.consent {
            let (SaidBy::Granted(said) | SaidBy::Status(said)) = &row.said;
            for expression in
                [Some(said), row.at.as_ref(), row.expires_at.as_ref(), row.jurisdiction.as_ref()].into_iter().flatten()
            {
                let class = self.planner.class(&expression.text, schema);
                if self.is_sealed(class) {
                    let message = format!("the consent `{}` would be decided by a sealed value", row.name);
                    let help = "classify the field as `none`, or use what is not personal";
                    self.add(mistake::PERSONAL_USE, message, expression.at.clone(), help);
                }
            }
        }
    }

    /// Adds what one pipeline gives to an attribute to what others give.
    fn attribute(&mut self, attribute: &NamedExpression, kind: FieldType, class: Option<PiiClass>, attributes: &mut Columns) {
        let name = &attribute.name;
        let at = attribute.expression.at.clone();
        if let Some(class) = class.filter(|class| self.policy(*class) == PiiPolicy::Drop) {
            let message = format!(
                "the attribute `{name}` would always be empty: the project drops values of the class `{}`",
                class.as_str()
            );
            self.add(mistake::PERSONAL_USE, message, at, "remove the attribute, or change `pii` in affluent.yaml");
            attributes.incomplete = true;
            return;
        }
        let Some(known) = attributes.get(name) else {
            attributes.put(name, kind, class);
            return;
        };
        let (known_kind, known_class) = (known.kind, known.pii);
        let Some(common) = common_kind(known_kind, kind) else {
            let message =
                format!("the attribute `{name}` is {} here and {} in another mapping", kind.as_str(), known_kind.as_str());
            self.add(mistake::TYPE_CONFLICT, message, at, "cast it in one of them");
            return;
        };
        if self.is_sealed(known_class) != self.is_sealed(class) {
            let (here, there) = if class.is_some() { ("personal", "not") } else { ("not personal", "personal") };
            let message = format!("the attribute `{name}` is {here} here and {there} in another mapping");
            self.add(mistake::TYPE_CONFLICT, message, at, "classify the field with `pii` under its stream");
            return;
        }
        attributes.put(name, common, known_class.or(class));
    }

    fn lines(&mut self, ingest: &Ingest<'_>, order: &OrderMapping, ingests: &[Ingest<'_>]) {
        let Some(lines) = &order.lines else { return };
        let children = ingests.iter().filter(|other| {
            std::ptr::eq(other.pipeline, ingest.pipeline) && other.parent.as_deref() == Some(ingest.stream.as_str())
        });
        let children: Vec<&str> = children.map(|child| child.stream.as_str()).collect();
        if children.contains(&lines.as_str()) {
            return;
        }
        let subject = Subject::Pipeline(ingest.pipeline.name.clone());
        let at = self.sources.locate(&subject, ["destination", "profiles", &ingest.stream, "order", "lines"]);
        let offer = format!("child streams of `{}` are", ingest.stream);
        let message = format!("`{lines}` is not a child stream of `{}`", ingest.stream);
        self.add(mistake::UNKNOWN_STREAM, message, at, near::suggestion(lines, &offer, &children));
        self.is_partial = true;
    }
}

/// The expressions of a consent row and what each must yield.
fn consent_expressions(row: &ConsentMapping) -> impl Iterator<Item = (&Expression, Want)> {
    let said = match &row.said {
        SaidBy::Granted(granted) => (granted, Want::Boolean),
        SaidBy::Status(status) => (status, Want::Text),
    };
    let times = [row.at.as_ref(), row.expires_at.as_ref()].into_iter().flatten().map(|time| (time, Want::Time));
    let texts = [row.jurisdiction.as_ref(), row.evidence.as_ref()].into_iter().flatten().map(|text| (text, Want::Text));
    std::iter::once(said).chain(times).chain(texts)
}
