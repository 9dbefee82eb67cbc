//! How far each file of a stream has been read: the state of a page. A file read to its end is not read again while
//! its size and its time of change stay; one that grew goes on where it ended; one that was rewritten is read anew.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::Input;

/// What the host stores of a page's state at most, in bytes.
const STATE_BYTES_MAX: usize = 64 * 1024;

/// Written as a row, since there may be hundreds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    name: String,
    /// Where the next record starts, in bytes.
    offset: u64,
    /// Its physical line, from 1.
    line: u64,
    /// Size and time of change of the file when this was written.
    bytes: Option<u64>,
    modified_us: Option<i64>,
    /// Everything there was has been read. `offset` may still be before the end: a last line without its line end is
    /// read, and read again if the file grows.
    is_done: bool,
}

type Row = (String, u64, u64, Option<u64>, Option<i64>, bool);

/// Places of all files of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    places: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    files: Vec<Row>,
}

impl Places {
    /// Reads a state; none means nothing was read yet.
    ///
    /// # Errors
    /// `internal` when it is not a state of this kind.
    pub fn decode(state: Option<&[u8]>) -> Result<Self> {
        let Some(state) = state else { return Ok(Self::default()) };
        let stored: Stored =
            serde_json::from_slice(state).map_err(|_| Error::internal("the stored state is not one of this plugin"))?;
        let place = |(name, offset, line, bytes, modified_us, is_done)| Place { name, offset, line, bytes, modified_us, is_done };
        Ok(Self { places: stored.files.into_iter().map(place).collect() })
    }

    /// Writes the state.
    ///
    /// # Errors
    /// `config` when there are more files than a state has room for.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let row = |place: &Place| (place.name.clone(), place.offset, place.line, place.bytes, place.modified_us, place.is_done);
        let stored = Stored { files: self.places.iter().map(row).collect() };
        let state = serde_json::to_vec(&stored).map_err(|_| Error::internal("a state of numbers and names is always JSON"))?;
        if state.len() > STATE_BYTES_MAX {
            let count = self.places.len();
            let message = format!("{count} files are more than one stream can remember; move away the ones that are done");
            return Err(Error::config(message).code("files.too_many"));
        }
        Ok(state)
    }

    /// Forgets files that are gone.
    pub(super) fn keep_only(&mut self, inputs: &[Input]) {
        self.places.retain(|place| inputs.iter().any(|input| input.name == place.name));
    }

    /// Offset and line to read a file from; `None` when there is nothing new in it.
    pub(super) fn start_of(&self, input: &Input) -> Option<(u64, u64)> {
        let Some(place) = self.places.iter().find(|place| place.name == input.name) else { return Some((0, 1)) };
        let is_same = place.bytes == input.bytes && place.modified_us == input.modified_us;
        let grew = input.bytes > place.bytes && input.bytes >= Some(place.offset);
        match (is_same, place.is_done) {
            (true, true) => None,
            (true, false) => Some((place.offset, place.line)),
            (false, _) if grew => Some((place.offset, place.line)),
            (false, _) => Some((0, 1)),
        }
    }

    /// Notes how far a file has been read.
    pub(super) fn set(&mut self, input: &Input, offset: u64, line: u64, is_done: bool) {
        let Input { name, bytes, modified_us } = input.clone();
        let place = Place { name, offset, line, bytes, modified_us, is_done };
        match self.places.iter_mut().find(|known| known.name == place.name) {
            Some(known) => *known = place,
            None => self.places.push(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: u64, modified_us: i64) -> Input {
        Input { name: "a.csv".to_owned(), bytes: Some(bytes), modified_us: Some(modified_us) }
    }

    #[test]
    fn what_changed_about_a_file_decides_where_reading_goes_on() {
        let cases = [
            ("unchanged and done", true, input(100, 1), None),
            ("unchanged, not done", false, input(100, 1), Some((80, 9))),
            ("grown", true, input(150, 2), Some((80, 9))),
            ("rewritten at the same size", true, input(100, 2), Some((0, 1))),
            ("shrunk", false, input(50, 2), Some((0, 1))),
        ];

        for (case, is_done, now, expected) in cases {
            let mut places = Places::default();
            places.set(&input(100, 1), 80, 9, is_done);
            assert_eq!(places.start_of(&now), expected, "{case}");
        }
    }

    #[test]
    fn a_state_reads_back_as_written() {
        let mut places = Places::default();
        places.set(&input(100, 1), 80, 9, true);

        let state = places.encode().unwrap();

        assert_eq!(Places::decode(Some(&state)).unwrap(), places);
    }
}
