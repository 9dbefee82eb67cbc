//! `affluent requests list` and `close`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{RequestAnswer, SilentObserver};

use crate::arguments::{AnswerReason, RequestsCommand, Shared};
use crate::commands::decide::system_user;
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::requests;
use crate::render::screen::Screen;
use crate::wire;

pub(crate) fn run(shared: &Shared, screen: &Screen, command: &RequestsCommand) -> Outcome {
    let project = project::load(shared)?;
    let engine = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?.engine;
    match command {
        RequestsCommand::List { all } => {
            let listed = engine.requests(*all)?;
            screen.result(&listed, || requests::list(&listed))?;
        }
        RequestsCommand::Close { request, erasure, export, because, by } => {
            let answer = match (erasure, export, because) {
                (Some(number), _, _) => RequestAnswer::Erasure(*number),
                (_, Some(profile), _) => RequestAnswer::Export(profile.clone()),
                (_, _, Some(AnswerReason::KeptByLaw)) => RequestAnswer::KeptByLaw,
                (_, _, Some(AnswerReason::DoneElsewhere)) => RequestAnswer::DoneElsewhere,
                (_, _, Some(AnswerReason::NothingHeld) | None) => RequestAnswer::NothingHeld,
            };
            let closed = engine.close_request(*request, &answer, &by.clone().unwrap_or_else(system_user))?;
            screen.result(&closed, || requests::line(&closed))?;
        }
    }
    Ok(Exit::Done)
}
