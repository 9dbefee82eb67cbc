//! Conditions of segments: SQL over the profile's columns, with calls that look at its records, consent and memberships
//! (`did`, `did_not`, `did_sequence`, `consent`, `in_segment`). A call is taken out of the parsed condition and stands in
//! it as a column, `_call_0`; what computes the column is not known here.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use affluent_model::duration;
use affluent_model::expression::{ConsentReach, EventStep, ExpressionMistake, PlannedSegment, SegmentCall, SegmentScope};
use affluent_model::schema::FieldType;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::expressions::Expressions;
use crate::limits::{SEGMENT_CALLS_MAX, SEQUENCE_STEPS_MAX};
use crate::mistakes::suggestion;
use crate::syntax::{self, Mistaken, Place};

/// Columns of calls start so; the number is the call's place among all.
pub(crate) const CALL_COLUMN: &str = "_call_";

impl Expressions {
    /// Plans the condition of a segment; whether it yields true or false is for the caller to look at.
    ///
    /// # Errors
    /// The first mistake: as [`Expressions::plan_row`], in the condition and in those inside of its calls; calls of a wrong
    /// form; streams, segments and purposes that are not in `scope`.
    pub fn plan_segment(&self, text: &str, scope: &SegmentScope<'_>) -> Result<PlannedSegment, ExpressionMistake> {
        self.planned_segment(text, scope).map_err(|mistake| *mistake)
    }

    /// The condition printed again, safe inside parentheses, with the column `_call_n` for the call at place n of `calls`,
    /// to which new ones are added; and the places it names.
    ///
    /// # Errors
    /// When its form is not allowed; columns and types are not looked at.
    pub fn normalise_segment(&self, text: &str, calls: &mut Vec<SegmentCall>) -> Result<(String, Vec<usize>), ExpressionMistake> {
        self.normalised_segment(text, calls).map_err(|mistake| *mistake)
    }

    fn normalised_segment(&self, text: &str, calls: &mut Vec<SegmentCall>) -> Mistaken<(String, Vec<usize>)> {
        let (condition, found) = self.without_calls(text, calls)?;
        let parsed = syntax::check(text, condition, Place::Row, None, self)?;
        let places = found.into_iter().map(|call| call.place).collect();
        Ok((syntax::print(text, parsed, self)?, places))
    }

    fn planned_segment(&self, text: &str, scope: &SegmentScope<'_>) -> Mistaken<PlannedSegment> {
        let mut calls = Vec::new();
        let (condition, found) = self.without_calls(text, &mut calls)?;
        let mut read = Vec::new();
        for call in &found {
            self.check_call(text, call, scope, &mut read)?;
        }
        let of_calls = calls.iter().enumerate().map(|(place, call)| {
            let kind = match call {
                SegmentCall::Did { .. } => DataType::Int64,
                SegmentCall::Consent { .. } => DataType::Utf8,
                SegmentCall::Sequence { .. } | SegmentCall::InSegment { .. } => DataType::Boolean,
            };
            Field::new(format!("{CALL_COLUMN}{place}"), kind, false)
        });
        let fields = scope.columns.fields().iter().map(|field| field.as_ref().clone());
        let schema = Schema::new(fields.chain(of_calls).collect::<Vec<_>>());
        let parsed = syntax::check(text, condition, Place::Row, Some(&schema), self)?;
        let mut expression = self.planned_parsed(text, parsed, &schema, Place::Row)?;
        expression.columns.retain(|name| !name.starts_with(CALL_COLUMN));
        expression.bare_column = expression.bare_column.filter(|name| !name.starts_with(CALL_COLUMN));
        Ok(PlannedSegment { expression, calls, read })
    }

    fn without_calls(&self, text: &str, calls: &mut Vec<SegmentCall>) -> Mistaken<(Expr, Vec<FoundCall>)> {
        let mut condition = syntax::expression(text)?;
        let mut taker = Taker { expressions: self, text, calls, found: Vec::new() };
        if let ControlFlow::Break(mistake) = VisitMut::visit(&mut condition, &mut taker) {
            return Err(mistake);
        }
        let found = taker.found;
        Ok((condition, found))
    }

    fn check_call(
        &self,
        text: &str,
        call: &FoundCall,
        scope: &SegmentScope<'_>,
        read: &mut Vec<(String, Vec<String>)>,
    ) -> Mistaken<()> {
        match &call.said {
            Said::Steps(steps) => {
                for step in steps {
                    read.extend(self.check_step(text, step, scope)?);
                }
                Ok(())
            }
            Said::Segment(named) => {
                if scope.is_partial || scope.segments.contains(&named.name.as_str()) {
                    return Ok(());
                }
                let help = suggestion(&named.name, scope.segments.iter().copied(), "segments are");
                Err(syntax::mistake(text, named.span, format!("there is no segment `{}`", named.name), help))
            }
            Said::Consent { purpose, reach } if !scope.is_partial => check_consent(text, purpose, reach, scope.consents),
            Said::Consent { .. } => Ok(()),
        }
    }

    fn check_step(&self, text: &str, step: &Step, scope: &SegmentScope<'_>) -> Mistaken<Option<(String, Vec<String>)>> {
        let Some(columns) = scope.streams.get(&step.stream) else {
            if scope.is_partial {
                return Ok(None);
            }
            let streams = scope.streams.keys().map(String::as_str);
            let help = suggestion(&step.stream, streams, "streams that lead into profiles are");
            return Err(syntax::mistake(
                text,
                step.span,
                format!("no pipeline leads a stream `{}` into profiles", step.stream),
                help,
            ));
        };
        let (Some(condition), Some(columns)) = (&step.condition, columns) else { return Ok(None) };
        let parsed = syntax::check(text, condition.clone(), Place::Row, Some(columns), self)?;
        let planned = self.planned_parsed(text, parsed, columns, Place::Row)?;
        if planned.data_type != DataType::Boolean && planned.data_type != DataType::Null {
            let kind = FieldType::from_arrow(&planned.data_type).map_or("something else", FieldType::as_str);
            let message = format!("the condition on records yields {kind}, this must be true or false");
            return Err(syntax::mistake(text, condition.span(), message, Some("compare it with something".to_owned())));
        }
        Ok(Some((step.stream.clone(), planned.columns)))
    }

    fn printed(&self, text: &str, condition: &Expr) -> Mistaken<String> {
        let parsed = syntax::check(text, condition.clone(), Place::Row, None, self)?;
        syntax::print(text, parsed, self)
    }
}

/// A purpose that some mapping has, and a channel and a scope that rows of it reach.
fn check_consent(text: &str, purpose: &Named, reach: &[(Reach, Named)], consents: &[ConsentReach<'_>]) -> Mistaken<()> {
    let name = purpose.name.as_str();
    let of_purpose: Vec<&ConsentReach<'_>> = consents.iter().filter(|mapped| mapped.purpose == name).collect();
    if of_purpose.is_empty() {
        let known: BTreeSet<&str> = consents.iter().map(|mapped| mapped.purpose).collect();
        let help = suggestion(name, known.iter().copied(), "purposes are");
        return Err(syntax::mistake(text, purpose.span, format!("there is no purpose with consent `{name}`"), help));
    }
    for (reach, named) in reach {
        if of_purpose.iter().all(|mapped| reach.of(mapped).is_some_and(|known| known != named.name)) {
            let word = reach.as_str();
            let message = format!("no pipeline maps consent to `{name}` for the {word} `{}`", named.name);
            let known: BTreeSet<&str> = of_purpose.iter().filter_map(|mapped| reach.of(mapped)).collect();
            let help = suggestion(&named.name, known.iter().copied(), &format!("{word}s are"));
            return Err(syntax::mistake(text, named.span, message, help));
        }
    }
    Ok(())
}

/// What narrows a consent down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Channel,
    Scope,
}

impl Reach {
    const ALL: [Self; 2] = [Self::Channel, Self::Scope];

    fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Scope => "scope",
        }
    }

    fn of<'a>(self, mapped: &ConsentReach<'a>) -> Option<&'a str> {
        match self {
            Self::Channel => mapped.channel,
            Self::Scope => mapped.scope,
        }
    }
}

/// A name in quotes.
struct Named {
    name: String,
    span: Span,
}

/// A call as it stands in a condition.
struct FoundCall {
    /// Among all calls.
    place: usize,
    said: Said,
}

enum Said {
    Steps(Vec<Step>),
    Segment(Named),
    Consent { purpose: Named, reach: Vec<(Reach, Named)> },
}

struct Step {
    stream: String,
    span: Span,
    condition: Option<Expr>,
}

/// Takes the calls out of a condition.
struct Taker<'a> {
    expressions: &'a Expressions,
    text: &'a str,
    calls: &'a mut Vec<SegmentCall>,
    found: Vec<FoundCall>,
}

impl VisitorMut for Taker<'_> {
    type Break = Box<ExpressionMistake>;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = &*expression else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        let replaced = match name.as_str() {
            "did" => self.did(function),
            "did_not" => self.did(function).map(is_none),
            "did_sequence" => self.sequence(function),
            "consent" => self.consent(function),
            "in_segment" => self.in_segment(function),
            _ => return ControlFlow::Continue(()),
        };
        match replaced {
            Ok(column) => {
                *expression = column;
                ControlFlow::Continue(())
            }
            Err(mistake) => ControlFlow::Break(mistake),
        }
    }
}

/// `_call_0 = 0`, in parentheses.
fn is_none(count: Expr) -> Expr {
    let zero = Expr::Value(ValueWithSpan { value: Value::Number("0".to_owned(), false), span: count.span() });
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(count), op: BinaryOperator::Eq, right: Box::new(zero) }))
}

impl Taker<'_> {
    /// `did('orders')`, `did('orders', '90d')`, `did('orders', net > 50)`, `did('orders', '90d', net > 50)`.
    fn did(&mut self, function: &Function) -> Mistaken<Expr> {
        const EXAMPLE: &str = "for example `did('orders', '90d', net >= 50) >= 2`";
        let arguments = self.arguments(function, EXAMPLE)?;
        let (first, mut rest) = arguments.split_first().ok_or_else(|| self.wrong(function, "names no stream", EXAMPLE))?;
        let mut window_ms = None;
        if let Some((window, others)) = rest.split_first().filter(|(window, _)| literal(window).is_some()) {
            window_ms = Some(self.window(window)?);
            rest = others;
        }
        let condition = match rest {
            [] => None,
            [condition] => Some((*condition).clone()),
            _ => return Err(self.wrong(function, "takes a stream, a time and one condition", EXAMPLE)),
        };
        let (stream, span) = self.name(first)?;
        let step = self.step(Step { stream, span, condition })?;
        let call = SegmentCall::Did { step: step.0, window_ms };
        self.take(function, call, Said::Steps(vec![step.1]))
    }

    /// `did_sequence('7d', 'carts', step('orders', net > 50))`.
    fn sequence(&mut self, function: &Function) -> Mistaken<Expr> {
        const EXAMPLE: &str = "for example `did_sequence('7d', 'carts', step('orders', net > 50))`";
        let arguments = self.arguments(function, EXAMPLE)?;
        let Some((window, steps)) = arguments.split_first().filter(|(_, steps)| (2..=SEQUENCE_STEPS_MAX).contains(&steps.len()))
        else {
            let wrong = format!("takes a time and 2 to {SEQUENCE_STEPS_MAX} steps");
            return Err(self.wrong(function, &wrong, EXAMPLE));
        };
        let window_ms = self.window(window)?;
        let (mut printed, mut found) = (Vec::new(), Vec::new());
        for step in steps {
            let (event, step) = self.step(self.sequence_step(step, EXAMPLE)?)?;
            printed.push(event);
            found.push(step);
        }
        self.take(function, SegmentCall::Sequence { steps: printed, window_ms }, Said::Steps(found))
    }

    fn sequence_step(&self, argument: &Expr, example: &str) -> Mistaken<Step> {
        let Expr::Function(function) = argument else {
            let (stream, span) = self.name(argument)?;
            return Ok(Step { stream, span, condition: None });
        };
        let arguments = self.arguments(function, example)?;
        match (function.name.to_string().to_lowercase().as_str(), arguments.as_slice()) {
            ("step", [stream, condition]) => {
                let (stream, span) = self.name(stream)?;
                Ok(Step { stream, span, condition: Some((*condition).clone()) })
            }
            _ => Err(self.wrong(function, "is no step", example)),
        }
    }

    /// `in_segment('vip')`.
    fn in_segment(&mut self, function: &Function) -> Mistaken<Expr> {
        const EXAMPLE: &str = "for example `in_segment('vip')`";
        let arguments = self.arguments(function, EXAMPLE)?;
        let [argument] = arguments.as_slice() else { return Err(self.wrong(function, "takes one name", EXAMPLE)) };
        let (name, span) = self.name(argument)?;
        self.take(function, SegmentCall::InSegment { segment: name.clone() }, Said::Segment(Named { name, span }))
    }

    /// `consent('news')`, `consent('news', channel => 'email', scope => 'shop_fr')`.
    fn consent(&mut self, function: &Function) -> Mistaken<Expr> {
        const EXAMPLE: &str = "for example `consent('news', channel => 'email') = 'granted'`";
        let list = self.list(function, EXAMPLE)?;
        let Some((FunctionArg::Unnamed(FunctionArgExpr::Expr(first)), others)) = list.split_first() else {
            return Err(self.wrong(function, "names no purpose", EXAMPLE));
        };
        let (name, span) = self.name(first)?;
        let mut reach: Vec<(Reach, Named)> = Vec::new();
        for other in others {
            let FunctionArg::Named { name: word, arg: FunctionArgExpr::Expr(value), .. } = other else {
                return Err(self.wrong(function, "takes a purpose and, by name, a channel and a scope", EXAMPLE));
            };
            let known = Reach::ALL.into_iter().find(|known| word.value.eq_ignore_ascii_case(known.as_str()));
            let Some(known) = known.filter(|known| reach.iter().all(|(said, _)| said != known)) else {
                return Err(self.wrong(function, "takes a purpose and, each once, `channel` and `scope`", EXAMPLE));
            };
            let (name, span) = self.name(value)?;
            reach.push((known, Named { name, span }));
        }
        let of = |wanted| reach.iter().find(|(reach, _)| *reach == wanted).map(|(_, named)| named.name.clone());
        let call = SegmentCall::Consent { purpose: name.clone(), channel: of(Reach::Channel), scope: of(Reach::Scope) };
        self.take(function, call, Said::Consent { purpose: Named { name, span }, reach })
    }

    /// Enters a call and gives the column that stands for it.
    fn take(&mut self, function: &Function, call: SegmentCall, said: Said) -> Mistaken<Expr> {
        let known = self.calls.iter().position(|known| *known == call);
        let place = known.unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        });
        self.found.push(FoundCall { place, said });
        if self.found.len() > SEGMENT_CALLS_MAX {
            let wrong = format!("is one call too many: a condition has {SEGMENT_CALLS_MAX}");
            return Err(self.wrong(function, &wrong, "make computed traits of some of them"));
        }
        let column = Ident { value: format!("{CALL_COLUMN}{place}"), quote_style: Some('"'), span: function.name.span() };
        Ok(Expr::Identifier(column))
    }

    fn step(&self, step: Step) -> Mistaken<(EventStep, Step)> {
        let condition = step.condition.as_ref().map(|condition| self.expressions.printed(self.text, condition)).transpose()?;
        Ok((EventStep { stream: step.stream.clone(), condition }, step))
    }

    fn arguments<'f>(&self, function: &'f Function, example: &str) -> Mistaken<Vec<&'f Expr>> {
        let plain = self.list(function, example)?.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument),
            _ => None,
        });
        let plain: Option<Vec<&Expr>> = plain.collect();
        plain.ok_or_else(|| self.wrong(function, "is not written so", example))
    }

    /// The arguments of a call, plain or by name, and nothing else about it.
    fn list<'f>(&self, function: &'f Function, example: &str) -> Mistaken<&'f [FunctionArg]> {
        let is_plain = function.filter.is_none() && function.over.is_none() && function.within_group.is_empty();
        let FunctionArguments::List(list) = &function.args else { return Err(self.wrong(function, "has no arguments", example)) };
        if is_plain && list.clauses.is_empty() && list.duplicate_treatment.is_none() {
            Ok(&list.args)
        } else {
            Err(self.wrong(function, "is not written so", example))
        }
    }

    fn wrong(&self, function: &Function, what: &str, example: &str) -> Box<ExpressionMistake> {
        let message = format!("`{}` {what}", function.name);
        syntax::mistake(self.text, function.name.span(), message, Some(example.to_owned()))
    }

    fn name(&self, argument: &Expr) -> Mistaken<(String, Span)> {
        if let Some((name, span)) = literal(argument) {
            return Ok((name.to_owned(), span));
        }
        let help = match argument {
            Expr::Identifier(name) => format!("a name stands in single quotes: `'{}'`", name.value),
            _ => "a name stands in single quotes".to_owned(),
        };
        Err(syntax::mistake(self.text, argument.span(), "this must be a name".to_owned(), Some(help)))
    }

    fn window(&self, argument: &Expr) -> Mistaken<u64> {
        let help = "a number and one of ms, s, m, h, d in single quotes: `'90d'`".to_owned();
        let Some((text, span)) = literal(argument) else {
            return Err(syntax::mistake(self.text, argument.span(), "this must be a time".to_owned(), Some(help)));
        };
        match duration::milliseconds(text) {
            Ok(window_ms) if window_ms > 0 => Ok(window_ms),
            Ok(_) => Err(syntax::mistake(self.text, span, format!("`{text}` is no time at all"), Some(help))),
            Err(wrong) => Err(syntax::mistake(self.text, span, format!("`{text}` {wrong}"), Some(help))),
        }
    }
}

fn literal(argument: &Expr) -> Option<(&str, Span)> {
    match argument {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) => Some((text, *span)),
        _ => None,
    }
}
