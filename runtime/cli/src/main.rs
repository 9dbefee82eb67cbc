//! The binary `affluent`: parses the command line, wires the crates together, prints, and ends with a documented exit
//! code. It decides nothing.

mod arguments;
mod commands;
mod credentials;
mod failure;
mod fixtures;
mod lock_file;
mod memory;
mod project;
mod render;
mod secrets;
mod toolchain;
mod wire;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::failure::{Exit, Failure, Outcome};
use crate::render::{diagnostics, screen};

/// Planning the SQL of many tables recurses deeply; two megabytes are not enough without optimisation.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// The word by which the program starts itself as a plugin's worker; nobody else says it.
pub(crate) const WORKER: &str = "plugin-worker";

fn main() -> ExitCode {
    // Before anything of the program begins: a worker has no part in it.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == WORKER) {
        return affluent_host::run_worker(words);
    }
    let arguments = Arguments::parse();
    let screen = screen::Screen::new(&arguments.shared);
    if !matches!(arguments.command, Command::Serve(_)) {
        memory::keep_freed();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(THREAD_STACK_BYTES).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::complain(&format!("error[E0814]: threads cannot be started: {error}"));
            return ExitCode::from(Exit::External as u8);
        }
    };
    let exit = match runtime.block_on(dispatch(&arguments, &screen)) {
        Ok(exit) => exit,
        Err(Failure::Error(error)) => {
            screen::complain(&diagnostics::error(&error));
            Exit::of_error(&error)
        }
        Err(Failure::Mistakes(mistakes)) => {
            screen::complain(&diagnostics::mistakes(&screen, &mistakes));
            Exit::Configuration
        }
    };
    // Background work holds nothing that is not in the ledger: there is nothing to wait for.
    runtime.shutdown_background();
    ExitCode::from(exit as u8)
}

async fn dispatch(arguments: &Arguments, screen: &screen::Screen) -> Outcome {
    let shared = &arguments.shared;
    match &arguments.command {
        Command::Init { directory } => commands::init::run(directory, screen),
        Command::Validate => commands::validate::run(shared, screen).await,
        Command::Plan { pipelines } => commands::plan::run(shared, screen, pipelines).await,
        Command::Assess(assess) => commands::assess::run(shared, screen, assess).await,
        Command::Resolve(resolve) => commands::resolve::run(shared, screen, resolve),
        Command::Run(run) => commands::run::run(shared, screen, run).await,
        Command::Test(test) => commands::test::run(shared, screen, test).await,
        Command::Serve(serve) => commands::serve::run(shared, screen, serve).await,
        Command::Status => commands::status::run(shared, screen).await,
        Command::Profile(command) => commands::profile::run(shared, screen, command).await,
        Command::Insights(insights) => commands::insights::run(shared, screen, insights).await,
        Command::Segment(command) => commands::segment::run(shared, screen, command).await,
        Command::DeadLetters(command) => commands::dead_letters::run(shared, screen, command).await,
        Command::Requests(command) => commands::requests::run(shared, screen, command),
        Command::Connection(command) => commands::connection::run(shared, screen, command).await,
        Command::Plugin(command) => commands::plugin::run(shared, screen, command).await,
        Command::Keys(command) => commands::keys::run(shared, screen, command),
        Command::Schema { directory, check } => commands::schema::run(shared, screen, directory, *check).await,
        Command::Explain { code } => commands::explain::run(screen, code),
    }
}
