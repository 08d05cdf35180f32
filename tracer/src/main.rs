//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracer::memory::return_large_blocks();
    let cli = tracer::cli::parse(std::env::args_os());
    match tracer::commands::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tracer: {failure}");
            failure.exit_code()
        }
    }
}
