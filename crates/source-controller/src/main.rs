//! The source-controller process.

use std::process::ExitCode;

use sluice_identity::Environment;
use sluice_source_controller::{Options, PROGRAM, SourceArgs, work};

fn main() -> ExitCode {
    sluice_runtime::run(PROGRAM, |args: SourceArgs, host| async move {
        let environment: Environment = std::env::vars().collect();
        work(Options::new(args, &host, environment)?, host).await
    })
}
