//! A component of the old contract, made from text: two records, one page, no compiler for guests.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const MANIFEST: &str = r#"{"manifest_version": 1, "name": "old", "version": "1.0.0", "kinds": ["source"], "config_schema": {}, "formats": {"emits": ["ndjson"]}}"#;
const STREAMS: &str = r#"[{"name": "people", "primary_key": ["id"], "sync_modes": ["full_refresh"], "fields": [{"name": "id", "type": "integer", "nullable": false}, {"name": "city", "type": "text"}]}]"#;
const LINES: &str = "{\"id\": 1, \"city\": \"Lyon\"}\n{\"id\": 2}\n";

/// The bytes of a component that says it is of `version`.
pub(super) fn old_component(version: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("affluent-plugin.wit", include_str!("affluent-plugin.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("source-plugin")).unwrap();
    let mut module = wat::parse_str(core_module()).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut component = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    let section = [[12].as_slice(), b"affluent:api", version.as_bytes()].concat();
    component.extend([&[0, u8::try_from(section.len()).unwrap()], section.as_slice()].concat());
    component
}

/// Texts at fixed places of the memory, and results that point to them (canonical ABI).
fn core_module() -> String {
    let data = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let words = |words: &[usize]| {
        words
            .iter()
            .flat_map(|word| u32::try_from(*word).unwrap().to_le_bytes())
            .map(|byte| format!("\\{byte:02x}"))
            .collect::<String>()
    };
    let (manifest, streams, lines, hello) = (1_024, 2_048, 3_072, 4_096);
    format!(
        r#"(module
          (import "affluent:plugin/runtime@0.0.9" "log" (func $log (param i32 i32)))
          (memory (export "memory") 2)
          (global $free (mut i32) (i32.const 65536))
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 15)) (i32.const -16))))
          (func (export "affluent:plugin/plugin@0.0.9#manifest") (result i32) (i32.const 16))
          (func (export "affluent:plugin/plugin@0.0.9#check") (param i32 i32) (result i32) (i32.const 64))
          (func (export "affluent:plugin/source@0.0.9#discover") (param i32 i32) (result i32) (i32.const 32))
          (func (export "affluent:plugin/source@0.0.9#open") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 48))
          (func (export "affluent:plugin/source@0.0.9#next") (param i32) (result i32)
            (call $log (i32.const {hello}) (i32.const 5))
            (i32.const 80))
          (func (export "affluent:plugin/source@0.0.9#close"))
          (data (i32.const 16) "{manifest_at}")
          (data (i32.const 32) "{streams_at}")
          (data (i32.const 64) "{refusal_at}")
          (data (i32.const 80) "{page_at}")
          (data (i32.const {manifest}) "{manifest_text}")
          (data (i32.const {streams}) "{streams_text}")
          (data (i32.const {lines}) "{lines_text}")
          (data (i32.const {hello}) "hello"))"#,
        manifest_at = words(&[manifest, MANIFEST.len()]),
        streams_at = words(&[0, streams, STREAMS.len()]),
        refusal_at = words(&[1, hello, 5]),
        page_at = words(&[0, lines, LINES.len(), 1, hello, 5, 1]),
        manifest_text = data(MANIFEST),
        streams_text = data(STREAMS),
        lines_text = data(LINES),
    )
}
