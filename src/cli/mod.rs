//! The commands. Each file gathers the inputs of one command, calls the engine and hands the result to [`crate::report`].

#[cfg(feature = "aws")]
mod apply;
mod args;
#[cfg(feature = "aws")]
mod calls;
#[cfg(all(feature = "aws", feature = "sim"))]
mod demo;
mod error;
#[cfg(feature = "aws")]
mod explain;
#[cfg(feature = "aws")]
mod gather;
#[cfg(feature = "aws")]
mod halt;
mod history;
#[cfg(feature = "aws")]
mod plan;
mod policies;
mod render;
mod schema;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "aws")]
mod telling;
mod validate;

use std::process::ExitCode;

use clap::Parser as _;

use crate::report::Screen;
use args::{Arguments, Command};
use error::CliError;

/// How a command ended (design, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well: nothing to change, or everything converged.
    Success,
    /// It could not be done, or was not asked for in the right way.
    Error,
    /// There are changes that an apply would make.
    Changes,
    /// Some instance did not converge.
    NotConverged,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Error => Self::from(1),
            Exit::Changes => Self::from(2),
            Exit::NotConverged => Self::from(3),
        }
    }
}

/// Parses the arguments of this process and runs the command they name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap's own code for a wrong call is 2, which means "changes" here.
            let exit = if error.use_stderr() { Exit::Error } else { Exit::Success };
            let _ = error.print();
            return exit.into();
        }
    };
    let screen = Screen::open(arguments.global.color);
    match run(&arguments, screen) {
        Ok(exit) => exit.into(),
        Err(error) => {
            screen.say(&error.text(screen.width));
            Exit::Error.into()
        }
    }
}

fn run(arguments: &Arguments, screen: Screen) -> Result<Exit, CliError> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Validate(options) => validate::run(options, global, screen),
        Command::Schema => Ok(schema::run(screen)),
        Command::Render(what) => render::run(what, global, screen),
        #[cfg(feature = "aws")]
        Command::Plan(options) => block_on(interruptible(plan::run(options, global, screen))),
        #[cfg(feature = "aws")]
        Command::Apply(options) => block_on(apply::run(options, global, screen)),
        #[cfg(feature = "aws")]
        Command::Explain(options) => block_on(interruptible(explain::run(options, global, screen))),
        #[cfg(feature = "aws")]
        Command::Halt(options) => block_on(halt::halt(options, global, screen)),
        #[cfg(feature = "aws")]
        Command::Resume(options) => block_on(halt::resume(options, global, screen)),
        Command::History(options) => history::run(options, global, screen),
        #[cfg(feature = "sim")]
        Command::Sim(options) => block_on(sim::run(options, global, screen)),
        #[cfg(all(feature = "aws", feature = "sim"))]
        Command::Demo(options) => block_on(interruptible(demo::run(options, global, screen))),
    }
}

/// Runs an async command on a runtime of its own.
#[cfg(any(feature = "aws", feature = "sim"))]
fn block_on<F: Future<Output = Result<Exit, CliError>>>(command: F) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { doing: "starting the async runtime".to_owned(), source })?;
    runtime.block_on(command)
}

/// A command that changes nothing real ends at once on Ctrl-C; dropping it takes its embedded fleet's folders away.
#[cfg(feature = "aws")]
async fn interruptible<F: Future<Output = Result<Exit, CliError>>>(command: F) -> Result<Exit, CliError> {
    tokio::select! {
        result = command => result,
        _ = interrupted() => Err(CliError::Interrupted),
    }
}

/// Waits for Ctrl-C, or for the polite end that a service manager asks for.
#[cfg(any(feature = "aws", feature = "sim"))]
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
