//! Sorting many entries: by one byte after the other into a heap for each of its values, because moving an entry costs less
//! than comparing it some twenty times.

/// Entries that are compared with each other rather.
const FEW: usize = 64;
/// Values of a byte.
const HEAPS: usize = 256;

/// Sorts entries by their bytes.
pub(super) fn sort<const W: usize>(entries: &mut [[u8; W]]) {
    if !entries.is_sorted() {
        let mut spare = vec![[0; W]; entries.len()];
        sort_from(entries, &mut spare, 0);
    }
}

/// Sorts entries that are equal up to a byte; `spare` is as long as they are.
fn sort_from<const W: usize>(entries: &mut [[u8; W]], spare: &mut [[u8; W]], byte: usize) {
    if entries.len() < FEW {
        return entries
            .sort_unstable_by(|one, other| eight_from(one, byte).cmp(&eight_from(other, byte)).then_with(|| one.cmp(other)));
    }
    let is_split = |ends: &[usize; HEAPS]| ends.iter().any(|end| (1..entries.len()).contains(end));
    let split = (byte..W).map(|byte| (byte, ends_of(entries, byte))).find(|(_, ends)| is_split(ends));
    let Some((byte, ends)) = split else { return };
    let mut places = [0; HEAPS];
    places.iter_mut().skip(1).zip(&ends).for_each(|(place, end)| *place = *end);
    for entry in &*entries {
        let place = places.get_mut(heap_of(entry, byte));
        if let Some((slot, place)) = place.and_then(|place| Some((spare.get_mut(*place)?, place))) {
            *slot = *entry;
            *place += 1;
        }
    }
    entries.copy_from_slice(spare);
    let (mut entries, mut spare, mut begin) = (entries, spare, 0);
    for end in ends {
        let (heap, after) = std::mem::take(&mut entries).split_at_mut(end - begin);
        let (heap_spare, spare_after) = std::mem::take(&mut spare).split_at_mut(end - begin);
        sort_from(heap, heap_spare, byte + 1);
        (entries, spare, begin) = (after, spare_after, end);
    }
}

/// Eight bytes of an entry as a number, which tell most apart without comparing all; 0 where there are not as many.
#[inline]
fn eight_from<const W: usize>(entry: &[u8; W], byte: usize) -> u64 {
    entry.get(byte..).and_then(<[u8]>::first_chunk).map_or(0, |eight| u64::from_be_bytes(*eight))
}

/// Where the heap of each value ends.
fn ends_of<const W: usize>(entries: &[[u8; W]], byte: usize) -> [usize; HEAPS] {
    let mut ends = [0; HEAPS];
    for entry in entries {
        if let Some(count) = ends.get_mut(heap_of(entry, byte)) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    ends
}

fn heap_of<const W: usize>(entry: &[u8; W], byte: usize) -> usize {
    entry.get(byte).copied().map_or(0, usize::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_are_sorted_as_comparing_them_sorts_them(
            mut entries in prop_oneof![
                prop::collection::vec(any::<[u8; 11]>(), 0..2_000),
                prop::collection::vec((0..3_u8, 0..2_u8, 7..9_u8).prop_map(|(a, b, c)| [a, 1, 1, 1, 1, 1, 1, 1, b, 1, c]), 0..500),
            ],
        ) {
            let mut expected = entries.clone();
            expected.sort_unstable();
            sort(&mut entries);
            prop_assert_eq!(entries, expected);
        }
    }
}
