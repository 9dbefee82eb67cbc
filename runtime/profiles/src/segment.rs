//! SQL of a segment: the profiles of the snapshot for which its condition is true and that no excluded segment has.

use affluent_model::Result;

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
    let _ = (name, segments);
    Ok(String::new())
}
