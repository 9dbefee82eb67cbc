//! `affluent explain E0203`.

use affluent_model::Error;

use crate::failure::{Exit, Outcome};
use crate::render::screen::Screen;

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

pub(crate) fn run(screen: &Screen, code: &str) -> Outcome {
    let code = code.trim().to_uppercase();
    let page = ERROR_PAGES.iter().find(|(known, _)| *known == code);
    let (code, text) = page.ok_or_else(|| {
        Error::configuration("E0815", format!("there is no error code `{code}`"))
            .help("codes look like E0203; they stand in brackets after `error`")
    })?;
    screen.result(&serde_json::json!({ "code": code, "text": text }), || (*text).to_owned())?;
    Ok(Exit::Done)
}
