//! Items in the order of numbers that lie close together, as those of profiles do: one walk, where a sort of millions is twenty.

/// How many numbers there may be for one item; beyond, items are sorted.
const NUMBERS_PER_ITEM_MAX: usize = 16;

/// The items by their numbers; those of one number in the order they came.
pub(crate) fn by_number<T: Copy>(mut items: Vec<T>, number: impl Fn(&T) -> u32) -> Vec<T> {
    let place_of = |item: &T| usize::try_from(number(item)).unwrap_or(usize::MAX);
    let Some(last) = items.iter().map(place_of).max() else { return items };
    if last / NUMBERS_PER_ITEM_MAX > items.len() {
        items.sort_by_key(number);
        return items;
    }
    let mut next = vec![0_usize; last.saturating_add(1)];
    for item in &items {
        if let Some(count) = next.get_mut(place_of(item)) {
            *count += 1;
        }
    }
    let mut before = 0;
    for start in &mut next {
        before += std::mem::replace(start, before);
    }
    let mut slot = |item: &T| next.get_mut(place_of(item)).map_or(0, |next| std::mem::replace(next, *next + 1));
    let mut ordered = items.clone();
    for item in &items {
        if let Some(place) = ordered.get_mut(slot(item)) {
            *place = *item;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::by_number;

    #[test]
    fn items_stand_by_their_numbers_and_else_as_they_came() {
        for spread in [1, 1_000_000] {
            let items = [(3, 'a'), (0, 'b'), (3, 'c'), (1, 'd'), (0, 'e')].map(|(number, name)| (number * spread, name));

            let ordered: String = by_number(items.to_vec(), |(number, _)| *number).into_iter().map(|(_, name)| name).collect();

            assert_eq!(ordered, "bedac");
        }
        assert!(by_number(Vec::new(), |number: &u32| *number).is_empty());
    }
}
