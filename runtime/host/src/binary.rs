//! A walk over the sections of a component file, without compiling it: the contract version in the custom section
//! `affluent:api` and how much code there is to compile. Not a validator: wasmtime checks everything it compiles.

/// The custom section that the SDK writes.
const API_SECTION: &[u8] = b"affluent:api";
/// The version of the contract that [`stamped`] writes: that of `schemas/wit/v0.1`.
const API_VERSION: &[u8] = b"0.1.0";
const MAGIC: &[u8] = b"\0asm";
const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];
/// Components in components; the toolchain makes two levels.
const DEPTH_MAX: u32 = 8;

/// What the sections say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Content of the first `affluent:api` section, at most 32 bytes.
    pub(crate) api: Option<String>,
    /// Functions of all core modules.
    pub(crate) functions: u64,
    /// Code of the largest of them, bytes.
    pub(crate) largest_function_bytes: u64,
    /// Code of all of them, bytes.
    pub(crate) code_bytes: u64,
}

/// Reads the sections; `None` when the bytes are no component.
pub(crate) fn summarize(bytes: &[u8]) -> Option<Summary> {
    let mut summary = Summary::default();
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(COMPONENT)?;
    walk_sections(rest, true, 0, &mut summary)?;
    Some(summary)
}

/// The component with the contract's version in it, for toolchains that cannot write the section themselves; unchanged
/// when it has one, or is no component.
#[must_use]
pub fn stamped(mut bytes: Vec<u8>) -> Vec<u8> {
    if summarize(&bytes).is_some_and(|summary| summary.api.is_none()) {
        let name_length = u8::try_from(API_SECTION.len()).unwrap_or_default();
        let length = u8::try_from(1 + API_SECTION.len() + API_VERSION.len()).unwrap_or_default();
        bytes.extend([0, length, name_length]);
        bytes.extend([API_SECTION, API_VERSION].concat());
    }
    bytes
}

fn walk_sections(mut rest: &[u8], is_component: bool, depth: u32, summary: &mut Summary) -> Option<()> {
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = read_u32(after)?;
        let (body, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        match (id, is_component) {
            (0, _) => read_custom(body, summary)?,
            (10, false) => read_code(body, summary)?,
            // Component: nested core module, nested component.
            (1 | 4, true) if depth < DEPTH_MAX => {
                let nested = body.strip_prefix(MAGIC)?;
                let (version, sections) = nested.split_at_checked(4)?;
                match version {
                    CORE_MODULE => walk_sections(sections, false, depth + 1, summary)?,
                    COMPONENT => walk_sections(sections, true, depth + 1, summary)?,
                    _ => return None,
                }
            }
            (1 | 4, true) => return None,
            _ => {}
        }
    }
    Some(())
}

/// The code section of a core module: one entry per function, its length first.
fn read_code(body: &[u8], summary: &mut Summary) -> Option<()> {
    let (functions, mut rest) = read_u32(body)?;
    summary.functions = summary.functions.saturating_add(u64::from(functions));
    // The section ends the loop, whatever number it claims.
    for _ in 0..functions {
        let (length, after) = read_u32(rest)?;
        let (_, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        summary.largest_function_bytes = summary.largest_function_bytes.max(u64::from(length));
        summary.code_bytes = summary.code_bytes.saturating_add(u64::from(length));
    }
    Some(())
}

fn read_custom(body: &[u8], summary: &mut Summary) -> Option<()> {
    let (name_length, after) = read_u32(body)?;
    let (name, content) = after.split_at_checked(usize::try_from(name_length).ok()?)?;
    if name == API_SECTION && summary.api.is_none() && content.len() <= 32 {
        summary.api = String::from_utf8(content.to_vec()).ok();
    }
    Some(())
}

/// LEB128, at most five bytes.
fn read_u32(mut bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![id, u8::try_from(body.len()).unwrap()];
        bytes.extend_from_slice(body);
        bytes
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [MAGIC, COMPONENT, &sections.concat()].concat()
    }

    #[test]
    fn the_version_is_found_in_the_nested_core_module() {
        let custom = section(0, b"\x0caffluent:api0.1.0");
        let module = [MAGIC, CORE_MODULE, &section(10, &[3, 2, 0, 0x0b, 4, 0, 1, 1, 0x0b, 2, 0, 0x0b]), &custom].concat();

        let summary = summarize(&component(&[section(1, &module)])).unwrap();

        let expected = Summary { api: Some("0.1.0".to_owned()), functions: 3, largest_function_bytes: 4, code_bytes: 8 };
        assert_eq!(summary, expected);
    }

    #[test]
    fn a_stamp_is_added_where_there_is_none() {
        let component = component(&[]);

        let stamped_once = stamped(component.clone());

        assert_eq!(summarize(&component).unwrap().api, None);
        assert_eq!(summarize(&stamped_once).unwrap().api.as_deref(), Some("0.1.0"));
        assert_eq!(stamped(stamped_once.clone()), stamped_once);
        assert_eq!(stamped(b"no component".to_vec()), b"no component");
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let core = [MAGIC, CORE_MODULE].concat();
        let cut = component(&[vec![1, 100, 0]]);
        let endless_number = component(&[vec![1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]);
        let forged = component(&[section(1, &[MAGIC, CORE_MODULE, &section(10, &[0xff, 0xff, 0xff, 0xff, 0x0f])].concat())]);
        for bytes in [&b""[..], b"\0asm", &core, &cut, &forged, &endless_number, b"#!/bin/sh"] {
            assert_eq!(summarize(bytes), None);
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut bytes = component(&[]);
        for _ in 0..10 {
            bytes = component(&[section(4, &bytes)]);
        }

        assert_eq!(summarize(&bytes), None);
    }
}
