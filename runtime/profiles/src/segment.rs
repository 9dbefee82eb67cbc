//! SQL of a segment: the profiles of the snapshot for which its condition is true and that no excluded segment has.

use affluent_model::{Error, Result};

/// A segment whose condition the lake has parsed, checked and printed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedSegment {
    pub name: String,
    /// Safe inside parentheses.
    pub condition: String,
    /// Members of these segments are left out.
    pub exclude: Vec<String>,
}

/// The query over table `profiles` whose only column, `profile`, names the members of segment `name`.
///
/// # Errors
/// `E0763` when the segment or one it excludes is not in `segments`, or when segments exclude each other in a circle.
pub fn segment_sql(name: &str, segments: &[PreparedSegment]) -> Result<String> {
    let condition = members(name, segments, &mut Vec::new())?;
    Ok(format!("SELECT \"profile\" FROM \"profiles\" WHERE {condition}"))
}

/// The condition of membership. Null is not true: neither a member, nor left out because of it.
fn members(name: &str, segments: &[PreparedSegment], path: &mut Vec<String>) -> Result<String> {
    if path.iter().any(|outer| outer == name) {
        return Err(Error::configuration("E0763", format!("segment `{name}` excludes itself by way of others"))
            .help("take it out of one of the `exclude` lists"));
    }
    let Some(segment) = segments.iter().find(|segment| segment.name == name) else {
        return Err(Error::configuration("E0763", format!("there is no segment `{name}`")));
    };
    path.push(name.to_owned());
    let mut condition = format!("(({}) IS TRUE", segment.condition);
    for excluded in &segment.exclude {
        condition.push_str(&format!(" AND NOT {}", members(excluded, segments, path)?));
    }
    condition.push(')');
    path.pop();
    Ok(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &str, condition: &str, exclude: &[&str]) -> PreparedSegment {
        let exclude = exclude.iter().map(|name| (*name).to_owned()).collect();
        PreparedSegment { name: name.to_owned(), condition: condition.to_owned(), exclude }
    }

    #[test]
    fn members_of_excluded_segments_are_left_out_and_theirs_too() {
        let segments =
            [segment("vip", "spent > 9", &["staff"]), segment("staff", "is_staff", &["test"]), segment("test", "x", &[])];

        let sql = segment_sql("vip", &segments).unwrap();

        let expected = "((spent > 9) IS TRUE AND NOT ((is_staff) IS TRUE AND NOT ((x) IS TRUE)))";
        assert_eq!(sql, format!("SELECT \"profile\" FROM \"profiles\" WHERE {expected}"));
    }

    #[test]
    fn a_circle_of_exclusions_and_an_unknown_segment_are_refused() {
        let circle = [segment("a", "x", &["b"]), segment("b", "x", &["a"])];

        assert_eq!(segment_sql("a", &circle).unwrap_err().code, "E0763");
        assert_eq!(segment_sql("c", &circle).unwrap_err().code, "E0763");
    }

    #[test]
    fn two_segments_may_exclude_the_same_third() {
        let segments = [segment("a", "x", &["b", "c"]), segment("b", "y", &["c"]), segment("c", "z", &[])];

        assert!(segment_sql("a", &segments).is_ok());
    }
}
