//! The personal values of the batch that is being delivered, by token. They are kept in one buffer that is wiped when the
//! batch is done; nothing here can be printed, cloned or serialised.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use affluent_model::pii::PiiClass;
use zeroize::Zeroizing;

use super::form::Form;
use super::scrub::{Beginnings, ScrubIndex};
use super::token::{self, Mark, TokenKey, Tokenizer};
use super::view::View;

/// Marks are hashes already.
#[derive(Default)]
pub(crate) struct MarkHasher(u64);

impl Hasher for MarkHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        // The table takes its place from the low bits and its tag from the high ones; a half of a mark has 60 bits.
        self.0 ^= hash.rotate_left(4);
    }
}

pub(crate) type MarkMap<K, V> = HashMap<K, V, BuildHasherDefault<MarkHasher>>;

/// A personal column of the batch.
pub(crate) struct ValueColumn {
    pub(crate) class: PiiClass,
    /// Last word of its name, as an answer would name it.
    pub(crate) key: String,
    /// Its texts are JSON.
    pub(crate) is_json: bool,
}

/// Where a value lies, and which column it is of.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    start: usize,
    end: usize,
    pub(crate) column: usize,
}

/// The values of one batch.
pub(crate) struct BatchValues {
    texts: Zeroizing<Vec<u8>>,
    entries: MarkMap<Mark, Entry>,
    columns: Vec<ValueColumn>,
    longest: usize,
    has_percents: bool,
    index: OnceLock<ScrubIndex>,
    beginnings: OnceLock<Beginnings>,
    /// Forms of values as they left, by what answers may repeat of them.
    sent_forms: Mutex<HashMap<Vec<u8>, String>>,
    /// Hashes by which services call people, whether or not they left in this process: of addresses in lower case.
    hashes: OnceLock<HashMap<String, String>>,
}

impl BatchValues {
    /// `bytes` and `values` are what is expected, so that nothing is moved in memory while it is filled.
    pub(crate) fn with_capacity(bytes: usize, values: usize) -> Self {
        Self {
            texts: Zeroizing::new(Vec::with_capacity(bytes)),
            entries: MarkMap::with_capacity_and_hasher(values, BuildHasherDefault::default()),
            columns: Vec::new(),
            longest: 0,
            has_percents: false,
            index: OnceLock::new(),
            beginnings: OnceLock::new(),
            sent_forms: Mutex::default(),
            hashes: OnceLock::new(),
        }
    }

    /// Begins a column; values that follow are of it.
    pub(crate) fn begin_column(&mut self, column: ValueColumn) {
        self.columns.push(column);
    }

    pub(crate) fn insert(&mut self, mark: Mark, value: &str) {
        self.longest = self.longest.max(value.len());
        self.has_percents |= value.contains('%');
        let (texts, column) = (&mut self.texts, self.columns.len().saturating_sub(1));
        self.entries.entry(mark).or_insert_with(|| {
            let start = texts.len();
            texts.extend_from_slice(value.as_bytes());
            Entry { start, end: texts.len(), column }
        });
    }

    /// The value behind a token of this batch that may be put into a request.
    pub(crate) fn get(&self, mark: Mark) -> Option<(&str, &ValueColumn)> {
        let entry = self.entries.get(&mark)?;
        Some((self.text(*entry), self.columns.get(entry.column)?))
    }

    pub(crate) fn text(&self, entry: Entry) -> &str {
        self.texts.get(entry.start..entry.end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    pub(crate) fn column(&self, entry: Entry) -> Option<&ValueColumn> {
        self.columns.get(entry.column)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (Mark, Entry)> {
        self.entries.iter().map(|(mark, entry)| (*mark, *entry))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a piece of an answer is searched with: the values that may be in it, where those are few.
    pub(super) fn index_for(&self, piece: &View<'_>) -> Cow<'_, ScrubIndex> {
        let beginnings = self.beginnings.get_or_init(|| Beginnings::new(self));
        match beginnings.of_piece(piece, self) {
            Some(few) => Cow::Owned(few),
            None => Cow::Borrowed(self.index.get_or_init(|| ScrubIndex::new(self, self.entries()))),
        }
    }

    /// Whether a value has a percent sign itself: it would be taken for an encoding.
    pub(super) fn has_percents(&self) -> bool {
        self.has_percents
    }

    /// Bytes of the longest value.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Keeps a form that left, so that it is found in answers too.
    pub(crate) fn remember_form(&self, form: &str, token: impl FnOnce() -> String) {
        self.sent_forms.lock().unwrap_or_else(PoisonError::into_inner).entry(form.as_bytes().to_vec()).or_insert_with(token);
    }

    /// The token behind a form that left, or behind a hash that a service may call somebody by.
    pub(crate) fn token_of_form(&self, form: &[u8]) -> Option<String> {
        let sent = self.sent_forms.lock().unwrap_or_else(PoisonError::into_inner).get(form).cloned();
        sent.or_else(|| self.hashes.get_or_init(|| self.hash_addresses()).get(std::str::from_utf8(form).ok()?).cloned())
    }

    fn hash_addresses(&self) -> HashMap<String, String> {
        let is_address = |entry: &Entry| self.column(*entry).is_some_and(|column| column.class == PiiClass::Email);
        let addresses = self.entries().filter(|(_, entry)| is_address(entry));
        let hashes = |(mark, entry): (Mark, Entry)| {
            let address = self.text(entry).trim().to_lowercase();
            let formed = move |form: Form| {
                Some((form.apply(&address)?, format!("{}.{}.{}", token::text(mark), Form::Lower.as_str(), form.as_str())))
            };
            [Form::Md5, Form::Sha256].into_iter().filter_map(formed)
        };
        addresses.flat_map(hashes).collect()
    }
}

/// The tokens of one open destination: how they are made, and the values of the batch at hand.
pub(crate) struct TokenVault {
    tokenizer: Tokenizer,
    current: Mutex<Option<Arc<BatchValues>>>,
}

impl TokenVault {
    pub(crate) fn new(key: &TokenKey) -> Option<Self> {
        Some(Self { tokenizer: Tokenizer::new(key)?, current: Mutex::default() })
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// From now on tokens stand for these values.
    pub(crate) fn hold(&self, values: Arc<BatchValues>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
    }

    /// From now on tokens stand for nothing.
    pub(crate) fn forget(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The values of the batch at hand.
    pub(crate) fn values(&self) -> Option<Arc<BatchValues>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
