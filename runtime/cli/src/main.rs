//! The `selvedge` command. Owns nothing but the way in and the way out: arguments are parsed, one command runs, and its
//! outcome becomes an exit code: 0 ok, 1 findings or a failure, 2 usage.

mod admin;
mod cli;
mod commands;
mod compare;
mod config;
mod core;
mod files;
#[cfg(feature = "lake")]
mod lake;
mod modules;
mod output;
mod recorded;
mod releases;
mod stop;
mod table;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::output::{Outcome, Output, Usage};

/// A record is made by the thread that decides and freed by the one that writes: an allocator made for that saves the
/// system's lock on every free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and succeed, anything else is a usage error with the same printer.
            let printed = error.print().is_ok();
            return if printed && !error.use_stderr() { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    let output = Output::new(cli.json);
    match cli.command.run(&output) {
        Ok(Outcome::Ok) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::FAILURE,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.talk(format_args!("error: {error:#}"));
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(pipe)
}
