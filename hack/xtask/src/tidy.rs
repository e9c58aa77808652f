//! The rules that the compiler does not check.

mod charters;
mod floors;
mod invariants;
mod licences;
mod purity;
mod sizes;
mod workspace;

use anyhow::{Result, bail};

/// Checks every rule and prints each violation with its file.
pub(crate) fn run() -> Result<()> {
    let workspace = workspace::Workspace::read()?;
    let mut violations = floors::check(&workspace);
    violations.extend(charters::check(&workspace)?);
    violations.extend(purity::check(&workspace)?);
    violations.extend(invariants::check(&workspace)?);
    violations.extend(licences::check(&workspace)?);
    let (too_long, median) = sizes::check(&workspace)?;
    violations.extend(too_long);
    for violation in &violations {
        eprintln!("tidy: {violation}");
    }
    if !violations.is_empty() {
        bail!("tidy found {} violations", violations.len());
    }
    println!("tidy: {} packages, median file {median} lines, no violations", workspace.packages.len());
    Ok(())
}
