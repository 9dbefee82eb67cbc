//! `affluent plugin`: one file per subcommand.

mod add;
mod build;
mod inspect;
mod list;
mod new;
mod pack;
mod sign;
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
        PluginCommand::Add(arguments) => add::run(shared, screen, arguments).await,
        PluginCommand::List => list::run(shared, screen).await,
        PluginCommand::Pack(arguments) => pack::run(screen, arguments).await,
        PluginCommand::Sign(arguments) => sign::run(screen, arguments).await,
        PluginCommand::Verify { file, public_keys } => sign::verify(shared, screen, file, public_keys).await,
    }
}
