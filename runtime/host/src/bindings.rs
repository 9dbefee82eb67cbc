//! Rust types and traits of the contract, generated from `schemas/wit/v0.1` in this one place because the macro is
//! slow to expand. The world below joins every interface; what a plugin may import is decided in `component`.

wasmtime::component::bindgen!({
    path: "../../schemas/wit/v0.1",
    inline: "
        package affluent:host;
        world everything {
            import affluent:plugin/runtime@0.1.0;
            import affluent:plugin/kv@0.1.0;
            import affluent:plugin/crypto@0.1.0;
            import affluent:plugin/http@0.1.0;
            import affluent:plugin/files@0.1.0;
            export affluent:plugin/plugin@0.1.0;
            export affluent:plugin/source@0.1.0;
            export affluent:plugin/transform@0.1.0;
            export affluent:plugin/destination@0.1.0;
        }
    ",
    world: "affluent:host/everything",
    imports: {
        "affluent:plugin/runtime@0.1.0.sleep-ms": async | trappable,
        "affluent:plugin/http@0.1.0.send": async | trappable,
        "affluent:plugin/http@0.1.0.send-all": async | trappable,
        "affluent:plugin/http@0.1.0.open": async | trappable,
        "affluent:plugin/http@0.1.0.[method]body.read": async | trappable,
        "affluent:plugin/files@0.1.0.[method]writer.commit": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "affluent:plugin/http.body": crate::imports::http::Body,
        "affluent:plugin/files.reader": crate::imports::files::Reader,
        "affluent:plugin/files.writer": crate::imports::files::Writer,
    },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    require_store_data_send: true,
});
