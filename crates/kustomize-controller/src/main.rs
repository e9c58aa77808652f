//! kustomize-controller: applies what sources hold.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_runtime::program::run(sluice_kustomize_controller::PROGRAM, sluice_kustomize_controller::run)
}
