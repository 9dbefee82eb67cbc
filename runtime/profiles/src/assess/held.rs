//! Values that are held for a while, to be compared with what is known: those of the first records, column by column.

/// Values of one field, one after the other.
#[derive(Default)]
pub struct HeldColumn {
    text: String,
    /// Where each ends; the same as before where there is none.
    ends: Vec<u32>,
}

impl HeldColumn {
    pub(crate) fn push(&mut self, value: Option<&str>) {
        self.text.push_str(value.unwrap_or_default().trim());
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The values, trimmed, in the order of the records; empty where there is none.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| self.text.get(*start as usize..*end as usize).unwrap_or_default())
    }
}
