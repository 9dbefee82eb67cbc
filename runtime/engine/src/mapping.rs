//! A pipeline's mapping into profiles, compiled: SQL expressions become columns beside the stream's own, under the names
//! that the whole product agrees on (`_id_email`, `_attr_country`, `_consent_email_marketing`, `_order_net` …).

use std::sync::Arc;

use affluent_lake::{Applied, Expressions, RowProgram, RowStep};
use affluent_model::consent::{ConsentMapping, SaidBy};
use affluent_model::plan::{Expression, IdentifierRule, IdentityRules, NamedExpression, ProfileMapping};
use affluent_model::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

/// The temporary column that holds the subject.
pub(crate) const SUBJECT: &str = "_subject";

/// A compiled mapping of one stream.
pub(crate) struct CompiledMapping {
    program: RowProgram,
    pub(crate) has_subject: bool,
    /// The column that is the subject, where it is one.
    pub(crate) subject_column: Option<String>,
    /// Identifier kinds in the order of the mapping, each before its mark; the value stands in the column `_id_<kind>` as text.
    pub(crate) identifiers: Vec<IdentifierRule>,
}

impl CompiledMapping {
    /// Compiles a mapping against the columns that the transforms leave.
    ///
    /// # Errors
    /// `E0300` when an expression does not plan: validation passes no such project, but the data's schema may have changed.
    pub(crate) fn compile(
        expressions: &Expressions,
        schema: &SchemaRef,
        mapping: &ProfileMapping,
        identity: &IdentityRules,
    ) -> Result<Self> {
        let mut set: Vec<(String, String)> = Vec::new();
        if let Some(subject) = &mapping.subject {
            set.push((SUBJECT.to_owned(), subject.text.clone()));
        }
        let mut identifiers = Vec::new();
        for named in &mapping.identifiers {
            set.push((identifier_column(&named.name), named.expression.text.clone()));
            let rule = rule_of(identity, &named.name)?;
            identifiers.push(rule.clone());
            if let Some(mark) = rule.mark() {
                set.push((identifier_column(&mark.name), named.expression.text.clone()));
                identifiers.push(mark);
            }
        }
        let mut implied: Vec<(String, String)> = Vec::new();
        for (name, expression) in attributes_of(mapping) {
            let is_own = is_named(&mapping.attributes, name);
            match bare_column(expressions, schema, expression) {
                Some(_) => {}
                None if is_own => set.push((attribute_column(name), expression.text.clone())),
                // The identifier's own column holds the value: it is not computed again.
                None => implied.push((attribute_column(name), format!("\"{}\"", identifier_column(name)))),
            }
        }
        set.extend(mapping.consent.iter().flat_map(consent_columns));
        if let Some(order) = &mapping.order {
            let typed = |text: &str, kind: &str| format!("TRY_CAST({text} AS {kind})");
            set.push(("_order_id".to_owned(), typed(&order.id.text, "VARCHAR")));
            set.push(("_order_at".to_owned(), typed(&order.at.text, "TIMESTAMP")));
            set.push(("_order_net".to_owned(), typed(&order.net.text, "DECIMAL(38, 6)")));
            set.push(("_order_currency".to_owned(), typed(&text_or_null(order.currency.as_ref()), "VARCHAR")));
            set.push(("_order_status".to_owned(), typed(&text_or_null(order.status.as_ref()), "VARCHAR")));
        }
        let program = expressions.compile(Arc::clone(schema), vec![RowStep::Set(set), RowStep::Set(implied)])?;
        let has_subject = mapping.subject.is_some();
        let subject_column = mapping.subject.as_ref().and_then(|subject| bare_column(expressions, schema, subject));
        Ok(Self { program, has_subject, subject_column, identifiers })
    }

    /// The batch with the mapping's columns appended, without the rows for which one cannot be computed.
    pub(crate) fn apply(&self, batch: &RecordBatch, now_us: i64) -> Result<Applied> {
        self.program.apply_each(batch, now_us)
    }

    pub(crate) fn output_schema(&self) -> SchemaRef {
        self.program.output_schema()
    }
}

/// The columns of a consent row.
fn consent_columns(row: &ConsentMapping) -> Vec<(String, String)> {
    let name = &row.name;
    let time = |text: &str| format!("TRY_CAST({text} AS TIMESTAMP)");
    let mut columns = Vec::new();
    match &row.said {
        SaidBy::Granted(granted) => columns.push((consent_column(name), granted.text.clone())),
        SaidBy::Status(status) => {
            let word = format!("lower(trim(CAST(({}) AS VARCHAR)))", status.text);
            columns.push((consent_column(name), format!("({word} = 'granted')")));
            columns.push((consent_status_column(name), word));
        }
    }
    columns.push((consent_at_column(name), time(row.at.as_ref().map_or("NULL", |at| at.text.as_str()))));
    columns.extend(row.expires_at.iter().map(|until| (consent_until_column(name), time(&until.text))));
    let texts = [(consent_in_column(name), &row.jurisdiction), (consent_evidence_column(name), &row.evidence)];
    columns.extend(
        texts
            .into_iter()
            .filter_map(|(column, text)| text.as_ref().map(|text| (column, format!("TRY_CAST(({}) AS VARCHAR)", text.text)))),
    );
    columns
}

fn text_or_null(expression: Option<&Expression>) -> String {
    expression.map_or_else(|| "NULL".to_owned(), |expression| expression.text.clone())
}

fn rule_of<'a>(identity: &'a IdentityRules, kind: &str) -> Result<&'a IdentifierRule> {
    let rule = identity.identifiers.iter().find(|rule| rule.name == kind);
    rule.ok_or_else(|| Error::bug(format!("identifier `{kind}` is mapped, but not in profiles/identity.yaml")))
}

/// The attributes of a mapping: its own, and each identifier under its name unless an attribute has that name. So an
/// identifier can be shown and delivered, not only matched.
pub(crate) fn attributes_of(mapping: &ProfileMapping) -> impl Iterator<Item = (&str, &Expression)> {
    let own = mapping.attributes.iter();
    let implied = mapping.identifiers.iter().filter(|identifier| !is_named(&mapping.attributes, &identifier.name));
    own.chain(implied).map(|named| (named.name.as_str(), &named.expression))
}

fn is_named(list: &[NamedExpression], name: &str) -> bool {
    list.iter().any(|named| named.name == name)
}

/// The column's name when an expression is that column and nothing else.
pub(crate) fn bare_column(expressions: &Expressions, schema: &SchemaRef, expression: &Expression) -> Option<String> {
    expressions.plan_row(&expression.text, schema).ok().and_then(|planned| planned.bare_column)
}

pub(crate) fn identifier_column(kind: &str) -> String {
    format!("_id_{kind}")
}

pub(crate) fn attribute_column(name: &str) -> String {
    format!("_attr_{name}")
}

pub(crate) fn consent_column(name: &str) -> String {
    format!("_consent_{name}")
}

pub(crate) fn consent_at_column(name: &str) -> String {
    format!("_consent_at_{name}")
}

pub(crate) fn consent_status_column(name: &str) -> String {
    format!("_consentstatus_{name}")
}

pub(crate) fn consent_until_column(name: &str) -> String {
    format!("_consentuntil_{name}")
}

pub(crate) fn consent_in_column(name: &str) -> String {
    format!("_consentin_{name}")
}

pub(crate) fn consent_evidence_column(name: &str) -> String {
    format!("_consentevidence_{name}")
}
