//! Bytes → tree. The only file that names serde_yaml.
//!
//! serde_yaml tells nobody where a value stands, but it stamps line and column on every error. So the visitor of
//! each scalar keeps the value and then fails; the seed around it reads the place off that error and goes on. One
//! pass yields the values, their places and every duplicate key. Tags, limits and characters are checked before,
//! by [`crate::prescan`].

use std::collections::HashMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::mistake::{self, FileReport};
use crate::node::{Node, Place, Value};

/// Bytes of a line that are looked at for the length of a scalar.
const REST_BYTES_MAX: usize = 4_096;

/// Parses a document whose bytes passed the pre-scan. Mistakes go to `report`; `None` when there is no usable tree.
pub(crate) fn parse(text: &str, report: &mut FileReport) -> Option<Node> {
    let lines: Vec<(&str, bool)> = text.lines().map(|line| (line, line.is_ascii())).collect();
    if lines.iter().all(|(line, _)| is_blank(line)) {
        report.add_help(mistake::EMPTY, Place::START, "the file is empty", "start it with `version: 1`, or remove the file");
        return None;
    }
    let mut builder = Builder { lines, report };
    let result = Seed { builder: &mut builder }.deserialize(serde_yaml::Deserializer::from_str(text));
    let error = match result {
        Ok(node) => return Some(node),
        Err(error) => error,
    };
    let place = error.location().map_or(Place::START, |at| builder.place(at.line(), at.column(), None));
    let message = without_position(&error.to_string());
    if message.contains("more than one document") {
        report.add_help(
            mistake::DOCUMENTS,
            place,
            "more than one document in a file",
            "split it at `---` into files of their own",
        );
    } else if message.contains("repetition limit") {
        report.add_help(mistake::ALIASES, place, "aliases repeat too much of the file", "write the values out");
    } else {
        report.add(mistake::SYNTAX, place, format!("not valid YAML: {message}"));
    }
    None
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
}

/// serde_yaml's message without ` at line 3 column 5` at its end.
fn without_position(message: &str) -> String {
    let text = message.split(" at line ").next().unwrap_or(message);
    text.split(" at position ").next().unwrap_or(text).to_owned()
}

/// Line and column, from 1, at the end of an error's text.
fn position(error: &impl fmt::Display) -> Option<(usize, usize)> {
    let text = error.to_string();
    let Some((_, numbers)) = text.rsplit_once(" at line ") else { return Some((1, 1)) };
    let (line, column) = numbers.split_once(" column ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

struct Builder<'a> {
    /// Each with whether a character is a byte in it.
    lines: Vec<(&'a str, bool)>,
    report: &'a mut FileReport,
}

impl Builder<'_> {
    /// The place of a scalar; its length is read off the line.
    fn place(&self, line: usize, column: usize, text: Option<&str>) -> Place {
        let length = scalar_length(self.rest(line, column), text);
        Place { line: line.max(1), column: column.max(1), length: length.max(1) }
    }

    /// What follows on a line from a column on, cut at [`REST_BYTES_MAX`]: a file of one long line with many scalars must
    /// not be walked once per scalar.
    fn rest(&self, line: usize, column: usize) -> &str {
        let Some((line, is_ascii)) = self.lines.get(line.saturating_sub(1)) else { return "" };
        let skipped = column.saturating_sub(1);
        let start = match is_ascii {
            true => Some(skipped),
            false if line.len() <= REST_BYTES_MAX => line.char_indices().nth(skipped).map(|(index, _)| index),
            false => None,
        };
        let rest = start.and_then(|start| line.get(start..)).unwrap_or_default();
        rest.get(..REST_BYTES_MAX).unwrap_or(rest)
    }

    /// The raw text of a plain scalar, for forms that YAML turns into numbers.
    fn raw(&self, place: Place) -> String {
        self.rest(place.line, place.column).chars().take(place.length).collect()
    }

    fn check_number(&mut self, node: &Node) {
        let Value::Number(_) = node.value else { return };
        let raw = self.raw(node.place);
        let digits = raw.trim_start_matches(['+', '-']);
        if ["0x", "0o", "0b"].iter().any(|prefix| digits.starts_with(prefix)) {
            self.report.add_help(
                mistake::NUMBER_FORM,
                node.place,
                format!("`{raw}` is not a decimal number"),
                "write it in decimal, or in quotes if it is text",
            );
        }
    }

    /// The key if it may stand in a map whose keys so far are `seen` (name → line).
    fn key_of(&mut self, key: Node, seen: &mut HashMap<String, usize>) -> Option<Node> {
        let Some(name) = key.text() else {
            let message = format!("a key must be text, this is {}", key.kind());
            self.report.add_help(mistake::KEY_TYPE, key.place, message, "put it in quotes");
            return None;
        };
        if name == "<<" {
            self.report.add_help(mistake::MERGE_KEY, key.place, "merge keys are not supported", "write the keys out");
            return None;
        }
        if let Some(first) = seen.insert(name.to_owned(), key.place.line) {
            let message = format!("duplicate key `{name}`, first on line {first}");
            self.report.add_help(mistake::DUPLICATE_KEY, key.place, message, "keep one of them");
            return None;
        }
        Some(key)
    }
}

/// Characters of the scalar that `rest` starts with; `text` is its value where it is text.
fn scalar_length(rest: &str, text: Option<&str>) -> usize {
    let first = rest.chars().next();
    if let Some(quote @ ('"' | '\'')) = first {
        return quoted_length(rest, quote);
    }
    if let Some('|' | '>') = first {
        return 1;
    }
    if let Some(text) = text.filter(|text| !text.is_empty() && rest.starts_with(text)) {
        return text.chars().count();
    }
    if text.is_none() {
        return rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "+-._~".contains(*c)).count();
    }
    let plain = rest.split(" #").next().unwrap_or(rest);
    plain.trim_end().chars().count()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.chars().enumerate().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            // A doubled quote inside single quotes looks like an end and a start: the length differs, not the place.
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    rest.trim_end().chars().count()
}

/// The place of an empty collection until something near it lends its own.
const UNKNOWN: Place = Place { line: 0, column: 0, length: 1 };

/// Empty collections in a list get the place of the item before them, or of the first that has one.
fn place_empty(items: &mut [Node]) {
    let first = items.iter().map(|item| item.place).find(|place| *place != UNKNOWN);
    let mut before = first.unwrap_or(UNKNOWN);
    for item in items {
        if item.place == UNKNOWN {
            item.place = before;
        }
        before = item.place;
    }
}

struct Seed<'b, 'a> {
    builder: &'b mut Builder<'a>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let mut scalar = None;
        let visitor = NodeVisitor { builder: &mut *self.builder, scalar: &mut scalar };
        let error = match deserializer.deserialize_any(visitor) {
            Ok(node) => return Ok(node),
            Err(error) => error,
        };
        let Some((value, problem)) = scalar else { return Err(error) };
        let (line, column) = position(&error).unwrap_or((1, 1));
        let text = match &value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        let place = self.builder.place(line, column, text);
        let mut node = Node::new(value, place);
        match problem {
            Some(problem) => {
                self.builder.report.add_help(mistake::NUMBER_FORM, place, problem, "put it in quotes if it is text");
                // Nothing is left of it, and the check of shapes skips what is hidden and nothing.
                node.hidden = true;
            }
            None => self.builder.check_number(&node),
        }
        Ok(node)
    }
}

struct NodeVisitor<'v, 'a> {
    builder: &'v mut Builder<'a>,
    scalar: &'v mut Option<(Value, Option<&'static str>)>,
}

impl NodeVisitor<'_, '_> {
    /// Keeps the value and fails, so that the error carries the place.
    fn keep<E: de::Error>(self, value: Value) -> Result<Node, E> {
        *self.scalar = Some((value, None));
        Err(E::custom("here"))
    }

    fn refuse<E: de::Error>(self, problem: &'static str) -> Result<Node, E> {
        *self.scalar = Some((Value::Null, Some(problem)));
        Err(E::custom("here"))
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_, '_> {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.keep(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.keep(Value::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.keep(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.keep(Value::Number(value.into()))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        self.refuse("the number does not fit into 64 bits")
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        self.refuse("the number does not fit into 64 bits")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.keep(Value::Number(number)),
            None => self.refuse("infinity and not-a-number are not allowed"),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.keep(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items: Vec<Node> = Vec::new();
        while let Some(item) = access.next_element_seed(Seed { builder: self.builder })? {
            items.push(item);
        }
        place_empty(&mut items);
        let place = items.first().map_or(UNKNOWN, |item| item.place);
        Ok(Node::new(Value::List(items), place))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let (mut place, mut seen) = (None, HashMap::new());
        while let Some(key) = access.next_key_seed(Seed { builder: self.builder })? {
            place = place.or(Some(key.place));
            let mut value = access.next_value_seed(Seed { builder: self.builder })?;
            if matches!(value.value, Value::List(_) | Value::Map(_)) || value.place == UNKNOWN {
                value.place = key.place;
            }
            if let Some(key) = self.builder.key_of(key, &mut seen) {
                entries.push((key, value));
            }
        }
        Ok(Node::new(Value::Map(entries), place.unwrap_or(UNKNOWN)))
    }

    /// A tag that the pre-scan let through: only its value counts.
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Node, A::Error> {
        let (_, variant) = access.variant_seed(std::marker::PhantomData::<de::IgnoredAny>)?;
        variant.newtype_variant_seed(Seed { builder: self.builder })
    }
}
