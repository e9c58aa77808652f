use sluice_types::RelPath;

use super::glob::Glob;

/// One rule. It is go-git's reading of a `.gitignore` line, which differs from git's own: what lies below
/// a match matches, too, and `**` takes the first segment that fits without trying another.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    scope: RelPath,
    include: bool,
    directory: bool,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Matches nothing: a segment is malformed.
    Never,
    /// Matches any segment at any depth.
    Name(Glob),
    /// Matches from the scope down.
    Way { steps: Vec<Step>, open: bool },
}

#[derive(Clone, Debug)]
struct Step {
    glob: Glob,
    /// Any number of segments may come before.
    leap: bool,
}

impl Pattern {
    pub(super) fn new(line: &str, scope: &RelPath) -> Self {
        let (include, text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let text = if text.ends_with("\\ ") { text } else { text.trim_end_matches(' ') };
        let (directory, text) = match text.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let shape = if text.contains('/') { way(text) } else { Glob::parse(text).map(Shape::Name) };
        Self { scope: scope.clone(), include, directory, shape: shape.unwrap_or(Shape::Never) }
    }

    /// True if a match brings the path back.
    pub(super) const fn includes(&self) -> bool {
        self.include
    }

    pub(super) fn matches(&self, path: &[&str], directory: bool) -> bool {
        let mut path = path;
        for segment in self.scope.components() {
            match path.split_first() {
                Some((first, rest)) if *first == segment => path = rest,
                _ => return false,
            }
        }
        let below = match &self.shape {
            Shape::Never => None,
            Shape::Name(glob) => {
                path.iter().position(|segment| glob.matches(segment)).map(|at| path.len() - at - 1)
            }
            Shape::Way { steps, open } => follow(steps, *open, path),
        };
        below.is_some_and(|below| below > 0 || directory || !self.directory)
    }
}

fn way(text: &str) -> Option<Shape> {
    let segments: Vec<&str> = text.split('/').collect();
    let (mut steps, mut leap, mut open) = (Vec::new(), false, false);
    for (at, segment) in segments.iter().enumerate() {
        match *segment {
            "" => leap = false,
            "**" if at + 1 == segments.len() => open = true,
            "**" => leap = true,
            other if other.contains("**") => return None,
            other => {
                steps.push(Step { glob: Glob::parse(other)?, leap });
                leap = false;
            }
        }
    }
    Some(Shape::Way { steps, open })
}

/// How many segments remain below the match. An open way ends in `/**` and wants at least one.
fn follow(steps: &[Step], open: bool, path: &[&str]) -> Option<usize> {
    let mut rest = path;
    for step in steps {
        let at = if step.leap {
            rest.iter().position(|segment| step.glob.matches(segment))?
        } else {
            rest.first().filter(|segment| step.glob.matches(segment)).map(|_| 0)?
        };
        rest = rest.get(at + 1..)?;
    }
    let enough = !steps.is_empty() && (!open || !rest.is_empty());
    enough.then_some(rest.len())
}
