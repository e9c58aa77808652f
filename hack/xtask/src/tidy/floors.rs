//! Arrows between packages only go down.

use super::workspace::Workspace;

/// Names each arrow that goes up, sideways without being listed, or touches a package without a floor.
pub(crate) fn check(workspace: &Workspace) -> Vec<String> {
    let mut violations = Vec::new();
    for package in &workspace.packages {
        let Some(&floor) = workspace.floors.get(&package.name) else {
            violations.push(format!("{} has no floor in [workspace.metadata.floors]", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let listed =
                workspace.sideways.get(&package.name).is_some_and(|to| to.contains(&dependency.name));
            match workspace.floors.get(&dependency.name) {
                Some(&below) if below < floor || below == floor && listed => {}
                Some(&other) => violations.push(format!(
                    "{} (F{floor}) must not depend on {} (F{other})",
                    package.name, dependency.name
                )),
                None => violations
                    .push(format!("{} depends on {}, which has no floor", package.name, dependency.name)),
            }
        }
    }
    violations
}
