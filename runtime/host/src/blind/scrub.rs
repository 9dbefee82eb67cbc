//! Finds the personal values of a batch in a text by whole words. Every value is a chain of words; the index holds each
//! beginning of a chain by its hash, so that a text costs one look-up for each of its words, however many values there
//! are. What is found is compared with the value itself before it counts.

use std::collections::HashMap;

use affluent_model::pii::PiiClass;

use super::token::Mark;
use super::values::{BatchValues, Entry, MarkMap, ValueColumn};
use super::view::View;

/// Values shorter than this are found only where they are a whole JSON string.
const CORE_BYTES_MIN: usize = 3;
/// Hexadecimal digits of the hashes that values leave in.
const HASH_LENGTHS: [usize; 2] = [32, 64];

/// The values of a batch by the hashes of their words.
#[derive(Clone)]
pub(crate) struct ScrubIndex {
    steps: MarkMap<u64, Step>,
    /// Values whose words are those of an earlier one.
    others: HashMap<u64, Vec<(Mark, Entry)>>,
}

/// The hash of each value's first word.
pub(crate) struct Beginnings(Vec<(u64, Mark, Entry)>);

/// Bits of the set of a piece's words.
const WORD_BITS: usize = 1 << 16;

impl Beginnings {
    pub(super) fn new(values: &BatchValues) -> Self {
        let first_word = |(mark, entry): (Mark, Entry)| {
            let text = values.text(entry).as_bytes();
            let (start, end) = core(text)?;
            let word = text.get(start..end)?.iter().take_while(|byte| is_word(**byte));
            Some((word.fold(HASH_SEED, |hash, byte| step(hash, *byte)), mark, entry))
        };
        Self(values.entries().filter_map(first_word).collect())
    }

    /// The values that begin with a word of the piece; `None` when they are many.
    pub(super) fn of_piece(&self, piece: &View<'_>, values: &BatchValues) -> Option<ScrubIndex> {
        let mut words = vec![0u64; WORD_BITS / 64];
        let slot = |hash: u64| (usize::try_from(hash >> 48).unwrap_or(0) % WORD_BITS / 64, hash >> 48 & 63);
        for word in piece.bytes().split(|byte| !is_word(*byte)).filter(|word| !word.is_empty()) {
            let (at, bit) = slot(word.iter().fold(HASH_SEED, |hash, byte| step(hash, *byte)));
            if let Some(bits) = words.get_mut(at) {
                *bits |= 1 << bit;
            }
        }
        let is_there = |hash: u64| {
            let (at, bit) = slot(hash);
            words.get(at).is_some_and(|bits| bits >> bit & 1 == 1)
        };
        let few: Vec<(Mark, Entry)> =
            self.0.iter().filter(|(hash, _, _)| is_there(*hash)).map(|(_, mark, entry)| (*mark, *entry)).collect();
        (few.len() <= values.len() / 4 || few.len() < 64).then(|| ScrubIndex::new(values, few.into_iter()))
    }
}

/// What a beginning is.
#[derive(Default, Clone, Copy)]
struct Step {
    value: Option<(Mark, Entry)>,
    /// A longer value begins like this.
    goes_on: bool,
}

/// Which values count where.
#[derive(Clone, Copy)]
pub(super) enum Rule<'a> {
    /// A whole JSON string under this key.
    Whole(&'a str),
    /// A part of a text.
    Text,
    /// The key of an object.
    Key,
}

/// A value found in a view, by places of the view.
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) token: String,
}

impl ScrubIndex {
    pub(super) fn new(values: &BatchValues, entries: impl Iterator<Item = (Mark, Entry)>) -> Self {
        let mut index = Self { steps: MarkMap::default(), others: HashMap::new() };
        for (mark, entry) in entries {
            let text = values.text(entry).as_bytes();
            if let Some((start, end)) = core(text) {
                index.insert(text.get(start..end).unwrap_or_default(), mark, entry);
            }
        }
        index
    }

    fn insert(&mut self, core: &[u8], mark: Mark, entry: Entry) {
        let (mut hash, mut after_word) = (HASH_SEED, false);
        for byte in core {
            let is_word = is_word(*byte);
            if after_word && !is_word {
                self.steps.entry(hash).or_default().goes_on = true;
            }
            after_word = is_word;
            hash = step(hash, *byte);
        }
        match &mut self.steps.entry(hash).or_default().value {
            Some(_) => self.others.entry(hash).or_default().push((mark, entry)),
            first => *first = Some((mark, entry)),
        }
    }

    /// The longest value that begins with the word at `start`.
    pub(super) fn find(&self, view: &View<'_>, start: usize, rule: Rule<'_>, values: &BatchValues) -> Option<Match> {
        let text = view.bytes();
        let rest = text.get(start..)?;
        let (mut hash, mut after_word, mut best) = (HASH_SEED, false, None);
        for (at, byte) in rest.iter().map(Some).chain([None]).enumerate() {
            let is_word = byte.is_some_and(|byte| is_word(*byte));
            if after_word && !is_word {
                let Some(step) = self.steps.get(&hash) else { break };
                let found = step.value.into_iter().chain(self.others.get(&hash).into_iter().flatten().copied());
                best = pick(found, view, (start, start + at), rule, values).or(best);
                if !step.goes_on {
                    break;
                }
            }
            let Some(byte) = byte else { break };
            after_word = is_word;
            hash = self::step(hash, *byte);
        }
        best.or_else(|| hashed(view, start, values))
    }
}

/// The best of the values that may be meant by a piece of the text: one with the very same bytes before one that differs
/// in case.
fn pick(
    found: impl Iterator<Item = (Mark, Entry)>,
    view: &View<'_>,
    (start, end): (usize, usize),
    rule: Rule<'_>,
    values: &BatchValues,
) -> Option<Match> {
    let text = view.bytes();
    let piece = text.get(start..end)?;
    let mut best: Option<(bool, Match)> = None;
    for (mark, entry) in found {
        let value = values.text(entry).as_bytes();
        let (Some((from, to)), Some(column)) = (core(value), values.column(entry)) else { continue };
        let core = value.get(from..to).unwrap_or_default();
        let is_exact = core == piece;
        if !is_exact && (!is_same(core, piece) || needs_case(core, column.class)) {
            continue;
        }
        let (lead, tail) = (value.get(..from).unwrap_or_default(), value.get(to..).unwrap_or_default());
        let start = if text.get(..start)?.ends_with(lead) { start - lead.len() } else { start };
        let end = if text.get(end..)?.starts_with(tail) { end + tail.len() } else { end };
        let is_whole = start == 0 && end == text.len();
        if counts(core, column, is_whole, rule) && best.as_ref().is_none_or(|(exact, _)| is_exact && !exact) {
            best = Some((is_exact, Match { start, end, token: super::token::text(mark) }));
        }
    }
    best.map(|(_, found)| found)
}

/// Whether a value may be taken for what stands there.
fn counts(core: &[u8], column: &ValueColumn, is_whole: bool, rule: Rule<'_>) -> bool {
    let is_telling = is_telling(core, column.class);
    match rule {
        Rule::Key => is_telling && matches!(column.class, PiiClass::Email | PiiClass::Phone),
        // Words such as `complete` are an API's own, unless the field is the one that was sent.
        Rule::Whole(key) if is_whole => is_telling || column.key == key,
        Rule::Whole(_) | Rule::Text => is_telling && core.len() >= CORE_BYTES_MIN,
    }
}

/// True unless it is a word or a number that an API might say by itself.
fn is_telling(core: &[u8], class: PiiClass) -> bool {
    let digits = core.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_own_kind = matches!(class, PiiClass::Email | PiiClass::Ip | PiiClass::BirthDate);
    if is_own_kind || digits >= 7 || !core.is_ascii() || core.contains(&b' ') {
        return true;
    }
    let letters = || core.iter().filter(|byte| byte.is_ascii_alphabetic());
    let is_constant = letters().all(u8::is_ascii_lowercase) || letters().all(u8::is_ascii_uppercase);
    letters().count() > 1 && !is_constant
}

/// A single word of a name is told from an API's word by its capitals.
fn needs_case(core: &[u8], class: PiiClass) -> bool {
    class != PiiClass::Email && core.iter().all(|byte| is_word(*byte))
}

/// A hash that a value left in.
fn hashed(view: &View<'_>, start: usize, values: &BatchValues) -> Option<Match> {
    let rest = view.bytes().get(start..)?;
    let length = rest.iter().take(65).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if !HASH_LENGTHS.contains(&length) || rest.get(length).is_some_and(|byte| is_word(*byte)) {
        return None;
    }
    let token = values.token_of_form(&rest.get(..length)?.to_ascii_lowercase())?;
    Some(Match { start, end: start + length, token })
}

/// From the first to behind the last letter or digit.
fn core(text: &[u8]) -> Option<(usize, usize)> {
    let start = text.iter().position(|byte| is_word(*byte))?;
    let end = text.iter().rposition(|byte| is_word(*byte))? + 1;
    Some((start, end))
}

/// A letter or a digit; every letter beyond ASCII counts as one.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| fold(*one) == fold(*other))
}

/// Case does not count, and a plus may be a space in a URL.
fn fold(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }
}

/// FNV-1a.
const HASH_SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(fold(byte))).wrapping_mul(0x0100_0000_01b3)
}
