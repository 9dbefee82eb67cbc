//! probe
use affluent_sdk::*;
#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct C { pub x: u32 }
pub struct P; pub struct S;
impl Plugin for P { type Config = C; fn manifest() -> Manifest { Manifest::new::<C>("csv", env!("CARGO_PKG_VERSION"), [PluginKind::Source]).with_files() } }
impl Source for S { type Config = C;
 fn discover(_: &C) -> Result<Vec<StreamSchema>> { Ok(files::inputs().iter().map(|i| StreamSchema::new(&i.name, vec![])).collect()) }
 fn open(_: C, _: StreamSpec, _: Option<Vec<u8>>) -> Result<Self> { Ok(S) }
 fn next(&mut self, _: Limits) -> Result<Page> { Err(Error::internal("x")) } }
affluent_sdk::export_source!(P, S);
