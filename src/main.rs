//! `avatar`: one binary, its commands in `cli`.

use std::process::ExitCode;

use avatar::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    avatar::cores::leave_one_to_listening();
    let cli = Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => avatar::cli::complain(&error),
    }
}
