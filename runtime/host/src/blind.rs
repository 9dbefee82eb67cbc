//! Blind destinations: a plugin handles tokens in place of personal values, and the host puts the values into requests on
//! their way out and takes them out of answers on their way in. What happens here and nowhere else: making tokens
//! (`token`, `columns`), keeping the values of the batch at hand (`values`), putting them in escaped for their place
//! (`substitute`, `escape`), and finding them again in answers (`answer`, `scrub`, `view`).

mod answer;
mod columns;
mod escape;
mod form;
mod scrub;
mod substitute;
mod token;
mod values;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use answer::{AnswerScrubber, clean_text};
pub(crate) use columns::{RowMap, Treatments};
pub(crate) use escape::BodyKind;
pub(crate) use substitute::{Refusal, has_token, in_body, in_url};
pub use token::TokenKey;
pub(crate) use token::all_in as tokens_in;
pub(crate) use values::{BatchValues, TokenVault};
#[cfg(test)]
pub(crate) use {token::text as token_text, values::ValueColumn};
