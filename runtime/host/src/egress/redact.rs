//! Blots secrets out of what comes back from a remote that echoes requests: in headers, bodies and error texts, also
//! where a secret lies across two pieces of a stream (security B-21).

use zeroize::Zeroizing;

use crate::blind::AnswerScrubber;
use crate::secret::Secret;

const REPLACEMENT: &[u8] = b"[redacted]";
/// Shorter secrets would blot out ordinary text.
const PATTERN_BYTES_MIN: usize = 4;

/// Knows the forms in which the secrets of a connection may come back.
pub(crate) struct Scrubber {
    /// Longest first.
    patterns: Vec<Zeroizing<Vec<u8>>>,
}

impl Scrubber {
    pub(crate) fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        let mut patterns = Vec::new();
        for secret in secrets {
            let secret = secret.expose();
            patterns.push(Zeroizing::new(secret.as_bytes().to_vec()));
            patterns.push(Zeroizing::new(percent_encoded(secret).into_bytes()));
            patterns.push(Zeroizing::new(json_escaped(secret)));
        }
        patterns.retain(|pattern| pattern.len() >= PATTERN_BYTES_MIN);
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        Self { patterns }
    }

    /// Blots nothing out: for answers that only the host reads.
    pub(crate) fn none() -> Self {
        Self { patterns: Vec::new() }
    }

    pub(crate) fn clean(&self, bytes: Vec<u8>) -> Vec<u8> {
        if self.find(&bytes, 0).is_none() {
            return bytes;
        }
        self.replace(&bytes)
    }

    pub(crate) fn clean_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.clean(text.as_bytes().to_vec())).into_owned()
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.find(bytes, 0).is_some()
    }

    fn replace(&self, bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut from = 0;
        while let Some((start, end)) = self.find(bytes, from) {
            clean.extend_from_slice(bytes.get(from..start).unwrap_or_default());
            clean.extend_from_slice(REPLACEMENT);
            from = end;
        }
        clean.extend_from_slice(bytes.get(from..).unwrap_or_default());
        clean
    }

    /// The first place of any pattern at or after `from`.
    fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        let rest = bytes.get(from..)?;
        let places = self.patterns.iter().filter_map(|pattern| {
            let start = find(rest, pattern)? + from;
            Some((start, start + pattern.len()))
        });
        places.min_by_key(|(start, end)| (*start, usize::MAX - *end))
    }

    fn overlap(&self) -> usize {
        self.patterns.first().map_or(0, |longest| longest.len() - 1)
    }
}

/// Scrubs a body that comes in pieces.
pub(crate) struct StreamScrubber {
    scrubber: Scrubber,
    /// The end of what came, held back because a secret may begin in it.
    held: Vec<u8>,
    /// Takes personal values out of what is left.
    values: Option<AnswerScrubber>,
}

impl StreamScrubber {
    pub(crate) fn new(scrubber: Scrubber) -> Self {
        Self { scrubber, held: Vec::new(), values: None }
    }

    pub(crate) fn then(self, values: AnswerScrubber) -> Self {
        Self { values: Some(values), ..self }
    }

    /// What may be shown now that `piece` came.
    pub(crate) fn push(&mut self, piece: Vec<u8>) -> Vec<u8> {
        let clean = self.without_secrets(piece);
        match &mut self.values {
            Some(values) => values.push(clean),
            None => clean,
        }
    }

    fn without_secrets(&mut self, piece: Vec<u8>) -> Vec<u8> {
        if self.scrubber.patterns.is_empty() {
            return piece;
        }
        let joined = if self.held.is_empty() { piece } else { [std::mem::take(&mut self.held), piece].concat() };
        let mut clean = self.scrubber.clean(joined);
        let keep = clean.len().saturating_sub(self.scrubber.overlap());
        self.held = clean.split_off(keep);
        clean
    }

    /// What was held back, at the end.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut last = std::mem::take(&mut self.held);
        if let Some(values) = &mut self.values {
            last = values.push(last);
            last.extend(values.finish());
        }
        last
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = pattern.first()?;
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = rest.iter().position(|byte| byte == first)?;
        if rest.get(at..)?.starts_with(pattern) {
            return Some(from + at);
        }
        from += at + 1;
    }
}

fn percent_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn json_escaped(text: &str) -> Vec<u8> {
    let quoted = serde_json::to_vec(text).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber(secrets: &[&str]) -> Scrubber {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect();
        Scrubber::new(secrets.iter())
    }

    #[test]
    fn a_secret_is_blotted_out_in_all_its_forms() {
        let scrubber = scrubber(&["to\"ken+1"]);

        let clean = scrubber.clean_text(r#"a to"ken+1 b to%22ken%2B1 c "to\"ken+1""#);

        assert_eq!(clean, r#"a [redacted] b [redacted] c "[redacted]""#);
    }

    #[test]
    fn a_secret_across_pieces_is_found_wherever_the_cut_is() {
        let text = b"before secret-token after secret-toke";
        for cut in 0..text.len() {
            let mut stream = StreamScrubber::new(scrubber(&["secret-token"]));
            let mut clean = stream.push(text[..cut].to_vec());
            clean.extend(stream.push(text[cut..].to_vec()));
            clean.extend(stream.finish());
            assert_eq!(clean, b"before [redacted] after secret-toke", "cut at {cut}");
        }
    }

    #[test]
    fn the_longer_of_two_secrets_wins() {
        assert_eq!(scrubber(&["abcd", "abcdef"]).clean_text("abcdef abcd"), "[redacted] [redacted]");
    }

    #[test]
    fn a_secret_too_short_to_be_one_leaves_the_text_alone() {
        assert_eq!(scrubber(&["a", ""]).clean_text("banana"), "banana");
    }
}
