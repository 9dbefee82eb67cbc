//! Numbers that a state gives to a person, told by their form and, where they have one, their check digit. Only forms
//! that hardly anything else has: plain digits without a check are not among them.

/// Letters of the Spanish DNI by number modulo 23 (Real Decreto 1553/2005).
const DNI_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
/// Modulus of the key of the French NIR (INSEE).
const NIR_MODULUS: u64 = 97;

/// True for a United States social security number with its hyphens, a British national insurance number, a Spanish DNI
/// or a French NIR with its key.
pub(crate) fn is_national_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    is_social_security(bytes) || is_national_insurance(bytes) || is_dni(bytes) || is_nir(text)
}

/// `123-45-6789`; areas 000, 666 and from 900 are never given (SSA).
fn is_social_security(bytes: &[u8]) -> bool {
    let [a, b, c, b'-', d, e, b'-', rest @ ..] = bytes else { return false };
    let area = [*a, *b, *c];
    let is_digits = area.iter().chain([d, e]).chain(rest).all(u8::is_ascii_digit);
    is_digits && rest.len() == 4 && &area != b"000" && &area != b"666" && *a != b'9'
}

/// `AB123456C`, spaces allowed (HMRC).
fn is_national_insurance(bytes: &[u8]) -> bool {
    let letters: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b' ').collect();
    let [first, second, digits @ .., last] = letters.as_slice() else { return false };
    digits.len() == 6
        && digits.iter().all(u8::is_ascii_digit)
        && first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && (b'A'..=b'D').contains(last)
}

/// `12345678Z`.
fn is_dni(bytes: &[u8]) -> bool {
    let [digits @ .., letter] = bytes else { return false };
    if digits.len() != 8 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = digits.iter().fold(0_usize, |number, digit| number * 10 + usize::from(digit - b'0'));
    DNI_LETTERS.get(number % DNI_LETTERS.len()) == Some(letter)
}

/// Thirteen digits and a key of two.
fn is_nir(text: &str) -> bool {
    let digits: String = text.chars().filter(|letter| *letter != ' ').collect();
    if digits.len() != 15 || !digits.starts_with(['1', '2']) {
        return false;
    }
    let Some((number, key)) = digits.split_at_checked(13) else { return false };
    match (number.parse::<u64>(), key.parse::<u64>()) {
        (Ok(number), Ok(key)) => NIR_MODULUS - number % NIR_MODULUS == key,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_persons_are_told_by_form_and_check_digit() {
        let cases = [
            ("078-05-1120", true),
            ("000-12-3456", false),
            ("QQ 12 34 56 C", true),
            ("12345678Z", true),
            ("12345678A", false),
            ("2 69 05 49 588 157 80", true),
            ("269054958815781", false),
            ("5308460", false),
            ("2024-01-02", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_national_id(text), expected, "{text}");
        }
    }
}
