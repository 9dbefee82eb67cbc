//! `affluent plugin`: one file per subcommand.

mod build;
mod inspect;
mod new;
mod test;

use crate::arguments::{PluginCommand, Shared};
use crate::failure::Outcome;
use crate::render::screen::Screen;

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &PluginCommand) -> Outcome {
    match command {
        PluginCommand::New(arguments) => new::run(screen, arguments),
        PluginCommand::Build { folder } => build::run(shared, screen, folder).await,
        PluginCommand::Inspect { plugin } => inspect::run(shared, screen, plugin).await,
        PluginCommand::Test(arguments) => test::run(shared, screen, arguments).await,
    }
}
