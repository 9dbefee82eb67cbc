//! Components that no compiler for guests would make, from text.

/// What a plugin of text does; the defaults are well-behaved as far as its manifest goes.
pub(crate) struct Text {
    /// More of the component, before its code.
    pub(crate) outer: String,
    pub(crate) memory: &'static str,
    /// More of the core module.
    pub(crate) inner: String,
    /// The core function that returns the manifest's place.
    pub(crate) manifest: &'static str,
    /// Instead of the manifest's place and length.
    pub(crate) place: Option<(u32, u32)>,
    pub(crate) json: &'static str,
    pub(crate) contract: &'static str,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            outer: String::new(),
            memory: "1",
            inner: String::new(),
            manifest: "i32.const 0",
            place: None,
            json: r#"{"manifest_version":1,"name":"text","version":"1","kinds":["source"],"config_schema":{}}"#,
            contract: "0.1.0",
        }
    }
}

const TYPES: &str = r#"
    (import "affluent:plugin/types@0.1.0" (instance $types
        (type $kind (enum "config" "auth" "permission" "not-found" "rate-limited" "transient" "invalid-data" "unsupported"
            "internal"))
        (export "error-kind" (type $kind_ (eq $kind)))
        (type $error (record (field "kind" $kind_) (field "code" string) (field "message" string)
            (field "retry-after-ms" (option u64)) (field "details" (option string))))
        (export "plugin-error" (type (eq $error)))))
    (alias export $types "plugin-error" (type $plugin_error))"#;

const LIFTED: &str = r#"
    (func $manifest (result string) (canon lift (core func $code "manifest") (memory $code "memory")))
    (func $check (param "config" string) (result (result string (error $plugin_error)))
        (canon lift (core func $code "check") (memory $code "memory") (realloc (func $code "realloc"))))
    (instance $plugin (export "manifest" (func $manifest)) (export "check" (func $check)))
    (export "affluent:plugin/plugin@0.1.0" (instance $plugin))"#;

impl Text {
    pub(crate) fn build(&self) -> Vec<u8> {
        let (start, length) = self.place.unwrap_or((64, u32::try_from(self.json.len()).unwrap()));
        let place: String = start.to_le_bytes().iter().chain(&length.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
        let Self { outer, memory, inner, manifest, json, .. } = self;
        let json = json.replace('"', "\\\"");
        let text = format!(
            r#"(component {TYPES} {outer}
                (core module $code
                    (memory (export "memory") {memory})
                    (data (i32.const 0) "{place}")
                    (data (i32.const 64) "{json}")
                    (func (export "manifest") (result i32) {manifest})
                    (func (export "check") (param i32 i32) (result i32) unreachable)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                    {inner})
                (core instance $code (instantiate $code)) {LIFTED})"#
        );
        signed(&text, self.contract)
    }
}

/// A host function that is called again by the memory function which the host calls to hand over its result.
pub(crate) fn re_entering() -> Vec<u8> {
    let text = format!(
        r#"(component {TYPES}
            (import "wasi:random/random@0.2.0" (instance $random
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
            (core module $libc
                (memory (export "memory") 1)
                (table (export "table") 1 funcref)
                (type $get (func (param i64 i32)))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (call_indirect (type $get) (i64.const 8) (i32.const 512) (i32.const 0))
                    i32.const 1024))
            (core instance $libc (instantiate $libc))
            (core func $get (canon lower (func $random "get-random-bytes") (memory $libc "memory")
                (realloc (func $libc "realloc"))))
            (core module $module
                (import "libc" "memory" (memory 1))
                (import "libc" "table" (table 1 funcref))
                (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
                (import "host" "get" (func $get (param i64 i32)))
                (elem (i32.const 0) $get)
                (export "memory" (memory 0))
                (export "realloc" (func $realloc))
                (func (export "manifest") (result i32) (call $get (i64.const 16) (i32.const 256)) i32.const 0)
                (func (export "check") (param i32 i32) (result i32) unreachable))
            (core instance $host (export "get" (func $get)))
            (core instance $code (instantiate $module (with "libc" (instance $libc)) (with "host" (instance $host))))
            {LIFTED})"#
    );
    signed(&text, "0.1.0")
}

/// A component that imports an empty interface of this name.
pub(crate) fn importing(name: &str) -> Vec<u8> {
    signed(&format!(r#"(component (import "{name}" (instance)))"#), "0.1.0")
}

/// The component of a text, with the section that says for which contract it was built.
fn signed(text: &str, contract: &str) -> Vec<u8> {
    let name = b"affluent:api";
    let body = [&[u8::try_from(name.len()).unwrap()], name.as_slice(), contract.as_bytes()].concat();
    let component = wat::parse_str(text).unwrap();
    [component, vec![0, u8::try_from(body.len()).unwrap()], body].concat()
}
