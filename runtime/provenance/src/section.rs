//! The custom section `affluent:manifest` of a component: what the plugin will say when it is asked, readable without
//! running it. A claim, never a grant: the host asks the plugin itself and refuses one that says something else.

const SECTION: &[u8] = b"affluent:manifest";
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;

/// The JSON of the first such section at the top of a component; `None` when there is none, or no component.
#[must_use]
pub fn manifest_section(component: &[u8]) -> Option<&str> {
    let mut sections = Sections(component.strip_prefix(COMPONENT_HEADER)?);
    sections.find_map(|section| std::str::from_utf8(section.manifest()?).ok())
}

/// The component with this manifest as its only such section, at the end; `None` when the bytes are no component.
#[must_use]
pub fn with_manifest(component: &[u8], manifest: &str) -> Option<Vec<u8>> {
    let body = component.strip_prefix(COMPONENT_HEADER)?;
    let mut written = COMPONENT_HEADER.to_vec();
    let mut sections = Sections(body);
    for section in sections.by_ref() {
        if section.manifest().is_none() {
            written.extend_from_slice(section.whole);
        }
    }
    if !sections.0.is_empty() {
        return None;
    }
    let mut content = Vec::new();
    write_u32(SECTION.len(), &mut content)?;
    content.extend_from_slice(SECTION);
    content.extend_from_slice(manifest.as_bytes());
    written.push(CUSTOM);
    write_u32(content.len(), &mut written)?;
    written.extend_from_slice(&content);
    Some(written)
}

/// The sections of a component, as far as they can be told apart; what is left when one is cut stays in `.0`.
struct Sections<'a>(&'a [u8]);

struct Section<'a> {
    id: u8,
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Section<'a> {
    fn manifest(&self) -> Option<&'a [u8]> {
        let (length, after) = read_u32(self.content)?;
        let (name, content) = after.split_at_checked(length)?;
        (self.id == CUSTOM && name == SECTION).then_some(content)
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let (id, after) = self.0.split_first()?;
        let (length, after) = read_u32(after)?;
        let (content, rest) = after.split_at_checked(length)?;
        let (whole, _) = self.0.split_at_checked(self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Section { id: *id, whole, content })
    }
}

/// LEB128, at most five bytes.
fn read_u32(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(u32::try_from(value).ok()?).ok()?, bytes));
        }
    }
    None
}

fn write_u32(value: usize, into: &mut Vec<u8>) -> Option<()> {
    let mut rest = u32::try_from(value).ok()?;
    while rest > 0x7f {
        into.push(u8::try_from(rest & 0x7f).ok()? | 0x80);
        rest >>= 7;
    }
    into.push(u8::try_from(rest).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_replaced() {
        let bare = [COMPONENT_HEADER, &[0, 3, 1, b'x', b'y']].concat();
        let long = "y".repeat(300);

        let first = with_manifest(&bare, "{}").unwrap();
        let second = with_manifest(&first, &long).unwrap();

        assert_eq!(manifest_section(&bare), None);
        assert_eq!(manifest_section(&first), Some("{}"));
        assert_eq!(manifest_section(&second), Some(long.as_str()));
        assert_eq!(second.len() - first.len(), 300 - 2 + 1, "the first section is gone");
    }

    #[test]
    fn what_is_no_component_has_no_manifest() {
        let cut = [COMPONENT_HEADER, &[0, 100, 1]].concat();
        let endless = [COMPONENT_HEADER, &[0, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
        for bytes in [&b""[..], b"\0asm\x01\0\0\0", &cut, &endless] {
            assert_eq!(manifest_section(bytes), None);
            assert_eq!(with_manifest(bytes, "{}"), None);
        }
    }
}
