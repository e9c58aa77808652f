//! What a person sees of the demo: stages with their latency, coloured where there is a terminal.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

/// Prints stages as they happen, and keeps them for the table at the end.
pub(super) struct Screen {
    colours: bool,
    stages: RefCell<Vec<(String, Duration)>>,
}

impl Screen {
    /// Colours only where somebody looks.
    pub(super) fn new() -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colours, stages: RefCell::default() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The heading of a chapter.
    pub(super) fn title(&self, text: &str) {
        println!("\n{}", self.paint("1;36", text));
    }

    /// A line without a latency.
    pub(super) fn say(&self, text: &str) {
        println!("    {text}");
    }

    /// A stage that was reached.
    pub(super) fn done(&self, text: &str, after: Duration) {
        println!("  {} {:>9}  {text}", self.paint("32", "✓"), latency(after));
        self.stages.borrow_mut().push((text.to_owned(), after));
    }

    /// Why the story ended early.
    pub(super) fn failed(&self, text: &str) {
        println!("  {} {text}", self.paint("1;31", "✗"));
    }

    /// The last lines that a process wrote.
    pub(super) fn log_tail(&self, name: &str, output: &str) {
        println!("\n{}", self.paint("2", &format!("last lines of {name}:")));
        let lines: Vec<&str> = output.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(15)) {
            println!("    {line}");
        }
    }

    /// How it went, in one line.
    pub(super) fn summary(&self) {
        let stages = self.stages.borrow();
        println!("\n{} {} stages, all as expected.", self.paint("1;32", "Done:"), stages.len());
    }
}

fn latency(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
