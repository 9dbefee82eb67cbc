//! Lengths of time as people write them: `90d`, `15m`.

/// Milliseconds of a number and one of ms, s, m, h, d: `15m` is 900,000.
///
/// # Errors
/// A lowercase fragment that says what is wrong, without the text itself.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let wrong = || "is not a duration".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).filter(|ms| i64::try_from(*ms).is_ok()).ok_or_else(|| "is too long a duration".to_owned())
}
