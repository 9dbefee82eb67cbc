//! Versions of plugins: which is lower, and which are in a range.

use semver::{BuildMetadata, Prerelease, Version, VersionReq};

/// True when both are semantic versions and `new` comes before `old`.
pub(crate) fn is_lower(new: &str, old: &str) -> bool {
    match (Version::parse(new), Version::parse(old)) {
        (Ok(new), Ok(old)) => new.cmp_precedence(&old).is_lt(),
        _ => false,
    }
}

/// True when a version is in a range. A pre-release counts as what it precedes too: a range that denies 1.2.0 does not
/// let 1.2.0-rc.1 through. A version that is not semantic, or a range that cannot be read, is in.
pub(crate) fn is_in(version: &str, range: &str) -> bool {
    let (Ok(version), Ok(range)) = (Version::parse(version), VersionReq::parse(range)) else { return true };
    let released = Version { pre: Prerelease::EMPTY, build: BuildMetadata::EMPTY, ..version };
    range.matches(&version) || range.matches(&released)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_is_by_precedence() {
        for (new, old, lower) in [
            ("1.9.0", "1.10.0", true),
            ("1.10.0", "1.9.0", false),
            ("1.0.0-rc.1", "1.0.0", true),
            ("1.0.0+a", "1.0.0+b", false),
            ("1", "2.0.0", false),
        ] {
            assert_eq!(is_lower(new, old), lower, "{new} {old}");
        }
    }

    #[test]
    fn a_range_catches_pre_releases_and_what_cannot_be_read() {
        for (version, range, inside) in [
            ("1.1.9", "<1.2.0", true),
            ("1.2.0", "<1.2.0", false),
            ("1.1.0-rc.1", "<1.2.0", true),
            ("1.4.1-beta", "=1.4.1", true),
            ("3.0.0", "*", true),
            ("latest", "<1.2.0", true),
            ("1.0.0", ">>", true),
        ] {
            assert_eq!(is_in(version, range), inside, "{version} {range}");
        }
    }
}
